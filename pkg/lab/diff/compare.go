// SPDX-License-Identifier: GPL-2.0-only

package diff

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// natKey is a translated source as the other end of its flow sees it.
type natKey struct {
	proto         byte
	local, remote netip.AddrPort
}

// choices are what one router chose where it was free to.
type choices struct {
	// name of each chosen port: the same for both routers.
	name map[natKey]uint16
	// used has the source, before translation, of each tuple in use.
	used map[natKey]netip.AddrPort
	// mapped are the ports that each source had before.
	mapped map[netip.AddrPort]map[uint16]bool
	// lucky is how often it may still choose the port that the client has: where
	// rules have it choose at random, of the lower ones once in some hundred times.
	lucky int
	// owners are the sources that had a translated one, towards anybody: l2d,
	// whose mappings are endpoint-independent, gives the port of one to no other.
	owners map[natKey]map[netip.AddrPort]bool
	// waits are the sources of packets that went nowhere, by protocol and port: those that
	// wait for a neighbour have their flow, and what it has of l2d's ports is not to be seen.
	waits map[natKey]map[netip.AddrPort]bool
}

// portKey names a port, whatever its address.
func portKey(k natKey) natKey {
	return natKey{proto: k.proto, local: netip.AddrPortFrom(netip.Addr{}, k.local.Port())}
}

// ownKey names a source, whatever it is translated for.
func ownKey(k natKey) natKey {
	return natKey{proto: k.proto, local: k.local}
}

// note adds a source to those of a key.
func note(sources map[natKey]map[netip.AddrPort]bool, k natKey, source netip.AddrPort) {
	if sources[k] == nil {
		sources[k] = map[netip.AddrPort]bool{}
	}
	sources[k][source] = true
}

// others tells whether there are other sources than one in a list.
func others(list map[netip.AddrPort]bool, source netip.AddrPort) bool {
	return len(list) > 1 || len(list) == 1 && !list[source]
}

func newChoices(random bool) *choices {
	c := &choices{name: map[natKey]uint16{}, used: map[natKey]netip.AddrPort{}, mapped: map[netip.AddrPort]map[uint16]bool{}, owners: map[natKey]map[netip.AddrPort]bool{}, waits: map[natKey]map[netip.AddrPort]bool{}}
	if random {
		c.lucky = 8
	}
	return c
}

// keyOf names the tuple of a packet by its source.
func keyOf(p parsed) (natKey, bool) {
	src, dst := portsAt(p.proto, p.th)
	if src < 0 || p.offset != 0 {
		return natKey{}, false
	}
	k := natKey{p.proto, netip.AddrPortFrom(p.src, be16(p.th[src:])), netip.AddrPortFrom(p.dst, 0)}
	if dst >= 0 {
		k.remote = netip.AddrPortFrom(p.dst, be16(p.th[dst:]))
	}
	return k, true
}

// replyKey names the tuple of a packet by its destination.
func replyKey(p parsed) (natKey, bool) {
	src, dst := portsAt(p.proto, p.th)
	if dst < 0 || p.offset != 0 {
		return natKey{}, false
	}
	k := natKey{p.proto, netip.AddrPortFrom(p.dst, be16(p.th[dst:])), netip.AddrPortFrom(p.src, 0)}
	if src >= 0 {
		k.remote = netip.AddrPortFrom(p.src, be16(p.th[src:]))
	}
	return k, true
}

// portsAt is where a transport packet has what NAT translates as its source and
// its destination port; -1: nowhere.
func portsAt(proto byte, th []byte) (src, dst int) {
	switch proto {
	case unix.IPPROTO_TCP, unix.IPPROTO_UDP, unix.IPPROTO_UDPLITE, unix.IPPROTO_SCTP:
		if len(th) >= 4 {
			return 0, 2
		}
	case unix.IPPROTO_ICMP, unix.IPPROTO_ICMPV6:
		if len(th) < 6 {
			break
		}
		switch {
		case hasOwnID(proto, th[0]):
			return 4, -1
		case hasOtherID(proto, th[0]):
			return -1, 4
		}
	}
	return -1, -1
}

// hasOwnID tells the ICMP messages whose identifier is the sender's, hasOtherID
// those with the one of the receiver: echo, and of IPv4 also timestamps,
// information and address masks.
func hasOwnID(proto, typ byte) bool {
	if proto == unix.IPPROTO_ICMP {
		return typ == echoRequest || typ == 13 || typ == 15 || typ == 17
	}
	return typ == echoRequest6
}

func hasOtherID(proto, typ byte) bool {
	if proto == unix.IPPROTO_ICMP {
		return typ == echoReply || typ == 14 || typ == 16 || typ == 18
	}
	return typ == echoReply6
}

// isAnswerTo tells what the router has made itself of a packet that was sent, wherever it
// goes: a translation may send it to another host.
func (p parsed) isAnswerTo(sent parsed) bool {
	switch {
	case p.dst == sent.src:
		return true
	case p.isError():
		return !sent.isError()
	case p.proto != sent.proto || len(p.th) == 0 || len(sent.th) == 0:
		return false
	case p.proto == unix.IPPROTO_TCP && len(p.th) > 13 && len(sent.th) > 13:
		return p.th[13]&rst != 0 && sent.th[13]&rst == 0
	}
	return hasOtherID(p.proto, p.th[0]) && hasOwnID(sent.proto, sent.th[0])
}

// neutral replaces a packet's free choices in place: the names of translated
// ports, checksums, and the identification of an answer. That
// is the router's own: any number, perhaps even the one that was sent.
func (n *choices) neutral(b []byte, answer bool) {
	p, ok := parse(b)
	if !ok {
		return
	}
	if p.src.Is4() {
		binary.BigEndian.PutUint16(b[10:], 0)
		if answer {
			binary.BigEndian.PutUint16(b[4:], 0)
		}
	}
	if p.offset != 0 {
		return
	}
	src, dst := portsAt(p.proto, p.th)
	from, isFrom := keyOf(p)
	to, isTo := replyKey(p)
	if name, ok := n.name[from]; ok && isFrom {
		binary.BigEndian.PutUint16(p.th[src:], name)
	}
	// Of what goes to the very socket that it seems to come from, the source was chosen.
	if name, ok := n.name[to]; ok && isTo && (!isFrom || to != from) {
		binary.BigEndian.PutUint16(p.th[dst:], name)
	}
	if at := checksumAt(p.proto); at >= 0 && len(p.th) >= at+2 {
		binary.BigEndian.PutUint16(p.th[at:], 0)
	}
	if p.proto == unix.IPPROTO_SCTP && len(p.th) >= sctpHeader {
		copy(p.th[8:sctpHeader], make([]byte, 4))
	}
	if p.isError() {
		n.neutral(p.th[8:], false)
	}
}

// verify returns an error that says which checksum of a packet is wrong.
func verify(b []byte) error {
	p, _ := parse(b)
	if bad := p.checksums(); bad != "" {
		return fmt.Errorf("wrong checksum of the %s", bad)
	}
	return nil
}

// image is what a router did, in a form that can be compared. Checksums have to
// be right, unless the packet came with a wrong one.
func (n *choices) image(r *router, s seen, sent []byte) ([]string, error) {
	var list []string
	from, _ := parse(sent)
	neutral := func(b []byte) {
		p, ok := parse(b)
		n.neutral(b, ok && p.isAnswerTo(from))
	}
	broken := verify(sent) != nil
	for _, f := range assemble(s.frames) {
		b := append([]byte(nil), f.frame...)
		if p, ok := parse(b[etherHeader:]); ok {
			b = b[:etherHeader+len(p.ip)] // without the padding
		}
		if err := verify(b[etherHeader:]); err != nil && !broken {
			return nil, fmt.Errorf("out by %s: %w", r.ports[f.port].name, err)
		}
		neutral(b[etherHeader:])
		list = append(list, "out "+string(rune('0'+f.port))+string(b))
	}
	for _, d := range s.local {
		b := d.packet()
		if err := verify(b); err != nil && !broken {
			return nil, fmt.Errorf("delivered: %w", err)
		}
		neutral(b)
		list = append(list, "in "+string(rune('0'+d.ifindex))+string(b))
	}
	slices.Sort(list) // by interface; all is of one moment
	return list, nil
}

// packet is a delivered packet with a network header; that of IPv6, which the
// kernel has taken off, is made from what it told.
func (d *delivered) packet() []byte {
	if d.version == 0 {
		return append([]byte(nil), d.data...)
	}
	return ipHeader{src: d.src, dst: d.dst, proto: d.proto}.wrap(d.data)
}

// assemble puts datagrams together whose fragments all arrived: routers may cut
// them differently.
func assemble(frames []arrived) []arrived {
	type key struct {
		port     int
		src, dst netip.Addr
		id       uint32
	}
	parts := map[key][]parsed{}
	var out []arrived
	for _, f := range frames {
		p, ok := parse(f.frame[etherHeader:])
		if !ok || !p.fragment {
			out = append(out, f)
			continue
		}
		k := key{f.port, p.src, p.dst, p.id}
		parts[k] = append(parts[k], p)
		if whole := join(parts[k]); whole != nil {
			delete(parts, k)
			out = append(out, arrived{f.port, append(append([]byte(nil), f.frame[:etherHeader]...), whole...)})
		}
	}
	for k, list := range parts {
		for _, p := range list {
			out = append(out, arrived{k.port, append(make([]byte, etherHeader), p.ip...)})
		}
	}
	return out
}

// join returns the datagram of all its fragments, or nil.
func join(list []parsed) []byte {
	slices.SortFunc(list, func(a, b parsed) int { return a.offset - b.offset })
	var th []byte
	for _, p := range list {
		if p.offset != len(th) {
			return nil
		}
		th = append(th, p.th...)
	}
	if !list[len(list)-1].last {
		return nil
	}
	p := list[0]
	h := ipHeader{src: p.src, dst: p.dst, proto: p.proto}
	if p.src.Is4() {
		h.ttl, h.tos, h.id = p.ip[8], p.ip[1], uint16(p.id)
	} else {
		h.ttl, h.tos = p.ip[7], p.ip[0]<<4|p.ip[1]>>4
		h.label = binary.BigEndian.Uint32(p.ip) & 0xfffff
	}
	return h.wrap(th)
}

// isOthers tells whether a tuple is of a flow of another source.
func (n *choices) isOthers(k natKey, source netip.AddrPort) bool {
	owner, taken := n.used[k]
	return taken && owner != source
}

// learn gives names to the ports that the routers chose for a flow. A router
// may change a source port if another flow has the tuple, or if it changed it
// for the same source before, or may be told to. l2d may do so if another source
// has the port, towards whatever end, or may have. What else they change has to be the other's
// choice, too. It tells whether answers are of another flow at one router only: it alone kept
// the port, or has given it to another source before.
func learn(both [2]*choices, sent []byte, r [2]*router, s [2]seen, next *uint16) (apart bool) {
	in, ok := parse(sent)
	if !ok {
		return false
	}
	from, ok := keyOf(in)
	if !ok {
		return false
	}
	if s[0].nothing() && s[1].nothing() {
		note(both[1].waits, portKey(from), from.local) // it went nowhere
		return false
	}
	var to [2]natKey
	var free [2]bool
	for i := range s {
		v := viewOf(r[i], s[i], in.proto, in.src, in.dst)
		p, ok := parse(v.ip)
		if !v.ok || !ok {
			return false
		}
		if to[i], ok = keyOf(p); !ok {
			return false
		}
		same := to[i]
		same.local = netip.AddrPortFrom(same.local.Addr(), from.local.Port())
		taken := others(both[i].owners[ownKey(same)], from.local) || others(both[i].waits[portKey(from)], from.local)
		free[i] = to[i] != same && (i == 1 && taken || both[i].isOthers(same, from.local) || both[i].mapped[from.local][to[i].local.Port()])
		// The kernel looks before the source's translation, too, and only then has
		// another identifier for a query: ports are not the destination's to change.
		if in.proto == icmpProto(version(in.src)) {
			same.local = from.local
			free[i] = free[i] || to[i].local.Port() != from.local.Port() && both[i].isOthers(same, from.local)
		}
	}
	kept := func(i int) bool { return to[i].local.Port() == from.local.Port() }
	for i, c := range both {
		if kept(i) && !kept(1-i) && !free[1-i] && c.lucky > 0 {
			c.lucky--
			free[i] = true
		}
	}
	apart = kept(0) != kept(1) || both[0].isOthers(to[0], from.local) != both[1].isOthers(to[1], from.local)
	for i, c := range both {
		c.used[to[i]] = from.local
		note(c.owners, ownKey(to[i]), from.local)
		if !kept(i) {
			if c.mapped[from.local] == nil {
				c.mapped[from.local] = map[uint16]bool{}
			}
			c.mapped[from.local][to[i].local.Port()] = true
		}
		// Its answers have a tuple that nobody else may take, either.
		if k, ok := replyKey(in); ok {
			c.used[k] = netip.AddrPort{}
		}
	}
	if (!kept(0) && !kept(1) || free[0] || free[1]) && (both[0].name[to[0]] == 0 || both[0].name[to[0]] != both[1].name[to[1]]) {
		*next++
		both[0].name[to[0]], both[1].name[to[1]] = *next, *next
	}
	if kept(0) == kept(1) {
		return apart
	}
	// What one has named outside is the same inside, where the other has it, too.
	for i, c := range both {
		inside := natKey{to[i].proto, from.local, to[i].remote}
		if c.name[inside] == 0 {
			c.name[inside] = c.name[to[i]]
		}
	}
	return apart
}

// learnTarget gives names to the ports that a packet is sent to, or quotes, where
// they are the routers' choices: also to those that it leaves with, as the flow
// has gone.
func learnTarget(both [2]*choices, sent [2][]byte, r [2]*router, s [2]seen, next *uint16) {
	var in [2]parsed
	var to, now, quoted [2]natKey
	ok := true
	for i := range sent {
		var valid bool
		in[i], valid = parse(sent[i])
		if !valid {
			return
		}
		if in[i].isError() {
			q, _ := parse(in[i].th[8:])
			quoted[i], valid = keyOf(q)
		} else {
			to[i], valid = replyKey(in[i])
		}
		ok = ok && valid
	}
	if !ok {
		return
	}
	name(both, quoted, next)
	name(both, to, next)
	for i := range s {
		v := viewOf(r[i], s[i], in[i].proto, in[i].src, in[i].dst)
		out, ok := parse(v.ip)
		if !v.ok || !ok {
			return
		}
		if now[i], ok = replyKey(out); !ok || now[i].local.Port() != to[i].local.Port() {
			return
		}
	}
	name(both, now, next)
}

// name names a port that each router chose, if it is not the same one and has
// no name.
func name(both [2]*choices, k [2]natKey, next *uint16) {
	if k[0].local != k[1].local && both[0].name[k[0]] == 0 && both[1].name[k[1]] == 0 {
		*next++
		both[0].name[k[0]], both[1].name[k[1]] = *next, *next
	}
}

// describe decodes an IP packet for people.
func describe(b []byte) string {
	p, ok := parse(b)
	if !ok {
		return fmt.Sprintf("no IP packet: %x", b)
	}
	var s strings.Builder
	ttl := p.ip[7]
	if p.src.Is4() {
		ttl = p.ip[8]
	}
	fmt.Fprintf(&s, "%s > %s, %d bytes, ttl %d", p.src, p.dst, len(p.ip), ttl)
	if p.fragment {
		fmt.Fprintf(&s, ", fragment id %d at %d last %v", p.id, p.offset, p.last)
	}
	switch {
	case p.offset != 0:
		fmt.Fprintf(&s, ", protocol %d", p.proto)
	case p.proto == unix.IPPROTO_TCP && len(p.th) >= 20:
		fmt.Fprintf(&s, ", tcp %d > %d [%s] seq %d ack %d, %d bytes of data", be16(p.th), be16(p.th[2:]), flagText(p.th[13]),
			binary.BigEndian.Uint32(p.th[4:]), binary.BigEndian.Uint32(p.th[8:]), len(p.th)-20)
	case p.proto == unix.IPPROTO_UDP && len(p.th) >= 8:
		fmt.Fprintf(&s, ", udp %d > %d, length %d", be16(p.th), be16(p.th[2:]), be16(p.th[4:]))
	case p.isError():
		fmt.Fprintf(&s, ", icmp error %d/%d about (%s)", p.th[0], p.th[1], describe(p.th[8:]))
	case p.proto == icmpProto(version(p.src)) && len(p.th) >= 8:
		fmt.Fprintf(&s, ", icmp %d/%d id %d seq %d", p.th[0], p.th[1], be16(p.th[4:]), be16(p.th[6:]))
	default:
		fmt.Fprintf(&s, ", protocol %d: %x", p.proto, p.th)
	}
	if bad := p.checksums(); bad != "" {
		fmt.Fprintf(&s, ", wrong checksum: %s", bad)
	}
	return s.String()
}

func be16(b []byte) uint16 { return binary.BigEndian.Uint16(b) }

func flagText(f byte) string {
	var s strings.Builder
	for i, c := range "FSRPAU" {
		if f&(1<<i) != 0 {
			s.WriteRune(c)
		}
	}
	return s.String()
}

// nothing tells that a router did nothing with a packet that is to be seen.
func (s seen) nothing() bool { return len(s.frames) == 0 && len(s.local) == 0 }

// describe says what a router did with a packet.
func (s seen) describe(r *router) []string {
	var list []string
	for _, f := range s.frames {
		list = append(list, fmt.Sprintf("out by %s: %s", r.ports[f.port].name, describe(f.frame[etherHeader:])))
	}
	for _, d := range s.local {
		list = append(list, "delivered: "+describe(d.packet()))
	}
	if len(list) == 0 {
		list = append(list, "nothing")
	}
	return list
}
