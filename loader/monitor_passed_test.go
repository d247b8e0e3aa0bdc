// SPDX-License-Identifier: GPL-2.0-only

package loader

import (
	"bytes"
	"encoding/binary"
	"errors"
	"flag"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/cilium/ebpf/ringbuf"
	"golang.org/x/sys/unix"
)

var mustTrace = flag.Bool("loader.trace", false, "fail if the kernel forbids programs that trace others")

// watchedUDP is what a test reads of a datagram: sizes tell them apart.
type watchedUDP struct {
	src, dst netip.AddrPort
	size     int
}

// udpOf reads a frame; ok if it is UDP.
func udpOf(frame []byte) (u watchedUDP, ok bool) {
	if len(frame) < 14+28 {
		return u, false
	}
	ip := frame[14:]
	at, proto := 20, ip[9]
	src, dst := ip[12:16], ip[16:20]
	if ip[0]>>4 == 6 {
		if len(ip) < 48 {
			return u, false
		}
		at, proto, src, dst = 40, ip[6], ip[8:24], ip[24:40]
	}
	if proto != unix.IPPROTO_UDP {
		return u, false
	}
	end := func(a, port []byte) netip.AddrPort {
		addr, _ := netip.AddrFromSlice(a)
		return netip.AddrPortFrom(addr, binary.BigEndian.Uint16(port))
	}
	u.src, u.dst = end(src, ip[at:]), end(dst, ip[at+2:])
	u.size = int(binary.BigEndian.Uint16(ip[at+4:])) - 8
	return u, true
}

// TestMonitorPassed: each packet that is forwarded is told once, by XDP and by TC, as it
// came and as it was rewritten; and so is what the router receives and sends.
func TestMonitorPassed(t *testing.T) {
	inModes(t, testPolicy{masquerade: true}, func(t *testing.T, r *router, d *Dataplane, m mode) {
		inFamilies(t, func(t *testing.T, f family) {
			var mon *Monitor
			err := r.do("r", func() (err error) {
				mon, err = d.Monitor(MonitorOptions{PerSecond: 100000, Passed: true})
				return err
			})
			if errors.Is(err, unix.EPERM) && !*mustTrace {
				t.Skip(err)
			}
			if err != nil {
				t.Fatal(err)
			}
			events := make(chan MonitorEvent, 4096)
			go func() {
				defer close(events)
				for {
					e, err := mon.Read()
					if err != nil {
						if !errors.Is(err, ringbuf.ErrClosed) {
							t.Error(err)
						}
						return
					}
					events <- e
				}
			}()
			r.echoUDP(t, "w", at(f.wan, 8101))
			r.echoUDP(t, "r", at(f.rlan, 8102))
			c := r.udp(t, "l", at(f.lan, 0))
			const exchanges = 20
			for i := range exchanges {
				for _, to := range []netip.AddrPort{at(f.wan, 8101), at(f.rlan, 8102)} {
					if err := exchangeUDP(c, to, make([]byte, 100+i)); err != nil {
						t.Fatal(err)
					}
				}
			}
			// A flow takes the way through XDP when it is confirmed.
			if n := stat(t, d, "xdp_forwarded"); (m.xdp != XDPOff) != (n > 0) {
				t.Errorf("%d packets forwarded by XDP", n)
			}
			end := time.AfterFunc(30*time.Second, func() { mon.Close() })
			told := 0
			lan, wan := uint32(r.index("lan0")), uint32(r.index("wan0"))
			seen := map[string]map[int]int{"to": {}, "back": {}, "in": {}, "out": {}}
			for e := range events {
				before, ok := udpOf(e.Data[:e.DataLen])
				if !ok || !slices.ContainsFunc([]uint16{8101, 8102}, func(p uint16) bool { return p == before.src.Port() || p == before.dst.Port() }) {
					continue
				}
				if e.Passed == nil {
					t.Errorf("a drop: %+v", before)
					continue
				}
				after, _ := udpOf(e.Passed.Data[:e.Passed.DataLen])
				way, as := "", watchedUDP{}
				switch {
				case e.Fate == FateForwarded && e.Index == lan && e.Passed.Out == wan:
					way, as = "to", watchedUDP{at(f.rwan, after.src.Port()), before.dst, before.size}
				case e.Fate == FateForwarded && e.Index == wan && e.Passed.Out == lan:
					way, as = "back", watchedUDP{before.src, c.LocalAddr().(interface{ AddrPort() netip.AddrPort }).AddrPort(), before.size}
				case e.Fate == FateAccepted && e.Index == lan && e.Egress == 0:
					way, as = "in", before
				case e.Fate == FateSent && e.Index == lan && e.Egress == 1:
					way, as = "out", before
				default:
					t.Errorf("fate %d of %+v at %d, egress %d, by %d", e.Fate, before, e.Index, e.Egress, e.Passed.Out)
					continue
				}
				if as.dst.Addr().Unmap() != after.dst.Addr() || as.src != after.src || as.size != after.size {
					t.Errorf("%s: %+v becomes %+v, not %+v", way, before, after, as)
				}
				if way == "in" && !bytes.Equal(e.Data[:e.DataLen], e.Passed.Data[:e.Passed.DataLen]) {
					t.Errorf("%+v: rewritten", before)
				}
				seen[way][before.size]++
				if told++; told == 4*exchanges {
					end.Reset(500 * time.Millisecond) // for what is told twice
				}
			}
			for way, sizes := range seen {
				for i := range exchanges {
					if n := sizes[100+i]; n != 1 {
						t.Errorf("%s: a datagram of %d bytes was told %d times", way, 100+i, n)
					}
				}
			}
		})
	})
}
