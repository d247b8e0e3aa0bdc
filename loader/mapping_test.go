// SPDX-License-Identifier: GPL-2.0-only

package loader

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/randomizedcoder/l2d/pkg/flow"
	"golang.org/x/sys/unix"
)

// natFixture is a router whose masquerading has settings, and the wires on both
// sides of it.
type natFixture struct {
	*router
	d        *Dataplane
	lan, wan *wire
	rules    []natRule
}

// withNAT runs a test in each family with a router that has settings.
func withNAT(t *testing.T, set func(*Config), test func(t *testing.T, n natFixture, f family)) {
	t.Parallel()
	r := newRouter(t)
	rules := bothFamilies(func(f family) []natRule {
		rule := natRule{hook: "postrouting", flags: natMasquerade}
		return []natRule{rule.towards(f.wan), rule.towards(f.wanless)}
	})
	cfg := r.config(testPolicy{nat: rules})
	set(&cfg)
	n := natFixture{r, r.mustApply(cfg), r.tap(t, "l"), r.tap(t, "w"), rules}
	inFamilies(t, func(t *testing.T, f family) { test(t, n, f) })
}

// towards is the rule for packets to an address.
func (r natRule) towards(a netip.Addr) natRule {
	r.dst = a
	return r
}

// sendUDP sends a datagram from one side, and returns its ends as the other sees them.
func (n natFixture) sendUDP(from, to *wire, src, dst netip.AddrPort) (netip.AddrPort, netip.AddrPort) {
	n.t.Helper()
	payload := fmt.Sprintf("%v to %v", src, dst)
	from.send(ipPacket(src.Addr(), dst.Addr(), unix.IPPROTO_UDP, 64, udpDatagram(src, dst, []byte(payload))))
	p := to.receive(payload, func(p packet) bool { return p.proto == unix.IPPROTO_UDP && string(p.l4[8:]) == payload })
	if bad := p.wrongChecksum(); bad != "" {
		n.t.Errorf("%s: wrong checksum: %s", payload, bad)
	}
	return p.src, p.dst
}

// out sends a client's datagram, and returns where it comes from for the server.
func (n natFixture) out(src, dst netip.AddrPort) netip.AddrPort {
	n.t.Helper()
	seen, _ := n.sendUDP(n.lan, n.wan, src, dst)
	return seen
}

// TestMapping: two clients that use the same port. The first keeps it; the
// second has another one, the same towards whatever its mapping depends not on
// (RFC 4787 REQ-1, RFC 7857 5), also where its own port would be free.
func TestMapping(t *testing.T) {
	for _, c := range []struct {
		mapping               flow.Dependence
		otherPort, otherAddrs bool // the same port towards them
	}{{flow.EndpointIndependent, true, true}, {flow.AddressDependent, true, false}, {flow.EndpointDependent, false, false}} {
		t.Run(string(c.mapping), func(t *testing.T) {
			withNAT(t, func(cfg *Config) { cfg.NAT.Mapping = c.mapping }, func(t *testing.T, n natFixture, f family) {
				first, second := at(f.lanless, 5950), at(f.lan, 5950)
				own := at(f.rwan, 5950)
				if seen := n.out(first, at(f.wanless, 80)); seen != own {
					t.Errorf("the first comes from %v, not %v", seen, own)
				}
				other := n.out(second, at(f.wanless, 80))
				if other == own || other.Addr() != f.rwan {
					t.Errorf("the second comes from %v", other)
				}
				for _, dst := range []struct {
					at   netip.AddrPort
					same bool
				}{{at(f.wanless, 81), c.otherPort}, {at(f.wan, 80), c.otherAddrs}, {at(f.wan, 81), c.otherAddrs}} {
					seen := n.out(second, dst.at)
					if dst.same && seen != other || !dst.same && seen != own {
						t.Errorf("the second comes to %v from %v; to the first server from %v", dst.at, seen, other)
					}
				}
				if !c.otherAddrs {
					return
				}
				// Nobody else is given a client's port, wherever to.
				if seen := n.out(at(f.lan2, 5950), at(f.wan, 90)); seen == own || seen == other {
					t.Errorf("the third comes from %v; the others from %v and %v", seen, own, other)
				}
			})
		})
	}
}

// TestEchoMapping: the identifier of a client's queries is the same towards
// everybody (RFC 5508 REQ-1a), also when it is not its own.
func TestEchoMapping(t *testing.T) {
	withNAT(t, func(*Config) {}, func(t *testing.T, n natFixture, f family) {
		ping := func(src, dst netip.Addr) uint16 {
			t.Helper()
			n.lan.send(ipPacket(src, dst, icmpProto(src), 64, icmpMessage(src, dst, pick[uint8](f, 8, 128), 0, 5955<<16, nil)))
			p := n.wan.receive("request", func(p packet) bool { return p.proto == icmpProto(src) && p.dst.Addr() == dst && p.src.Addr() == f.rwan })
			return binary.BigEndian.Uint16(p.l4[4:])
		}
		first, second := ping(f.lan, f.wanless), ping(f.lanless, f.wanless)
		if first != 5955 || second == first {
			t.Errorf("identifiers %d and %d", first, second)
		}
		if again := ping(f.lanless, f.wan); again != second {
			t.Errorf("identifier %d to another host, not %d", again, second)
		}
	})
}

// TestFiltering: who reaches a client that has sent to one server, by the setting
// (RFC 4787 REQ-8, RFC 5382 REQ-3); and that it answers from where it was reached.
func TestFiltering(t *testing.T) {
	for _, c := range []struct {
		filtering         flow.Dependence
		sameHost, another bool
	}{{flow.EndpointIndependent, true, true}, {flow.AddressDependent, true, false}, {flow.EndpointDependent, false, false}} {
		t.Run(string(c.filtering), func(t *testing.T) {
			withNAT(t, func(cfg *Config) { cfg.NAT.Filtering = c.filtering }, func(t *testing.T, n natFixture, f family) {
				n.out(at(f.lan, 5960), at(f.wanless, 80)) // it has the port
				client := at(f.lanless, 5960)
				outside := n.out(client, at(f.wanless, 80))
				reaches := func(from netip.AddrPort, want bool) {
					t.Helper()
					if !want {
						n.wan.send(ipPacket(from.Addr(), outside.Addr(), unix.IPPROTO_UDP, 64, udpDatagram(from, outside, []byte("uninvited"))))
						for _, p := range n.lan.drain() {
							if p.dst == client {
								t.Errorf("%v reaches the client", from)
							}
						}
						return
					}
					if src, dst := n.sendUDP(n.wan, n.lan, from, outside); src != from || dst != client {
						t.Errorf("%v to %v arrives from %v at %v", from, outside, src, dst)
					}
					if seen := n.out(client, from); seen != outside {
						t.Errorf("the client answers %v from %v, not %v", from, seen, outside)
					}
				}
				reaches(at(f.wanless, 80), true)
				reaches(at(f.wanless, 81), c.sameHost)
				reaches(at(f.wan, 80), c.another)
				if c.filtering != flow.EndpointIndependent {
					return
				}
				// TCP has mappings of its own.
				n.wan.send(ipPacket(f.wan, f.rwan, unix.IPPROTO_TCP, 64, tcpSegment(at(f.wan, 70), outside, flagSYN)))
				src, syn := at(f.lanless, 5961), at(f.rwan, 5961)
				n.lan.send(ipPacket(f.lanless, f.wanless, unix.IPPROTO_TCP, 64, tcpSegment(src, at(f.wanless, 80), flagSYN)))
				n.wan.receive("SYN", func(p packet) bool { return p.src == syn })
				n.wan.send(ipPacket(f.wan, f.rwan, unix.IPPROTO_TCP, 64, tcpSegment(at(f.wan, 71), syn, flagSYN)))
				p := n.lan.receive("SYN", func(p packet) bool { return p.proto == unix.IPPROTO_TCP })
				if p.src != at(f.wan, 71) || p.dst != src {
					t.Errorf("a SYN from %v arrives at %v", p.src, p.dst)
				}
			})
		})
	}
}

// TestRouterListens: what the router itself listens to is not a client's that has
// the same port.
func TestRouterListens(t *testing.T) {
	withNAT(t, func(cfg *Config) { cfg.NAT.Filtering = flow.EndpointIndependent }, func(t *testing.T, n natFixture, f family) {
		if seen := n.out(at(f.lanless, 5970), at(f.wanless, 80)); seen != at(f.rwan, 5970) {
			t.Fatalf("from %v", seen)
		}
		c := n.router.udp(t, "r", at(f.rwan, 5970))
		from := at(f.wan, 80)
		n.wan.send(ipPacket(from.Addr(), f.rwan, unix.IPPROTO_UDP, 64, udpDatagram(from, at(f.rwan, 5970), []byte("to the router"))))
		if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 64)
		if size, _, err := c.ReadFromUDPAddrPort(b); err != nil || string(b[:size]) != "to the router" {
			t.Errorf("the router's socket has %q, %v", b[:size], err)
		}
	})
}

// TestHairpinMapping: two clients reach each other at their external ends, and see
// these of each other (RFC 4787 REQ-9, RFC 5382 REQ-8).
func TestHairpinMapping(t *testing.T) {
	for _, filtering := range []flow.Dependence{flow.EndpointIndependent, flow.AddressDependent} {
		t.Run(string(filtering), func(t *testing.T) {
			withNAT(t, func(cfg *Config) { cfg.NAT.Filtering = filtering }, func(t *testing.T, n natFixture, f family) {
				n.out(at(f.lan, 5980), at(f.wanless, 80)) // it has the port
				a, b := at(f.lanless, 5980), at(f.lan2, 5981)
				outA, outB := n.out(a, at(f.wanless, 80)), n.out(b, at(f.wanless, 80))
				for _, c := range []struct{ from, to, seen, arrives netip.AddrPort }{{a, outB, outA, b}, {b, outA, outB, a}, {a, outB, outA, b}} {
					payload := fmt.Sprintf("%v to %v", c.from, c.to)
					n.lan.send(ipPacket(c.from.Addr(), c.to.Addr(), unix.IPPROTO_UDP, 64, udpDatagram(c.from, c.to, []byte(payload))))
					p := n.lan.receive(payload, func(p packet) bool {
						return p.proto == unix.IPPROTO_UDP && p.src.Addr() == f.rwan && string(p.l4[8:]) == payload
					})
					if p.src != c.seen || p.dst != c.arrives || p.wrongChecksum() != "" {
						t.Errorf("%s arrives from %v at %v, not from %v at %v; wrong checksum: %q", payload, p.src, p.dst, c.seen, c.arrives, p.wrongChecksum())
					}
				}
			})
		})
	}
}

// TestHairpinFirst: a client's end outside is the same one, and open to the same others, if the
// client has sent to another client first.
func TestHairpinFirst(t *testing.T) {
	for _, filtering := range []flow.Dependence{flow.EndpointIndependent, flow.AddressDependent} {
		t.Run(string(filtering), func(t *testing.T) {
			withNAT(t, func(cfg *Config) { cfg.NAT.Filtering = filtering }, func(t *testing.T, n natFixture, f family) {
				a, b, stranger := at(f.lanless, 5982), at(f.lan2, 5983), at(f.wan, 99)
				outB := n.out(b, at(f.wanless, 80))
				n.lan.send(ipPacket(a.Addr(), outB.Addr(), unix.IPPROTO_UDP, 64, udpDatagram(a, outB, nil)))
				n.lan.receive("hairpin", func(p packet) bool { return p.dst == b })
				outA := n.out(a, at(f.wanless, 80))
				if filtering == flow.EndpointIndependent {
					if src, dst := n.sendUDP(n.wan, n.lan, stranger, outA); src != stranger || dst != a {
						t.Errorf("%v to %v arrives from %v at %v", stranger, outA, src, dst)
					}
					return
				}
				n.uninvited(t, stranger, outA, a)
			})
		})
	}
}

// uninvited sends a datagram from outside to a client's end there, which does not arrive.
func (n natFixture) uninvited(t *testing.T, from, outside, client netip.AddrPort) {
	t.Helper()
	n.wan.send(ipPacket(from.Addr(), outside.Addr(), unix.IPPROTO_UDP, 64, udpDatagram(from, outside, []byte("uninvited"))))
	for _, p := range n.lan.drain() {
		if p.dst == client {
			t.Errorf("%v reaches the client from %v", from, p.src)
		}
	}
}

// TestMappingOfGoneInterface: the other side of a mapping is outside also when it came to be by an
// interface that is not there any more, as that of PPP after each dialling.
func TestMappingOfGoneInterface(t *testing.T) {
	for _, filtering := range []flow.Dependence{flow.EndpointIndependent, flow.AddressDependent} {
		t.Run(string(filtering), func(t *testing.T) {
			withNAT(t, func(cfg *Config) { cfg.NAT.Filtering = filtering }, func(t *testing.T, n natFixture, f family) {
				client, stranger := at(f.lanless, 5984), at(f.wan, 99)
				outside := n.out(client, at(f.wanless, 80))
				m := n.stateMap(t, "l2_mappings")
				var key l2TCMappingKey
				var value l2TCMapping
				changed := 0
				for it := m.Iterate(); it.Next(&key, &value); {
					if key.Port != swap16(outside.Port()) {
						continue
					}
					value.Via = 65000
					if err := m.Put(&key, &value); err != nil {
						t.Fatal(err)
					}
					changed++
				}
				if changed == 0 {
					t.Fatal("no mapping")
				}
				if filtering == flow.EndpointIndependent {
					if src, dst := n.sendUDP(n.wan, n.lan, stranger, outside); src != stranger || dst != client {
						t.Errorf("%v to %v arrives from %v at %v", stranger, outside, src, dst)
					}
					return
				}
				n.uninvited(t, stranger, outside, client)
			})
		})
	}
}

// TestPortsOfOneParity: where no port of a socket's parity is left, it has one of the other, and
// that towards everybody; none is beyond the range.
func TestPortsOfOneParity(t *testing.T) {
	withNAT(t, func(cfg *Config) { cfg.NAT.PortRange = [2]uint16{40001, 40003} }, func(t *testing.T, n natFixture, f family) {
		given := map[uint16]bool{}
		for _, own := range []uint16{6001, 6003, 6005} {
			seen := n.out(at(f.lanless, own), at(f.wanless, 80))
			if p := seen.Port(); p < 40001 || p > 40003 || given[p] || p&1 == 0 && len(given) < 2 {
				t.Errorf("%d becomes %d, after %v", own, p, given)
			}
			given[seen.Port()] = true
			for i := range uint16(8) {
				if again := n.out(at(f.lanless, own), at(f.wanless, 8000+own+i)); again != seen {
					t.Errorf("%d is %v to one, and %v to another", own, seen, again)
				}
			}
		}
	})
	t.Run("one port", func(t *testing.T) {
		withNAT(t, func(cfg *Config) { cfg.NAT.PortRange = [2]uint16{40002, 40002} }, func(t *testing.T, n natFixture, f family) {
			if seen := n.out(at(f.lanless, 6011), at(f.wanless, 80)); seen.Port() != 40002 {
				t.Errorf("6011 becomes %d, not the only port of the range", seen.Port())
			}
		})
	})
}

// TestPortSettings: NAT gives no port that the settings exclude, to the last one
// that they allow, whatever the mapping.
func TestPortSettings(t *testing.T) {
	for _, mapping := range []flow.Dependence{flow.EndpointIndependent, flow.EndpointDependent} {
		t.Run(string(mapping), func(t *testing.T) {
			withNAT(t, func(cfg *Config) {
				cfg.NAT.Mapping = mapping
				cfg.NAT.PortRange, cfg.NAT.ReservedPorts = [2]uint16{40000, 40009}, []uint16{40003, 5990}
			}, func(t *testing.T, n natFixture, f family) {
				server := at(f.wanless, 80)
				if seen := n.out(at(f.lanless, 40005), server); seen.Port() != 40005 {
					t.Errorf("a port of the range is not kept: %v", seen)
				}
				given := map[uint16]bool{40005: true}
				for _, own := range []uint16{40003, 5990, 5991, 5993, 700, 5995, 5996, 60001} {
					seen := n.out(at(f.lan, own), server)
					if p := seen.Port(); p < 40000 || p > 40009 || p == 40003 || given[p] {
						t.Errorf("%d becomes %d, after %v", own, p, given)
					}
					given[seen.Port()] = true
				}
				exhausted := stat(t, n.d, "drop_nat_exhausted")
				n.lan.send(ipPacket(f.lan, server.Addr(), unix.IPPROTO_UDP, 64, udpDatagram(at(f.lan, 6001), server, nil)))
				eventually(t, patience, "drop_nat_exhausted", func() bool { return stat(t, n.d, "drop_nat_exhausted") == exhausted+1 })
				// The router's own packets are as its sockets want them.
				c := n.router.udp(t, "r", at(f.rwan, 5990))
				if _, err := c.WriteToUDPAddrPort([]byte("own"), server); err != nil {
					t.Fatal(err)
				}
				if p := n.wan.receive("the router's own", func(p packet) bool { return p.proto == unix.IPPROTO_UDP && string(p.l4[8:]) == "own" }); p.src.Port() != 5990 {
					t.Errorf("the router's own packet comes from %v", p.src)
				}
			})
		})
	}
}

// TestParity: the ports of an RTP and an RTCP socket that have to be replaced stay
// an even one and the next (RFC 4787 REQ-4).
func TestParity(t *testing.T) {
	withNAT(t, func(*Config) {}, func(t *testing.T, n natFixture, f family) {
		server := at(f.wanless, 80)
		for pair := range uint16(10) {
			port := 6010 + 2*pair
			for _, p := range []uint16{port, port + 1} {
				n.out(at(f.lanless, p), server) // takes it
			}
			even, odd := n.out(at(f.lan, port), server), n.out(at(f.lan, port+1), server)
			if even.Port() == port || even.Port()%2 != 0 || odd.Port() != even.Port()+1 {
				t.Errorf("%d and the next are %d and %d", port, even.Port(), odd.Port())
			}
		}
	})
}

// TestMappingFill: where some part of the ports are clients', others get what is
// nobody's, also towards another server, after a bounded number of tries. When
// nothing is left, they share.
func TestMappingFill(t *testing.T) {
	const (
		size, low, searches = 200, 3000, 10
		tries               = 64                     // NAT_TRIES_MAPPING of bpf/lib/nat.h
		maxTries            = 128 + 64 + 32 + 16 + 8 // NAT_TRIES
	)
	for _, percent := range []int{10, 50, 90, 100} {
		t.Run(fmt.Sprint(percent), func(t *testing.T) {
			p := testPolicy{nat: bothFamilies(func(f family) []natRule {
				rule := natRule{hook: "postrouting", ports: [2]uint16{low, low + size - 1}}.to(f.rwan)
				return []natRule{rule.towards(f.wan), rule.towards(f.wanless)}
			})}
			withNAT(t, func(cfg *Config) { cfg.MaxHalfOpen, cfg.Policy = 4096, p }, func(t *testing.T, n natFixture, f family) {
				owner := map[uint16]bool{}
				for _, i := range rand.New(rand.NewPCG(uint64(percent), 0)).Perm(size)[:size*percent/100] {
					port := uint16(low + i)
					if seen := n.out(at(f.lanless, port), at(f.wanless, 80)); seen.Port() != port {
						t.Fatalf("%d becomes %v", port, seen)
					}
					owner[port] = true
				}
				before := stats(t, n.d)
				shared := 0
				for i := range uint16(searches) {
					src := at(f.lan, 20000+i)
					seen := n.out(src, at(f.wan, 80))
					if owner[seen.Port()] {
						shared++
						continue
					}
					owner[seen.Port()] = true
					if again := n.out(src, at(f.wan, 81)); again != seen {
						t.Errorf("%v comes from %v, and from %v", src, seen, again)
					}
				}
				after := stats(t, n.d)
				if full := after["nat_mapping_full"] - before["nat_mapping_full"]; full != uint64(shared) || shared > 3 && percent < 100 || shared != searches && percent == 100 {
					t.Errorf("%d of %d share a port, %d counted", shared, searches, full)
				}
				if n := after["nat_tries"] - before["nat_tries"]; n < searches || n > searches*tries+uint64(shared)*maxTries {
					t.Errorf("%d tries", n)
				}
			})
		})
	}
}

// mappings are the entries of the table of mappings.
func mappings(t *testing.T, d *Dataplane) (n int) {
	t.Helper()
	if err := d.Map("l2_mappings", func(m *ebpf.Map) error {
		var key l2TCMappingKey
		var value l2TCMapping
		it := m.Iterate()
		for it.Next(&key, &value) {
			n++
		}
		return it.Err()
	}); err != nil {
		t.Fatal(err)
	}
	return n
}

// TestMappingLife: a mapping lives as long as a flow uses it (RFC 4787 REQ-5, 6),
// also one that others have begun and the client answers. Then it goes without
// user space, and its port is anybody's.
func TestMappingLife(t *testing.T) {
	withNAT(t, func(cfg *Config) {
		cfg.NAT.Filtering = flow.EndpointIndependent
		cfg.Timeouts.UDPUnreplied, cfg.Timeouts.UDPStream = time.Second, time.Second
	}, func(t *testing.T, n natFixture, f family) {
		if f.lan.Is6() {
			return // the collector knows no families
		}
		first, lost, other := at(f.lanless, 6050), at(f.lanless, 6051), at(f.lan, 6050)
		n.out(first, at(f.wanless, 80))
		n.out(lost, at(f.wanless, 80))
		outside := n.out(other, at(f.wanless, 80))
		if before := mappings(t, n.d); before != 4 { // an outside each, and the other's inside
			t.Errorf("%d entries, not 4", before)
		}
		// A peer and the client keep talking; nobody answers what comes for lost.
		// For two collections at least, and until that one is gone.
		least := time.Now().Add(25 * time.Second)
		for end := least.Add(40 * time.Second); time.Now().Before(least) || mappings(t, n.d) > 2 && time.Now().Before(end); time.Sleep(500 * time.Millisecond) {
			n.sendUDP(n.wan, n.lan, at(f.wan, 90), outside)
			if seen := n.out(other, at(f.wan, 90)); seen != outside {
				t.Fatalf("the client answers from %v, not %v", seen, outside)
			}
			from := at(f.wan, 91)
			n.wan.send(ipPacket(f.wan, f.rwan, unix.IPPROTO_UDP, 64, udpDatagram(from, at(f.rwan, 6051), nil)))
		}
		if got := mappings(t, n.d); got != 2 {
			t.Errorf("%d entries, not the 2 of a mapping that is in use", got)
		}
		if seen := n.out(other, at(f.wanless, 81)); seen != outside {
			t.Errorf("from %v, not %v, while the mapping is in use", seen, outside)
		}
		if seen := n.out(at(f.lan2, 6050), at(f.wanless, 82)); seen != at(f.rwan, 6050) {
			t.Errorf("from %v: a port that was freed is not kept", seen)
		}
	})
}

// TestPortRest: a port that no flow uses stays its client's for a while (RFC 6888
// REQ-8), and lets nobody in meanwhile.
func TestPortRest(t *testing.T) {
	withNAT(t, func(cfg *Config) {
		cfg.NAT.Filtering, cfg.NAT.PortRest = flow.EndpointIndependent, time.Minute
		cfg.Timeouts.UDPUnreplied, cfg.Timeouts.UDPStream = time.Second, time.Second
	}, func(t *testing.T, n natFixture, f family) {
		if f.lan.Is6() {
			return // the collector knows no families
		}
		client, own := at(f.lanless, 6060), at(f.rwan, 6060)
		if seen := n.out(client, at(f.wanless, 80)); seen != own {
			t.Fatalf("from %v, not %v", seen, own)
		}
		if _, seen := n.sendUDP(n.wan, n.lan, at(f.wan, 90), own); seen != client {
			t.Fatalf("to %v, not %v", seen, client)
		}
		time.Sleep(25 * time.Second) // two collections without a flow, and it rests
		if got := mappings(t, n.d); got != 1 {
			t.Fatalf("%d mappings, not 1", got)
		}
		if seen := n.out(at(f.lan2, 6060), at(f.wanless, 80)); seen.Port() == own.Port() {
			t.Error("another client has got a port that rests")
		}
		input := stat(t, n.d, "local_in")
		n.wan.send(ipPacket(f.wan, f.rwan, unix.IPPROTO_UDP, 64, udpDatagram(at(f.wan, 91), own, nil)))
		eventually(t, patience, "the router gets what comes for a port that rests", func() bool { return stat(t, n.d, "local_in") > input })
		// It is the client's, as before.
		if seen := n.out(client, at(f.wanless, 81)); seen != own {
			t.Errorf("from %v, not %v", seen, own)
		}
		if _, seen := n.sendUDP(n.wan, n.lan, at(f.wan, 92), own); seen != client {
			t.Errorf("to %v, not %v", seen, client)
		}
	})
}

// TestMappingsFull: without room for mappings flows go on, each with a port of its
// own.
func TestMappingsFull(t *testing.T) {
	withNAT(t, func(cfg *Config) { cfg.MaxFlows = 8 }, func(t *testing.T, n natFixture, f family) {
		const flows = 40
		full := stat(t, n.d, "nat_mapping_full")
		for i := range uint16(flows) {
			if seen := n.out(at(f.lanless, 6100+i), at(f.wanless, 80)); seen != at(f.rwan, 6100+i) {
				t.Errorf("flow %d comes from %v", i, seen)
			}
		}
		if got := stat(t, n.d, "nat_mapping_full") - full; got < flows-16 {
			t.Errorf("%d flows without a mapping", got)
		}
	})
}
