// SPDX-License-Identifier: GPL-2.0-only

package loader

import (
	"context"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/randomizedcoder/l2d/pkg/flow"
)

// TestAccounting: where CPUs handle packets of one direction at the same time, its
// counters have all of them.
func TestAccounting(t *testing.T) {
	if runtime.NumCPU() < 2 {
		t.Skip("needs two processors")
	}
	const perCPU = 20000
	inModes(t, testPolicy{masquerade: true}, func(t *testing.T, r *router, d *Dataplane, m mode) {
		cfg := r.config(testPolicy{masquerade: true})
		cfg.Accounting = true
		for i := range cfg.Interfaces {
			cfg.Interfaces[i].XDP = m.xdp
		}
		r.in("r", func() error { return d.Replace(cfg) })
		inFamilies(t, func(t *testing.T, f family) {
			server := at(f.wan, 8850)
			r.echoUDP(t, "w", server)
			// Two sockets with the same address.
			var sockets [2]*net.UDPConn
			for i := range sockets {
				r.in("l", func() error {
					c := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
						var err error
						return firstError(raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1) }), &err)
					}}
					s, err := c.ListenPacket(context.Background(), "udp", at(f.lan, 8851).String())
					if err == nil {
						sockets[i] = s.(*net.UDPConn)
						t.Cleanup(func() { s.Close() })
					}
					return err
				})
			}
			forwarded := func() uint64 { return stat(t, d, "xdp_forwarded") + stat(t, d, "tc_forwarded") }
			counted := func() (n uint64) {
				for _, fl := range flows(t, d, flow.Filter{Port: 8851, Prefix: netip.PrefixFrom(f.lan, f.lan.BitLen())}) {
					n += fl.Original.Packets + fl.Reply.Packets
				}
				return n
			}
			// The first packet, and its answer.
			if _, err := sockets[0].WriteToUDPAddrPort([]byte("first"), server); err != nil {
				t.Fatal(err)
			}
			eventually(t, patience, "the flow is there", func() bool { return counted() == 2 })
			before := forwarded()
			var wg sync.WaitGroup
			for cpu, s := range sockets {
				wg.Go(func() {
					runtime.LockOSThread() // and not unlocked: it ends with its goroutine
					var set unix.CPUSet
					set.Set(cpu)
					_ = unix.SchedSetaffinity(0, &set) // at best: where it may not, they run where they do
					for range perCPU {
						_, _ = s.WriteToUDPAddrPort([]byte("more"), server)
					}
				})
			}
			wg.Wait()
			// What is under way arrives.
			eventually(t, patience, "all packets are counted", func() bool {
				return counted()-2 == forwarded()-before && forwarded()-before > perCPU
			})
		})
	})
}

func firstError(err error, other *error) error {
	if err != nil {
		return err
	}
	return *other
}
