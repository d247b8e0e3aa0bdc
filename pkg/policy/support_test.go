// SPDX-License-Identifier: GPL-2.0-only

package policy

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/randomizedcoder/l2d/pkg/nft"
)

var updateDocs = flag.Bool("policy.update", false, "write the table of docs/nftables.md anew")

const (
	supportDoc   = "../../docs/nftables.md"
	supportBegin = "<!-- The rest of this page is made by `make docs`. -->\n"
)

// kernelExpressions are all that a rule of nft can be made of: struct
// nft_expr_type of net/netfilter and net/*/netfilter of Linux 6.18. What
// iptables-nft makes (match, target) nft cannot write.
var kernelExpressions = []string{
	"bitwise", "byteorder", "cmp", "connlimit", "counter", "ct", "dup", "dynset", "exthdr", "fib", "flow_offload", "fwd",
	"hash", "immediate", "inner", "last", "limit", "log", "lookup", "masq", "meta", "nat", "notrack", "numgen", "objref",
	"osf", "payload", "queue", "quota", "range", "redir", "reject", "rt", "socket", "synproxy", "tproxy", "tunnel", "xfrm",
}

// The table says of each example what the compiler says of it. Of what the nft or
// the kernel at hand do not know it says what it said.
func TestSupport(t *testing.T) {
	needRoot(t)
	page, err := os.ReadFile(supportDoc)
	if err != nil {
		t.Fatal(err)
	}
	head, table, found := strings.Cut(string(page), supportBegin)
	if !found {
		t.Fatalf("%s: no line %q", supportDoc, supportBegin)
	}
	old := make(map[string]string)
	for line := range strings.Lines(table) {
		if rule, answer, ok := strings.Cut(strings.TrimSuffix(line, " |\n"), "` | "); ok {
			old[rule] = answer
		}
	}
	have := make(map[string]bool)
	var b strings.Builder
	for _, g := range supportGroups {
		fmt.Fprintf(&b, "\n### %s\n\n| rule | |\n|---|---|\n", g.title)
		answers := g.answers(t, have)
		for _, rule := range g.rules {
			row := "| `" + strings.ReplaceAll(rule, "|", "\\|")
			answer, ok := answers[rule]
			if !ok {
				answer = old[row]
			}
			fmt.Fprintf(&b, "%s` | %s |\n", row, answer)
		}
	}
	for _, name := range kernelExpressions {
		if !have[name] && !slices.Contains(notEverywhere, name) {
			t.Errorf("no example of the expression %s", name)
		}
	}
	if table == b.String() {
		return
	}
	if !*updateDocs {
		t.Fatalf("%s does not say what the compiler does; `make docs` writes it anew:\n%s", supportDoc, firstDifference(table, b.String()))
	}
	if err := os.WriteFile(supportDoc, []byte(head+supportBegin+b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}

// foreignWords are those that rules begin with which are refused by the name of
// their expression.
var foreignWords = map[string]string{
	"socket": "socket", "tproxy": "tproxy", "osf": "osf", "synproxy": "synproxy", "ipsec": "xfrm", "queue": "queue",
}

// notEverywhere are expressions that older versions of nft cannot write, or that
// not every kernel has.
var notEverywhere = []string{"dup", "flow_offload", "fwd", "inner", "last", "tunnel"}

func firstDifference(old, new string) string {
	a, b := strings.Split(old, "\n"), strings.Split(new, "\n")
	for i := range b {
		if i >= len(a) || a[i] != b[i] {
			return "+ " + b[i]
		}
	}
	return "fewer lines"
}

// answers compiles each rule of a group and notes the expressions that they are
// made of. What nft or the kernel do not know has no answer, unless it is refused
// by its name.
func (g supportGroup) answers(t *testing.T, have map[string]bool) map[string]string {
	t.Helper()
	answers := make(map[string]string)
	rules := g.foreign(answers, have)
	rs, rules := g.read(t, rules)
	if rs == nil {
		return answers
	}
	for i, rule := range rules {
		// A table with this rule alone.
		table := *rs.Tables[0]
		chain := table.Chain(fmt.Sprintf("x%d", i))
		table.Chains = []*nft.Chain{table.Chain("other"), chain}
		for _, e := range chain.Rules[0].Exprs {
			have[e.ExprName()] = true
		}
		answers[rule] = supportOf(&nft.Ruleset{Tables: []*nft.Table{&table}})
	}
	return answers
}

// foreign answers for the rules that are refused whatever the kernel says, and
// returns the others.
func (g supportGroup) foreign(answers map[string]string, have map[string]bool) []string {
	return slices.DeleteFunc(slices.Clone(g.rules), func(rule string) bool {
		for word, name := range foreignWords {
			if why, ok := foreignExprs[name]; ok && strings.HasPrefix(rule, word) {
				have[name], answers[rule] = true, "refused: "+why
				return true
			}
		}
		return false
	})
}

var errorLine = regexp.MustCompile(`support\.nft:(\d+):`)

// read reads the rules, each in a chain x0, x1, ..., but for those that nft or the
// kernel do not know. It returns nil where that is the sets.
func (g supportGroup) read(t *testing.T, rules []string) (*nft.Ruleset, []string) {
	t.Helper()
	family, typ := g.family, g.chain
	if family == "" {
		family = "inet"
	}
	if typ == "" {
		typ = "type filter hook forward priority filter; policy accept;"
	}
	path := filepath.Join(t.TempDir(), "support.nft")
	head := fmt.Sprintf("table %s t {\n%s\nchain other { }\n", family, g.sets)
	first := strings.Count(head, "\n") + 1
	for {
		var b strings.Builder
		b.WriteString(head)
		for i, rule := range rules {
			fmt.Fprintf(&b, "chain x%d { %s\n%s\n}\n", i, typ, rule)
		}
		b.WriteString("}\n")
		if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
			t.Fatal(err)
		}
		var links []nft.Link
		for name, index := range testLinks {
			links = append(links, nft.Link{Name: name, Index: index})
		}
		rs, err := nft.ReadFile(t.Context(), path, links)
		if err == nil {
			return rs, rules
		}
		m := errorLine.FindStringSubmatch(err.Error())
		if m == nil {
			t.Fatal(err)
		}
		line, _ := strconv.Atoi(m[1]) // digits only
		t.Logf("not known here: %v", err)
		if line < first {
			return nil, nil
		}
		rules = slices.Delete(rules, (line-first)/3, (line-first)/3+1)
	}
}

// supportOf is what the compiler says of a ruleset.
func supportOf(rs *nft.Ruleset) string {
	p, err := Compile(rs, Options{Links: testLinks})
	var u *Unsupported
	switch {
	case errors.As(err, &u) && u.Why == "":
		return "refused"
	case errors.As(err, &u):
		return "refused: " + strings.ReplaceAll(u.Why, "|", "\\|")
	case err != nil:
		return "refused: " + err.Error()
	case len(p.TCOnly) > 0:
		return "at TC: " + p.TCOnly[0].Why
	}
	return "yes"
}

// supportGroup is a table of rules of one chain.
type supportGroup struct {
	title         string
	family, chain string // inet, and a filter chain at the hook forward, if empty
	sets          string
	rules         []string
}

// The examples cover each expression, with each key that it has.
func TestSupportKeys(t *testing.T) {
	all := ""
	for _, g := range supportGroups {
		all += strings.Join(g.rules, "\n") + "\n"
	}
	for _, words := range supportWords {
		for _, w := range words.words {
			if !strings.Contains(all, words.before+w) {
				t.Errorf("no example of %q", words.before+w)
			}
		}
	}
	if slices.ContainsFunc(supportGroups, func(g supportGroup) bool { return len(g.rules) == 0 }) {
		t.Error("a group without rules")
	}
}

// supportWords are the keys that nft(8) knows.
var supportWords = []struct {
	before string
	words  []string
}{
	{"meta ", []string{"length", "nfproto", "l4proto", "protocol", "priority", "mark", "skuid", "skgid", "rtclassid", "pkttype", "cpu", "cgroup", "random", "time", "day", "hour", "secpath", "sdif"}},
	{"", []string{"iif ", "oif ", "iifname ", "oifname ", "iiftype ", "oiftype ", "iifkind ", "oifkind ", "iifgroup ", "oifgroup "}},
	{"ct ", []string{"state", "status", "mark", "direction", "expiration", "helper", "label", "count", "original l3proto", "original protocol", "original ip saddr", "reply ip daddr", "original ip6 saddr", "original proto-src", "reply proto-dst", "bytes", "avgpkt", "zone", "id"}},
	{"ip ", []string{"version", "hdrlength", "dscp", "ecn", "length", "id", "frag-off", "ttl", "protocol", "checksum", "saddr", "daddr", "option"}},
	{"ip6 ", []string{"version", "dscp", "ecn", "flowlabel", "length", "nexthdr", "hoplimit", "saddr", "daddr"}},
	{"tcp ", []string{"sport", "dport", "sequence", "ackseq", "doff", "reserved", "flags", "window", "checksum", "urgptr", "option"}},
	{"", []string{"udp length", "udplite dport", "sctp dport", "sctp vtag", "sctp chunk", "dccp type", "dccp option", "icmp code", "icmp id", "icmp sequence", "icmp mtu", "icmp gateway", "icmpv6 type", "icmpv6 mtu", "icmpv6 parameter-problem", "igmp type", "igmp group", "ah spi", "esp spi", "comp cpi", "th dport", "ether saddr", "vlan id", "arp operation", "gre protocol", "gre ip ", "gretap ip ", "vxlan vni", "vxlan ip ", "vxlan vlan ", "geneve vni", "geneve ip6 "}},
	{"", []string{"exthdr hbh", "exthdr rt", "frag more-fragments", "dst nexthdr", "mh type", "srh tag", "@ll,", "@nh,", "@th,"}},
	{"", []string{"fib daddr type", "fib saddr . iif oif", "rt ip nexthop", "rt mtu", "rt classid", "rt ipsec", "ipsec in", "socket ", "osf ", "numgen inc", "numgen random", "jhash ", "symhash "}},
	{"", []string{"counter", "limit rate over", "quota", "log prefix", "reject with tcp reset", "reject with icmp ", "reject with icmpv6", "reject with icmpx", "queue", "dup to", "notrack", "flow add", "last", "synproxy", "tproxy", "ct timeout set", "ct helper set"}},
}
