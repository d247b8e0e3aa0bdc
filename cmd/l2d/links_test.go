// SPDX-License-Identifier: GPL-2.0-only

package main

import (
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/randomizedcoder/l2d/loader"
)

func (h *host) ip(args ...string) {
	h.t.Helper()
	if out, err := h.command("ip", args...).CombinedOutput(); err != nil {
		h.t.Fatalf("ip %v: %v: %s", args, err, out)
	}
}

// TestQueueManagerLater: XDP is told of a queue manager at the root of an interface, which it must not send past, whenever
// that comes or goes.
func TestQueueManagerLater(t *testing.T) {
	h := newHost(t)
	h.start()
	h.expect("READY=1")
	spared := func(want bool) {
		t.Helper()
		h.settles("spared: "+strconv.FormatBool(want), func() bool {
			return slices.ContainsFunc(h.status().Dataplane.Interfaces, func(i loader.InterfaceStatus) bool {
				return i.Name == "wan0" && i.AQM == want
			})
		})
	}
	spared(false)
	tc := func(args ...string) {
		t.Helper()
		if out, err := h.command("tc", args...).CombinedOutput(); err != nil {
			t.Fatalf("tc %v: %v: %s", args, err, out)
		}
	}
	tc("qdisc", "add", "dev", "wan0", "root", "handle", "1:", "htb")
	spared(true)
	tc("qdisc", "del", "dev", "wan0", "root")
	spared(false)
}

const namesRuleset = `table inet filter {
	set names {
		type ifname
		elements = { "out7" }
	}
	chain output {
		type filter hook output priority 0; policy accept;
		oifname "wan0" udp dport 7001 drop
		oifname "out*" udp dport 7002 drop
		oifname @names udp dport 7003 drop
		udp dport 7777 drop
	}
}
`

// Interfaces are renamed while programs are on them.
func TestRenamedInterfaces(t *testing.T) {
	for _, source := range []string{"file", "kernel"} {
		t.Run(source, func(t *testing.T) {
			h := newHost(t)
			config := strings.Replace(h.config(), "{name: late0, optional: true}", "{name: late0, optional: true}, {name: out5, optional: true}", 1)
			if source == "kernel" {
				config = strings.Replace(config, "firewall.nft", "kernel", 1)
				h.nftFile(namesRuleset)
			}
			h.write("firewall.nft", namesRuleset)
			h.write("l2d.yaml", config)
			p := h.newProbe()
			daemon := h.start()
			h.expect("READY=1")
			arrived := h.flood()
			if p.arrives(7001) || !p.arrives(7002) || !p.arrives(7003) {
				t.Fatal("rules do not mean wan0")
			}

			// To a name of the configuration, and of a wildcard.
			h.ip("link", "set", "wan0", "name", "out5")
			h.becomes(p, 7002, false)
			h.becomes(p, 7001, true)
			if got := h.attached(); !slices.Contains(got, "out5") {
				t.Errorf("attached to %v", got)
			}
			// To one that the configuration does not know, but a set.
			h.ip("link", "set", "out5", "name", "out7")
			h.becomes(p, 7003, false)
			if p.arrives(7002) {
				t.Error("the wildcard does not mean out7")
			}
			h.settles("waiting", func() bool {
				return slices.Contains(h.status().Waiting, "wan0") && strings.Contains(daemon.stderr.String(), "interface=out7")
			})
			// Another takes the old name.
			h.ip("link", "add", "wan0", "type", "bridge")
			h.settles("attached to both", func() bool {
				got := h.attached()
				return slices.Contains(got, "out7") && slices.Contains(got, "wan0")
			})
			if p.arrives(7003) {
				t.Error("the rules do not mean out7")
			}
			// And they swap them.
			h.ip("link", "set", "wan0", "name", "tmp0")
			h.ip("link", "set", "out7", "name", "wan0")
			h.ip("link", "set", "tmp0", "name", "out5")
			h.becomes(p, 7001, false)
			h.becomes(p, 7003, true)
			h.settles("attached to both", func() bool {
				got := h.attached()
				return slices.Contains(got, "out5") && slices.Contains(got, "wan0")
			})
			if n := arrived(); n != 0 {
				t.Errorf("%d datagrams passed that are always dropped", n)
			}
		})
	}
}

// A name that only rules know, of an interface that l2d is not attached to.
func TestNamesOfOthers(t *testing.T) {
	h := newHost(t)
	h.write("firewall.nft", `table inet filter {
	chain forward {
		type filter hook forward priority 0; policy accept;
		iifname != "dock*" udp dport 7002 drop
	}
}
`)
	h.start()
	h.expect("READY=1")
	before := h.status().Dataplane.Generation
	h.ip("link", "add", "other0", "type", "bridge")
	h.ip("link", "add", "dock0", "type", "bridge")
	h.settles("made for dock0", func() bool { return h.status().Dataplane.Generation != before })
	before = h.status().Dataplane.Generation
	applied := h.status().Applied
	h.ip("link", "add", "other1", "type", "bridge")
	h.ip("link", "del", "dock0")
	h.settles("made without dock0", func() bool { return h.status().Dataplane.Generation != before })
	if !h.status().Applied.After(applied) {
		t.Error("not applied anew")
	}
}
