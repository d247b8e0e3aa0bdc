// SPDX-License-Identifier: GPL-2.0-only

package loader

import (
	"testing"
	"time"

	"github.com/randomizedcoder/l2d/pkg/flow"
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
