// SPDX-License-Identifier: GPL-2.0-only

package policy

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/randomizedcoder/l2d/internal/nftrand"
	"github.com/randomizedcoder/l2d/pkg/nft"
)

var (
	randomSeed     = flag.Uint64("policy.seed", 1, "seed of the random rulesets; 0: a new one")
	randomRulesets = flag.Int("policy.rulesets", 12, "number of random rulesets")
)

func init() {
	flag.IntVar(&setMaps, "policy.setmaps", MaxSetMaps, "maps of sets that a program refers to at most")
}

// The same random packets go through random rulesets in the kernel, compiled,
// and through the interpreter: all verdicts must be the same.
func TestRandom(t *testing.T) {
	needRoot(t)
	seed := *randomSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("-policy.seed=%d", seed)
	r := newRandom(newRand(seed))
	const packets = 400
	accepted, claims, pointless := 0, 0, 0
	most := setMaps
	defer func() { setMaps = most }()
	for i := range *randomRulesets {
		if setMaps = most; i%2 == 1 {
			setMaps = 0
		}
		text := r.Forward()
		rs := readRuleset(t, text)
		p, err := Compile(rs, Options{Links: testLinks})
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		h := newHarness(t, p)
		sent := make([]packet, packets)
		for j := range sent {
			pk := &sent[j]
			*pk = r.packet()
			want := (&interpreter{rs: rs, pk: pk}).hook(nft.HookForward)
			got := h.run("policy_forward", pk)
			if got.accept != want {
				t.Fatalf("ruleset %d: %+v: accepted %v at %q, the interpreter says %v\n%s", i, *pk, got.accept, got.rule.Text, want, text)
			}
			if want {
				accepted++
			}
		}
		for _, w := range p.Lint() {
			switch w.Kind {
			case NeverReached, NeverMatches:
				claims++
				// Counters stand behind the conditions of these rules.
				if n, _ := h.counter(w.Rule.Index); n != 0 && !strings.HasPrefix(w.Rule.Text, "counter") {
					t.Errorf("ruleset %d: %v: but %d packets\n%s", i, w, n, text)
				}
			case Pointless:
				pointless++
				for j := range sent {
					with, without := interpreter{rs: rs, pk: &sent[j]}, interpreter{rs: rs, pk: &sent[j], without: w.Rule.Handle}
					if with.hook(nft.HookForward) != without.hook(nft.HookForward) {
						t.Errorf("ruleset %d: %v: but not to %+v\n%s", i, w, sent[j], text)
						break
					}
				}
			}
		}
		h.coll.Close()
	}
	t.Logf("%d rules said to be unreachable, %d pointless", claims, pointless)
	if n := packets * *randomRulesets; accepted < n/10 || accepted > n*9/10 {
		t.Errorf("%d of %d packets accepted: the rulesets do not tell packets apart", accepted, n)
	}
}

// random are the values that rulesets and packets are made of.
type random struct{ nftrand.Generator }

func newRand(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0)) }

func newRandom(r *rand.Rand) random {
	g := random{}
	g.Basic = true
	g.Rand = r
	g.IP4, g.IP6, g.Port, g.Interface = g.ip4, g.ip6, g.port, g.iface
	return g
}

func pick[T any](r random, from []T) T { return nftrand.Pick(r.Rand, from) }

// Values are few, so that packets and rules meet.
func (r random) ip4() string {
	return fmt.Sprintf("%d.%d.%d.%d", pick(r, []int{10, 127, 192, 224, 255}), pick(r, []int{0, 168, 255}), r.IntN(3), pick(r, []int{0, 1, 127, 128, 255}))
}

func (r random) ip6() string {
	return fmt.Sprintf("%s:%x::%x", pick(r, []string{"fd00", "fe80", "2001:db8", "ff02", "febf"}), r.IntN(3), pick(r, []int{0, 1, 0x7fff, 0xffff}))
}

func (r random) port() int { return pick(r, []int{0, 1, 22, 53, 80, 255, 256, 443, 1024, 65535}) }

func (r random) iface() string { return pick(r, []string{"lo", "wan0", "br0", "hs0", "hs1"}) }

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
