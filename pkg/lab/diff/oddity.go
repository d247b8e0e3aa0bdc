// SPDX-License-Identifier: GPL-2.0-only

package diff

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"
)

// alone registers a kind of one packet; nil: not now.
func alone(name string, packet func(t *trial, o *odd) []byte) {
	single(name, 7, func(t *trial) error {
		o := t.newOdd()
		ip := packet(t, o)
		if ip == nil {
			return nil
		}
		_, err := t.fire(shot{port: o.port, to: o.to, ip: [2][][]byte{{ip}, {ip}}})
		return err
	})
}

// What belongs to nothing: packets alone, right and wrong.
func init() {
	alone("flags that no TCP sends", func(t *trial, o *odd) []byte {
		o.h.proto = unix.IPPROTO_TCP
		return o.h.packetOf(tcpSegment(o.sport, o.dport, t.Uint32(), t.Uint32(), byte(t.IntN(256)), nil))
	})
	alone("a TCP header that claims to be shorter than the least", func(t *trial, o *odd) []byte {
		o.h.proto = unix.IPPROTO_TCP
		th := tcpSegment(o.sport, o.dport, 1, 0, syn, nil)
		th[12] = byte(t.IntN(16)) << 4
		return o.h.packetOf(th)
	})
	alone("a transport header that is cut off", func(t *trial, o *odd) []byte {
		o.h.proto = choose(t, []byte{unix.IPPROTO_TCP, unix.IPPROTO_UDP, icmpProto(o.v)})
		return o.h.packetOf(tcpSegment(o.sport, o.dport, 1, 0, syn, nil)[:t.IntN(20)])
	})
	alone("a length of UDP that is not true", func(t *trial, o *odd) []byte {
		o.h.proto = unix.IPPROTO_UDP
		th := udpDatagram(o.sport, o.dport, []byte("payload"))
		binary.BigEndian.PutUint16(th[4:], uint16(t.IntN(20)))
		return o.h.packetOf(th)
	})
	alone("any ICMP message", func(t *trial, o *odd) []byte {
		o.h.proto = icmpProto(o.v)
		typ, code := t.icmpType(o.v), byte(t.IntN(3))
		if o.v == 0 && typ == 13 {
			return nil // the answer has the time
		}
		if isQuery(o.v, typ) {
			code = 0 // see Differences
		}
		return o.h.packetOf(icmpMessage(typ, code, t.Uint32(), []byte("payload")))
	})
	alone("from where it cannot be", func(t *trial, o *odd) []byte {
		o.h.proto, o.h.src = unix.IPPROTO_UDP, t.host(o.other, o.v)
		if o.h.src == o.h.dst || t.rejects && o.v == 1 {
			return nil // see Differences
		}
		return o.h.packetOf(udpDatagram(o.sport, o.dport, []byte("spoofed")))
	})
	alone("to everybody", func(t *trial, o *odd) []byte {
		if o.v == 1 {
			return nil
		}
		o.to = []byte{255, 255, 255, 255, 255, 255}
		o.h.proto, o.h.dst = unix.IPPROTO_UDP, lastOf(t.ports[o.port].addrs[0])
		if t.IntN(2) == 0 {
			o.h.dst = netip.AddrFrom4([4]byte{255, 255, 255, 255})
		}
		return o.h.packetOf(udpDatagram(o.sport, o.dport, []byte("broadcast")))
	})
	alone("a network header that is broken", func(t *trial, o *odd) []byte {
		o.h.proto = unix.IPPROTO_UDP
		ip := o.h.packetOf(udpDatagram(o.sport, o.dport, []byte("payload")))
		ip[t.IntN([]int{6, 4}[o.v])] ^= 1 << t.IntN(8) // the payload's length of IPv6 has no checksum of its own
		if _, ok := parse(ip); !ok {
			return nil
		}
		return ip
	})
	alone("options of IPv4", func(t *trial, o *odd) []byte {
		if o.v == 1 {
			return nil
		}
		o.h.proto, o.h.options = unix.IPPROTO_UDP, []byte{1, 1, 1, 0}
		return o.h.packetOf(udpDatagram(o.sport, o.dport, []byte("options")))
	})
}

// odd is what a packet alone begins with.
type odd struct {
	v            int // index of the family
	port, other  int
	to           []byte // link-layer address, if not the router's
	h            ipHeader
	sport, dport uint16
}

func (t *trial) newOdd() *odd {
	o := &odd{v: t.IntN(2), port: t.IntN(len(t.ports))}
	o.other = t.otherPort(o.port)
	o.h = ipHeader{
		src: t.host(o.port, o.v), dst: t.host(o.other, o.v),
		ttl: 64, id: uint16(1 + t.IntN(60000)),
	}
	if t.IntN(3) == 0 {
		o.h.dst = t.ports[o.port].addrs[o.v].Addr()
	}
	o.sport, o.dport = t.clientPort(), choose(t, t.numbers)
	return o
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
