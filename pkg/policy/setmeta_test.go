// SPDX-License-Identifier: GPL-2.0-only

package policy

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/randomizedcoder/l2d/pkg/nft"
)

// Rules read what rules before them have set.
func TestSet(t *testing.T) {
	marked := natReply
	flow := *natFlow
	flow.mark, flow.labels, flow.zone = 0x1234, [2]uint64{1 << 3, 1 << 60}, 7
	marked.flow, marked.mark = &flow, 0x50
	for _, tt := range []struct {
		rules  string
		packet packet
		accept bool
	}{
		{"meta mark set 7\nmeta mark 7 accept", lanSSH, true},
		{"meta mark set 7\nmeta mark != 7 accept", lanSSH, false},
		{"meta mark set 7 meta mark 7 accept", lanSSH, true},
		{"meta mark set 0xfffffffe meta mark 0xfffffffe accept", lanSSH, true},
		{"meta mark set meta mark or 0x101\nmeta mark 0x151 accept", marked, true},
		{"meta mark set meta mark xor 0xf0\nmeta mark 0xa0 accept", marked, true},
		{"meta mark set meta mark and 0x10 xor 0x1\nmeta mark 0x11 accept", marked, true},
		{"tcp dport 1 meta mark set 7\nmeta mark 7 accept", lanSSH, false},
		{"meta priority set 1:10\nmeta priority 1:10 accept", lanSSH, true},
		{"meta priority 0:0 accept", lanSSH, true},
		{"meta nftrace set 1 accept", lanSSH, true},

		{"ct mark 0x1234 accept", marked, true},
		{"ct mark and 0xff == 0x34 accept", marked, true},
		{"ct mark 0 accept", natReply, true},
		{"ct mark 0 accept", lanSSH, false}, // no flow
		{"ct mark set 9\nct mark 9 accept", marked, true},
		{"ct mark set 9 accept", lanSSH, true}, // goes on without a flow
		{"ct mark set 9\nct mark 9 accept", lanSSH, false},
		{"ct mark set meta mark\nct mark 0x50 accept", marked, true},
		{"meta mark set ct mark\nmeta mark 0x1234 accept", marked, true},
		{"ct mark set ct mark or 0x8001\nct mark 0x9235 accept", marked, true},
		{"ct mark set ct mark and 0xff00 xor 0x1\nct mark 0x1201 accept", marked, true},
		{"ct event set new accept", marked, true},

		{"ct label 3 accept", marked, true},
		{"ct label 124 accept", marked, true},
		{"ct label 4 accept", marked, false},
		{"ct label set 100\nct label 100 ct label 3 ct label 124 accept", marked, true},
		{"ct label set 100\nct label 101 accept", marked, false},

		{"ct zone 7 accept", marked, true},
		{"ct zone 0 accept", marked, false},
	} {
		t.Run(tt.rules, func(t *testing.T) {
			p := compile(t, inInput(tt.rules))
			if r := newHarness(t, p).run("policy_input", &tt.packet); r.accept != tt.accept {
				t.Errorf("accepted %v", r.accept)
			}
			p.Lint()
		})
	}
}

func inRaw(rules string) string {
	return "table inet t { chain c { type filter hook prerouting priority -300; policy drop;\n" + rules + "\n}\n}\n"
}

// What a packet is before connection tracking can be chosen once.
func TestUntrackedAndZones(t *testing.T) {
	early := lanSSH
	early.ct = ctInvalid
	for _, tt := range []struct {
		rules  string
		accept bool
		state  uint32
		zone   uint16
		dirs   byte
	}{
		{"accept", true, ctInvalid, 0, 0},
		{"notrack\nct state untracked accept", true, ctUntracked, 0, 0},
		{"notrack accept", true, ctUntracked, 0, 0},
		{"ct zone set 7 accept", true, ctNew, 7, 3},
		{"ct original zone set 7 accept", true, ctNew, 7, 1},
		{"ct reply zone set 300 accept", true, ctNew, 300, 2},
		{"ct zone set 7\nct state new accept", true, ctNew, 7, 3},
		{"ct zone set 7\nct zone 7 accept", false, ctNew, 7, 3},
		{"ct zone set 7\nct zone set 8 accept", true, ctNew, 7, 3},
		{"ct zone set 7\nnotrack accept", true, ctNew, 7, 3},
		{"notrack\nct zone set 7 accept", true, ctNew, 7, 3},
	} {
		t.Run(tt.rules, func(t *testing.T) {
			h := newHarness(t, compile(t, inRaw(tt.rules)))
			r := h.run("policy_prerouting_raw", &early)
			if got := [3]uint32{r.state, uint32(r.zone), uint32(r.dirs)}; r.accept != tt.accept || got != [3]uint32{tt.state, uint32(tt.zone), uint32(tt.dirs)} {
				t.Errorf("accepted %v, state, zone and directions %v", r.accept, got)
			}
		})
	}
}

// What XDP cannot do leaves all packets to TC, and only that.
func TestSetAtXDP(t *testing.T) {
	in := func(hook string, priority int, rules string) string {
		return fmt.Sprintf("table inet t { chain c { type filter hook %s priority %d; policy accept;\n%s\n}\n}\n", hook, priority, rules)
	}
	for _, tt := range []struct{ text, why string }{
		{in("prerouting", -150, "ct mark set 1"), ""},
		{in("forward", 0, "meta mark set 1"), ""},
		{in("input", 0, "meta mark set 1"), ""},
		{in("prerouting", -150, "meta mark set 1"), "the routing table"},
		{in("prerouting", -300, "meta mark set 1"), "the routing table"},
		{in("prerouting", -300, "notrack"), "looks for the flow"},
		{in("output", -300, "notrack"), ""},
		{in("prerouting", -300, "ct zone set 1"), "looks for the flow"},
	} {
		rs := readRuleset(t, tt.text)
		p, err := Compile(rs, Options{Links: testLinks})
		if err != nil {
			t.Fatal(err)
		}
		got := strings.Join(p.TCOnlyTexts(), "; ")
		if tt.why == "" && got != "" || !strings.Contains(got, tt.why) {
			t.Errorf("%s: %q, want %q", tt.text, got, tt.why)
		}
	}
}

func TestSetRefused(t *testing.T) {
	for rules, want := range map[string]string{
		inRaw("meta pkttype set broadcast"): "setting another pkttype than host",
		inInput("ct zone set 7"):            "setting ct zone behind connection tracking",
	} {
		_, err := Compile(readRuleset(t, rules), Options{Links: testLinks})
		var u *Unsupported
		if !errors.As(err, &u) || u.Why != want {
			t.Errorf("%s: %v, want %q", rules, err, want)
		}
	}
	if _, err := Compile(readRuleset(t, inRaw("meta pkttype set host")), Options{Links: testLinks}); err != nil {
		t.Error(err)
	}
}

// A copy that gets a zone at output is tracked by the kernel: what may be copied is
// refused one, and nothing else.
func TestZoneOfCopiesRefused(t *testing.T) {
	const dup6 = "table ip6 d { chain c { type filter hook forward priority 0; dup to 2001:db8::9\n}\n}\n"
	zone := func(family, kind, hook string) string {
		return "table " + family + " z { chain c { type " + kind + " hook " + hook + " priority -300; meta l4proto udp ct reply zone set 2\n}\n}\n"
	}
	for _, tt := range []struct {
		text    string
		refused bool
	}{
		{dup6 + zone("ip6", "filter", "output"), true},
		{dup6 + zone("inet", "route", "output"), true},
		{zone("inet", "filter", "output") + dup6, true},
		{dup6 + zone("ip", "filter", "output"), false},
		{dup6 + zone("ip6", "filter", "prerouting"), false},
		{zone("ip6", "filter", "output"), false},
	} {
		_, err := Compile(readRuleset(t, tt.text), Options{Links: testLinks})
		var u *Unsupported
		if got := errors.As(err, &u); got != tt.refused || err != nil && !got {
			t.Errorf("%s: error %v", tt.text, err)
		}
		if tt.refused && (u == nil || !strings.Contains(u.Why, `"dup to 2001:db8::9" makes`) || !strings.Contains(u.Text, "zone set 2")) {
			t.Errorf("%s: %v does not name both rules", tt.text, err)
		}
	}
}

// What has no effect is said; what would have one in the kernel is refused.
// Flow tables are a module that a kernel may lack.
func TestFlowAdd(t *testing.T) {
	offload := func(rs *nft.Ruleset, behind ...nft.Expr) {
		r := rs.Rules()[0]
		r.Exprs = append(append(r.Exprs, &nft.ExprFlowOffload{Table: "ft"}), behind...)
	}
	rs := readRuleset(t, inInput("tcp dport 22\naccept"))
	offload(rs, new(nft.ExprCounter))
	p, err := Compile(rs, Options{Links: testLinks})
	if err != nil || len(p.Notes) != 1 || !strings.Contains(p.Notes[0], "flow add is not needed") {
		t.Fatalf("error %v, notes %q", err, p.Notes)
	}
	if !newHarness(t, p).run("policy_input", &lanSSH).accept {
		t.Error("not accepted")
	}
	for _, rule := range []string{"meta nftrace set 1", "ct event set new"} {
		if p := compile(t, inInput(rule)); len(p.Notes) != 1 || !strings.Contains(p.Notes[0], rule) {
			t.Errorf("%s: notes %q", rule, p.Notes)
		}
	}
	rs = readRuleset(t, inInput("tcp dport 22\naccept"))
	offload(rs, rs.Rules()[1].Exprs...)
	var u *Unsupported
	if _, err := Compile(rs, Options{Links: testLinks}); !errors.As(err, &u) || u.Why != "statements behind flow add" {
		t.Errorf("error %v", err)
	}
}

// When a packet came last is for a listing: the rule goes on.
func TestLast(t *testing.T) {
	rs := readRuleset(t, inInput("tcp dport 22 accept"))
	r := rs.Rules()[0]
	r.Exprs = slices.Insert(r.Exprs, len(r.Exprs)-1, nft.Expr(new(nft.ExprLast)))
	p, err := Compile(rs, Options{Links: testLinks})
	if err != nil || len(p.Notes) != 1 || !strings.Contains(p.Notes[0], "came last") {
		t.Fatalf("error %v", err)
	}
	if !newHarness(t, p).run("policy_input", &lanSSH).accept {
		t.Error("not accepted")
	}
}

// No flow has a helper, so that a rule that asks for one matches nothing, also
// where it asks for another one.
func TestHelper(t *testing.T) {
	if p := compile(t, inInput(`ct helper "ftp"`)); len(p.Notes) != 1 || !strings.Contains(p.Notes[0], "no flow has a helper") {
		t.Errorf("notes %q", p.Notes)
	}
	expect(t, "input", lanSSH, map[string]bool{`ct helper "ftp"`: false, `ct helper != "ftp"`: false, `ct helper { "ftp", "sip" }`: false})
}
