// SPDX-License-Identifier: GPL-2.0-only

package loader

import (
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/randomizedcoder/l2d/pkg/flow"
	"golang.org/x/sys/unix"
)

// watcher collects the events of a dataplane's flows.
type watcher struct {
	t      *testing.T
	reader *flow.EventReader
	mu     sync.Mutex
	events []flow.Event
}

// clone returns a descriptor of a map that is closed after the test.
func (r *router) clone(d *Dataplane, name string) (m *ebpf.Map) {
	r.t.Helper()
	if err := d.Map(name, func(orig *ebpf.Map) (err error) {
		m, err = orig.Clone()
		return err
	}); err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { m.Close() })
	return m
}

// hear has the dataplane report kinds of events.
func (r *router) hear(d *Dataplane, all, translated flow.Kind) {
	r.t.Helper()
	if err := flow.Listen(r.clone(d, "l2_flow_listen"), all, translated); err != nil {
		r.t.Fatal(err)
	}
}

func (r *router) watch(t *testing.T, d *Dataplane) *watcher {
	t.Helper()
	reader, err := flow.NewEventReader(r.clone(d, "l2_flow_events"), r.clone(d, "l2_flow_listen"))
	if err != nil {
		t.Fatal(err)
	}
	w := &watcher{t: t, reader: reader}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			e, err := reader.Read()
			if err != nil {
				return
			}
			w.mu.Lock()
			w.events = append(w.events, e)
			w.mu.Unlock()
		}
	}()
	t.Cleanup(func() {
		reader.Close()
		<-done
	})
	return w
}

// of are the events of a client's port so far, each in a few words.
func (w *watcher) of(port uint16) (words []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range w.events {
		if e.Flow == nil || e.Flow.Original.Src.Port() != port {
			continue
		}
		word := e.Kind.String()
		for _, more := range []string{e.Flow.State, e.Reason} {
			if more != "" {
				word += " " + more
			}
		}
		words = append(words, word)
	}
	return words
}

// expect waits for events of a client's port.
func (w *watcher) expect(port uint16, want ...string) {
	w.t.Helper()
	end := time.Now().Add(patience)
	for !slices.Equal(w.of(port), want) {
		if time.Now().After(end) {
			w.t.Errorf("port %d: %q, not %q", port, w.of(port), want)
			return
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// last is the last event of a client's port.
func (w *watcher) last(port uint16) flow.Event {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range slices.Backward(w.events) {
		if e.Flow != nil && e.Flow.Original.Src.Port() == port {
			return e
		}
	}
	return flow.Event{Flow: &flow.Flow{}}
}

// TestFlowEvents: each event of a flow's life, of what packets do.
func TestFlowEvents(t *testing.T) {
	inModes(t, testPolicy{masquerade: true}, func(t *testing.T, r *router, _ *Dataplane, m mode) {
		cfg := r.config(testPolicy{masquerade: true})
		for i := range cfg.Interfaces {
			cfg.Interfaces[i].XDP = m.xdp
		}
		cfg.Timeouts.UDPUnreplied, cfg.Timeouts.TCPTimeWait = time.Second, 2*time.Second
		d := r.mustApply(cfg)
		lan, wan := r.tap(t, "l"), r.tap(t, "w")
		w := r.watch(t, d)
		r.hear(d, flow.KindAll, 0)
		inFamilies(t, func(t *testing.T, f family) {
			w.t = t
			base := pick[uint16](f, 6100, 6200)
			client := func(n uint16) netip.AddrPort { return at(f.lanless, base+n) }
			server := at(f.wanless, 80)
			udp := func(n uint16) packet {
				t.Helper()
				lan.send(ipPacket(client(n).Addr(), server.Addr(), unix.IPPROTO_UDP, 64, udpDatagram(client(n), server, nil)))
				return wan.receive("datagram", func(p packet) bool { return p.proto == unix.IPPROTO_UDP && p.dst == server })
			}
			answer := func(p packet) {
				wan.send(ipPacket(p.dst.Addr(), p.src.Addr(), unix.IPPROTO_UDP, 64, udpDatagram(p.dst, p.src, nil)))
			}

			p := udp(1)
			w.expect(base+1, "new")
			if e := w.last(base + 1); e.Flow.Confirmed || e.Flow.Replied || e.Flow.Reply.Dst != p.src || e.Flow.Original.Packets != 1 || time.Since(e.Time).Abs() > time.Minute {
				t.Errorf("%v at %v", &e, e.Time)
			}
			answer(p)
			w.expect(base+1, "new", "confirm")
			if e := w.last(base + 1); !e.Flow.Confirmed || !e.Flow.Replied || e.Flow.Original.Dst != server || e.Flow.Reply.Dst != p.src {
				t.Errorf("%v", &e)
			}
			udp(2)
			// The collector's: it comes every ten seconds.
			eventually(t, 60*time.Second, "end of dead flows", func() bool { return len(w.of(base+1)) == 3 && len(w.of(base+2)) == 2 })
			w.expect(base+1, "new", "confirm", "destroy expired")
			w.expect(base+2, "new", "destroy expired")
			if e := w.last(base + 1); e.Flow.Original.Packets != 1 || e.Flow.Reply.Packets != 1 || e.Flow.Reply.Bytes == 0 {
				t.Errorf("%v", &e)
			}
			// A packet comes before the collector.
			udp(3)
			time.Sleep(1500 * time.Millisecond)
			udp(3)
			w.expect(base+3, "new", "destroy expired", "new")
		})
	})
}

// TestTCPEvents: the states of a connection, the end by another one with the same
// ends, and none of the packets in between.
func TestTCPEvents(t *testing.T) {
	inModes(t, testPolicy{masquerade: true}, func(t *testing.T, r *router, d *Dataplane, m mode) {
		r.hear(d, flow.KindAll, 0)
		w := r.watch(t, d)
		f := families[0]
		l := r.listen(t, "w", at(f.wan, 8100))
		c := r.mustDial(t, "l", at(f.lan, 6301), at(f.wan, 8100))
		if err := transfer(c, l, 1<<20); err != nil {
			t.Fatal(err)
		}
		eventually(t, patience, "end of the connection", func() bool {
			return slices.Contains(w.of(6301), "update TIME_WAIT")
		})
		got := strings.Join(w.of(6301), ", ")
		want := "new SYN_SENT, update SYN_RECV, confirm ESTABLISHED, update FIN_WAIT, update "
		if !strings.HasPrefix(got, want) || !strings.HasSuffix(got, "update TIME_WAIT") || len(w.of(6301)) > 8 {
			t.Errorf("%s\nnot %s..., update TIME_WAIT", got, want)
		}
		if e := w.last(6301); !e.Flow.Assured || !e.Flow.Confirmed || !e.Flow.SrcNAT() {
			t.Errorf("%v", &e)
		}
		lan := r.tap(t, "l")
		client, server := at(f.lan, 6301), at(f.wan, 8100)
		lan.send(ipPacket(client.Addr(), server.Addr(), unix.IPPROTO_TCP, 64, tcpSegment(client, server, flagSYN)))
		eventually(t, patience, "a new connection", func() bool { return slices.Contains(w.of(6301), "destroy TIME_WAIT reopened") })
	})
}

// TestEventsOfTranslated: who listens to translated flows hears of no others,
// and who does not listen of none.
func TestEventsOfTranslated(t *testing.T) {
	t.Parallel()
	r := newRouter(t)
	d := r.mustApply(r.config(testPolicy{masquerade: true}))
	w := r.watch(t, d)
	f := families[0]
	r.echoUDP(t, "r", at(f.rlan, 8023))
	r.echoUDP(t, "w", at(f.wan, 8024))
	both := func(port uint16) {
		t.Helper()
		for _, to := range []netip.AddrPort{at(f.rlan, 8023), at(f.wan, 8024)} {
			if err := exchangeUDP(r.udp(t, "l", at(f.lan, port)), to, []byte("hello")); err != nil {
				t.Fatal(err)
			}
			port++
		}
	}
	both(6401)
	r.hear(d, 0, flow.KindNew)
	both(6403)
	r.hear(d, flow.KindConfirm, flow.KindNew)
	both(6405)
	r.hear(d, 0, 0)
	both(6407)
	w.expect(6404, "new")
	w.expect(6405, "confirm")
	w.expect(6406, "new", "confirm")
	for _, port := range []uint16{6401, 6402, 6403, 6407, 6408} {
		w.expect(port)
	}
}

// TestLostEvents: what finds no room is counted, and nothing waits.
func TestLostEvents(t *testing.T) {
	t.Parallel()
	r := newRouter(t)
	d := r.mustApply(r.config(testPolicy{}))
	r.hear(d, flow.KindNew, 0)
	lan := r.tap(t, "l")
	f := families[0]
	flood := func(n int) {
		for i := range n {
			src, dst := at(netip.AddrFrom4([4]byte{192, 168, 7, byte(100 + i%100)}), uint16(1024+i/100)), at(f.wanless, 81)
			lan.send(ipPacket(src.Addr(), dst.Addr(), unix.IPPROTO_TCP, 64, tcpSegment(src, dst, flagSYN)))
		}
	}
	const fits = 1 << 20 / 256
	before := stat(t, d, "flow_new")
	reader, err := flow.NewEventReader(r.clone(d, "l2_flow_events"), r.clone(d, "l2_flow_listen"))
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	flood(fits + 1000)
	begun := stat(t, d, "flow_new") - before
	var heard, lost uint64
	for heard+lost < begun {
		e, err := reader.Read()
		if err != nil {
			t.Fatal(err)
		}
		if e.Kind == flow.KindLost {
			lost += e.Lost
		} else {
			heard++
		}
	}
	if lost == 0 || heard < fits/2 || heard+lost != begun {
		t.Errorf("%d events, %d lost, of %d flows", heard, lost, begun)
	}
}

// TestEventsBeforeReader: what was asked for is reported whether or not somebody
// reads already.
func TestEventsBeforeReader(t *testing.T) {
	t.Parallel()
	r := newRouter(t)
	d := r.mustApply(r.config(testPolicy{}))
	r.hear(d, flow.KindNew, 0)
	before := stat(t, d, "flow_new")
	src, dst := at(families[0].lanless, 6601), at(families[0].wanless, 80)
	r.tap(t, "l").send(ipPacket(src.Addr(), dst.Addr(), unix.IPPROTO_UDP, 64, udpDatagram(src, dst, nil)))
	for end := time.Now().Add(patience); stat(t, d, "flow_new") == before && time.Now().Before(end); {
		time.Sleep(2 * time.Millisecond)
	}
	r.watch(t, d).expect(6601, "new")
}

// TestRefusedEvent: the flow of a first packet that a chain behind the NAT drops
// has begun, and ends with it.
func TestRefusedEvent(t *testing.T) {
	t.Parallel()
	r := newRouter(t)
	d := r.mustApply(r.config(testPolicy{masquerade: true, rejectAt: "postrouting_late"}))
	w := r.watch(t, d)
	r.hear(d, flow.KindAll, 0)
	src, dst := at(families[0].lanless, 6501), at(families[0].wanless, 80)
	r.tap(t, "l").send(ipPacket(src.Addr(), dst.Addr(), unix.IPPROTO_UDP, 64, udpDatagram(src, dst, nil)))
	w.expect(6501, "new", "destroy refused")
	if list := flows(t, d, flow.Filter{Port: 6501}); len(list) != 0 {
		t.Errorf("left: %v", list)
	}
}
