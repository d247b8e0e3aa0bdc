// SPDX-License-Identifier: GPL-2.0-only

package diff

import (
	"bytes"
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// Types of ICMP errors besides those of packet.go.
const (
	sourceQuench     = 4
	redirect         = 5
	parameterProblem = 12

	tooBig6           = 2
	parameterProblem6 = 4
)

// oddError sends an ICMP error of any type about the last packet that one of the ends saw,
// from there or from a router on the way, with a quote that is short, old or wrong.
func (s *session) oddError() error {
	t := s.t
	about, back := s.at, t.IntN(3) == 0
	if back {
		about = s.back
	}
	a, b := about[0], about[1]
	if !a.ok || !b.ok || a.port != b.port || t.portsShow && s.at[0].num != s.at[1].num {
		return nil
	}
	type message struct {
		typ, code byte
		rest      uint32
	}
	list := []message{
		{unreachable, byte(t.IntN(16)), 0}, {unreachable, 4, 1500}, {timeExceeded, byte(t.IntN(2)), 0},
		{sourceQuench, 0, 0}, {parameterProblem, 0, 20 << 24}, {redirect, byte(t.IntN(4)), 0x0a090909},
	}
	if s.v == 1 {
		list = []message{
			{unreachable6, byte(t.IntN(8)), 0}, {tooBig6, 0, 1500}, {timeExceeded6, byte(t.IntN(2)), 0},
			{parameterProblem6, byte(t.IntN(3)), 40}, {byte(5 + t.IntN(120)), 0, 0},
		}
	}
	m := choose(t, list)
	if m.typ == redirect && s.v == 0 && s.a.port < 0 {
		return nil // the router would follow it
	}
	elsewhere, change := t.IntN(2) == 0, s.spoilt()
	shots := shot{port: a.port}
	h := s.header()
	h.proto = icmpProto(s.v)
	for i, at := range about {
		h.src, h.dst = at.dst, at.src
		if elsewhere && at.port >= 0 {
			h.src = t.ports[at.port].hosts[s.v][0]
		}
		quote := change(bytes.Clone(at.ip[:min(len(at.ip), 520)]))
		shots.ip[i] = [][]byte{h.packetOf(icmpMessage(m.typ, m.code, m.rest, quote))}
	}
	if shots.port < 0 && s.a.port < 0 {
		return nil
	}
	saw, err := t.fire(shots)
	s.watch(saw[0])
	return err
}

// spoilt returns what makes a quote of a packet.
func (s *session) spoilt() func(ip []byte) []byte {
	t := s.t
	header := func(ip []byte) int {
		p, _ := parse(ip)
		return len(ip) - len(p.th)
	}
	short := choose(t, []int{8, 8, 8, 12, 7, 4, 0})
	bit := byte(1 << t.IntN(8))
	options := 4 * (1 + t.IntN(9))
	switch t.IntN(10) {
	case 0, 1, 2:
		return func(ip []byte) []byte { return ip[:min(len(ip), header(ip)+short)] }
	case 3: // less than the network's
		return func(ip []byte) []byte { return ip[:header(ip)/2] }
	case 4: // its checksum
		return func(ip []byte) []byte {
			if s.v == 0 {
				ip[10] ^= bit
			}
			return ip
		}
	case 5: // and the transport's
		return func(ip []byte) []byte {
			p, _ := parse(ip)
			if at := checksumAt(p.proto); at >= 0 && len(p.th) > at {
				p.th[at] ^= bit
			}
			return ip
		}
	case 6: // options, or extension headers
		return func(ip []byte) []byte { return withOptions(ip, options) }
	case 7: // a fragment: the first one
		return func(ip []byte) []byte { return asFragment(ip, 0) }
	case 8: // or a later one
		return func(ip []byte) []byte {
			p, _ := parse(ip)
			clear(p.th) // what it has is no port
			return asFragment(ip, 64)
		}
	case 9: // an error about an error
		return func(ip []byte) []byte {
			p, _ := parse(ip)
			h := ipHeader{src: p.src, dst: p.dst, proto: icmpProto(s.v), ttl: 9}
			return h.packetOf(icmpMessage([]byte{unreachable, unreachable6}[s.v], 1, 0, ip))
		}
	}
	return func(ip []byte) []byte { return ip }
}

// withOptions puts options, all of them padding, behind a header: of IPv6 a header
// with destination options.
func withOptions(ip []byte, size int) []byte {
	if ip[0]>>4 == 4 {
		if ip[0] != 0x45 {
			return ip
		}
		out := append(append(bytes.Clone(ip[:20]), bytes.Repeat([]byte{1}, size)...), ip[20:]...)
		out[0] += byte(size / 4)
		binary.BigEndian.PutUint16(out[2:], uint16(len(out)))
		binary.BigEndian.PutUint16(out[10:], 0)
		binary.BigEndian.PutUint16(out[10:], ^sum16(out[:20+size]))
		return out
	}
	size = size/8*8 + 8
	head := append([]byte{ip[6], byte(size/8 - 1)}, make([]byte, size-2)...)
	out := append(append(bytes.Clone(ip[:40]), head...), ip[40:]...)
	out[6] = unix.IPPROTO_DSTOPTS
	binary.BigEndian.PutUint16(out[4:], uint16(len(out)-40))
	return out
}

// asFragment makes a packet the part of one that begins at an offset.
func asFragment(ip []byte, offset uint16) []byte {
	if ip[0]>>4 == 4 {
		binary.BigEndian.PutUint16(ip[6:], 0x2000|offset/8)
		binary.BigEndian.PutUint16(ip[10:], 0)
		binary.BigEndian.PutUint16(ip[10:], ^sum16(ip[:int(ip[0]&15)*4]))
		return ip
	}
	head := binary.BigEndian.AppendUint16([]byte{ip[6], 0}, offset|1)
	out := append(append(bytes.Clone(ip[:40]), append(head, 0, 0, 0, 9)...), ip[40:]...)
	out[6] = unix.IPPROTO_FRAGMENT
	binary.BigEndian.PutUint16(out[4:], uint16(len(out)-40))
	return out
}
