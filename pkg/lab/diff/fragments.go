// SPDX-License-Identifier: GPL-2.0-only

package diff

import (
	"encoding/binary"
	"regexp"
	"slices"

	"golang.org/x/sys/unix"
)

// Datagrams in fragments. Two routers may cut one differently: what leaves them
// is compared whole.
func init() {
	single("fragments", 20, func(t *trial) error {
		if t.partsShow {
			return nil
		}
		o := t.newOdd()
		if o.h.ttl = byte(2 + t.IntN(60)); t.IntN(8) == 0 {
			o.h.tos = choose(t, []byte{0x10, 0xb8, 0x02, 0x03})
		}
		whole := t.datagram(o)
		h := o.h
		if o.v == 1 {
			h.proto = unix.IPPROTO_FRAGMENT
		}
		t.datagrams++ // not the seed's: the kernel remembers what is incomplete
		ip := h.cut(o.h.proto, whole, t.datagrams, t.disturb(t.pieces(o.h.proto, whole)))
		_, err := t.fire(shot{port: o.port, ip: [2][][]byte{ip, ip}})
		return err
	})
}

// partsShow tells whether rules at interfaces match on transport headers: kernels
// read those of later fragments from what is there instead, if it is a field of 1,
// 2 or 4 bytes, and l2d finds none.
func partsShow(ruleset string) bool {
	return atInterface.MatchString(ruleset) && onTransport.MatchString(ruleset)
}

var (
	atInterface = regexp.MustCompile(`hook (?:ingress|egress)`)
	onTransport = regexp.MustCompile(`\b(?:tcp|udp|udplite|sctp|dccp|icmp|icmpv6|igmp|ah|esp|comp|gre|th) [a-z]|@(?:th|ih),`)
)

// datagram is a transport packet that is worth to be cut, with its checksum.
func (t *trial) datagram(o *odd) []byte {
	data := make([]byte, 16+t.IntN(1200))
	for i := range data {
		data[i] = byte(t.IntN(3))
	}
	kind := t.IntN(4)
	if kind > 0 && t.IntN(8) == 0 { // not to be echoed: the router's own is seen in fragments
		data = append(data, make([]byte, 4000)...)
	}
	var th []byte
	switch kind {
	case 0:
		o.h.proto = icmpProto(o.v)
		th = icmpMessage([]byte{echoRequest, echoRequest6}[o.v], 0, uint32(t.freshPort())<<16|1, data)
	case 1:
		o.h.proto = unix.IPPROTO_TCP
		th = tcpSegment(t.freshPort(), o.dport, t.Uint32(), 0, syn, data)
	default:
		o.h.proto = unix.IPPROTO_UDP
		th = udpDatagram(t.freshPort(), o.dport, data)
	}
	return slices.Clone(o.h.packetOf(th)[len(o.h.packetOf(nil)):])
}

const ipv6FragmentHeader = 8

// piece is a fragment's payload in the datagram's.
type piece struct {
	start, end int
	more       bool
}

// pieces cuts a transport packet, behind its header: l2d drops what is tiny. In
// not too many pieces: those of IPv6 have a least MTU for a reason.
func (t *trial) pieces(proto byte, whole []byte) []piece {
	first := 8
	if proto == unix.IPPROTO_TCP {
		first = 24
	}
	size := max(8*(1+t.IntN(100)), 8*(len(whole)/240))
	var list []piece
	for at := 0; at < len(whole); {
		end := at + size
		if at == 0 {
			end = max(end, first)
		}
		end = min(end, len(whole))
		// The kernel sends a datagram of IPv6 whole that is no longer without its
		// fragments' headers than the largest of these.
		if len(whole)-end <= ipv6FragmentHeader {
			end = len(whole)
		}
		list = append(list, piece{at, end, end < len(whole)})
		at = end
	}
	return list
}

// disturb puts pieces into another order, and now and then does more to them. No
// first one is left without the others: the kernel would tell its sender, later.
func (t *trial) disturb(list []piece) []piece {
	if len(list) == 1 {
		return list
	}
	i := 1 + t.IntN(len(list)-1)
	p := list[i]
	odd := t.IntN(12)
	if odd == 1 { // a missing one
		list = list[1:]
	}
	if from := t.IntN(3); odd >= 2 && odd <= 4 || from == 0 {
		from = 1 // the first one comes first
		t.Shuffle(len(list)-from, func(i, j int) { list[from+i], list[from+j] = list[from+j], list[from+i] })
	} else if from == 1 {
		t.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	}
	after := func(i int) int { return i + t.IntN(len(list)-i+1) }
	add := func(p piece, i int) { list = slices.Insert(list, i, p) }
	switch {
	case odd == 0: // a duplicate
		add(p, after(1))
	case odd == 2 && p.more: // an overlap
		add(piece{p.start - 8, p.end, true}, after(1))
	case odd == 3 && p.end-p.start > 16: // a part of one again
		add(piece{p.start + 8, p.start + 16, true}, after(1))
	case odd == 4 && p.more: // another end; before the right one, it could make a whole with a wrong checksum
		add(piece{p.start, p.end, false}, after(1+slices.IndexFunc(list, func(p piece) bool { return !p.more })))
	}
	return list
}

// cut makes fragments of a transport packet; h is what each of them has.
func (h ipHeader) cut(proto byte, whole []byte, id uint32, list []piece) [][]byte {
	var out [][]byte
	h.id = uint16(id)
	for _, p := range list {
		data, off := whole[p.start:p.end], uint16(p.start)
		if h.src.Is4() {
			h.frag = off / 8
			if p.more {
				h.frag |= 0x2000
			}
		} else {
			if p.more {
				off |= 1
			}
			head := binary.BigEndian.AppendUint16([]byte{proto, 0}, off)
			data = append(binary.BigEndian.AppendUint32(head, id), data...)
		}
		out = append(out, h.wrap(data))
	}
	return out
}

// renumber gives a datagram that is sent once more another identification: a router
// may still hold fragments of it.
func (r *Rig) renumber(s shot) shot {
	if len(s.ip[0]) < 2 {
		return s
	}
	r.datagrams++
	for i, list := range s.ip {
		s.ip[i] = make([][]byte, len(list))
		for n, b := range list {
			s.ip[i][n] = withID(b, r.datagrams)
		}
	}
	return s
}

// withID is a fragment as ipHeader.cut makes it, with another identification.
func withID(b []byte, id uint32) []byte {
	b = slices.Clone(b)
	const header6 = 40
	switch {
	case b[0]>>4 == 4:
		binary.BigEndian.PutUint16(b[4:], uint16(id))
		binary.BigEndian.PutUint16(b[10:], 0)
		binary.BigEndian.PutUint16(b[10:], ^sum16(b[:int(b[0]&15)*4]))
	case b[6] == unix.IPPROTO_FRAGMENT && len(b) >= header6+ipv6FragmentHeader:
		binary.BigEndian.PutUint32(b[header6+4:], id)
	}
	return b
}
