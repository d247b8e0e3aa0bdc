// SPDX-License-Identifier: GPL-2.0-only

package diff

import (
	"context"
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"
)

// oddity sends a packet that belongs to nothing.
func (t *trial) oddity() error {
	v, port := t.IntN(2), t.IntN(len(t.ports))
	other := t.otherPort(port)
	h := ipHeader{
		src: choose(t, t.ports[port].hosts[v]), dst: choose(t, t.ports[other].hosts[v]),
		ttl: 64, id: uint16(1 + t.IntN(60000)),
	}
	if t.IntN(3) == 0 {
		h.dst = t.ports[port].addrs[v].Addr()
	}
	sport, dport := choose(t, clientPorts), choose(t, t.numbers)
	var ip []byte
	switch t.IntN(9) {
	case 0: // flags that no TCP sends
		h.proto = unix.IPPROTO_TCP
		ip = h.packetOf(tcpSegment(sport, dport, t.Uint32(), t.Uint32(), byte(t.IntN(256)), nil))
	case 1: // a header that claims to be shorter than the least
		h.proto = unix.IPPROTO_TCP
		th := tcpSegment(sport, dport, 1, 0, syn, nil)
		th[12] = byte(t.IntN(16)) << 4
		ip = h.packetOf(th)
	case 2: // cut off
		h.proto = choose(t, []byte{unix.IPPROTO_TCP, unix.IPPROTO_UDP, icmpProto(v)})
		th := tcpSegment(sport, dport, 1, 0, syn, nil)
		ip = h.packetOf(th[:t.IntN(20)])
	case 3: // a length that is not true
		h.proto = unix.IPPROTO_UDP
		th := udpDatagram(sport, dport, []byte("payload"))
		binary.BigEndian.PutUint16(th[4:], uint16(t.IntN(20)))
		ip = h.packetOf(th)
	case 4: // any ICMP message
		h.proto = icmpProto(v)
		typ, code := t.icmpType(v), byte(t.IntN(3))
		if v == 0 && typ == 13 {
			return nil // the answer has the time
		}
		if isQuery(v, typ) {
			code = 0 // see Differences
		}
		ip = h.packetOf(icmpMessage(typ, code, t.Uint32(), []byte("payload")))
	case 5: // from where it cannot be
		h.proto, h.src = unix.IPPROTO_UDP, choose(t, t.ports[other].hosts[v])
		if h.src == h.dst {
			return nil
		}
		ip = h.packetOf(udpDatagram(sport, dport, []byte("spoofed")))
	case 6: // to everybody
		if v == 1 {
			return nil
		}
		h.proto, h.dst = unix.IPPROTO_UDP, broadcast(t.ports[port].addrs[0])
		if t.IntN(2) == 0 {
			h.dst = netip.AddrFrom4([4]byte{255, 255, 255, 255})
		}
		ip = h.packetOf(udpDatagram(sport, dport, []byte("broadcast")))
		_, err := t.fire(shot{port: port, to: []byte{255, 255, 255, 255, 255, 255}, ip: [2][][]byte{{ip}, {ip}}})
		return err
	case 7: // a header that is broken
		h.proto = unix.IPPROTO_UDP
		ip = h.packetOf(udpDatagram(sport, dport, []byte("payload")))
		ip[t.IntN([]int{6, 4}[v])] ^= 1 << t.IntN(8) // the payload's length of IPv6 has no checksum of its own
		if _, ok := parse(ip); !ok {
			return nil
		}
	default: // options of IPv4
		if v == 1 {
			return nil
		}
		h.proto, h.options = unix.IPPROTO_UDP, []byte{1, 1, 1, 0}
		ip = h.packetOf(udpDatagram(sport, dport, []byte("options")))
	}
	_, err := t.fire(shot{port: port, ip: [2][][]byte{{ip}, {ip}}})
	return err
}

// icmpType is any but those of discovery, which the stack answers by itself.
func (t *trial) icmpType(v int) byte {
	for {
		n := byte(t.IntN(20))
		if v == 1 && t.IntN(2) == 0 {
			n += 120
		}
		if v == 0 && (n == 9 || n == 10) || v == 1 && n >= 130 && n <= 137 {
			continue
		}
		return n
	}
}

// isQuery tells ICMP queries and their answers.
func isQuery(v int, typ byte) bool {
	if v == 0 {
		return typ == echoReply || typ == echoRequest || typ >= 13 && typ <= 18
	}
	return typ == echoRequest6 || typ == echoReply6 || typ == 139 || typ == 140
}

func broadcast(p netip.Prefix) netip.Addr {
	a := p.Addr().As4()
	for bit := p.Bits(); bit < 32; bit++ {
		a[bit/8] |= 0x80 >> (bit % 8)
	}
	return netip.AddrFrom4(a)
}

// fragments sends datagrams in pieces.
func (t *trial) fragments(ctx context.Context, n int) error {
	for range n {
		if err := ctx.Err(); err != nil {
			return err
		}
		s := &session{t: t, proto: unix.IPPROTO_UDP, ipID: uint16(1 + t.IntN(60000))}
		s.a.port = t.IntN(len(t.ports))
		s.b.port = t.otherPort(s.a.port)
		h := s.header()
		h.src = choose(t, t.ports[s.a.port].hosts[0])
		h.dst = choose(t, t.ports[s.b.port].hosts[0])
		if t.IntN(4) == 0 {
			h.dst = t.ports[s.a.port].addrs[0].Addr()
		}
		whole := h.packetOf(udpDatagram(choose(t, clientPorts), choose(t, t.numbers), make([]byte, 16+t.IntN(200))))
		ip := cut(h, whole[20:], 8*(1+t.IntN(10)))
		if _, err := t.fire(shot{port: s.a.port, ip: [2][][]byte{ip, ip}}); err != nil {
			return err
		}
	}
	return nil
}

// cut makes fragments of at most size bytes of a transport packet.
func cut(h ipHeader, th []byte, size int) [][]byte {
	var list [][]byte
	for at := 0; at < len(th); at += size {
		end := min(at+size, len(th))
		h.frag = uint16(at / 8)
		if end < len(th) {
			h.frag |= 0x2000
		}
		list = append(list, h.wrap(th[at:end]))
	}
	return list
}
