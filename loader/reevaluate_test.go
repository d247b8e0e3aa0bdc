// SPDX-License-Identifier: GPL-2.0-only

package loader

import (
	"testing"
	"time"

	"github.com/randomizedcoder/l2d/pkg/flow"
	"golang.org/x/sys/unix"
)

// TestReevaluate: a flow that a new policy would not let begin goes on under it,
// or ends, as the configuration says. One that it lets begin goes on, with the
// translation that it has.
func TestReevaluate(t *testing.T) {
	for _, c := range []struct {
		name     string
		wanted   bool
		next     testPolicy
		survives bool
	}{
		{"kept", false, testPolicy{masquerade: true, dropNew: true}, true},
		{"cut", true, testPolicy{masquerade: true, dropNew: true}, false},
		{"let through", true, testPolicy{masquerade: true, id: 1}, true},
		{"the same policy", true, testPolicy{masquerade: true}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			inModes(t, testPolicy{masquerade: true}, func(t *testing.T, r *router, d *Dataplane, m mode) {
				inFamilies(t, func(t *testing.T, f family) {
					replace := func(p testPolicy) {
						t.Helper()
						cfg := r.config(p)
						cfg.Reevaluate = c.wanted
						for i := range cfg.Interfaces {
							cfg.Interfaces[i].XDP = m.xdp
						}
						r.in("r", func() error { return d.Replace(cfg) })
					}
					replace(testPolicy{masquerade: true})
					server := at(f.wan, 8800)
					r.echoUDP(t, "w", server)
					udp := r.udp(t, "l", at(f.lan, 8801))
					tcp := r.streams(t, f, 8802, 1)
					goesOn := func() error {
						for range 3 {
							if err := exchangeUDP(udp, server, []byte("datagram")); err != nil {
								return err
							}
						}
						return nil
					}
					if err := goesOn(); err != nil {
						t.Fatal(err)
					}
					talkAll(t, tcp)
					begun := stat(t, d, "flow_new")
					replace(c.next)
					if c.survives {
						if err := goesOn(); err != nil {
							t.Errorf("the flow does not go on: %v", err)
						}
						talkAll(t, tcp)
						if n := stat(t, d, "flow_new") - begun; n != 0 {
							t.Errorf("%d flows begun anew", n)
						}
						return
					}
					if err := udp.SetDeadline(time.Time{}); err != nil {
						t.Fatal(err)
					}
					if _, err := udp.WriteToUDPAddrPort([]byte("datagram"), server); err != nil {
						t.Fatal(err)
					}
					go tcp[0].talk("not answered")
					eventually(t, patience, "the flows end", func() bool {
						return len(flows(t, d, flow.Filter{Port: 8801}))+len(flows(t, d, flow.Filter{Port: 8802})) == 0
					})
				})
			})
		})
	}
}

// TestReevaluateAnswered: a flow without an answer is judged by a new ruleset also if the answer
// comes before the next packet, and confirms it.
func TestReevaluateAnswered(t *testing.T) {
	inModes(t, testPolicy{masquerade: true}, func(t *testing.T, r *router, d *Dataplane, m mode) {
		inFamilies(t, func(t *testing.T, f family) {
			replace := func(p testPolicy) {
				t.Helper()
				cfg := r.config(p)
				cfg.Reevaluate, cfg.Timeouts.UDPUnreplied = true, time.Hour
				for i := range cfg.Interfaces {
					cfg.Interfaces[i].XDP = m.xdp
				}
				r.in("r", func() error { return d.Replace(cfg) })
			}
			replace(testPolicy{masquerade: true})
			lan, wan := r.tap(t, "l"), r.tap(t, "w")
			src, dst := at(f.lanless, 6510), at(f.wanless, 9320)
			there := ipPacket(src.Addr(), dst.Addr(), unix.IPPROTO_UDP, 64, udpDatagram(src, dst, nil))
			lan.send(there)
			p := wan.receive("first packet", func(p packet) bool { return p.dst == dst })
			replace(testPolicy{masquerade: true, dropNew: true})
			wan.send(ipPacket(dst.Addr(), p.src.Addr(), unix.IPPROTO_UDP, 64, udpDatagram(dst, p.src, nil)))
			lan.receive("answer", func(p packet) bool { return p.dst == src })
			if n := len(flows(t, d, flow.Filter{Port: 6510, Status: flow.StatusConfirmed})); n != 1 {
				t.Fatalf("%d confirmed flows, not 1", n)
			}
			lan.send(there)
			eventually(t, patience, "the flow ends", func() bool { return len(flows(t, d, flow.Filter{Port: 6510})) == 0 })
		})
	})
}

// TestReevaluatedBothWays: a connection that begins while the ruleset changes is left with no mark in the
// direction that nobody takes it away from: XDP would never forward that one.
func TestReevaluatedBothWays(t *testing.T) {
	t.Parallel()
	r := newRouter(t)
	cfg := r.config(testPolicy{masquerade: true})
	cfg.Reevaluate = true
	d := r.mustApply(cfg)
	halfOpen := r.stateMap(t, "l2_half_open")
	c := r.greet(t, at(families[0].lanless, 6520), at(families[0].wanless, 9330))
	const stale = 1 << 4 // FLOW_STALE
	for key, value := range r.flowEntries(t, "l2_half_open", 9330) {
		if value.Flags&flowReply == 0 {
			value.Flags |= stale
			if err := halfOpen.Put(key, value); err != nil {
				t.Fatal(err)
			}
		}
	}
	c.send(t, flagACK)
	eventually(t, patience, "a confirmed connection", func() bool {
		return len(flows(t, d, flow.Filter{Port: 9330, Status: flow.StatusConfirmed})) == 1
	})
	for key, value := range r.flowEntries(t, "l2_flows", 9330) {
		if value.Flags&stale != 0 {
			t.Errorf("%v is marked: flags %#x", key, value.Flags)
		}
	}
}
