// SPDX-License-Identifier: GPL-2.0-only

package nft

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

var testLinks = []Link{{"lo", 1}, {"br0", 7}, {"wan0", 3}}

func needRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: makes a network namespace")
	}
}

func write(t testing.TB, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func read(t testing.TB, text string) *Ruleset {
	t.Helper()
	needRoot(t)
	rs, err := ReadFile(context.Background(), write(t, t.TempDir(), "test.nft", text), testLinks)
	if err != nil {
		t.Fatal(err)
	}
	return rs
}

const sample = `#!/usr/sbin/nft -f
flush ruleset
define LAN = "br0"
table inet filter {
	set nets { type ipv4_addr; flags interval, timeout; elements = { 10.0.0.0/8, 192.0.2.1-192.0.2.9 timeout 1h }; }
	set pairs { type ipv4_addr . inet_service; flags constant, interval; elements = { 10.0.0.0/8 . 1-9, 192.0.2.1 . 80 }; }
	set names { type ifname; size 10; elements = { "br0" }; }
	chain input {
		type filter hook input priority -5; policy drop;
		# a comment with } and ;
		iif "lo" accept; iifname $LAN \
			tcp dport { 22, 80-90 } counter \
			accept comment "say { hello; # }"
		ip saddr @nets log prefix "x { y" group 3 snaplen 64 limit rate over 5 mbytes/second burst 9 kbytes drop
		jump other
	}
	chain other {
		meta mark and 0xff00 == 0x100 goto third
		return
	}
	chain third {
	}
}
table ip6 nat {
	chain post {
		type nat hook postrouting priority srcnat; policy accept
		oifname "wan0" masquerade
	}
}
table ip sleeping {
	flags dormant
}
`

// TestReadText: a text that is in no file is read as one that is, with a name for what is wrong with it.
func TestReadText(t *testing.T) {
	file := read(t, sample)
	text, err := ReadText(t.Context(), "/nowhere/ruleset.nft", sample, nil)
	if err != nil {
		t.Fatal(err)
	}
	if text.Listing() != file.Listing() {
		t.Errorf("%s\nnot\n%s", text.Listing(), file.Listing())
	}
	for i, r := range text.Rules() {
		if want := file.Rules()[i].Line; r.Line != want {
			t.Errorf("%s: line %d, not %d", r.Text, r.Line, want)
		}
	}
	if empty, err := ReadText(t.Context(), "/nowhere/ruleset.nft", "", nil); err != nil || len(empty.Tables) != 0 {
		t.Errorf("%v, %+v", err, empty)
	}
	_, err = ReadText(t.Context(), "/nowhere/ruleset.nft", "table ip t {\n\tchain c {\n\t\ttcp dport nosuch accept\n\t}\n}\n", nil)
	if err == nil || !strings.HasPrefix(err.Error(), "/nowhere/ruleset.nft:3:13-18: Error: ") {
		t.Errorf("%v", err)
	}
}

func TestReadFile(t *testing.T) {
	rs := read(t, sample)
	var tables []string
	for _, table := range rs.Tables {
		tables = append(tables, fmt.Sprint(table, " ", table.Dormant))
	}
	if want := []string{"inet filter false", "ip6 nat false", "ip sleeping true"}; !reflect.DeepEqual(tables, want) {
		t.Fatalf("tables %q, want %q", tables, want)
	}

	filter := rs.Tables[0]
	input := filter.Chain("input")
	if want := (&Base{Type: "filter", Hook: HookInput, Priority: -5, Policy: VerdictDrop}); !reflect.DeepEqual(input.Base, want) {
		t.Errorf("input %+v, want %+v", input.Base, want)
	}
	if want := (&Base{Type: "nat", Hook: HookPostrouting, Priority: 100, Policy: VerdictAccept}); !reflect.DeepEqual(rs.Tables[1].Chains[0].Base, want) {
		t.Errorf("post %+v, want %+v", rs.Tables[1].Chains[0].Base, want)
	}
	if filter.Chain("other").Base != nil || filter.Chain("nosuch") != nil {
		t.Error("chain other has a base, or there is a chain nosuch")
	}

	var lines []int
	for _, r := range rs.Rules() {
		lines = append(lines, r.Line)
		if r.Text == "" || r.Handle == 0 {
			t.Errorf("rule %+v", r)
		}
	}
	if want := []int{11, 11, 14, 15, 18, 19, 27}; !reflect.DeepEqual(lines, want) {
		t.Errorf("lines %v, want %v", lines, want)
	}
	if got, want := input.Rules[1].Text, `iifname "br0" tcp dport { 22, 80-90 } counter accept comment "say { hello; # }"`; got != want {
		t.Errorf("text %q, want %q", got, want)
	}

	var exprs []any
	for _, e := range input.Rules[2].Exprs {
		exprs = append(exprs, e)
	}
	want := []any{
		&ExprMeta{Key: MetaNfproto, Reg: 1},
		&ExprCmp{Op: CmpEq, Reg: 1, Data: []byte{2}},
		&ExprPayload{Base: PayloadNetwork, Offset: 12, Len: 4, Reg: 1},
		&ExprLookup{Set: "nets", Reg: 1},
		&ExprLog{Prefix: "x { y", Level: 4, Netlink: true, Group: 3, Snaplen: 64},
		&ExprLimit{Rate: 5 << 20, Unit: 1, Burst: 9 << 10, Bytes: true, Over: true},
		&ExprImmediate{Verdict: &Verdict{Code: VerdictDrop}},
	}
	if !reflect.DeepEqual(exprs, want) {
		t.Errorf("expressions %v, want %v", exprs, want)
	}
	jump := input.Rules[3].Exprs[0].(*ExprImmediate)
	if *jump.Verdict != (Verdict{VerdictJump, "other"}) {
		t.Errorf("verdict %+v", jump.Verdict)
	}
}

func TestReadSets(t *testing.T) {
	filter := read(t, sample).Tables[0]
	ranges := func(s *Set) (out []string) {
		for _, r := range s.Ranges() {
			out = append(out, fmt.Sprintf("%x-%x", r.From, r.To))
		}
		return out
	}
	nets := filter.Set("nets")
	if want := []string{"0a000000-0affffff", "c0000201-c0000209"}; !reflect.DeepEqual(ranges(nets), want) {
		t.Errorf("nets %v, want %v", ranges(nets), want)
	}
	if r := nets.Ranges(); r[0].Element.Timeout != 0 || r[1].Element.Timeout != time.Hour || r[1].Element.Expires < 59*time.Minute {
		t.Errorf("nets %+v", r)
	}
	if !nets.Has(SetInterval|SetTimeout) || nets.Has(SetConstant) || nets.KeyType != "ipv4_addr" {
		t.Errorf("nets %+v", nets)
	}
	pairs := filter.Set("pairs")
	if want := []string{"0a00000000010000-0affffff00090000", "c000020100500000-c000020100500000"}; !reflect.DeepEqual(ranges(pairs), want) {
		t.Errorf("pairs %v, want %v", ranges(pairs), want)
	}
	if want := []Field{{"ipv4_addr", 0, 4}, {"inet_service", 4, 2}}; !reflect.DeepEqual(pairs.Fields, want) || pairs.KeyType != "ipv4_addr . inet_service" {
		t.Errorf("pairs %+v", pairs)
	}
	if s := filter.Set("names"); s.Size != 10 || s.Fields[0] != (Field{"ifname", 0, 16}) || string(s.Elements[0].Key[:4]) != "br0\x00" {
		t.Errorf("names %+v", s)
	}
	ports := filter.Set(filter.Chain("input").Rules[1].Exprs[5].(*ExprLookup).Set)
	if want := []string{"0016-0016", "0050-005a"}; !ports.Has(SetAnonymous) || !reflect.DeepEqual(ranges(ports), want) {
		t.Errorf("ports %+v: %v, want %v", ports, ranges(ports), want)
	}
}

// Every expression that is not known is there, with its name.
func TestUnknownExpressions(t *testing.T) {
	rs := read(t, `table inet t {
		chain c {
			type filter hook prerouting priority 0;
			fib daddr type local tcp option maxseg size 100 rt classid 1 socket wildcard 0 numgen random mod 2 0 accept
			quota over 1 mbytes drop
			tcp dport 22 reject with tcp reset
			notrack
			ct state vmap { new : accept }
		}
	}`)
	var names []string
	for _, r := range rs.Rules() {
		for _, e := range r.Exprs {
			if u, ok := e.(*Unknown); ok {
				names = append(names, u.Name)
			}
		}
	}
	if got, want := strings.Join(names, " "), "socket"; got != want {
		t.Errorf("unknown: %s, want %s", got, want)
	}
	rules := rs.Rules()
	routes := slices.DeleteFunc(slices.Clone(rules[0].Exprs), func(e Expr) bool { return e.ExprName() != "fib" && e.ExprName() != "rt" })
	if want := []Expr{&ExprFib{Result: FibType, Flags: FibDaddr, Reg: 1}, &ExprRt{Key: RtClassid, Reg: 1}}; !reflect.DeepEqual(routes, want) {
		t.Errorf("routes: %+v", routes)
	}
	last := rules[len(rules)-1].Exprs
	if l, ok := last[len(last)-1].(*ExprLookup); !ok || !l.Map || l.Dst != RegVerdict {
		t.Errorf("verdict map: %+v", last)
	} else if e := rs.Tables[0].Set(l.Set).Elements; len(e) != 1 || e[0].Verdict == nil || e[0].Verdict.Code != VerdictAccept {
		t.Errorf("verdict map's elements: %+v", e)
	}
}

func TestReadErrors(t *testing.T) {
	needRoot(t)
	dir := t.TempDir()
	bad := write(t, dir, "bad.nft", "table inet t {\n\tchain c {\n\t\ttcp dport 99999 accept\n\t}\n}\n")
	noLink := write(t, dir, "nolink.nft", "table inet t {\n\tchain c {\n\t\tiif \"wan7\" accept\n\t}\n}\n")
	for _, tt := range []struct{ path, want string }{
		{bad, bad + ":3:13-17: Error: "},
		{noLink, noLink + ":3:7-12: Error: "},
		{filepath.Join(dir, "absent.nft"), "ruleset: stat " + filepath.Join(dir, "absent.nft") + ": no such file or directory"},
	} {
		_, err := ReadFile(context.Background(), tt.path, testLinks)
		if err == nil || !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("%s: error %v, want %q", tt.path, err, tt.want)
		}
	}

	good := write(t, dir, "good.nft", "table inet t {\n}\n")
	_, err := ReadFile(context.Background(), good, []Link{{"a-name-that-is-too-long", 9}})
	if err == nil || !strings.Contains(err.Error(), `interface "a-name-that-is-too-long" with index 9`) {
		t.Errorf("bad link: error %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := ReadFile(ctx, good, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: error %v", err)
	}
	t.Setenv("PATH", dir)
	if _, err := ReadFile(context.Background(), good, nil); !errors.Is(err, exec.ErrNotFound) || !strings.Contains(err.Error(), "install nftables") {
		t.Errorf("no nft: error %v", err)
	}
}

// An include is looked up next to the file that includes it, and makes line
// numbers uncertain.
func TestInclude(t *testing.T) {
	needRoot(t)
	dir := t.TempDir()
	write(t, dir, "part.nft", "tcp dport 22 accept\n")
	main := write(t, dir, "main.nft", "table inet t {\n\tchain c {\n\t\tinclude \"part.nft\"\n\t\tdrop\n\t}\n}\n")
	rs, err := ReadFile(context.Background(), main, nil)
	if err != nil {
		t.Fatal(err)
	}
	rules := rs.Rules()
	if len(rules) != 2 || rules[0].Text != "tcp dport 22 accept" || rules[0].Line != 0 || rules[1].Line != 0 {
		t.Errorf("rules %+v", rules)
	}
}

// The namespace of the caller is left alone.
func TestOtherNamespace(t *testing.T) {
	needRoot(t)
	before, err := exec.Command("nft", "list", "ruleset").Output()
	if err != nil {
		t.Fatal(err)
	}
	read(t, "table inet l2d_test_of_reading {\n}\n")
	after, err := exec.Command("nft", "list", "ruleset").Output()
	if err != nil {
		t.Fatal(err)
	}
	if string(before) != string(after) {
		t.Errorf("the ruleset of the host changed:\n%s", after)
	}
}

func TestRender(t *testing.T) {
	rs := read(t, sample)
	var out strings.Builder
	err := rs.Render(&out, func(r *Rule) (packets, bytes uint64, ok bool) {
		return uint64(r.Line), 1000, r.Chain.Name != "post"
	})
	if err != nil {
		t.Fatal(err)
	}
	rule := func(i int) uint64 { return rs.Rules()[i].Handle }
	for _, want := range []string{
		"table inet filter {",
		"\tset nets {",
		"\t\telements = { 10.0.0.0/8,", // newer versions of nft break the line here
		" 192.0.2.1-192.0.2.9 timeout 1h",
		"\t\ttype filter hook input priority filter - 5; policy drop;\n",
		fmt.Sprintf("\t\tiif \"lo\" accept # packets 11 bytes 1000 # handle %d\n", rule(0)),
		fmt.Sprintf("\t\tiifname \"br0\" tcp dport { 22, 80-90 } counter packets 11 bytes 1000 accept comment \"say { hello; # }\" # handle %d\n", rule(1)),
		fmt.Sprintf("\t\tjump other # packets 15 bytes 1000 # handle %d\n", rule(3)),
		fmt.Sprintf("\t\toifname \"wan0\" masquerade # handle %d\n", rule(6)),
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("missing %q in\n%s", want, out.String())
		}
	}
}

func TestWithCounter(t *testing.T) {
	for _, tt := range []struct{ line, want string }{
		{"\t\taccept # handle 3", "\t\taccept # packets 1 bytes 2 # handle 3"},
		{"\t\tcounter packets 0 bytes 0 drop # handle 3", "\t\tcounter packets 1 bytes 2 drop # handle 3"},
		{"\t\tcounter packets 1 bytes 2 drop # handle 3", "\t\tcounter packets 1 bytes 2 drop # handle 3"},
		{`	accept comment "counter packets 0 bytes 0" # handle 3`, `	accept comment "counter packets 0 bytes 0" # packets 1 bytes 2 # handle 3`},
		{`	log prefix "counter packets 7 bytes 7" counter packets 0 bytes 0 # handle 3`, `	log prefix "counter packets 7 bytes 7" counter packets 1 bytes 2 # handle 3`},
	} {
		if got := withCounter(tt.line, 1, 2); got != tt.want {
			t.Errorf("%q:\ngot  %q\nwant %q", tt.line, got, tt.want)
		}
	}
}
