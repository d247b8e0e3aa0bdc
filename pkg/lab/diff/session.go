// SPDX-License-Identifier: GPL-2.0-only

package diff

import (
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"
)

// end is one end of a session.
type end struct {
	port int // negative: the router itself
	addr netip.Addr
	num  uint16 // port or identifier
}

// view is how a packet of the first end looks to the other.
type view struct {
	ok       bool
	port     int
	src, dst netip.Addr
	num      uint16 // source port, or identifier
	dnum     uint16 // destination port; 0: as it was sent
	ip       []byte
	hops     byte // that it has left
}

// session is a conversation between two ends through, with or of the router.
type session struct {
	t      *trial
	v      int // index of the family
	proto  byte
	a, b   end
	at     [2]view // as the second end saw the last packet, by router
	back   [2]view // as the first end saw the last answer
	script []func() error
	// TCP
	seq    [2]uint32
	last   func() error // what sent the last packet
	ipID   uint16
	reset  bool // an end has sent RST
	unsure bool // its packets may be invalid
}

// newSession returns one of any two ends, without a protocol and a script.
func (t *trial) newSession() *session {
	s := &session{t: t, v: t.IntN(2), ipID: uint16(1 + t.IntN(60000))}
	s.a.port = t.IntN(len(t.ports))
	s.b.port = t.otherPort(s.a.port)
	s.a.addr = t.host(s.a.port, s.v)
	s.b.addr = t.host(s.b.port, s.v)
	switch n := t.IntN(100); {
	case n < 25: // to the router
		s.b = end{port: -1, addr: t.ports[t.IntN(len(t.ports))].addrs[s.v].Addr()}
		if t.IntN(3) > 0 {
			s.b.addr = t.ports[s.a.port].addrs[s.v].Addr()
		}
	case n < 40: // of the router
		s.a = end{port: -1, addr: t.ports[s.b.port].addrs[s.v].Addr()}
		if t.IntN(8) == 0 {
			s.a.addr = t.ports[t.IntN(len(t.ports))].addrs[s.v].Addr()
		}
	}
	s.a.num = t.clientPort()
	s.b.num = choose(t, t.numbers)
	return s
}

func (t *trial) otherPort(p int) int {
	return (p + 1 + t.IntN(len(t.ports)-1)) % len(t.ports)
}

// header returns one for the session's protocol, with what rules may look at
// now and then.
func (s *session) header() ipHeader {
	t := s.t
	s.ipID++
	h := ipHeader{proto: s.proto, ttl: 64, id: s.ipID | 1}
	if t.IntN(10) == 0 {
		h.tos = choose(t, []byte{0x10, 0x20, 0xb8, 0x28, 0x02, byte(t.IntN(256))})
	}
	if t.IntN(4) == 0 {
		h.frag = 0x4000
	}
	if t.IntN(10) == 0 {
		h.ttl = byte(2 + t.IntN(254))
	}
	if n := choose(t, t.numbers); n >= 2 && n <= 255 && t.IntN(8) == 0 {
		h.ttl = byte(n)
	}
	if t.IntN(10) == 0 {
		h.label = t.Uint32() >> 12
	}
	return h
}

// fromA sends a packet from the first end to the second.
func (s *session) fromA(th func(sport, dport uint16) []byte) error {
	h := s.header()
	h.src, h.dst = s.a.addr, s.b.addr
	ip := h.packetOf(th(s.a.num, s.b.num))
	saw, err := s.t.fire(shot{port: s.a.port, ip: [2][][]byte{{ip}, {ip}}})
	if err != nil {
		return err
	}
	s.again(shot{port: s.a.port, ip: [2][][]byte{{ip}, {ip}}})
	s.watch(saw[0])
	var at [2]view
	for i, r := range s.t.routers {
		at[i] = viewOf(r, saw[i], s.proto, h.src, h.dst)
	}
	if at[0].ok && at[1].ok {
		s.at = at
	}
	return nil
}

// again makes a packet the one that is sent twice.
func (s *session) again(p shot) {
	reset := s.reset
	s.last = func() error {
		if s.reset && !reset {
			return nil // it may be a SYN
		}
		saw, err := s.t.fire(p)
		s.watch(saw[0])
		return err
	}
}

// watch looks for resets that the router itself sends: its ports are closed. The
// ruleset may drop them after nf_conntrack has seen them.
func (s *session) watch(saw seen) {
	if s.t.apart {
		s.script = nil // what goes the other way is of a flow at one router only
	}
	for _, d := range saw.local {
		s.reset = s.reset || d.proto == unix.IPPROTO_TCP
	}
	for _, f := range saw.frames {
		if p, ok := parse(f.frame[etherHeader:]); ok && p.proto == unix.IPPROTO_TCP && len(p.th) > 13 && p.th[13]&rst != 0 {
			s.reset = true
		}
	}
}

// viewOf finds the packet from src for dst among what a router did, or else
// what may have become of it: one that does not go back to src. A copy that left before the
// packet was forwarded has more hops left.
func viewOf(r *router, saw seen, proto byte, src, dst netip.Addr) view {
	var all []view
	add := func(port int, b []byte) {
		p, ok := parse(b)
		if !ok || p.proto != proto || p.isError() {
			return
		}
		v := view{ok: true, port: port, src: p.src, dst: p.dst, ip: p.ip, hops: p.hops()}
		if from, ok := keyOf(p); ok {
			v.num, v.dnum = from.local.Port(), from.remote.Port()
		}
		all = append(all, v)
	}
	for _, f := range saw.frames {
		add(f.port, f.frame[etherHeader:])
	}
	for _, d := range saw.local {
		add(-1, d.packet())
	}
	for _, fits := range []func(v view) bool{
		func(v view) bool { return v.dst == dst },
		func(v view) bool { return v.dst != src },
		view.sentOn, // translated to its own source
	} {
		if list := slices.DeleteFunc(slices.Clone(all), func(v view) bool { return !fits(v) }); len(list) > 0 {
			return slices.MinFunc(list, func(a, b view) int { return int(a.hops) - int(b.hops) })
		}
	}
	return view{}
}

// sentOn tells a packet of the sender's from an answer to it.
func (v view) sentOn() bool {
	p, ok := parse(v.ip)
	if !ok || p.proto == unix.IPPROTO_TCP && len(p.th) > 13 && p.th[13]&rst != 0 {
		return false
	}
	_, ok = keyOf(p)
	return ok
}

// fromB sends a packet back: to where the second end saw the last one come
// from, or to where it would come from without translation.
func (s *session) fromB(th func(sport, dport uint16) []byte) error {
	if s.t.portsShow && (s.at[0].num != s.at[1].num || s.b.port < 0 && s.reset) {
		// What the router sends after its reset is a new flow, that masquerading
		// may turn into one from elsewhere: the client's next packet is another
		// flow then, whose port has to change.
		return nil
	}
	perhapsOfNone := (s.reset || s.unsure) && s.proto == unix.IPPROTO_TCP || s.proto == unix.IPPROTO_SCTP
	if perhapsOfNone && !s.t.alike(s.at[0].num, s.at[1].num) {
		return nil // rules would see the ports
	}
	shots := shot{port: s.b.port}
	h := s.header()
	for i := range s.at {
		h.src, h.dst = s.b.addr, s.a.addr
		num, from := s.a.num, s.b.num
		if s.at[i].ok {
			h.src, h.dst, num, shots.port = s.at[i].dst, s.at[i].src, s.at[i].num, s.at[i].port
		}
		if s.at[i].dnum != 0 {
			from = s.at[i].dnum
		}
		shots.ip[i] = [][]byte{h.packetOf(th(from, num))}
	}
	if shots.port < 0 && s.a.port < 0 {
		return nil
	}
	s.again(shots)
	saw, err := s.t.fire(shots)
	s.watch(saw[0])
	if err != nil {
		return err
	}
	for i, r := range s.t.routers {
		s.back[i] = viewOf(r, saw[i], s.proto, s.b.addr, s.a.addr)
	}
	return nil
}

func (s *session) add(steps ...func() error) { s.script = append(s.script, steps...) }

// disturb puts unexpected steps into a script.
func (s *session) disturb(steps ...func() error) {
	for s.t.IntN(3) == 0 {
		at := s.t.IntN(len(s.script) + 1)
		s.script = slices.Insert(s.script, at, choose(s.t, steps))
		s.unsure = true
	}
	again := func() error {
		if s.last == nil {
			return nil
		}
		return s.last()
	}
	if s.t.IntN(3) == 0 {
		s.script = slices.Insert(s.script, s.t.IntN(len(s.script)+1), again)
	}
	if s.t.IntN(4) == 0 {
		s.script = slices.Insert(s.script, s.t.IntN(len(s.script)+1), func() error {
			from := s.b.addr
			if s.at[0].ok {
				from = s.at[0].dst // it may be translated
			}
			if s.at[0].ok && s.at[0].port >= 0 && s.t.IntN(2) == 0 {
				from = s.t.ports[s.at[0].port].hosts[s.v][0]
			}
			return s.errorFrom(from)
		})
	}
	if s.t.IntN(6) == 0 {
		s.script = slices.Insert(s.script, s.t.IntN(len(s.script)+1), s.errorBack)
	}
}

// data returns a payload; some make packets as long as a number of the ruleset.
func (s *session) data() []byte {
	header := []int{20, 40}[s.v] + 8
	if s.proto == unix.IPPROTO_UDPLITE {
		return make([]byte, s.t.IntN(200)) // see Differences
	}
	if n := int(choose(s.t, s.t.numbers)); s.t.IntN(6) == 0 && n >= header && n <= 1500 {
		return make([]byte, n-header)
	}
	return make([]byte, s.t.IntN(40))
}
