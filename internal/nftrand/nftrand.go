// SPDX-License-Identifier: GPL-2.0-only

// Package nftrand makes random rulesets in the language that l2d compiles.
package nftrand

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// Generator makes rulesets whose values come from its functions: few different
// ones, so that packets and rules meet.
type Generator struct {
	*rand.Rand
	// IP4 and IP6 return an address.
	IP4, IP6 func() string
	// Port returns a port.
	Port func() int
	// Interface returns the name of an interface, of at least two bytes.
	Interface func() string
	// VerdictMaps has rules end with verdict maps, too.
	VerdictMaps bool
}

// Pick returns one of some values.
func Pick[T any](r *rand.Rand, from []T) T { return from[r.IntN(len(from))] }

// elements joins a few different values.
func (r *Generator) elements(n int, value func() string) string {
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

func (r *Generator) prefix4() string { return fmt.Sprintf("%s/%d", r.IP4(), r.IntN(33)) }
func (r *Generator) prefix6() string { return fmt.Sprintf("%s/%d", r.IP6(), r.IntN(129)) }

func (r *Generator) op() string { return Pick(r.Rand, []string{"", "", "", "!= "}) }

// match returns a random condition.
func (r *Generator) match() string {
	addr := Pick(r.Rand, []string{"saddr", "daddr"})
	port := Pick(r.Rand, []string{"tcp dport", "tcp sport", "udp dport", "th dport"})
	if strings.HasPrefix(port, "th") {
		port = "meta l4proto { tcp, udp } " + port
	}
	ports := func() string { return fmt.Sprint(r.Port()) }
	portRange := func() string { a := r.Port(); return fmt.Sprintf("%d-%d", a, min(a+r.IntN(500), 65535)) }
	return Pick(r.Rand, []func() string{
		func() string { return "ip " + addr + " " + r.op() + r.prefix4() },
		func() string { return "ip " + addr + " " + r.op() + r.IP4() },
		func() string { return "ip " + addr + " " + r.op() + "{ " + r.elements(9, r.prefix4) + " }" },
		func() string { return "ip " + addr + " " + r.op() + "{ " + r.elements(40, r.IP4) + " }" },
		func() string {
			return "ip " + addr + " " + r.op() + "@" + Pick(r.Rand, []string{"const4", "hash4", "lpm4"})
		},
		func() string { return "ip6 " + addr + " " + r.op() + r.prefix6() },
		func() string { return "ip6 " + addr + " " + r.op() + "{ " + r.elements(9, r.prefix6) + " }" },
		func() string { return "ip6 " + addr + " " + r.op() + "{ " + r.elements(9, r.IP6) + " }" },
		func() string {
			return "ip6 " + addr + " " + r.op() + "@" + Pick(r.Rand, []string{"const6", "hash6", "lpm6"})
		},
		func() string { return port + " " + r.op() + ports() },
		func() string { return port + " " + Pick(r.Rand, []string{"< ", "> ", "<= ", ">= "}) + "443" },
		func() string { return port + " " + r.op() + portRange() },
		func() string { return port + " " + r.op() + "{ " + r.elements(12, ports) + " }" },
		func() string { return port + " " + r.op() + "{ " + r.elements(8, portRange) + " }" },
		func() string { return port + " " + r.op() + "@" + Pick(r.Rand, []string{"ports", "portranges"}) },
		func() string {
			return "tcp flags & (" + Pick(r.Rand, []string{"fin | syn", "syn | rst", "fin | syn | rst | psh | ack | urg"}) + ") " + Pick(r.Rand, []string{"== ", "!= "}) + Pick(r.Rand, []string{"syn", "fin", "0"})
		},
		func() string { return "icmp type " + r.op() + "{ echo-request, echo-reply }" },
		func() string { return "icmpv6 type " + r.op() + "echo-request" },
		func() string { return "ip frag-off & 0x1fff != 0" },
		func() string { return "ip dscp " + r.op() + fmt.Sprint(r.IntN(64)) },
		func() string { return "ip6 dscp " + r.op() + "{ cs1, cs2, af11, ef }" },
		func() string { return "iifname " + r.op() + `"` + r.Interface() + `"` },
		func() string {
			return "oifname " + r.op() + `{ "` + r.Interface()[:2] + `*", "` + r.Interface() + `" }`
		},
		func() string { return `iifname "` + r.Interface()[:2] + `*"` },
		func() string { return "iif " + r.op() + `"` + r.Interface() + `"` },
		func() string { return "iifname @names" },
		func() string {
			return "meta mark " + r.op() + Pick(r.Rand, []string{"1", "0x100-0x1ff", "{ 0, 1, 0xffffffff }", "0x101"})
		},
		func() string { return "meta mark and 0xff00 " + Pick(r.Rand, []string{"==", "!="}) + " 0x100" },
		func() string {
			return "meta mark " + Pick(r.Rand, []string{"@marks", "@markranges", "> 0xff", "<= 0x100"})
		},
		func() string { return "meta length " + Pick(r.Rand, []string{"> 100", "< 256", "60-100", "!= 1500"}) },
		func() string { return "meta pkttype " + r.op() + "multicast" },
		func() string { return "meta nfproto ipv" + Pick(r.Rand, []string{"4", "6"}) },
		func() string {
			return "ct state " + Pick(r.Rand, []string{"new", "established,related", "{ new, invalid }", "! new", "!= established"})
		},
		func() string {
			return "ip " + addr + " . tcp dport " + r.op() + "{ " + r.elements(6, func() string { return r.IP4() + " . " + ports() }) + " }"
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
	set names { type ifname; elements = { %[7]s }; }
	set marks { type mark; elements = { 1, 0x100, 0xffff0000 }; }
	set markranges { type mark; flags interval; elements = { 0x80-0x1ff }; }
	set concat4 { type ipv4_addr . ipv4_addr . inet_service; elements = { %[5]s }; }
	set concat6 { type ipv6_addr . ifname; elements = { %[6]s }; }
`

func (r *Generator) interfaceElements() string {
	return r.elements(2, func() string { return fmt.Sprintf("%q", r.Interface()) })
}

// begin writes the sets and the regular chains c0 to c3.
func (r *Generator) begin(b *strings.Builder) {
	b.WriteString("table inet t {\n")
	fmt.Fprintf(b, randomSets,
		r.elements(5, func() string { return fmt.Sprintf("%s/%d", r.IP4(), 8+r.IntN(25)) }), r.elements(20, r.IP4),
		r.elements(5, func() string { return fmt.Sprintf("%s/%d", r.IP6(), 10+r.IntN(119)) }), r.elements(20, r.IP6),
		r.elements(40, func() string { return fmt.Sprintf("%s . %s . %d", r.IP4(), r.IP4(), r.Port()) }),
		r.elements(20, func() string { return fmt.Sprintf("%s . %q", r.IP6(), r.Interface()) }),
		r.interfaceElements())
	if r.VerdictMaps {
		r.namedVerdictMaps(b)
	}
	// Chains only jump to those before them.
	for c := range 4 {
		fmt.Fprintf(b, "\tchain c%d {\n", c)
		r.rules(b, 2+r.IntN(12), c)
		b.WriteString("\t}\n")
	}
}

// Forward returns a ruleset with chains at the forward hook only.
func (r *Generator) Forward() string {
	var b strings.Builder
	r.begin(&b)
	b.WriteString("\tchain f { type filter hook forward priority 0; policy " + Pick(r.Rand, []string{"accept", "drop"}) + ";\n")
	r.rules(&b, 20, 4)
	b.WriteString("\t}\n\tchain g { type filter hook forward priority 5; policy accept;\n")
	r.rules(&b, 4, 4)
	b.WriteString("\t}\n}\n")
	return b.String()
}

func (r *Generator) rules(b *strings.Builder, n, chains int) {
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
		verdicts := []string{"accept", "drop", "accept", "drop", "return", "counter", "counter accept", "jump", "jump", "goto"}
		if r.VerdictMaps {
			verdicts = append(verdicts, "vmap")
		}
		verdict := Pick(r.Rand, verdicts)
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
