// SPDX-License-Identifier: GPL-2.0-only

package loader

import (
	"fmt"
	"testing"
	"time"

	"github.com/randomizedcoder/l2d/internal/mapdiff"
	"github.com/randomizedcoder/l2d/pkg/flow"
)

// TestFlap: flows outlive links that go down and come up again, without a process
// of l2d: those of the router itself, by hand, and the other ends', as a cable
// that is pulled.
func TestFlap(t *testing.T) {
	inModes(t, testPolicy{masquerade: true}, func(t *testing.T, r *router, d *Dataplane, m mode) {
		// A kernel's routes and, without this, its IPv6 addresses go with the link.
		for _, ns := range []string{"l", "r", "w"} {
			r.in(ns, func() error {
				return sysctls("ipv6/conf/all/keep_addr_on_down=1", "ipv6/conf/default/keep_addr_on_down=1")
			})
		}
		conns := append(r.streams(t, families[0], 9300, 3), r.streams(t, families[1], 9300, 3)...)
		begun := stat(t, d, "flow_new")
		programs := r.attached(t)
		forwarded := func() uint64 { return stat(t, d, "xdp_forwarded") }
		for _, c := range []struct{ ns, dev string }{{"r", "lan0"}, {"r", "wan0"}, {"l", "eth0"}, {"w", "eth0"}} {
			t.Run(c.ns+" "+c.dev, func(t *testing.T) {
				r.batch(c.ns, "link set "+c.dev+" down")
				time.Sleep(300 * time.Millisecond) // as long as XDP remembers a way, and more
				r.batch(c.ns, "link set "+c.dev+" up")
				if c.ns == "l" {
					r.batch("l", "route add default via "+families[0].rlan.String(), "route add default via "+families[1].rlan.String())
				}
				before := forwarded()
				talkAll(t, conns)
				eventually(t, patience, "the mode's way", func() bool {
					talkAll(t, conns)
					return (forwarded() > before) == (m.xdp != XDPOff)
				})
			})
		}
		if n := stat(t, d, "flow_new") - begun; n != 0 {
			t.Errorf("%d flows begun anew", n)
		}
		if diff := mapdiff.Of(programs, r.attached(t)); len(diff) > 0 {
			t.Errorf("programs: %v", diff)
		}
	})
}

// TestSettingsChange: flows outlive all settings that can change under them, and
// go on with the ports that they have, also where new ones would get no such port,
// or none.
func TestSettingsChange(t *testing.T) {
	inModes(t, testPolicy{masquerade: true}, func(t *testing.T, r *router, d *Dataplane, m mode) {
		const n = 5
		cfg := r.config(testPolicy{masquerade: true})
		for i := range cfg.Interfaces {
			cfg.Interfaces[i].XDP = m.xdp
		}
		cfg.TCP.Loose = false // a connection whose flow is lost ends
		r.in("r", func() error { return d.Replace(cfg) })
		conns := r.streams(t, families[0], 9310, n)
		begun := stat(t, d, "flow_new")
		for name, change := range map[string]func(*Config){
			"flows of a source":  func(c *Config) { c.MaxFlowsPerSource = 2 },
			"tables":             func(c *Config) { c.MaxFlows, c.MaxHalfOpen = 2000, 900 },
			"timeouts":           func(c *Config) { c.Timeouts.TCPEstablished = time.Hour },
			"mapping":            func(c *Config) { c.NAT.Mapping = flow.EndpointDependent },
			"filtering":          func(c *Config) { c.NAT.Filtering = flow.EndpointIndependent },
			"ports":              func(c *Config) { c.NAT.PortRange = [2]uint16{1024, 1100} },
			"windows":            func(c *Config) { c.TCP.BeLiberal = true },
			"XDP of the LAN":     func(c *Config) { c.Interfaces[0].XDP = XDPOff },
			"another ruleset":    func(c *Config) { c.Policy = testPolicy{masquerade: true, id: 7} },
			"reevaluated by one": func(c *Config) { c.Policy, c.Reevaluate = testPolicy{masquerade: true, id: 8}, true },
		} {
			t.Run(name, func(t *testing.T) {
				changed := cfg
				changed.Interfaces = append([]Interface(nil), cfg.Interfaces...)
				change(&changed)
				for _, c := range []Config{changed, cfg} {
					r.in("r", func() error { return d.Replace(c) })
					talkAll(t, conns)
				}
				list := flows(t, d, flow.Filter{Protocol: "tcp"})
				if len(list) != n {
					t.Errorf("%d flows, not %d", len(list), n)
				}
				for _, f := range list {
					if f.Reply.Dst.Port() != f.Original.Src.Port() {
						t.Errorf("another port: %v", &f)
					}
				}
			})
		}
		if n := stat(t, d, "flow_new") - begun; n != 0 {
			t.Errorf("%d flows begun anew", n)
		}
		// The limit holds for what begins, and no longer than it is set.
		limited := cfg
		limited.MaxFlowsPerSource = 2
		r.in("r", func() error { return d.Replace(limited) })
		refused := stat(t, d, "drop_source_limit")
		c := r.udp(t, "l", at(families[0].lan, 5700))
		send := func() {
			for port := range uint16(4) {
				if _, err := c.WriteToUDPAddrPort([]byte("x"), at(families[0].wanless, 6000+port)); err != nil {
					t.Fatal(fmt.Errorf("port %d: %w", port, err))
				}
			}
		}
		send()
		eventually(t, patience, "the limit", func() bool { return stat(t, d, "drop_source_limit") > refused })
		r.in("r", func() error { return d.Replace(cfg) })
		refused = stat(t, d, "drop_source_limit")
		send()
		eventually(t, patience, "all flows", func() bool { return len(flows(t, d, flow.Filter{Protocol: "udp", Port: 5700})) == 4 })
		if stat(t, d, "drop_source_limit") != refused {
			t.Error("there is a limit still")
		}
		talkAll(t, conns)
	})
}
