// SPDX-License-Identifier: GPL-2.0-only

package diff

import (
	"time"

	"golang.org/x/sys/unix"
)

// A datagram makes its exchange a stream if it comes two seconds after the first one, by the
// clock of each router, which are not the same to the tick. The rig waits rather than send
// one at about that time.
const (
	streamAfter = 2 * time.Second
	// streamDoubt is what a busy machine may take from one router to the other.
	streamDoubt = 250 * time.Millisecond
)

// exchanges are when exchanges of datagrams began, by the source of the packets of either
// direction as the first router gets them.
type exchanges map[natKey]time.Time

// wait is how long a datagram has to wait at a moment.
func (e exchanges) wait(k natKey, now time.Time) time.Duration {
	began, ok := e[k]
	if age := now.Sub(began); ok && (age-streamAfter).Abs() < streamDoubt {
		return streamAfter + streamDoubt - age
	}
	return 0
}

// note notes what became of a datagram that was sent at a moment.
func (e exchanges) note(k natKey, at time.Time, out []parsed) {
	if began, ok := e[k]; ok {
		at = began
	}
	for _, p := range out {
		if answer, ok := replyKey(p); ok && p.proto == unix.IPPROTO_UDP {
			e[k], e[answer] = at, at
		}
	}
}

// awaitStream waits until it is no question whether a packet makes its exchange a stream.
func (t *trial) awaitStream(s shot) {
	if k, ok := datagramOf(s); ok {
		time.Sleep(t.exchanges.wait(k, time.Now()))
	}
}

// noteExchange notes what became of a packet that was sent at a moment, and seen behind the
// first router.
func (t *trial) noteExchange(s shot, at time.Time, saw seen) {
	k, ok := datagramOf(s)
	if !ok {
		return
	}
	var out []parsed
	for _, f := range assemble(saw.frames) {
		if p, ok := parse(f.frame[etherHeader:]); ok {
			out = append(out, p)
		}
	}
	for _, d := range saw.local {
		if p, ok := parse(d.packet()); ok {
			out = append(out, p)
		}
	}
	t.exchanges.note(k, at, out)
}

// datagramOf names a packet that is a datagram, as the first router gets it.
func datagramOf(s shot) (natKey, bool) {
	p, ok := parse(firstOf(s.ip[0]))
	if !ok || p.proto != unix.IPPROTO_UDP {
		return natKey{}, false
	}
	return keyOf(p)
}
