// SPDX-License-Identifier: GPL-2.0-only

package diff

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"
)

func init() {
	register(kind{name: "tcp", weight: 50, begin: func(t *trial) *session {
		s := t.newSession()
		if t.tuples[s.tuple()] {
			return nil
		}
		t.tuples[s.tuple()] = true
		s.proto = unix.IPPROTO_TCP
		s.seq = [2]uint32{t.Uint32(), t.Uint32()}
		s.scriptTCP()
		return s
	}})
}

// tcpTuple names a TCP connection: no two sessions have the same.
type tcpTuple struct {
	a, b netip.AddrPort
}

func (s *session) tuple() tcpTuple {
	return tcpTuple{netip.AddrPortFrom(s.a.addr, s.a.num), netip.AddrPortFrom(s.b.addr, s.b.num)}
}

// segment returns a step that sends a TCP segment from end 0 or 1.
func (s *session) segment(from int, flags byte, size int) func() error {
	return func() error { return s.send(from, flags, size, 0, 0, 0x7fff) }
}

// stray returns a step that sends a segment which may be outside the window, or
// shrinks it.
func (s *session) stray(from int, flags byte) func() error {
	t := s.t
	offset := func() uint32 {
		n := choose(t, []uint32{0, 0, 0, 1, 2, 40, 0x7ffe, 0x7fff, 0x8000, 65535, 66000, 66001, 70000, 1 << 20, t.Uint32()})
		if t.IntN(2) == 0 {
			return -n
		}
		return n
	}
	return func() error {
		return s.send(from, flags, choose(t, []int{0, 0, 1, 30}), offset(), offset(), choose(t, []uint16{0, 1, 100, 0x7fff, 65535}))
	}
}

// send sends a segment, whose numbers are some bytes besides those that are next.
func (s *session) send(from int, flags byte, size int, seqOff, ackOff uint32, window uint16) error {
	seq, ackSeq := s.seq[from]+seqOff, s.seq[1-from]+ackOff
	if flags&ack == 0 {
		ackSeq = 0
	}
	data := make([]byte, size)
	options := s.options(flags, ackSeq)
	th := func(sp, dp uint16) []byte {
		b := tcpSegment(sp, dp, seq, ackSeq, flags, append(options, data...))
		b[12] += byte(len(options) / 4 << 4)
		binary.BigEndian.PutUint16(b[14:], window)
		return b
	}
	if seqOff == 0 {
		s.seq[from] += uint32(size)
		if flags&(syn|fin) != 0 {
			s.seq[from]++
		}
	}
	if from == 0 {
		return s.fromA(th)
	}
	return s.fromB(th)
}

// options returns TCP options: for a SYN those that conntrack reads, else a
// timestamp or selective acknowledgements.
func (s *session) options(flags byte, ackSeq uint32) []byte {
	t := s.t
	if t.IntN(3) > 0 {
		return nil
	}
	const nop, scale, sackPermitted, sack, timestamp = 1, 3, 4, 5, 8
	if flags&syn != 0 {
		return choose(t, [][]byte{
			{sackPermitted, 2, nop, nop},
			{nop, scale, 3, byte(t.IntN(16))},
			{2, 4, 5, 180, sackPermitted, 2, timestamp, 10, 0, 0, 0, 1, 0, 0, 0, 0, nop, scale, 3, 7},
			{scale, 3, 2, 0},
			{nop, nop, sackPermitted, 2},
			{nop, scale, 9, 1},
		})
	}
	if t.IntN(2) == 0 {
		return []byte{nop, nop, timestamp, 10, 0, 0, 0, 1, 0, 0, 0, 2}
	}
	b := []byte{nop, nop, sack, 2}
	for range 1 + t.IntN(3) {
		edge := ackSeq + choose(t, []uint32{0, 1, 20, 1000, 1 << 17, 0xffffffce})
		b = binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(b, edge-1), edge)
		b[3] += 8
	}
	return b
}

func (s *session) scriptTCP() {
	t := s.t
	data := func(from int) func() error { return s.segment(from, psh|ack, 1+t.IntN(40)) }
	switch t.IntN(10) {
	case 0: // half-open
		s.add(s.segment(0, syn, 0))
	case 1: // refused
		s.add(s.segment(0, syn, 0), s.segment(1, rst|ack, 0))
	case 2: // half-open, then reset
		s.add(s.segment(0, syn, 0), s.segment(1, syn|ack, 0), s.segment(0, rst, 0))
	case 3: // joined in the middle
		s.add(data(0), data(1), data(0))
	default:
		s.add(s.segment(0, syn, 0), s.segment(1, syn|ack, 0), s.segment(0, ack, 0))
		for range t.IntN(5) {
			s.add(data(t.IntN(2)))
		}
		first := t.IntN(2)
		switch t.IntN(4) {
		case 0:
			s.add(s.segment(first, rst|ack, 0))
		case 1, 2:
			s.add(s.segment(first, fin|ack, 0), s.segment(1-first, ack, 0), s.segment(1-first, fin|ack, 0), s.segment(first, ack, 0))
		}
	}
	if len(s.script) >= 6 && t.IntN(2) == 0 && !t.expiry { // see Differences
		s.strays()
		return
	}
	s.disturb(s.segment(0, syn, 0), s.segment(1, syn|ack, 0), data(0), data(1), s.segment(0, ack, 0), s.segment(1, ack, 0),
		s.segment(0, rst, 0), s.segment(1, rst|ack, 0), s.segment(0, fin|ack, 0), s.segment(1, fin|ack, 0),
		s.segment(t.IntN(2), byte(t.IntN(64)), 0))
}

// strays puts segments of any numbers behind a handshake.
func (s *session) strays() {
	s.unsure = true
	for {
		flags := choose(s.t, []byte{ack, ack, psh | ack, rst, rst | ack, fin | ack, syn, syn | ack})
		at := 4 + s.t.IntN(len(s.script)-4)
		s.script = slices.Insert(s.script, at, s.stray(s.t.IntN(2), flags))
		if s.t.IntN(2) == 0 {
			return
		}
	}
}
