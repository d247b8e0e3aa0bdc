// SPDX-License-Identifier: GPL-2.0-only

package diff

import "golang.org/x/sys/unix"

func init() {
	register(kind{name: "udp", weight: 28, tracking: 12, begin: func(t *trial) *session {
		s := t.newSession()
		s.proto = unix.IPPROTO_UDP
		s.scriptUDP()
		return s
	}})
	// More than one of two hosts would clash.
	register(kind{name: "protocol without ports", weight: 4, begin: func(t *trial) *session {
		s := t.newSession()
		if t.others[s.a.addr] || t.others[s.b.addr] {
			return nil
		}
		t.others[s.a.addr], t.others[s.b.addr] = true, true
		s.proto = protoOther
		s.scriptOther()
		return s
	}})
}

func (s *session) scriptUDP() {
	a := func() error {
		data := s.data()
		return s.fromA(func(sp, dp uint16) []byte { return udpDatagram(sp, dp, data) })
	}
	b := func() error {
		data := s.data()
		return s.fromB(func(sp, dp uint16) []byte { return udpDatagram(sp, dp, data) })
	}
	s.add(a)
	for range s.t.IntN(5) {
		s.add(choose(s.t, []func() error{a, b}))
	}
	s.disturb(a, b)
}

func (s *session) scriptOther() {
	a := func() error { return s.fromA(func(uint16, uint16) []byte { return []byte("of no known protocol") }) }
	b := func() error {
		if !s.at[0].ok {
			return nil // no answer, but a flow that may clash
		}
		return s.fromB(func(uint16, uint16) []byte { return []byte("an answer of it") })
	}
	s.add(a, b, a)
	s.disturb(a, b)
}
