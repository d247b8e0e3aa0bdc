// SPDX-License-Identifier: GPL-2.0-only

package loader

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/randomizedcoder/l2d/pkg/flow"
	"golang.org/x/sys/unix"
)

// rawListener is a packet socket of the router's, as DHCP servers have them.
func (r *router) rawListener(t *testing.T, dev string, etherType uint16) int {
	t.Helper()
	var fd int
	r.in("r", func() (err error) {
		fd, err = packetSocket(dev, etherType)
		return err
	})
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

// receives tells whether a packet socket gets a datagram for a port.
func receives(t *testing.T, fd int, port uint16, expected bool) bool {
	t.Helper()
	buf := make([]byte, 65536)
	limit := 300 * time.Millisecond
	if expected {
		limit = patience
	}
	for end := time.Now().Add(limit); time.Now().Before(end); {
		n, _, err := unix.Recvfrom(fd, buf, 0)
		if err != nil {
			continue // the socket's timeout
		}
		if p, ok := parsePacket(buf[14:n]); ok && p.proto == unix.IPPROTO_UDP && p.dst.Port() == port {
			return true
		}
	}
	return false
}

// TestDHCP: what the input chain drops does not reach the UDP stack, and yet,
// if it is DHCP, the packet sockets that see it under nftables.
func TestDHCP(t *testing.T) {
	inModes(t, testPolicy{dropInput: true}, func(t *testing.T, r *router, d *Dataplane, m mode) {
		lan := r.tap(t, "l")
		unspecified, broadcast := netip.IPv4Unspecified(), netip.AddrFrom4([4]byte{255, 255, 255, 255})
		f := families[0]
		for _, c := range []struct {
			name     string
			src, dst netip.Addr
			port     uint16
			sees     bool
		}{
			{"discover", unspecified, broadcast, 67, true},
			{"renewal", f.lan, f.rlan, 67, true},
			{"offer", f.lan, f.rlan, 68, true},
			{"DNS", f.lan, f.rlan, 53, false},
			{"broadcast", f.lan, broadcast, 9999, false},
		} {
			t.Run(c.name, func(t *testing.T) {
				fd := r.rawListener(t, "lan0", unix.ETH_P_IP)
				var stack *net.UDPConn
				r.in("r", func() (err error) {
					stack, err = net.ListenUDP("udp4", &net.UDPAddr{Port: int(c.port)})
					return err
				})
				defer stack.Close()
				before := stat(t, d, "drop_policy")
				ip := ipPacket(c.src, c.dst, unix.IPPROTO_UDP, 64, udpDatagram(at(c.src, 68), at(c.dst, c.port), []byte("who am I?")))
				to := r.mac["r/lan0"]
				if c.dst == broadcast {
					to = net.HardwareAddr{255, 255, 255, 255, 255, 255}
				}
				if _, err := unix.Write(lan.fd, frame(lan.from, to, ip)); err != nil {
					t.Fatal(err)
				}
				if got := receives(t, fd, c.port, c.sees); got != c.sees {
					t.Errorf("the packet socket sees it: %v", got)
				}
				stack.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
				if _, from, err := stack.ReadFrom(make([]byte, 100)); err == nil {
					t.Errorf("the UDP socket has it, from %v", from)
				}
				eventually(t, patience, "drop_policy", func() bool { return stat(t, d, "drop_policy") > before })
			})
		}
	})
}

// TestInputAccepted: the same frames reach both when the chain accepts them.
func TestInputAccepted(t *testing.T) {
	inModes(t, testPolicy{}, func(t *testing.T, r *router, d *Dataplane, m mode) {
		f := families[0]
		fd := r.rawListener(t, "lan0", unix.ETH_P_IP)
		stack := r.udp(t, "r", at(f.rlan, 67))
		client := r.udp(t, "l", at(f.lan, 68))
		if _, err := client.WriteToUDPAddrPort([]byte("renewal"), at(f.rlan, 67)); err != nil {
			t.Fatal(err)
		}
		if !receives(t, fd, 67, true) {
			t.Error("the packet socket does not see it")
		}
		stack.SetReadDeadline(time.Now().Add(patience))
		if _, _, err := stack.ReadFrom(make([]byte, 100)); err != nil {
			t.Error(err)
		}
	})
}

// TestOutput: the output chain filters what the stack sends, and not what
// packet sockets do.
func TestOutput(t *testing.T) {
	inModes(t, testPolicy{dropOutput: true}, func(t *testing.T, r *router, d *Dataplane, m mode) {
		lan := r.tap(t, "l")
		inFamilies(t, func(t *testing.T, f family) {
			// Without neighbour discovery, which the chain would drop.
			r.batch("r", fmt.Sprintf("neigh replace %s lladdr %s dev lan0", f.lan, r.mac["l/eth0"]))
			before := stat(t, d, "drop_policy")
			c := r.udp(t, "r", at(f.rlan, 6700))
			c.WriteToUDPAddrPort([]byte("filtered"), at(f.lan, 6701))
			eventually(t, patience, "the drop", func() bool { return stat(t, d, "drop_policy") > before })

			fd := r.rawListener(t, "lan0", unix.ETH_P_ALL)
			ip := ipPacket(f.rlan, f.lan, unix.IPPROTO_UDP, 64, udpDatagram(at(f.rlan, 6700), at(f.lan, 6702), []byte("not filtered")))
			if _, err := unix.Write(fd, frame(r.mac["r/lan0"], r.mac["l/eth0"], ip)); err != nil {
				t.Fatal(err)
			}
			lan.receive("datagram of the packet socket", func(p packet) bool {
				if p.dst.Port() == 6701 {
					t.Error("the stack's datagram has been sent")
				}
				return p.dst.Port() == 6702
			})
			if n := len(flows(t, d, flow.Filter{Port: 6702})); n != 0 {
				t.Error("the packet socket's datagram is tracked")
			}
		})
	})
}

// TestForwardDropped: dropped means that nothing leaves, and no flow begins.
func TestForwardDropped(t *testing.T) {
	inModes(t, testPolicy{dropForward: true, masquerade: true}, func(t *testing.T, r *router, d *Dataplane, m mode) {
		lan, wan := r.tap(t, "l"), r.tap(t, "w")
		inFamilies(t, func(t *testing.T, f family) {
			before := stat(t, d, "drop_policy")
			for _, ttl := range []uint8{1, 64} {
				lan.send(ipPacket(f.lan, f.wanless, unix.IPPROTO_UDP, ttl, udpDatagram(at(f.lan, 6800), at(f.wanless, 6801), nil)))
			}
			// Nor is there an error for the TTL: the chain comes first.
			for _, p := range append(wan.drain(), lan.drain()...) {
				if p.proto == unix.IPPROTO_UDP && p.dst.Port() == 6801 || p.proto == icmpProto(f.lan) && len(p.l4) > 0 && p.l4[0] == pick[uint8](f, 11, 3) {
					t.Errorf("sent: %v to %v, protocol %d", p.src, p.dst, p.proto)
				}
			}
			if n := stat(t, d, "drop_policy") - before; n != 2 {
				t.Errorf("%d drops counted, not 2", n)
			}
			if n := len(flows(t, d, flow.Filter{Port: 6800})); n != 0 {
				t.Errorf("%d flows", n)
			}
		})
	})
}

// TestMalformed packets go no further, and are counted.
func TestMalformed(t *testing.T) {
	inModes(t, testPolicy{}, func(t *testing.T, r *router, d *Dataplane, m mode) {
		lan, wan := r.tap(t, "l"), r.tap(t, "w")
		good := func(f family) []byte {
			return ipPacket(f.lan, f.wanless, unix.IPPROTO_UDP, 64, udpDatagram(at(f.lan, 6900), at(f.wanless, 6901), make([]byte, 32)))
		}
		v4, v6 := families[0], families[1]
		options := ipPacket(v4.lan, v4.wanless, unix.IPPROTO_UDP, 64, append([]byte{1, 1, 1, 0}, good(v4)[20:]...))
		resum := func(p []byte) []byte {
			p[10], p[11] = 0, 0
			binary.BigEndian.PutUint16(p[10:], ^sum16(p[:20]))
			return p
		}
		for name, p := range map[string][]byte{
			"wrong IPv4 header checksum":  func() []byte { p := good(v4); p[10]++; return p }(),
			"wrong checksum over options": func() []byte { options[0] = 0x46; return options }(),
			"IPv4 version 5":              func() []byte { p := good(v4); p[0] = 0x55; return resum(p) }(),
			"IPv4 header of 16 bytes":     func() []byte { p := good(v4); p[0] = 0x44; return resum(p) }(),
			"IPv4 longer than the frame":  func() []byte { p := good(v4); p[3] = 200; return resum(p) }(),
			"IPv4 shorter than its header": func() []byte {
				p := good(v4)
				p[2], p[3] = 0, 19
				return resum(p)
			}(),
			"IPv6 version 5":             func() []byte { p := good(v6); p[0] = 0x50; return p }(),
			"IPv6 longer than the frame": func() []byte { p := good(v6); p[5] = 200; return p }(),
			"endless extension headers": ipPacket(v6.lan, v6.wanless, unix.IPPROTO_HOPOPTS, 64,
				append(make([]byte, 0, 80), make([]byte, 80)...)),
			"extension header past the end": ipPacket(v6.lan, v6.wanless, unix.IPPROTO_DSTOPTS, 64, []byte{17, 9, 0, 0, 0, 0, 0, 0}),
		} {
			t.Run(name, func(t *testing.T) {
				before := stat(t, d, "drop_malformed")
				// Padded, as a short Ethernet frame is.
				lan.send(append(p, make([]byte, max(0, 46-len(p)))...))
				eventually(t, patience, "drop_malformed", func() bool { return stat(t, d, "drop_malformed") == before+1 })
				for _, p := range wan.drain() {
					if p.src.Addr() == v4.lan || p.src.Addr() == v6.lan {
						t.Errorf("sent: %v to %v", p.src, p.dst)
					}
				}
			})
		}
		// Padding is not part of the packet.
		short := ipPacket(v4.lan, v4.wanless, unix.IPPROTO_UDP, 64, udpDatagram(at(v4.lan, 6902), at(v4.wanless, 6903), []byte("x")))
		lan.send(append(append([]byte{}, short...), make([]byte, 17)...))
		p := wan.receive("padded datagram", func(p packet) bool { return p.dst.Port() == 6903 })
		if bad := p.wrongChecksum(); bad != "" || len(p.raw) != len(short) {
			t.Errorf("%d bytes, wrong checksum: %q", len(p.raw), bad)
		}
	})
}
