// SPDX-License-Identifier: GPL-2.0-only

package diff

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

func init() {
	begin := func(t *trial) *session {
		s := t.newSession()
		if t.tuples[s.tuple()] {
			return nil
		}
		t.tuples[s.tuple()] = true
		s.proto = unix.IPPROTO_SCTP
		s.scriptSCTP()
		return s
	}
	register(kind{name: "sctp", weight: 8, tracking: 12, begin: begin})
	register(kind{name: "sctp that rules are about", weight: 60, begin: func(t *trial) *session {
		if !t.asksSCTP {
			return nil
		}
		return begin(t)
	}})
	register(kind{name: "udp-lite", weight: 4, begin: func(t *trial) *session {
		s := t.newSession()
		if t.tuples[s.tuple()] {
			return nil
		}
		t.tuples[s.tuple()] = true
		s.proto = unix.IPPROTO_UDPLITE
		s.scriptUDP()
		return s
	}})
}

// Chunks of SCTP: RFC 9260, 3.2.
const (
	sctpData             = 0
	sctpInit             = 1
	sctpInitAck          = 2
	sctpSack             = 3
	sctpHeartbeat        = 4
	sctpHeartbeatAck     = 5
	sctpAbort            = 6
	sctpShutdown         = 7
	sctpShutdownAck      = 8
	sctpError            = 9
	sctpCookieEcho       = 10
	sctpCookieAck        = 11
	sctpShutdownComplete = 14
	sctpUnknown          = 0xc1
)

// sctpChunk returns a chunk with a value.
func sctpChunk(typ, flags byte, value []byte) []byte {
	b := binary.BigEndian.AppendUint16([]byte{typ, flags}, uint16(4+len(value)))
	b = append(b, value...)
	return append(b, make([]byte, -len(b)&3)...)
}

// association is one of a session: what an end has told the other to send.
type association struct {
	s    *session
	tags [2]uint32 // that packets from the end carry
}

// send returns a step that sends chunks from an end. An INIT has no tag, and gives
// the other end its own.
func (a *association) send(from int, types ...byte) func() error {
	return func() error {
		t, tag := a.s.t, a.tags[from]
		var chunks []byte
		for _, typ := range types {
			var value []byte
			var flags byte
			switch typ {
			case sctpInit, sctpInitAck:
				if typ == sctpInit {
					tag = 0
				}
				value = binary.BigEndian.AppendUint32(nil, a.tags[1-from])
				value = append(value, 0, 0, 0x40, 0, 0, 1, 0, 1, 0, 0, 0, byte(t.IntN(256)))
			case sctpAbort, sctpShutdownComplete:
				if t.IntN(3) == 0 {
					flags, tag = 1, a.tags[1-from]
				}
			case sctpSack, sctpShutdown:
				value = make([]byte, 12)
			default:
				value = make([]byte, t.IntN(24))
			}
			chunks = append(chunks, sctpChunk(typ, flags, value)...)
		}
		if t.IntN(12) == 0 {
			tag = t.Uint32()
		}
		th := func(sp, dp uint16) []byte {
			b := binary.BigEndian.AppendUint32(ports(sp, dp), tag)
			return append(append(b, 0, 0, 0, 0), chunks...)
		}
		if from == 0 {
			return a.s.fromA(th)
		}
		return a.s.fromB(th)
	}
}

func (s *session) scriptSCTP() {
	t := s.t
	a := &association{s: s, tags: [2]uint32{1 + t.Uint32()>>1, 1 + t.Uint32()>>1}}
	some := func() func() error {
		types := []byte{sctpData, sctpData, sctpSack, sctpHeartbeat, sctpHeartbeatAck, sctpError, sctpUnknown}
		list := []byte{choose(t, types)}
		for t.IntN(3) == 0 {
			list = append(list, choose(t, types))
		}
		return a.send(t.IntN(2), list...)
	}
	any := func() func() error {
		all := []byte{sctpData, sctpInitAck, sctpSack, sctpHeartbeat, sctpHeartbeatAck, sctpAbort, sctpShutdown, sctpShutdownAck, sctpError, sctpCookieEcho, sctpCookieAck, sctpShutdownComplete, sctpUnknown}
		return a.send(t.IntN(2), choose(t, all))
	}
	switch t.IntN(8) {
	case 0: // not from the beginning
		s.add(any(), any(), any())
	case 1: // by another path
		s.add(a.send(0, sctpHeartbeat), a.send(1, sctpHeartbeatAck), some())
	case 2: // refused
		s.add(a.send(0, sctpInit), a.send(1, sctpAbort), a.send(0, sctpInit))
	default:
		s.add(a.send(0, sctpInit), a.send(1, sctpInitAck), a.send(0, sctpCookieEcho), a.send(1, sctpCookieAck))
		for range t.IntN(4) {
			s.add(some())
		}
		if first := t.IntN(3); first < 2 {
			s.add(a.send(first, sctpShutdown), a.send(1-first, sctpShutdownAck), a.send(first, sctpShutdownComplete))
		}
	}
	s.disturb(some(), any(), a.send(0, sctpInit))
}
