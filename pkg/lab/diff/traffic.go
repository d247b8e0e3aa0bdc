// SPDX-License-Identifier: GPL-2.0-only

package diff

import (
	"bytes"
	"context"
	"net/netip"
	"regexp"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// sessions is how many are under way at once.
const sessions = 6

// traffic sends packets of sessions that take turns.
func (t *trial) traffic(ctx context.Context, packets int) error {
	var open []*session
	for t.sent < packets {
		if err := ctx.Err(); err != nil {
			return err
		}
		if t.IntN(12) == 0 {
			if err := t.oddity(); err != nil {
				return err
			}
			continue
		}
		if len(open) < sessions {
			open = append(open, t.newSession())
		}
		i := t.IntN(len(open))
		s := open[i]
		if len(s.script) == 0 {
			open = slices.Delete(open, i, i+1)
			continue
		}
		step := s.script[0]
		s.script = s.script[1:]
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

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
	ip       []byte
}

// session is a conversation between two ends through, with or of the router.
type session struct {
	t      *trial
	v      int // index of the family
	proto  byte
	a, b   end
	at     [2]view // as the second end saw the last packet, by router
	script []func() error
	// TCP
	seq   [2]uint32
	last  func() error // what sent the last packet
	ipID  uint16
	reset bool // an end has sent RST
	begun bool // a segment has been sent
}

func choose[T any](t *trial, from []T) T { return from[t.IntN(len(from))] }

var commonPorts = []uint16{22, 53, 67, 80, 443, 547, 7, 9, 1024, 65535}

// early finds base chains that see source ports as NAT chose them: before the
// destination's translation, or after the source's.
var early = regexp.MustCompile(`hook prerouting|hook output priority (?:raw|-)|hook postrouting priority (?:1[0-9]{2}|srcnat \+)`)

// portsShow tells whether one of them is not that of a NAT table.
func portsShow(ruleset string) bool {
	for _, line := range regexp.MustCompile(`type filter [^;]*;`).FindAllString(ruleset, -1) {
		if early.MatchString(line) {
			return true
		}
	}
	return false
}

// constants are the numbers of a ruleset that can be ports, and those beside
// them.
func constants(ruleset string) []uint16 {
	list := slices.Clone(commonPorts)
	for _, m := range regexp.MustCompile(`\b\d{1,5}\b`).FindAllString(ruleset, -1) {
		n, err := strconv.ParseUint(m, 10, 16)
		if err != nil || n == 0 {
			continue
		}
		for d := -1; d <= 1; d++ {
			if p := uint16(int(n) + d); p != 0 && !slices.Contains(list, p) {
				list = append(list, p)
			}
		}
	}
	return list
}

// Clients use few ports, so that flows collide.
var clientPorts = []uint16{1023, 1024, 600, 40000, 40001, 5353, 123, 50123, 61000, 33434}

func (t *trial) newSession() *session {
	s := &session{t: t, v: t.IntN(2), ipID: uint16(1 + t.IntN(60000))}
	s.a.port = t.IntN(len(t.ports))
	s.b.port = t.otherPort(s.a.port)
	s.a.addr = choose(t, t.ports[s.a.port].hosts[s.v])
	s.b.addr = choose(t, t.ports[s.b.port].hosts[s.v])
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
	s.a.num = choose(t, clientPorts)
	if t.IntN(4) == 0 {
		s.a.num = uint16(1024 + t.IntN(60000))
	}
	if t.portsShow {
		t.client++
		s.a.num = 1024 + t.client%60000
	}
	s.b.num = choose(t, t.numbers)
	switch n := t.IntN(100); {
	case n < 50 && !t.tuples[s.tuple()]:
		t.tuples[s.tuple()] = true
		s.proto = unix.IPPROTO_TCP
		s.seq = [2]uint32{t.Uint32(), t.Uint32()}
		s.scriptTCP()
	case n < 78:
		s.proto = unix.IPPROTO_UDP
		s.scriptUDP()
	case n < 96:
		s.proto = icmpProto(s.v)
		s.scriptEcho()
	case !t.others[s.a.addr] && !t.others[s.b.addr]: // more than one would clash
		t.others[s.a.addr], t.others[s.b.addr] = true, true
		s.proto = protoOther
		s.scriptOther()
	}
	return s
}

// tcpTuple names a TCP connection: no two sessions have the same.
type tcpTuple struct {
	a, b netip.AddrPort
}

func (s *session) tuple() tcpTuple {
	return tcpTuple{netip.AddrPortFrom(s.a.addr, s.a.num), netip.AddrPortFrom(s.b.addr, s.b.num)}
}

func (t *trial) otherPort(p int) int {
	return (p + 1 + t.IntN(len(t.ports)-1)) % len(t.ports)
}

func (s *session) header() ipHeader {
	s.ipID++
	h := ipHeader{proto: s.proto, ttl: 64, id: s.ipID | 1}
	if s.t.IntN(10) == 0 {
		h.tos = choose(s.t, []byte{0x10, 0x20, 0xb8, 0x28, 0x02})
	}
	if s.t.IntN(4) == 0 {
		h.frag = 0x4000
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
		at[i] = viewOf(r, saw[i], s.proto, h.dst)
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
	for _, d := range saw.local {
		s.reset = s.reset || d.proto == unix.IPPROTO_TCP
	}
	for _, f := range saw.frames {
		if p, ok := parse(f.frame[etherHeader:]); ok && p.proto == unix.IPPROTO_TCP && len(p.th) > 13 && p.th[13]&rst != 0 {
			s.reset = true
		}
	}
}

// viewOf finds the packet for dst among what a router did.
func viewOf(r *router, saw seen, proto byte, dst netip.Addr) view {
	for _, f := range saw.frames {
		p, ok := parse(f.frame[etherHeader:])
		if ok && p.proto == proto && p.dst == dst && !p.isError() {
			v := view{ok: true, port: f.port, src: p.src, dst: p.dst, ip: p.ip}
			if from, ok := keyOf(p); ok {
				v.num = from.local.Port()
			}
			return v
		}
	}
	for _, d := range saw.local {
		b := d.packet()
		p, ok := parse(b)
		if ok && p.proto == proto && p.dst == dst && !p.isError() {
			v := view{ok: true, port: -1, src: p.src, dst: p.dst, ip: b}
			if from, ok := keyOf(p); ok {
				v.num = from.local.Port()
			}
			return v
		}
	}
	return view{}
}

// fromB sends a packet back: to where the second end saw the last one come
// from, or to where it would come from without translation.
func (s *session) fromB(th func(sport, dport uint16) []byte) error {
	if s.t.portsShow && s.at[0].num != s.at[1].num {
		return nil
	}
	shots := shot{port: s.b.port}
	h := s.header()
	for i := range s.at {
		h.src, h.dst = s.b.addr, s.a.addr
		num := s.a.num
		if s.at[i].ok {
			h.src, h.dst, num, shots.port = s.at[i].dst, s.at[i].src, s.at[i].num, s.at[i].port
		}
		shots.ip[i] = [][]byte{h.packetOf(th(s.b.num, num))}
	}
	if shots.port < 0 && s.a.port < 0 {
		return nil
	}
	s.again(shots)
	saw, err := s.t.fire(shots)
	s.watch(saw[0])
	return err
}

// errorFrom sends an ICMP error about the last packet of the first end, from
// the second one or a router on the way.
func (s *session) errorFrom(addr netip.Addr) error {
	if !s.at[0].ok || !s.at[1].ok || s.at[0].port < 0 || s.t.portsShow && s.at[0].num != s.at[1].num {
		return nil
	}
	for k := range s.t.chosen[0].name {
		if k.local.Addr() == s.at[0].dst && k.remote == netip.AddrPortFrom(s.at[0].src, s.at[0].num) {
			return nil // the other end's port was changed: see Differences
		}
	}
	h := s.header()
	h.proto = icmpProto(s.v)
	typ, code := byte(unreachable), choose(s.t, []byte{0, 1, 3, 13})
	if s.v == 1 {
		typ, code = unreachable6, choose(s.t, []byte{0, 1, 3, 4})
	}
	if s.t.IntN(3) == 0 {
		typ, code = []byte{timeExceeded, timeExceeded6}[s.v], 0
	}
	shots := shot{port: s.at[0].port}
	cut := s.t.IntN(4)
	for i, at := range s.at {
		h.src, h.dst = addr, at.src
		quote := at.ip
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

func (s *session) add(steps ...func() error) { s.script = append(s.script, steps...) }

// disturb puts unexpected steps into a script.
func (s *session) disturb(steps ...func() error) {
	for s.t.IntN(3) == 0 {
		at := s.t.IntN(len(s.script) + 1)
		s.script = slices.Insert(s.script, at, choose(s.t, steps))
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
			if s.at[0].ok && s.at[0].port >= 0 && s.t.IntN(2) == 0 {
				from = s.t.ports[s.at[0].port].hosts[s.v][0]
			}
			return s.errorFrom(from)
		})
	}
}

func (s *session) data() []byte { return make([]byte, s.t.IntN(40)) }

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
