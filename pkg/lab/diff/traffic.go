// SPDX-License-Identifier: GPL-2.0-only

package diff

import (
	"context"
	"slices"
)

// kind is a kind of traffic. Each registers itself, in the file that makes it;
// their order, and so what a seed makes, is that of the files' names.
type kind struct {
	name string
	// weight is how often it begins: 50 for TCP; tracking is that in a run about
	// connection tracking.
	weight, tracking int
	// begin returns a session, whose script is then run step by step while others
	// take turns; nil: not now.
	begin func(t *trial) *session
}

var kinds []kind

func register(k kind) { kinds = append(kinds, k) }

// single registers a kind of one packet, or one of its own.
func single(name string, weight int, fire func(t *trial) error) {
	register(kind{name: name, weight: weight, begin: func(t *trial) *session {
		return &session{t: t, script: []func() error{func() error { return fire(t) }}}
	}})
}

// weightOf is how often a kind of traffic begins.
func (t *trial) weightOf(k kind) int {
	if t.tracking {
		return k.tracking
	}
	return k.weight
}

// begin chooses a kind of traffic, and begins it.
func (t *trial) begin() *session {
	total := 0
	for _, k := range kinds {
		total += t.weightOf(k)
	}
	n := t.IntN(total)
	for _, k := range kinds {
		if n -= t.weightOf(k); n < 0 {
			return k.begin(t)
		}
	}
	return nil
}

// sessions is how many are under way at once.
const sessions = 6

// traffic sends packets of sessions that take turns.
func (t *trial) traffic(ctx context.Context, packets int) error {
	var open []*session
	most := sessions
	if t.expiry {
		most = burstSessions
	}
	for t.sent < packets {
		if err := ctx.Err(); err != nil {
			return err
		}
		if t.expiry && t.sent-t.burstSent >= t.burstSize() {
			t.pause()
		}
		if err := t.maybeMove(); err != nil {
			return err
		}
		if len(open) < most {
			if s := t.begin(); s != nil {
				open = append(open, s)
			}
			continue
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

func choose[T any](t *trial, from []T) T { return from[t.IntN(len(from))] }

// replay sends packets as they are.
func (t *trial) replay(ctx context.Context, shots []shot) error {
	for _, s := range shots {
		if err := ctx.Err(); err != nil {
			return err
		}
		if _, err := t.fire(t.renumber(s)); err != nil {
			return err
		}
	}
	return nil
}
