// SPDX-License-Identifier: GPL-2.0-only

package policy

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/randomizedcoder/l2d/pkg/nft"
)

var (
	randomSeed     = flag.Uint64("policy.seed", 0, "seed of the random rulesets; 0: a new one")
	randomRulesets = flag.Int("policy.rulesets", 12, "number of random rulesets")
)

// The same random packets go through random rulesets in the kernel, compiled,
// and through the interpreter: all verdicts must be the same.
func TestRandom(t *testing.T) {
	needRoot(t)
	seed := *randomSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("-policy.seed=%d", seed)
	r := random{newRand(seed)}
	const packets = 400
	accepted, claims := 0, 0
	for i := range *randomRulesets {
		text := r.ruleset()
		rs := readRuleset(t, text)
		p, err := Compile(rs, Options{Links: testLinks})
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		h := newHarness(t, p)
		for range packets {
			pk := r.packet()
			want := (&interpreter{rs, &pk}).hook(nft.HookForward)
			got := h.run("policy_forward", &pk)
			if got.accept != want {
				t.Fatalf("ruleset %d: %+v: accepted %v at %q, the interpreter says %v\n%s", i, pk, got.accept, got.rule.Text, want, text)
			}
			if want {
				accepted++
			}
		}
		for _, w := range p.Lint() {
			if w.Kind != NeverReached {
				continue
			}
			claims++
			// Counters stand behind the conditions of these rules.
			if n, _ := h.counter(w.Rule.Index); n != 0 && !strings.HasPrefix(w.Rule.Text, "counter") {
				t.Errorf("ruleset %d: %v: but %d packets\n%s", i, w, n, text)
			}
		}
		h.coll.Close()
	}
	t.Logf("%d rules said to be unreachable", claims)
	if n := packets * *randomRulesets; accepted < n/10 || accepted > n*9/10 {
		t.Errorf("%d of %d packets accepted: the rulesets do not tell packets apart", accepted, n)
	}
}

type random struct{ *rand.Rand }

func newRand(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0)) }

func pick[T any](r random, from []T) T { return from[r.IntN(len(from))] }

// Values are few, so that packets and rules meet.
func (r random) ip4() string {
	return fmt.Sprintf("%d.%d.%d.%d", pick(r, []int{10, 127, 192, 224, 255}), pick(r, []int{0, 168, 255}), r.IntN(3), pick(r, []int{0, 1, 127, 128, 255}))
}

func (r random) ip6() string {
	return fmt.Sprintf("%s:%x::%x", pick(r, []string{"fd00", "fe80", "2001:db8", "ff02", "febf"}), r.IntN(3), pick(r, []int{0, 1, 0x7fff, 0xffff}))
}

func (r random) port() int { return pick(r, []int{0, 1, 22, 53, 80, 255, 256, 443, 1024, 65535}) }

func (r random) iface() string { return pick(r, []string{"lo", "wan0", "br0", "hs0", "hs1"}) }

func (r random) prefix4() string { return fmt.Sprintf("%s/%d", r.ip4(), r.IntN(33)) }
func (r random) prefix6() string { return fmt.Sprintf("%s/%d", r.ip6(), r.IntN(129)) }

// elements joins a few different values.
func (r random) elements(n int, value func() string) string {
	seen := map[string]bool{}
	var out []string
	for range 1 + r.IntN(n) {
		if v := value(); !seen[v] {
			seen[v] = true
			out = append(out, v)
		}
	}
	return strings.Join(out, ", ")
}

func (r random) packet() packet {
	p := packet{
		iif: r.iface(), oif: r.iface(), tos: byte(r.IntN(256)), mark: pick(r, []uint32{0, 1, 0x100, 0x1ff, 0xffff0000, 0xffffffff}),
		ct: pick(r, []uint32{1, 2, 4, 8, 64}), len: pick(r, []uint32{40, 60, 100, 256, 1500}), pkttype: byte(r.IntN(3)),
	}
	if r.IntN(2) == 0 {
		p.src, p.dst = r.ip4(), r.ip4()
		p.fragOff = pick(r, []uint16{0, 0, 0x4000, 0x2000, 0x0001, 0x1fff})
		p.proto = pick(r, []byte{protoTCP, protoUDP, protoICMP, 47})
	} else {
		p.src, p.dst = r.ip6(), r.ip6()
		p.proto = pick(r, []byte{protoTCP, protoUDP, protoICMPv6, 47})
	}
	switch p.proto {
	case protoTCP:
		p.th = tcp(uint16(r.port()), uint16(r.port()), byte(r.IntN(64)))
	case protoUDP:
		p.th = udp(uint16(r.port()), uint16(r.port()))
	case protoICMP, protoICMPv6:
		p.th = icmp(pick(r, []byte{0, 3, 8, 11, 128, 129, 135}))
	}
	if r.IntN(10) == 0 {
		p.th = p.th[:r.IntN(len(p.th)+1)]
	}
	return p
}

func (r random) op() string { return pick(r, []string{"", "", "", "!= "}) }

// match returns a random condition.
func (r random) match() string {
	addr := pick(r, []string{"saddr", "daddr"})
	port := pick(r, []string{"tcp dport", "tcp sport", "udp dport", "th dport"})
	if strings.HasPrefix(port, "th") {
		port = "meta l4proto { tcp, udp } " + port
	}
	ports := func() string { return fmt.Sprint(r.port()) }
	portRange := func() string { a := r.port(); return fmt.Sprintf("%d-%d", a, min(a+r.IntN(500), 65535)) }
	return pick(r, []func() string{
		func() string { return "ip " + addr + " " + r.op() + r.prefix4() },
		func() string { return "ip " + addr + " " + r.op() + r.ip4() },
		func() string { return "ip " + addr + " " + r.op() + "{ " + r.elements(9, r.prefix4) + " }" },
		func() string { return "ip " + addr + " " + r.op() + "{ " + r.elements(40, r.ip4) + " }" },
		func() string { return "ip " + addr + " " + r.op() + "@" + pick(r, []string{"const4", "hash4", "lpm4"}) },
		func() string { return "ip6 " + addr + " " + r.op() + r.prefix6() },
		func() string { return "ip6 " + addr + " " + r.op() + "{ " + r.elements(9, r.prefix6) + " }" },
		func() string { return "ip6 " + addr + " " + r.op() + "{ " + r.elements(9, r.ip6) + " }" },
		func() string {
			return "ip6 " + addr + " " + r.op() + "@" + pick(r, []string{"const6", "hash6", "lpm6"})
		},
		func() string { return port + " " + r.op() + ports() },
		func() string { return port + " " + pick(r, []string{"< ", "> ", "<= ", ">= "}) + "443" },
		func() string { return port + " " + r.op() + portRange() },
		func() string { return port + " " + r.op() + "{ " + r.elements(12, ports) + " }" },
		func() string { return port + " " + r.op() + "{ " + r.elements(8, portRange) + " }" },
		func() string { return port + " " + r.op() + "@" + pick(r, []string{"ports", "portranges"}) },
		func() string {
			return "tcp flags & (" + pick(r, []string{"fin | syn", "syn | rst", "fin | syn | rst | psh | ack | urg"}) + ") " + pick(r, []string{"== ", "!= "}) + pick(r, []string{"syn", "fin", "0"})
		},
		func() string { return "icmp type " + r.op() + "{ echo-request, echo-reply }" },
		func() string { return "icmpv6 type " + r.op() + "echo-request" },
		func() string { return "ip frag-off & 0x1fff != 0" },
		func() string { return "ip dscp " + r.op() + fmt.Sprint(r.IntN(64)) },
		func() string { return "ip6 dscp " + r.op() + "{ cs1, cs2, af11, ef }" },
		func() string { return "iifname " + r.op() + `"` + r.iface() + `"` },
		func() string { return "oifname " + r.op() + `{ "hs*", "` + r.iface() + `" }` },
		func() string { return `iifname "` + pick(r, []string{"h*", "b*", "wan*"}) + `"` },
		func() string { return "iif " + r.op() + `"` + r.iface() + `"` },
		func() string { return "iifname @names" },
		func() string {
			return "meta mark " + r.op() + pick(r, []string{"1", "0x100-0x1ff", "{ 0, 1, 0xffffffff }", "0x101"})
		},
		func() string { return "meta mark and 0xff00 " + pick(r, []string{"==", "!="}) + " 0x100" },
		func() string { return "meta mark " + pick(r, []string{"@marks", "@markranges", "> 0xff", "<= 0x100"}) },
		func() string { return "meta length " + pick(r, []string{"> 100", "< 256", "60-100", "!= 1500"}) },
		func() string { return "meta pkttype " + r.op() + "multicast" },
		func() string { return "meta nfproto ipv" + pick(r, []string{"4", "6"}) },
		func() string {
			return "ct state " + pick(r, []string{"new", "established,related", "{ new, invalid }", "! new", "!= established"})
		},
		func() string {
			return "ip " + addr + " . tcp dport " + r.op() + "{ " + r.elements(6, func() string { return r.ip4() + " . " + ports() }) + " }"
		},
		func() string { return "ip saddr . ip daddr . th dport @concat4" },
		func() string { return "ip6 saddr . iifname " + r.op() + "@concat6" },
		func() string {
			return "ip saddr . udp dport " + r.op() + "{ 10.0.0.0/8 . 1-300, 192.0.0.0-192.168.1.127 . 53 }"
		},
	})()
}

// layers returns the protocols that a condition is about.
func layers(match string) (family, transport string) {
	for _, l := range []struct{ word, family, transport string }{
		{"ip6 ", "6", ""}, {"icmpv6 ", "6", "icmp"}, {"ip ", "4", ""}, {"icmp ", "4", "icmp"},
		{"nfproto ipv4", "4", ""}, {"nfproto ipv6", "6", ""}, {"th ", "", "th"}, {"tcp ", "", "tcp"}, {"udp ", "", "udp"},
	} {
		if strings.Contains(match, l.word) {
			if l.family != "" {
				family = l.family
			}
			if l.transport != "" {
				return family, l.transport
			}
		}
	}
	return family, ""
}

// Intervals of one set may not overlap: nft merges those of auto-merge.
const randomSets = `
	set const4 { type ipv4_addr; flags constant, interval; auto-merge; elements = { %[1]s }; }
	set hash4 { type ipv4_addr; elements = { %[2]s }; }
	set lpm4 { type ipv4_addr; flags interval; auto-merge; elements = { %[1]s, 192.168.0.1-192.168.2.200 }; }
	set const6 { type ipv6_addr; flags constant, interval; auto-merge; elements = { %[3]s }; }
	set hash6 { type ipv6_addr; elements = { %[4]s }; }
	set lpm6 { type ipv6_addr; flags interval; auto-merge; elements = { %[3]s, fd00::1-fd00:2::7 }; }
	set ports { type inet_service; elements = { 22, 53, 65535 }; }
	set portranges { type inet_service; flags interval; elements = { 0-21, 80-1000 }; }
	set names { type ifname; elements = { "br0", "hs1" }; }
	set marks { type mark; elements = { 1, 0x100, 0xffff0000 }; }
	set markranges { type mark; flags interval; elements = { 0x80-0x1ff }; }
	set concat4 { type ipv4_addr . ipv4_addr . inet_service; elements = { %[5]s }; }
	map names_vmap { type ifname : verdict; elements = { "br0" : accept, "hs1" : drop, "lo" : return }; }
	map hash_vmap { type ipv4_addr : verdict; elements = { %[7]s }; }
	map lpm_vmap { type ipv4_addr : verdict; flags interval; elements = { 10.0.0.0/16 : accept, 10.168.0.0-192.168.0.77 : drop, 192.168.2.0/25 : continue }; }
	set concat6 { type ipv6_addr . ifname; elements = { %[6]s }; }
`

func (r random) ruleset() string {
	var b strings.Builder
	b.WriteString("table inet t {\n")
	fmt.Fprintf(&b, randomSets,
		r.elements(5, func() string { return fmt.Sprintf("%s/%d", r.ip4(), 8+r.IntN(25)) }), r.elements(20, r.ip4),
		r.elements(5, func() string { return fmt.Sprintf("%s/%d", r.ip6(), 10+r.IntN(119)) }), r.elements(20, r.ip6),
		r.elements(40, func() string { return fmt.Sprintf("%s . %s . %d", r.ip4(), r.ip4(), r.port()) }),
		r.elements(20, func() string { return fmt.Sprintf("%s . %q", r.ip6(), r.iface()) }),
		strings.ReplaceAll(r.elements(20, r.ip4), ", ", " : drop, ")+" : accept")
	// Chains only jump to those before them.
	for c := range 4 {
		fmt.Fprintf(&b, "\tchain c%d {\n", c)
		r.rules(&b, 2+r.IntN(12), c)
		b.WriteString("\t}\n")
	}
	b.WriteString("\tchain f { type filter hook forward priority 0; policy " + pick(r, []string{"accept", "drop"}) + ";\n")
	r.rules(&b, 20, 4)
	b.WriteString("\t}\n\tchain g { type filter hook forward priority 5; policy accept;\n")
	r.rules(&b, 4, 4)
	b.WriteString("\t}\n}\n")
	return b.String()
}

// verdictMap returns a statement that ends with a verdict map.
func (r random) verdictMap(family, transport string, chains int) string {
	verdict := func() string {
		v := pick(r, []string{"accept", "drop", "return", "continue", "jump", "goto"})
		if v != "jump" && v != "goto" {
			return v
		}
		if chains == 0 {
			return "accept"
		}
		return fmt.Sprintf("%s c%d", v, r.IntN(chains))
	}
	// Elements of one map with the same key, or with ranges that overlap, are
	// refused: each value is used once.
	elements := func(n int, value func() string) string {
		var out []string
		for _, v := range strings.Split(r.elements(n, value), ", ") {
			out = append(out, v+" : "+verdict())
		}
		if r.IntN(3) == 0 {
			out = append(out, "* : "+verdict())
		}
		return " vmap { " + strings.Join(out, ", ") + " }"
	}
	choices := []func() string{
		func() string { return "iifname" + elements(4, func() string { return fmt.Sprintf("%q", r.iface()) }) },
		func() string {
			return "ct state" + elements(4, func() string { return pick(r, []string{"new", "established", "related", "invalid"}) })
		},
		func() string { return "meta mark" + elements(12, func() string { return fmt.Sprint(r.IntN(3) * 255) }) },
		func() string { return "oifname vmap @names_vmap" },
	}
	if family != "6" && !strings.HasPrefix(transport, "icmp") {
		choices = append(choices,
			func() string { return "ip saddr" + elements(40, r.ip4) },
			func() string { return "ip daddr vmap @hash_vmap" },
			func() string { return "ip saddr vmap @lpm_vmap" },
		)
	}
	if family != "4" && !strings.HasPrefix(transport, "icmp") {
		choices = append(choices, func() string { return "ip6 saddr" + elements(10, r.ip6) })
	}
	if transport == "" || transport == "tcp" {
		choices = append(choices,
			func() string { return "tcp dport" + elements(12, func() string { return fmt.Sprint(r.port()) }) },
			func() string {
				return "tcp dport" + elements(4, func() string { p := r.IntN(4); return fmt.Sprintf("%d-%d", p*100, p*100+20+p*13) })
			},
		)
	}
	return pick(r, choices)()
}

func (r random) rules(b *strings.Builder, n, chains int) {
	for range n {
		family, transport := "", ""
		for range 1 + r.IntN(4) {
			m := r.match()
			// nft refuses rules that contradict themselves.
			f, t := layers(m)
			if f != "" && family != "" && f != family || t != "" && transport != "" && (t != transport || t == "th") {
				continue
			}
			family, transport = family+strings.TrimPrefix(f, family), transport+strings.TrimPrefix(t, transport)
			b.WriteString(m + " ")
		}
		verdict := pick(r, []string{"accept", "drop", "accept", "drop", "return", "counter", "counter accept", "jump", "jump", "goto", "vmap"})
		switch {
		case verdict == "vmap":
			verdict = r.verdictMap(family, transport, chains)
		case verdict != "jump" && verdict != "goto":
		case chains == 0:
			verdict = "drop"
		default:
			verdict += fmt.Sprintf(" c%d", r.IntN(chains))
		}
		b.WriteString(verdict + "\n")
	}
}
