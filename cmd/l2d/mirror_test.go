// SPDX-License-Identifier: GPL-2.0-only

package main

import (
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"

	"github.com/randomizedcoder/l2d/pkg/api"
)

// mirroredRuleset drops what the host sends to its sets.
const mirroredRuleset = `table inet filter {
	set bans {
		type ipv4_addr
		flags timeout
	}
	set ranges {
		type inet_service
		flags interval
		elements = { 7101-7199 }
	}
	set pairs {
		type ipv4_addr . inet_service
		flags interval
		elements = { 192.0.2.0/24 . 7601-7650 }
	}
	set fixed {
		type inet_service
		flags constant
		elements = { 7001 }
	}
	map verdicts {
		type inet_service : verdict
		elements = { 7301 : drop }
	}
	map jumps {
		type inet_service : verdict
		elements = { 7401 : jump never }
	}
	chain never {
		drop
	}
	chain output {
		type filter hook output priority 0; policy accept;
		ip daddr @bans drop
		udp dport @ranges drop
		ip daddr . udp dport @pairs drop
		udp dport @fixed drop
		udp dport vmap @verdicts
		udp dport vmap @jumps
	}
}
`

// bouncer writes to nftables with the library that CrowdSec's uses.
func (h *host) bouncer() *nftables.Conn {
	h.t.Helper()
	ns, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", h.holder.Process.Pid))
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { ns.Close() })
	c, err := nftables.New(nftables.WithNetNSFd(int(ns.Fd())))
	if err != nil {
		h.t.Fatal(err)
	}
	return c
}

func TestMirror(t *testing.T) {
	h := newHost(t)
	ctx := t.Context()
	h.write("l2d.yaml", strings.Replace(h.config(), "ruleset: firewall.nft", "ruleset: firewall.nft\n  mirror: true", 1))
	h.write("firewall.nft", mirroredRuleset)
	p := h.newProbe()

	h.nft("add table inet filter")
	refused := h.start()
	if code := refused.wait(t); code != exitInput || !strings.Contains(refused.stderr.String(), "has a table inet filter already, which is not l2d's") {
		t.Errorf("exit code %d: %s", code, refused.stderr.String())
	}
	h.nft("delete table inet filter")

	daemon := h.start()
	h.expect("READY=1")
	listing := h.nft("list", "ruleset")
	for _, want := range []string{"comment \"l2d mirror ", "set bans", "set ranges", "7101-7199", "192.0.2.0/24 . 7601-7650", "map verdicts", "7301 : drop"} {
		if !strings.Contains(listing, want) {
			t.Errorf("no %s in:\n%s", want, listing)
		}
	}
	for _, not := range []string{"chain", "fixed", "jumps", "dormant"} {
		if strings.Contains(listing, not) {
			t.Errorf("%s in:\n%s", not, listing)
		}
	}
	if s := h.status(); s.Sync == nil || !slices.Equal(s.Sync.Tables, []string{"inet filter"}) {
		t.Errorf("status %+v", s)
	}
	bans := api.SetName{Family: "inet", Table: "filter", Set: "bans"}
	values := func() (list []string) {
		t.Helper()
		elements, err := h.client().SetList(ctx, bans)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range elements {
			list = append(list, e.Value)
		}
		return list
	}
	mirrored := func() string { t.Helper(); return h.nft("list", "set", "inet", "filter", "bans") }

	t.Run("a bouncer", func(t *testing.T) {
		c := h.bouncer()
		table := &nftables.Table{Name: "filter", Family: nftables.TableFamilyINet}
		set, err := c.GetSetByName(table, "bans")
		if err != nil {
			t.Fatal(err)
		}
		var ban []nftables.SetElement
		for i := range 1000 {
			ban = append(ban, nftables.SetElement{Key: []byte{10, 0, byte(i >> 8), byte(i)}, Timeout: time.Hour})
		}
		ban = append(ban, nftables.SetElement{Key: net.IPv4(192, 0, 2, 2).To4(), Timeout: time.Hour})
		if err := c.SetAddElements(set, ban); err != nil {
			t.Fatal(err)
		}
		if err := c.Flush(); err != nil {
			t.Fatal(err)
		}
		h.becomes(p, 9000, false)
		if n := len(values()); n != len(ban) {
			t.Errorf("%d elements", n)
		}
		if err := c.SetDeleteElements(set, ban); err != nil {
			t.Fatal(err)
		}
		if err := c.Flush(); err != nil {
			t.Fatal(err)
		}
		h.becomes(p, 9000, true)
		if list := values(); len(list) != 0 {
			t.Errorf("left %v", list)
		}

		// When it ends it empties the set; before that it looks what is there.
		if err := c.SetAddElements(set, ban); err != nil {
			t.Fatal(err)
		}
		if err := c.Flush(); err != nil {
			t.Fatal(err)
		}
		h.becomes(p, 9000, false)
		if list, err := c.GetSetElements(set); err != nil || len(list) != len(ban) {
			t.Errorf("%d elements, %v", len(list), err)
		}
		c.FlushSet(set)
		if err := c.Flush(); err != nil {
			t.Fatal(err)
		}
		h.becomes(p, 9000, true)
		if list := values(); len(list) != 0 {
			t.Errorf("left after the bouncer: %v", list)
		}
	})

	t.Run("ranges and maps", func(t *testing.T) {
		h.nft("delete element inet filter ranges { 7101-7199 }")
		h.becomes(p, 7150, true)
		h.nft("add element inet filter ranges { 7110-7120 }")
		h.becomes(p, 7115, false)
		h.nft("add element inet filter verdicts { 7302 : drop }")
		h.becomes(p, 7302, false)
		if p.arrives(7650) || !p.arrives(7651) {
			t.Error("the file's ranges in a concatenation are others")
		}
		h.nft("add element inet filter pairs { 192.0.2.2-192.0.2.7 . 7700-7710 }")
		h.becomes(p, 7705, false)
		h.nft("delete element inet filter pairs { 192.0.2.0/24 . 7601-7650 }")
		h.becomes(p, 7620, true)
	})

	t.Run("l2ctl set", func(t *testing.T) {
		if err := h.client().SetAdd(ctx, bans, "192.0.2.2", time.Hour); err != nil {
			t.Fatal(err)
		}
		if p.arrives(9000) || !strings.Contains(mirrored(), "192.0.2.2 timeout 1h") {
			t.Errorf("not in both: %s", mirrored())
		}
		if err := h.client().SetDelete(ctx, bans, "192.0.2.2"); err != nil {
			t.Fatal(err)
		}
		if !p.arrives(9000) || strings.Contains(mirrored(), "192.0.2.2") {
			t.Errorf("not out of both: %s", mirrored())
		}
	})

	t.Run("restarted", func(t *testing.T) {
		h.nft("add element inet filter bans { 192.0.2.9 timeout 1h, 192.0.2.8 }")
		h.settles("there", func() bool { return len(values()) == 2 })
		if err := daemon.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = daemon.Wait()
		h.nft("add element inet filter bans { 192.0.2.2 timeout 1h }")
		h.nft("delete element inet filter bans { 192.0.2.9 }")
		daemon = h.start()
		h.expect("READY=1")
		if got := values(); !slices.Equal(got, []string{"192.0.2.2", "192.0.2.8"}) || p.arrives(9000) {
			t.Errorf("set %v", got)
		}
	})

	t.Run("another file", func(t *testing.T) {
		h.write("firewall.nft", strings.Replace(mirroredRuleset, "udp dport @fixed drop", "udp dport 7500 drop", 1))
		if _, err := h.client().Reload(ctx); err != nil {
			t.Fatal(err)
		}
		if got := values(); !slices.Equal(got, []string{"192.0.2.2"}) || !strings.Contains(mirrored(), "192.0.2.2") {
			t.Errorf("set %v, %s", got, mirrored())
		}
		h.nft("delete element inet filter bans { 192.0.2.2 }")
		h.becomes(p, 9000, true)
		if p.arrives(7500) || p.arrives(7150) {
			t.Error("not the new file's")
		}
	})

	t.Run("flush ruleset", func(t *testing.T) {
		h.nft("add element inet filter bans { 192.0.2.2 timeout 1h }")
		h.becomes(p, 9000, false)
		h.nft("flush ruleset")
		h.settles("there again", func() bool { return strings.Contains(h.nft("list", "ruleset"), "192.0.2.2") })
		if p.arrives(9000) || p.arrives(7500) {
			t.Error("not in force")
		}
	})

	t.Run("detached with its elements", func(t *testing.T) {
		if _, err := h.client().Detach(ctx, true); err != nil {
			t.Fatal(err)
		}
		listing := h.nft("list", "ruleset")
		if strings.Contains(listing, "l2d mirror") || !strings.Contains(listing, "192.0.2.2 timeout") || !strings.Contains(listing, "7101-7199") || !strings.Contains(listing, "192.0.2.0/24 . 7601-7650") {
			t.Errorf("the kernel has:\n%s", listing)
		}
		if p.arrives(9000) || p.arrives(7500) {
			t.Error("the kernel does not filter as it should")
		}
		if _, err := h.client().Reload(ctx); err != nil {
			t.Fatal(err)
		}
		if s := h.status(); s.Sync.Error != "" || !strings.Contains(h.nft("list", "ruleset"), "l2d mirror") {
			t.Errorf("%+v", s.Sync)
		}
	})

	t.Run("detached without anything", func(t *testing.T) {
		if _, err := h.client().Detach(ctx, false); err != nil {
			t.Fatal(err)
		}
		if listing := h.nft("list", "ruleset"); listing != "" {
			t.Errorf("the kernel has:\n%s", listing)
		}
	})
}

// A bouncer that makes a table of its own, as CrowdSec's does by default.
func TestLiveBouncer(t *testing.T) {
	h := newLiveHost(t)
	p := h.newProbe()
	h.start()
	h.expect("READY=1")
	c := h.bouncer()
	table := c.AddTable(&nftables.Table{Name: "crowdsec", Family: nftables.TableFamilyIPv4})
	set := &nftables.Set{Name: "crowdsec-blacklists", Table: table, KeyType: nftables.TypeIPAddr, HasTimeout: true}
	if err := c.AddSet(set, nil); err != nil {
		t.Fatal(err)
	}
	chain := c.AddChain(&nftables.Chain{
		Name: "crowdsec-chain-output", Table: table, Type: nftables.ChainTypeFilter,
		Hooknum: nftables.ChainHookOutput, Priority: nftables.ChainPriorityRef(-10),
	})
	c.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: []expr.Any{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: 16, Len: 4},
		&expr.Lookup{SourceRegister: 1, SetName: set.Name, SetID: set.ID},
		&expr.Counter{},
		&expr.Verdict{Kind: expr.VerdictDrop},
	}})
	if err := c.Flush(); err != nil {
		t.Fatal(err)
	}
	h.settles("adopted", func() bool {
		return strings.Contains(h.nft("list", "table", "ip", "crowdsec"), "flags dormant")
	})
	if !p.arrives(9000) {
		t.Fatal("nothing passes")
	}
	recompiled := h.status().Sync.RulesetChanges
	if err := c.SetAddElements(set, []nftables.SetElement{{Key: net.IPv4(192, 0, 2, 2).To4(), Timeout: time.Hour}}); err != nil {
		t.Fatal(err)
	}
	if err := c.Flush(); err != nil {
		t.Fatal(err)
	}
	h.becomes(p, 9000, false)
	if n := h.status().Sync.RulesetChanges; n != recompiled {
		t.Errorf("an element was %d compilations", n-recompiled)
	}
}
