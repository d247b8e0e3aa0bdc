// SPDX-License-Identifier: GPL-2.0-only

package diff

import (
	"bytes"
	"net/netip"
)

func init() {
	register(kind{name: "echo", weight: 18, tracking: 6, begin: func(t *trial) *session {
		s := t.newSession()
		s.proto = icmpProto(s.v)
		if t.tracking {
			s.a.num = t.freshPort() // see Differences
		}
		s.scriptEcho()
		return s
	}})
}

func (s *session) scriptEcho() {
	request, reply := byte(echoRequest), byte(echoReply)
	if s.v == 1 {
		request, reply = echoRequest6, echoReply6
	}
	seq := uint32(0)
	message := func(typ byte, id uint16) []byte {
		return icmpMessage(typ, 0, uint32(id)<<16|seq, []byte("sixteen bytes..."))
	}
	a := func() error {
		seq++
		return s.fromA(func(id, _ uint16) []byte { return message(request, id) })
	}
	b := func() error {
		if s.b.port < 0 {
			return nil // the kernel answers
		}
		return s.fromB(func(_, id uint16) []byte { return message(reply, id) })
	}
	wrong := func() error {
		if s.b.port < 0 {
			return nil
		}
		return s.fromB(func(_, id uint16) []byte { return message(reply, 7777) })
	}
	s.add(a, b)
	for range s.t.IntN(4) {
		s.add(choose(s.t, []func() error{a, b}))
	}
	s.disturb(a, b, wrong)
}

// errorFrom sends an ICMP error about the last packet of the first end, from
// the second one or a router on the way.
func (s *session) errorFrom(addr netip.Addr) error {
	if !s.at[0].ok || !s.at[1].ok || s.at[0].port < 0 || s.t.portsShow && s.at[0].num != s.at[1].num {
		return nil
	}
	return s.sendError(s.at, func(int) netip.Addr { return addr })
}

// errorBack sends an ICMP error about the last answer, from the first end.
func (s *session) errorBack() error {
	a, b := s.back[0], s.back[1]
	if !a.ok || !b.ok || a.port < 0 || a.port != b.port || a.dst != s.a.addr || b.dst != s.a.addr || s.t.portsShow && s.at[0].num != s.at[1].num {
		return nil
	}
	return s.sendError(s.back, func(i int) netip.Addr { return s.back[i].dst })
}

// sendError sends an ICMP error about a packet as it was seen.
func (s *session) sendError(about [2]view, from func(router int) netip.Addr) error {
	h := s.header()
	h.proto = icmpProto(s.v)
	typ, code := byte(unreachable), choose(s.t, []byte{0, 1, 3, 13})
	if s.v == 1 {
		typ, code = unreachable6, choose(s.t, []byte{0, 1, 3, 4})
	}
	if s.t.IntN(3) == 0 {
		typ, code = []byte{timeExceeded, timeExceeded6}[s.v], 0
	}
	shots := shot{port: about[0].port}
	cut := s.t.IntN(4)
	for i, at := range about {
		h.src, h.dst = from(i), at.src
		quote := at.ip[:min(len(at.ip), 520)] // as much as RFC 1812 wants
		if p, ok := parse(quote); ok && cut == 0 {
			quote = quote[:min(len(quote), len(quote)-len(p.th)+8)]
		}
		shots.ip[i] = [][]byte{h.packetOf(icmpMessage(typ, code, 0, bytes.Clone(quote)))}
	}
	s.again(shots)
	saw, err := s.t.fire(shots)
	s.watch(saw[0])
	return err
}
