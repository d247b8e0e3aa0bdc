// SPDX-License-Identifier: GPL-2.0-only

package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/randomizedcoder/l2d/pkg/api"
)

const followedRuleset = `table inet filter {
	set lan6 {
		type ipv6_addr
		flags interval
		elements = { fd00::/64 }
	}
	set wan4 {
		type ipv4_addr
	}
	set bans {
		type ipv4_addr
		flags timeout
	}
	set fixed {
		type ipv4_addr
		flags constant
	}
	chain input {
		type filter hook input priority 0; policy accept;
		ip6 saddr @lan6 accept
		ip daddr @wan4 accept
		ip saddr @bans drop
		ip saddr @fixed drop
	}
}
`

const followedSets = `  sets:
    - {set: inet filter lan6, interface: br0}
    - {set: inet filter wan4, interface: wan0}
`

// withSets is the host's configuration with more of the dataplane.
func (h *host) withSets(text string) string {
	return strings.Replace(h.config(), "control:", text+"control:", 1)
}

// TestFollowedSets: sets have what interfaces have, from the start on, when their addresses change, and after a
// start without them; nftables has them as well if the sets are mirrored.
func TestFollowedSets(t *testing.T) {
	for _, mirror := range []bool{false, true} {
		t.Run(fmt.Sprintf("mirror %v", mirror), func(t *testing.T) {
			h := newHost(t)
			h.write("firewall.nft", followedRuleset)
			h.write("l2d.yaml", h.withSets(fmt.Sprintf("%s  mirror: %v\n", followedSets, mirror)))
			lan6 := api.SetName{Family: "inet", Table: "filter", Set: "lan6"}
			has := func(name api.SetName, want ...string) {
				t.Helper()
				got := []string(nil)
				h.settles(fmt.Sprintf("%s of %q", name.Set, want), func() bool {
					list, err := h.client().SetList(t.Context(), name)
					if err != nil {
						t.Fatal(err)
					}
					got = got[:0]
					for _, e := range list {
						got = append(got, e.Value)
					}
					return slices.Equal(got, want)
				})
				if !mirror {
					return
				}
				h.settles("the same in nftables", func() bool {
					listing := h.nft("list", "set", name.Family, name.Table, name.Set)
					n := 0
					for _, e := range want {
						if strings.Contains(listing, e) {
							n++
						}
					}
					return n == len(want) && strings.Count(listing, ",") == len(want)-1
				})
			}
			daemon := h.start()
			h.expect("READY=1")
			h.ip("link", "set", "br0", "up")
			has(lan6, "fd00::/64")
			has(api.SetName{Family: "inet", Table: "filter", Set: "wan4"}, "192.0.2.1")

			h.ip("addr", "add", "2001:db8:1::1/64", "dev", "br0", "nodad")
			has(lan6, "2001:db8:1::/64", "fd00::/64")
			h.ip("addr", "add", "2001:db8:2::1/64", "dev", "br0", "nodad")
			h.ip("addr", "add", "2001:db8:2::2/128", "dev", "br0", "nodad") // of the same network
			h.ip("addr", "add", "fd00::1/64", "dev", "br0", "nodad")
			h.ip("addr", "del", "2001:db8:1::1/64", "dev", "br0")
			has(lan6, "2001:db8:2::/64", "fd00::/64")

			h.write("firewall.nft", followedRuleset+"table inet other { }\n")
			if _, err := h.client().Reload(t.Context()); err != nil {
				t.Fatal(err)
			}
			has(lan6, "2001:db8:2::/64", "fd00::/64")
			if s := h.status(); len(s.Followed) != 2 || s.Followed[0] != (api.FollowedSet{Set: "inet filter lan6", Interface: "br0", Elements: 2}) {
				t.Errorf("status %+v", s.Followed)
			}
			if err := h.client().SetAdd(t.Context(), lan6, "fd01::/64", 0); err == nil || !strings.Contains(err.Error(), "follows br0") {
				t.Errorf("an element of somebody's: %v", err)
			}
			if err := h.client().SetDelete(t.Context(), lan6, "fd00::/64"); err == nil || !strings.Contains(err.Error(), "follows br0") {
				t.Errorf("an element that somebody takes out: %v", err)
			}

			if err := daemon.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = daemon.Wait()
			h.ip("addr", "del", "2001:db8:2::1/64", "dev", "br0")
			h.ip("addr", "del", "2001:db8:2::2/128", "dev", "br0")
			h.start()
			h.expect("READY=1")
			has(lan6, "fd00::/64")
		})
	}
}

// TestFollowedSetsRefused: a set that cannot follow is named, with its line.
func TestFollowedSetsRefused(t *testing.T) {
	h := newHost(t)
	h.write("firewall.nft", followedRuleset)
	for _, c := range []struct{ sets, want string }{
		{"[{set: inet filter none, interface: br0}]", "l2d.yaml:5:16: dataplane.sets: \"inet filter none\": no set inet filter none"},
		{"[{set: inet filter fixed, interface: br0}]", "is constant: change it in the ruleset and reload: want a set of the ruleset without the flag \"constant\""},
		{"[{set: inet filter bans, interface: br0}]", "is a set whose elements expire"},
	} {
		h.write("l2d.yaml", h.withSets("  sets: "+c.sets+"\n"))
		refused := h.start()
		if code := refused.wait(t); code != exitInput || !strings.Contains(refused.stderr.String(), c.want) {
			t.Errorf("%s: exit code %d: %s", c.sets, code, refused.stderr.String())
		}
	}
}
