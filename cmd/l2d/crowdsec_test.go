// SPDX-License-Identifier: GPL-2.0-only

package main

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/randomizedcoder/l2d/pkg/explain"
)

// crowdsec writes what CrowdSec's firewall bouncer does (v0.0.34), message by message, for one family.
type crowdsec struct {
	h       *host
	conn    *nftables.Conn
	table   *nftables.Table
	chains  []*nftables.Chain
	sets    map[string]*nftables.Set // by the origin of decisions
	prefix  string
	keyType nftables.SetDatatype
	source  expr.Payload
}

// crowdsecBatch is how many elements it writes at once.
const crowdsecBatch = 200

func newCrowdsec(h *host, v6 bool) *crowdsec {
	b := &crowdsec{h: h, conn: h.bouncer(), sets: map[string]*nftables.Set{}, prefix: "crowdsec", keyType: nftables.TypeIPAddr,
		source: expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: 12, Len: 4}}
	family := nftables.TableFamilyIPv4
	if v6 {
		b.prefix, b.keyType, family = "crowdsec6", nftables.TypeIP6Addr, nftables.TableFamilyIPv6
		b.source.Offset, b.source.Len = 8, 16
	}
	b.table = b.conn.AddTable(&nftables.Table{Name: b.prefix, Family: family})
	for name, hook := range map[string]nftables.ChainHook{"input": *nftables.ChainHookInput, "forward": *nftables.ChainHookForward} {
		chain := b.conn.AddChain(&nftables.Chain{
			Name: b.prefix + "-chain-" + name, Table: b.table, Type: nftables.ChainTypeFilter, Hooknum: &hook, Priority: nftables.ChainPriorityRef(-10),
		})
		b.counter("processed")
		b.conn.AddRule(&nftables.Rule{Table: b.table, Chain: chain, Exprs: []expr.Any{counterRef("processed")}})
		b.chains = append(b.chains, chain)
	}
	b.flush()
	return b
}

func counterRef(name string) expr.Any {
	return &expr.Objref{Type: int(nftables.ObjTypeCounter), Name: name}
}

// counter makes one that rules can refer to from the next batch on.
func (b *crowdsec) counter(name string) {
	b.h.t.Helper()
	b.conn.AddObject(&nftables.NamedObj{Table: b.table, Name: name, Type: nftables.ObjTypeCounter, Obj: &expr.Counter{}})
	b.flush()
}

func (b *crowdsec) flush() {
	b.h.t.Helper()
	if err := b.conn.Flush(); err != nil {
		b.h.t.Fatal(err)
	}
}

// origin is the set of an origin's decisions; the first one brings the set, and a rule in each chain.
func (b *crowdsec) origin(name string) *nftables.Set {
	b.h.t.Helper()
	if s := b.sets[name]; s != nil {
		return s
	}
	set := &nftables.Set{Name: b.prefix + "-blacklists-" + name, Table: b.table, KeyType: b.keyType, KeyByteOrder: binaryutil.BigEndian, HasTimeout: true}
	b.sets[name] = set
	if err := b.conn.AddSet(set, nil); err != nil {
		b.h.t.Fatal(err)
	}
	for _, chain := range b.chains {
		b.counter(set.Name)
		source := b.source
		b.conn.AddRule(&nftables.Rule{Table: b.table, Chain: chain, UserData: []byte(set.Name), Exprs: []expr.Any{
			&source,
			&expr.Lookup{SourceRegister: 1, SetName: set.Name, SetID: set.ID},
			counterRef(set.Name),
			&expr.Log{Key: 1 << unix.NFTA_LOG_PREFIX, Data: []byte("crowdsec: ")},
			&expr.Verdict{Kind: expr.VerdictDrop},
		}})
	}
	return set
}

func crowdsecElements(timeout time.Duration, list []netip.Addr) (out []nftables.SetElement) {
	for _, a := range list {
		out = append(out, nftables.SetElement{Key: a.AsSlice(), Timeout: timeout})
	}
	return out
}

// ban adds decisions, as many as fit into a batch at once.
func (b *crowdsec) ban(origin string, list []netip.Addr) {
	b.h.t.Helper()
	set := b.origin(origin)
	for len(list) > 0 {
		n := min(len(list), crowdsecBatch)
		if err := b.conn.SetAddElements(set, crowdsecElements(4*time.Hour, list[:n])); err != nil {
			b.h.t.Fatal(err)
		}
		b.flush()
		list = list[n:]
	}
}

// pardon deletes decisions: from all sets, one by one where a set does not have all of a batch.
func (b *crowdsec) pardon(list []netip.Addr) {
	b.h.t.Helper()
	for _, set := range b.sets {
		for at := 0; at < len(list); at += crowdsecBatch {
			b.remove(set, crowdsecElements(0, list[at:min(len(list), at+crowdsecBatch)]))
		}
	}
}

func (b *crowdsec) remove(set *nftables.Set, elements []nftables.SetElement) {
	b.h.t.Helper()
	if err := b.conn.SetDeleteElements(set, elements); err != nil {
		b.h.t.Fatal(err)
	}
	if err := b.conn.Flush(); err == nil || len(elements) == 1 {
		return
	}
	for i := range elements {
		b.remove(set, elements[i:i+1])
	}
}

func (b *crowdsec) banned() (n int) {
	b.h.t.Helper()
	for _, set := range b.sets {
		list, err := b.conn.GetSetElements(set)
		if err != nil {
			b.h.t.Fatal(err)
		}
		n += len(list)
	}
	return n
}

// TestCrowdSec: with tables of its own, the bouncer's decisions of each origin and family are in force for what is for the
// host and for what it forwards, and gone when it ends.
func TestCrowdSec(t *testing.T) {
	h := newLiveHost(t)
	h.ip("addr", "add", "2001:db8::1/64", "dev", "wan0", "nodad")
	h.ip("link", "set", "br0", "up")
	h.ip("addr", "add", "198.51.100.1/24", "dev", "br0")
	h.ip("addr", "add", "2001:db8:1::1/64", "dev", "br0", "nodad")
	h.start()
	h.expect("READY=1")
	// drops wants a source's packets to be dropped by the rule of an origin, or not to be.
	drops := func(source netip.Addr, origin string) {
		t.Helper()
		own, behind, end := "192.0.2.1:9", "198.51.100.9:9", source.String()
		if source.Is6() {
			own, behind, end = "[2001:db8::1]:9", "[2001:db8:1::9]:9", "["+end+"]"
		}
		ends := []string{own}
		if origin == "CAPI" {
			ends = append(ends, behind)
		}
		for _, to := range ends {
			h.settles(fmt.Sprintf("%v to %s: %q", source, to, origin), func() bool {
				e, err := h.client().Explain(t.Context(), explain.Request{Packet: fmt.Sprintf("iif wan0 udp %s:7 > %s", end, to)})
				if err != nil {
					t.Fatal(err)
				}
				by := e.Decided != nil && strings.Contains(e.Decided.Text, "-blacklists-"+origin)
				return by == (origin != "") && (origin != "" || e.Decided == nil || !strings.Contains(e.Decided.Text, "blacklists"))
			})
		}
	}
	for _, c := range []struct {
		v6    bool
		first string
	}{{false, "203.0.113.0"}, {true, "3fff::"}} {
		b := newCrowdsec(h, c.v6)
		var list []netip.Addr
		for a := netip.MustParseAddr(c.first); len(list) < 500; a = a.Next() {
			list = append(list, a)
		}
		outside := netip.MustParseAddr(strings.Replace(c.first, "3", "4", 1)) // 204., or 4fff::
		b.ban("CAPI", list[:450])
		b.ban("lists-firehol_voipbl", list[440:])
		drops(list[0], "CAPI")
		drops(list[449], "CAPI")
		drops(list[499], "lists-firehol_voipbl")
		drops(outside, "")
		if n := b.banned(); n != 510 {
			t.Errorf("the bouncer finds %d of its 510 elements", n)
		}
		b.pardon(append([]netip.Addr{outside}, list[:445]...))
		drops(list[443], "")
		drops(list[446], "CAPI")
		b.conn.DelTable(b.table)
		b.flush()
		drops(list[446], "")
		if out := h.nft("list", "ruleset"); strings.Contains(out, b.prefix) {
			t.Errorf("left:\n%s", out)
		}
	}
}
