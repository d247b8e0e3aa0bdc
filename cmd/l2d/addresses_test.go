// SPDX-License-Identifier: GPL-2.0-only

package main

import (
	"testing"

	"github.com/randomizedcoder/l2d/pkg/flow"
)

const masqueradeRuleset = `table ip nat {
	chain postrouting {
		type nat hook postrouting priority srcnat;
		oifname "wan0" udp dport 9 masquerade
		oifname "wan0" udp dport 10 snat to 192.0.2.1
	}
}
`

// TestAddressChange: masqueraded flows end at once when their address is taken
// from the interface, or it goes down; new ones have the new address. Those with
// an address that a rule names stay. What happens without a daemon is made good
// when it starts.
func TestAddressChange(t *testing.T) {
	h := newHost(t)
	if out, err := h.command("sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	h.write("firewall.nft", masqueradeRuleset)
	h.write("l2d.yaml", h.config())
	daemon := h.start()
	h.expect("READY=1")
	source := func(port uint16) string {
		t.Helper()
		var list []flow.Flow
		if err := h.client().Flows(t.Context(), flow.Filter{OrigDstPort: port}, func(f flow.Flow) error {
			list = append(list, f)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if len(list) != 1 {
			return ""
		}
		if want := port == 9; list[0].Masqueraded != want {
			t.Errorf("port %d: masqueraded: %v", port, list[0].Masqueraded)
		}
		return list[0].Reply.Dst.Addr().String()
	}
	begin := func(address string) {
		t.Helper()
		h.ip("neigh", "replace", "192.0.2.2", "lladdr", "02:00:00:00:00:02", "dev", "wan0")
		h.sendTo(t, "9")
		h.settles("flow from "+address, func() bool { return source(9) == address })
	}
	ends := func() {
		t.Helper()
		h.settles("the masqueraded flow ends", func() bool { return source(9) == "" })
		if got := source(10); got != "192.0.2.1" {
			t.Errorf("the other flow is from %q", got)
		}
	}
	h.sendTo(t, "10")
	begin("192.0.2.1")

	h.ip("addr", "add", "192.0.2.7/24", "dev", "wan0")
	h.ip("addr", "add", "192.0.2.8/32", "dev", "wan0")
	h.ip("addr", "del", "192.0.2.8/32", "dev", "wan0") // another one
	if got := source(9); got != "192.0.2.1" {
		t.Errorf("from %q", got)
	}
	h.ip("addr", "del", "192.0.2.1/24", "dev", "wan0")
	ends()

	h.ip("addr", "flush", "dev", "wan0")
	h.ip("addr", "add", "192.0.2.7/24", "dev", "wan0")
	begin("192.0.2.7")

	h.ip("link", "set", "wan0", "down") // keeps its addresses
	h.ip("link", "set", "wan0", "up")
	ends()

	begin("192.0.2.7")
	if err := daemon.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = daemon.Wait()
	h.ip("addr", "flush", "dev", "wan0")
	h.ip("addr", "add", "192.0.2.9/24", "dev", "wan0")
	h.start()
	h.expect("READY=1")
	ends()
}
