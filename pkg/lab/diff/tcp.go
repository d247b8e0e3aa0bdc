// SPDX-License-Identifier: GPL-2.0-only

package diff

import (
	"net/netip"

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
	return func() error {
		if s.reset && flags&(syn|rst) == syn {
			return nil // reopening: see Differences
		}
		toRouter := []end{s.b, s.a}[from].port < 0
		if toRouter && s.begun && flags&(ack|rst) == 0 {
			return nil // the stack's reset is out of the window: see Differences
		}
		s.begun = true
		s.reset = s.reset || flags&rst != 0
		seq, ackSeq := s.seq[from], s.seq[1-from]
		if flags&ack == 0 {
			ackSeq = 0
		}
		data := make([]byte, size)
		th := func(sp, dp uint16) []byte { return tcpSegment(sp, dp, seq, ackSeq, flags, data) }
		s.seq[from] += uint32(size)
		if flags&(syn|fin) != 0 {
			s.seq[from]++
		}
		if from == 0 {
			return s.fromA(th)
		}
		return s.fromB(th)
	}
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
	s.disturb(s.segment(0, syn, 0), s.segment(1, syn|ack, 0), data(0), data(1), s.segment(0, ack, 0), s.segment(1, ack, 0),
		s.segment(0, rst, 0), s.segment(1, rst|ack, 0), s.segment(0, fin|ack, 0), s.segment(1, fin|ack, 0),
		s.segment(t.IntN(2), byte(t.IntN(64)), 0))
}
