// SPDX-License-Identifier: GPL-2.0-only

package loader

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/randomizedcoder/l2d/pkg/flow"
	"golang.org/x/sys/unix"
)

// oracle is tcp_conntracks of net/netfilter/nf_conntrack_proto_tcp.c (6.18),
// by direction, event and state; its names are the kernel's without the s.
var oracle = map[string]map[string]string{
	//            NO SS SR ES FW CW LA TW CL S2
	"original": {
		"syn":    "SS SS IG IG IG IG IG SS SS S2",
		"synack": "IV IV SR IV IV IV IV IV IV SR",
		"fin":    "IV IV FW FW LA LA LA TW CL IV",
		"ack":    "ES IV ES ES CW CW TW TW CL IV",
		"rst":    "IV CL CL CL CL CL CL CL CL CL",
	},
	"reply": {
		"syn":    "IV S2 IV IV IV IV IV SS IV S2",
		"synack": "IV SR IG IG IG IG IG IG IG SR",
		"fin":    "IV IV FW FW LA LA LA TW CL IV",
		"ack":    "IV IG SR ES CW CW TW TW CL IG",
		"rst":    "IV CL CL CL CL CL CL CL CL CL",
	},
}

// kernelStates are the oracle's columns: their index is enum tcp_conntrack.
var kernelStates = []struct{ short, name string }{
	{"NO", "NONE"}, {"SS", "SYN_SENT"}, {"SR", "SYN_RECV"}, {"ES", "ESTABLISHED"}, {"FW", "FIN_WAIT"},
	{"CW", "CLOSE_WAIT"}, {"LA", "LAST_ACK"}, {"TW", "TIME_WAIT"}, {"CL", "CLOSE"}, {"S2", "SYN_SENT2"},
}

var eventFlags = map[string]byte{"syn": flagSYN, "synack": flagSYN | flagACK, "fin": flagFIN | flagACK, "ack": flagACK, "rst": flagRST}

// counted sends a packet and returns the state that a phase saw it in.
func counted(t *testing.T, d *Dataplane, phase string, send func()) string {
	t.Helper()
	before := stateCounters(t, d)
	send()
	var state string
	eventually(t, patience, "the packet at "+phase, func() bool {
		for name, n := range stateCounters(t, d) {
			if p, s, _ := strings.Cut(name, " "); p == phase && n > before[name] {
				state = s
			}
		}
		return state != ""
	})
	return state
}

// insertFlow makes a flow of both directions in a state, without translation.
func insertFlow(t *testing.T, d *Dataplane, table string, src, dst netip.AddrPort, l4proto, state, flags uint8) {
	t.Helper()
	key := l2TCTuple{L4proto: l4proto, Nfproto: pick[uint8](family{lan: src.Addr()}, 2, 10)}
	copy(key.Saddr[:], src.Addr().AsSlice())
	copy(key.Daddr[:], dst.Addr().AsSlice())
	key.Sport, key.Dport = swap16(src.Port()), swap16(dst.Port())
	reverse := key
	reverse.Saddr, reverse.Daddr, reverse.Sport, reverse.Dport = key.Daddr, key.Saddr, key.Dport, key.Sport
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		t.Fatal(err)
	}
	ticks := uint32(uint64(now.Nano()) >> 27)
	for _, k := range []l2TCTuple{key, reverse} {
		var f l2TCFlow
		f.Out.Saddr, f.Out.Daddr, f.Out.Sport, f.Out.Dport = k.Saddr, k.Daddr, k.Sport, k.Dport
		f.State, f.Flags, f.Created, f.Expires = state, flags, ticks, ticks+8*60
		f.Seen.Flags = seenClose | seenLiberal // can be reopened; of no known window
		if k == reverse {
			f.Flags |= 1 // FLOW_REPLY
		}
		if err := d.Map(table, func(m *ebpf.Map) error { return m.Put(&k, &f) }); err != nil {
			t.Fatal(err)
		}
	}
}

func swap16(n uint16) uint16 { return n<<8 | n>>8 }

// TestTCPStates compares each transition with the kernel's own table.
func TestTCPStates(t *testing.T) {
	inModes(t, testPolicy{countStates: true}, func(t *testing.T, r *router, d *Dataplane, m mode) {
		lan, wan := r.tap(t, "l"), r.tap(t, "w")
		const seenReply = 2
		inFamilies(t, func(t *testing.T, f family) {
			port := uint16(6000)
			for direction, events := range oracle {
				for event, row := range events {
					for state, next := range strings.Fields(row) {
						if state == 0 {
							continue // no flow: TestStates
						}
						port++
						client, server := at(f.lanless, port), at(f.wanless, 80)
						insertFlow(t, d, "l2_flows", client, server, unix.IPPROTO_TCP, uint8(state), seenReply)
						got := counted(t, d, "forward", func() {
							if direction == "original" {
								lan.send(ipPacket(client.Addr(), server.Addr(), unix.IPPROTO_TCP, 64, tcpSegment(client, server, eventFlags[event])))
							} else {
								wan.send(ipPacket(server.Addr(), client.Addr(), unix.IPPROTO_TCP, 64, tcpSegment(server, client, eventFlags[event])))
							}
						})
						// What nf_conntrack_tcp_packet() makes of the table.
						want, wantState, reopened := "established", kernelStates[state].name, false
						switch {
						case next == "IV":
							want = "invalid"
						case next == "SS" && (state == 7 || state == 8):
							want, wantState, reopened = "new", "SYN_SENT", true
						case next != "IG":
							for _, s := range kernelStates {
								if s.short == next {
									wantState = s.name
								}
							}
						}
						name := fmt.Sprintf("%s %s in %s", direction, event, kernelStates[state].name)
						if got != want {
							t.Errorf("%s: %s, not %s", name, got, want)
						}
						var list []flow.Flow
						eventually(t, patience, name+": one flow", func() bool {
							list = flows(t, d, flow.Filter{Port: port, Prefix: netip.PrefixFrom(f.lanless, f.lanless.BitLen())})
							return len(list) == 1
						})
						if list[0].State != wantState {
							t.Errorf("%s: then %s, not %s", name, list[0].State, wantState)
						}
						if reopened == list[0].Confirmed {
							t.Errorf("%s: confirmed: %v", name, list[0].Confirmed)
						}
					}
				}
			}
		})
	})
}

// TestStates has packets that begin a flow, or may not.
func TestStates(t *testing.T) {
	inModes(t, testPolicy{countStates: true}, func(t *testing.T, r *router, d *Dataplane, m mode) {
		lan, wan := r.tap(t, "l"), r.tap(t, "w")
		inFamilies(t, func(t *testing.T, f family) {
			icmp := icmpProto(f.lan)
			port := uint16(7000)
			forward := func(proto uint8, l4 func(src, dst netip.AddrPort) []byte) string {
				port++
				src, dst := at(f.lanless, port), at(f.wanless, 80)
				return counted(t, d, "forward", func() {
					lan.send(ipPacket(src.Addr(), dst.Addr(), proto, 64, l4(src, dst)))
				})
			}
			for flags := range byte(64) {
				want := "invalid"
				switch flags &^ flagPSH {
				case flagSYN, flagSYN | flagURG, flagACK, flagACK | flagURG: // the last: picked up
					want = "new"
				}
				got := forward(unix.IPPROTO_TCP, func(src, dst netip.AddrPort) []byte { return tcpSegment(src, dst, flags) })
				if got != want {
					t.Errorf("TCP flags %06b without a flow: %s, not %s", flags, got, want)
				}
			}
			for _, c := range []struct {
				name  string
				proto uint8
				want  string
				make  func(src, dst netip.AddrPort) []byte
			}{
				{"TCP header of 16 bytes", unix.IPPROTO_TCP, "invalid", func(src, dst netip.AddrPort) []byte {
					l4 := tcpSegment(src, dst, flagSYN)
					l4[12] = 0x40
					return withChecksum(src.Addr(), dst.Addr(), unix.IPPROTO_TCP, l4)
				}},
				{"UDP", unix.IPPROTO_UDP, "new", func(src, dst netip.AddrPort) []byte { return udpDatagram(src, dst, nil) }},
				{"UDP longer than the packet", unix.IPPROTO_UDP, "invalid", func(src, dst netip.AddrPort) []byte {
					l4 := udpDatagram(src, dst, nil)
					l4[5] = 9
					return l4
				}},
				{"UDP shorter than its header", unix.IPPROTO_UDP, "invalid", func(src, dst netip.AddrPort) []byte {
					l4 := udpDatagram(src, dst, nil)
					l4[5] = 7
					return l4
				}},
				{"echo request", icmp, "new", func(src, dst netip.AddrPort) []byte {
					return icmpMessage(src.Addr(), dst.Addr(), pick[uint8](f, 8, 128), 0, uint32(src.Port())<<16, nil)
				}},
				{"echo reply", icmp, "invalid", func(src, dst netip.AddrPort) []byte {
					return icmpMessage(src.Addr(), dst.Addr(), pick[uint8](f, 0, 129), 0, uint32(src.Port())<<16, nil)
				}},
				{"unknown ICMP", icmp, "invalid", func(src, dst netip.AddrPort) []byte {
					return icmpMessage(src.Addr(), dst.Addr(), pick[uint8](f, 42, 200), 0, 0, nil)
				}},
				{"GRE", 47, "new", func(src, dst netip.AddrPort) []byte { return []byte{0, 0, 8, 0} }},
				{"error about no flow", icmp, "invalid", func(src, dst netip.AddrPort) []byte {
					quote := ipPacket(dst.Addr(), src.Addr(), unix.IPPROTO_UDP, 64, udpDatagram(dst, src, nil))
					return icmpMessage(src.Addr(), dst.Addr(), pick[uint8](f, 3, 1), 1, 0, quote)
				}},
				{"error about nothing", icmp, "invalid", func(src, dst netip.AddrPort) []byte {
					return icmpMessage(src.Addr(), dst.Addr(), pick[uint8](f, 3, 1), 1, 0, nil)
				}},
			} {
				if got := forward(c.proto, c.make); got != c.want {
					t.Errorf("%s: %s, not %s", c.name, got, c.want)
				}
			}

			t.Run("error about a flow", func(t *testing.T) {
				client, server := at(f.lanless, 7500), at(f.wanless, 53)
				there := ipPacket(client.Addr(), server.Addr(), unix.IPPROTO_UDP, 64, udpDatagram(client, server, []byte("x")))
				back := ipPacket(server.Addr(), client.Addr(), unix.IPPROTO_UDP, 64, udpDatagram(server, client, []byte("x")))
				lan.send(there)
				wan.receive("request", func(p packet) bool { return p.dst == server })
				for _, way := range []struct {
					name     string
					w        *wire
					from, to netip.Addr
					quote    []byte
				}{{"from the server", wan, server.Addr(), client.Addr(), there}, {"from the client", lan, client.Addr(), server.Addr(), back}} {
					for name, typ := range pick(f, map[string]uint8{"unreachable": 3, "expired": 11, "parameter": 12, "quench": 4},
						map[string]uint8{"unreachable": 1, "too big": 2, "expired": 3, "parameter": 4}) {
						got := counted(t, d, "forward", func() {
							way.w.send(ipPacket(way.from, way.to, icmp, 64, icmpMessage(way.from, way.to, typ, 0, 0, way.quote)))
						})
						if got != "related" {
							t.Errorf("%s %s: %s", name, way.name, got)
						}
					}
				}
			})
			t.Run("neighbour discovery", func(t *testing.T) {
				if f.lan.Is4() {
					t.Skip("IPv6's")
				}
				before := len(flows(t, d, flow.Filter{Protocol: "icmpv6"}))
				for _, typ := range []uint8{130, 131, 132, 133, 134, 135, 136, 143} {
					got := counted(t, d, "input", func() {
						lan.send(ipPacket(f.lan, f.rlan, icmp, 255, icmpMessage(f.lan, f.rlan, typ, 0, 0, f.rlan.AsSlice())))
					})
					if got != "untracked" {
						t.Errorf("type %d: %s, not untracked", typ, got)
					}
				}
				if after := len(flows(t, d, flow.Filter{Protocol: "icmpv6"})); after != before {
					t.Errorf("%d ICMPv6 flows, %d before", after, before)
				}
			})
		})
	})
}

// TestTCPLife follows connections from the first packet to the end.
func TestTCPLife(t *testing.T) {
	t.Parallel()
	type step struct {
		from   string // lan or wan; "": wait
		flags  byte
		want   string // ct state
		state  string // then, of the flow; "": there is none
		expire time.Duration
	}
	const syn, ack, fin, rst = flagSYN, flagACK, flagFIN, flagRST
	for _, m := range modes {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			r := newRouter(t)
			cfg := r.config(testPolicy{countStates: true})
			for i := range cfg.Interfaces {
				cfg.Interfaces[i].XDP = m.xdp
			}
			to := &cfg.Timeouts
			to.TCPSynSent, to.TCPSynRecv, to.TCPEstablished, to.TCPFinWait = 100*time.Second, 90*time.Second, 80*time.Minute, 70*time.Second
			to.TCPCloseWait, to.TCPLastAck, to.TCPTimeWait, to.TCPClose, to.TCPUnacknowledged = 60*time.Second, 50*time.Second, 6*time.Second, 40*time.Second, 200*time.Second
			d := r.mustApply(cfg)
			lan, wan := r.tap(t, "l"), r.tap(t, "w")
			inFamilies(t, func(t *testing.T, f family) {
				port := uint16(7600)
				handshake := []step{
					{"lan", syn, "new", "SYN_SENT", to.TCPSynSent},
					{"wan", syn | ack, "established", "SYN_RECV", to.TCPSynRecv},
					{"lan", ack, "established", "ESTABLISHED", to.TCPEstablished},
					{"wan", ack, "established", "ESTABLISHED", to.TCPEstablished},
				}
				closing := []step{
					{"lan", fin | ack, "established", "FIN_WAIT", to.TCPFinWait},
					{"wan", ack, "established", "CLOSE_WAIT", to.TCPCloseWait},
					{"wan", fin | ack, "established", "LAST_ACK", to.TCPLastAck},
					{"lan", ack, "established", "TIME_WAIT", to.TCPTimeWait},
				}
				for name, steps := range map[string][]step{
					"closed and reopened": append(append(append([]step{}, handshake...), closing...), handshake...),
					"closed and expired": append(append(append([]step{}, handshake...), closing...),
						step{"", 0, "", "", 0},
						step{"wan", ack, "new", "ESTABLISHED", to.TCPUnacknowledged}), // nobody's any more: picked up
					"reset": append(append([]step{}, handshake...),
						step{"lan", rst, "established", "CLOSE", to.TCPClose},
						step{"lan", syn, "new", "SYN_SENT", to.TCPSynSent}),
					// The client may not know: its SYN passes, and the server tells.
					"reset by the server": append(append([]step{}, handshake...),
						step{"wan", rst, "established", "CLOSE", to.TCPClose},
						step{"lan", syn, "established", "CLOSE", to.TCPClose}),
					"refused": {
						{"lan", syn, "new", "SYN_SENT", to.TCPSynSent},
						{"wan", rst | ack, "established", "", 0},
						{"wan", rst | ack, "invalid", "", 0},
						{"lan", syn, "new", "SYN_SENT", to.TCPSynSent}},
					"picked up": {
						{"lan", ack, "new", "ESTABLISHED", to.TCPUnacknowledged},
						{"wan", ack, "established", "ESTABLISHED", to.TCPUnacknowledged}},
					"retransmitted": {
						{"lan", syn, "new", "SYN_SENT", to.TCPSynSent},
						{"lan", syn, "new", "SYN_SENT", to.TCPSynSent},
						{"wan", syn | ack, "established", "SYN_RECV", to.TCPSynRecv},
						{"wan", syn | ack, "established", "SYN_RECV", to.TCPSynRecv}},
					"simultaneous": {
						{"lan", syn, "new", "SYN_SENT", to.TCPSynSent},
						{"wan", syn, "established", "SYN_SENT2", to.TCPSynSent},
						{"lan", syn | ack, "established", "SYN_RECV", to.TCPSynRecv},
						{"wan", syn | ack, "established", "SYN_RECV", to.TCPSynRecv},
						{"lan", ack, "established", "ESTABLISHED", to.TCPEstablished}},
					"simultaneous, and acknowledged by who was called": {
						{"lan", syn, "new", "SYN_SENT", to.TCPSynSent},
						{"wan", syn, "established", "SYN_SENT2", to.TCPSynSent},
						{"lan", syn | ack, "established", "SYN_RECV", to.TCPSynRecv},
						{"wan", ack, "established", "ESTABLISHED", to.TCPEstablished}},
				} {
					port++
					t.Run(name, func(t *testing.T) {
						client, server := at(f.lanless, port), at(f.wanless, 80)
						for i, s := range steps {
							if s.from == "" {
								time.Sleep(to.TCPTimeWait + 1300*time.Millisecond)
								continue
							}
							sent := time.Now()
							got := counted(t, d, "forward", func() {
								if s.from == "lan" {
									lan.send(ipPacket(client.Addr(), server.Addr(), unix.IPPROTO_TCP, 64, tcpSegment(client, server, s.flags)))
								} else {
									wan.send(ipPacket(server.Addr(), client.Addr(), unix.IPPROTO_TCP, 64, tcpSegment(server, client, s.flags)))
								}
							})
							if got != s.want {
								t.Fatalf("step %d: %s, not %s", i, got, s.want)
							}
							var list []flow.Flow
							want := 1
							if s.state == "" {
								want = 0
							}
							eventually(t, patience, fmt.Sprintf("step %d: %d flows", i, want), func() bool {
								list = flows(t, d, flow.Filter{Port: port, Prefix: netip.PrefixFrom(f.lanless, f.lanless.BitLen())})
								return len(list) == want
							})
							if want == 0 {
								continue
							}
							fl := list[0]
							if fl.State != s.state {
								t.Fatalf("step %d: %s, not %s", i, fl.State, s.state)
							}
							// It is up to a second later, and some time has gone by.
							if diff := s.expire - fl.Expires; diff > time.Since(sent)+200*time.Millisecond || diff < -1300*time.Millisecond {
								t.Errorf("step %d: in %s, expires in %v, not %v", i, fl.State, fl.Expires, s.expire)
							}
							if confirmed := i >= 2 && fl.State != "SYN_SENT" && fl.State != "SYN_RECV"; name == "closed and reopened" && i < len(handshake) && fl.Confirmed != confirmed {
								t.Errorf("step %d: confirmed: %v", i, fl.Confirmed)
							}
						}
					})
				}
			})
		})
	}
}

// TestCutOff: a transport header that is not whole belongs to no flow, and the
// chains decide.
func TestCutOff(t *testing.T) {
	inModes(t, testPolicy{countStates: true}, func(t *testing.T, r *router, d *Dataplane, m mode) {
		lan := r.tap(t, "l")
		inFamilies(t, func(t *testing.T, f family) {
			for _, proto := range []uint8{unix.IPPROTO_UDP, unix.IPPROTO_TCP, icmpProto(f.lan)} {
				got := counted(t, d, "forward", func() { lan.send(ipPacket(f.lan, f.wanless, proto, 64, make([]byte, 4))) })
				if got != "invalid" {
					t.Errorf("protocol %d: %s, not invalid", proto, got)
				}
			}
			if n := len(flows(t, d, flow.Filter{})); n != 0 {
				t.Errorf("%d flows", n)
			}
		})
	})
}

// TestDeletedFlow: a flow that was deleted by hand begins anew.
func TestDeletedFlow(t *testing.T) {
	inModes(t, testPolicy{masquerade: true}, func(t *testing.T, r *router, d *Dataplane, m mode) {
		inFamilies(t, func(t *testing.T, f family) {
			server := at(f.wan, 8500)
			r.echoUDP(t, "w", server)
			client, other := r.udp(t, "l", at(f.lan, 7700)), r.udp(t, "l", at(f.lan, 7701))
			for _, c := range []*net.UDPConn{client, other, client, other} {
				if err := exchangeUDP(c, server, []byte("x")); err != nil {
					t.Fatal(err)
				}
			}
			begun := stat(t, d, "flow_new")
			if n := deleteFlows(t, d, flow.Filter{Port: 7700, Prefix: netip.PrefixFrom(f.lan, f.lan.BitLen())}); n != 1 {
				t.Fatalf("%d flows deleted, not 1", n)
			}
			if n := len(flows(t, d, flow.Filter{Port: 7700, Prefix: netip.PrefixFrom(f.lan, f.lan.BitLen())})); n != 0 {
				t.Errorf("%d flows are left", n)
			}
			for _, c := range []*net.UDPConn{client, other} {
				if err := exchangeUDP(c, server, []byte("y")); err != nil {
					t.Error(err)
				}
			}
			if n := stat(t, d, "flow_new") - begun; n != 1 {
				t.Errorf("%d flows begun, not 1", n)
			}
		})
	})
}
