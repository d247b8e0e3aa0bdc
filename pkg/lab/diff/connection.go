// SPDX-License-Identifier: GPL-2.0-only

package diff

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

func init() {
	register(kind{name: "a connection in a state", tracking: 50, begin: func(t *trial) *session {
		s := t.newSession()
		if t.tuples[s.tuple()] {
			return nil
		}
		t.tuples[s.tuple()] = true
		s.proto = unix.IPPROTO_TCP
		newConnection(s).play()
		return s
	}})
}

// connection is a TCP connection whose ends do what is not usual: each of its segments
// is right, or wrong in one way that connection tracking has a rule for.
type connection struct {
	s *session
	// next is what an end sends next, first what its SYN had; as it knows them.
	next, first [2]uint32
	last        [2]tcpPart
}

// tcpPart is a segment without its ports.
type tcpPart struct {
	flags    byte
	seq, ack uint32
	window   uint16
	size     int
	options  []byte
}

// end is the sequence number behind it.
func (p tcpPart) end() uint32 {
	n := p.seq + uint32(p.size)
	if p.flags&(syn|fin) != 0 {
		n++
	}
	return n
}

func newConnection(s *session) *connection {
	c := &connection{s: s, next: [2]uint32{s.t.Uint32(), s.t.Uint32()}}
	if s.t.IntN(8) == 0 {
		c.next[s.t.IntN(2)] = -uint32(s.t.IntN(3)) // about to wrap
	}
	return c
}

// put sends a segment from an end.
func (c *connection) put(from int, p tcpPart) error {
	if p.flags&ack == 0 && p.flags&rst == 0 {
		p.ack = 0
	}
	th := func(sp, dp uint16) []byte {
		b := tcpSegment(sp, dp, p.seq, p.ack, p.flags, append(append([]byte{}, p.options...), make([]byte, p.size)...))
		b[12] += byte(len(p.options) / 4 << 4)
		binary.BigEndian.PutUint16(b[14:], p.window)
		return b
	}
	c.last[from] = p
	if p.seq == c.next[from] {
		c.next[from] = p.end()
	}
	if from == 0 {
		return c.s.fromA(th)
	}
	return c.s.fromB(th)
}

// plain is the segment that comes next.
func (c *connection) plain(from int, flags byte, size int) tcpPart {
	return tcpPart{flags: flags, seq: c.next[from], ack: c.next[1-from], window: 0x7fff, size: size}
}

// right returns a step that sends one.
func (c *connection) right(from int, flags byte, size int) func() error {
	return func() error { return c.put(from, c.plain(from, flags, size)) }
}

// opening returns a step that sends a SYN, or a SYN/ACK, that begins anew or not.
func (c *connection) opening(from int, flags byte, again bool) func() error {
	t := c.s.t
	return func() error {
		p := c.plain(from, flags, 0)
		if again {
			p.seq = choose(t, []uint32{c.first[from], c.first[from] + 1, c.next[from], c.next[from] + 100000, t.Uint32()})
			p.ack = choose(t, []uint32{p.ack, p.ack, c.last[1-from].end(), c.first[1-from] + 1, t.Uint32()})
		}
		if t.IntN(8) == 0 {
			p.size = 1 + t.IntN(30) // TCP Fast Open
		}
		p.window = choose(t, []uint16{0x7fff, 0x7fff, 65535, 1, 0})
		p.options = choose(t, [][]byte{
			nil, {4, 2, 1, 1}, {1, 3, 3, byte(t.IntN(16))}, {4, 2, 1, 3, 3, byte(t.IntN(8)), 0, 0},
			{2, 4, 5, 180, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 7},
		})
		c.first[from], c.next[from] = p.seq, p.seq
		return c.put(from, p)
	}
}

// reaches are the segments that lead to each state of nf_conntrack.
var reaches = []func(c *connection, first int) []func() error{
	func(c *connection, _ int) []func() error { return nil }, // none: it is joined
	func(c *connection, _ int) []func() error { return c.shake(1) },
	func(c *connection, _ int) []func() error { return c.shake(2) },
	func(c *connection, _ int) []func() error { // simultaneous open
		return append(c.shake(1), c.opening(1, syn, false))
	},
	func(c *connection, _ int) []func() error { // to its end
		return append(c.shake(1), c.opening(1, syn, false), c.opening(0, syn|ack, false), c.right(1, ack, 0))
	},
	func(c *connection, _ int) []func() error { return c.shake(3) },
	func(c *connection, _ int) []func() error {
		return append(c.shake(3), c.right(0, psh|ack, 9), c.right(1, ack, 0))
	},
	func(c *connection, first int) []func() error { return append(c.shake(3), c.right(first, fin|ack, 0)) },
	func(c *connection, first int) []func() error {
		return append(c.shake(3), c.right(first, fin|ack, 0), c.right(1-first, ack, 0))
	},
	func(c *connection, first int) []func() error {
		return append(c.shake(3), c.right(first, fin|ack, 0), c.right(1-first, ack, 0), c.right(1-first, fin|ack, 0))
	},
	func(c *connection, first int) []func() error {
		return append(c.shake(3), c.right(first, fin|ack, 0), c.right(1-first, fin|ack, 0), c.right(first, ack, 0))
	},
	func(c *connection, first int) []func() error { return append(c.shake(3), c.right(first, rst, 0)) },
}

// shake is a handshake as far as some segments of it.
func (c *connection) shake(n int) []func() error {
	return []func() error{c.opening(0, syn, false), c.opening(1, syn|ack, false), c.right(0, ack, 0)}[:n]
}

// play brings the connection into a state, and then does what is not usual there.
func (c *connection) play() {
	t := c.s.t
	c.s.add(choose(t, reaches)(c, t.IntN(2))...)
	for range 2 + t.IntN(7) {
		c.s.add(c.move())
		if t.IntN(8) == 0 {
			c.s.add(c.s.oddError)
		}
	}
}

// move returns a step that a connection can meet at any time.
func (c *connection) move() func() error {
	t, from := c.s.t, c.s.t.IntN(2)
	change := func(flags byte, size int, change func(p *tcpPart)) func() error {
		return func() error {
			p := c.plain(from, flags, size)
			change(&p)
			return c.put(from, p)
		}
	}
	offset := func() uint32 {
		n := choose(t, []uint32{1, 1, 2, 40, 0x7ffe, 0x7fff, 0x8000, 65535, 65999, 66000, 66001, 70000, 1 << 20, 1 << 31})
		if t.IntN(2) == 0 {
			return -n
		}
		return n
	}
	switch t.IntN(20) {
	case 0, 1:
		return c.right(from, psh|ack, 1+t.IntN(40))
	case 2, 3:
		return c.right(from, ack, 0)
	case 4:
		return c.right(from, fin|ack, t.IntN(2)*9)
	case 5, 6: // once more, or often: a retransmission
		n := 1 + t.IntN(4)
		return func() error {
			for range n {
				if c.last[from].flags == 0 {
					return nil
				}
				if err := c.put(from, c.last[from]); err != nil {
					return err
				}
			}
			return nil
		}
	case 7: // behind a gap, or known already
		return change(psh|ack, t.IntN(30), func(p *tcpPart) { p.seq += offset() })
	case 8: // of what was not sent, or long ago
		return change(ack, 0, func(p *tcpPart) { p.ack += offset() })
	case 9:
		return change(ack, 0, func(p *tcpPart) { p.window = choose(t, []uint16{0, 0, 1, 65535}) })
	case 10: // a keepalive
		return change(ack, t.IntN(2), func(p *tcpPart) { p.seq-- })
	case 11: // and what answers one whose connection is not known
		return change(ack, 0, func(p *tcpPart) { p.ack++ })
	case 12, 13:
		return c.opening(from, syn, true)
	case 14:
		return c.opening(from, syn|ack, true)
	case 15, 16, 17:
		return change(rst|ack*byte(t.IntN(2)), 0, func(p *tcpPart) {
			p.seq = choose(t, []uint32{p.seq, p.seq, c.last[1-from].ack, p.seq + offset(), c.last[from].end(), 0})
			p.ack = choose(t, []uint32{p.ack, p.ack, c.last[1-from].end(), p.ack + offset(), 0})
		})
	case 18:
		return change(ack, t.IntN(2)*20, func(p *tcpPart) {
			p.options = []byte{1, 1, 5, 2}
			for range 1 + t.IntN(3) {
				edge := p.ack + choose(t, []uint32{0, 1, 20, 1000, 1 << 17, 0xffffffce})
				p.options = binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(p.options, edge-1), edge)
				p.options[3] += 8
			}
		})
	}
	return c.right(from, byte(t.IntN(64)), 0)
}
