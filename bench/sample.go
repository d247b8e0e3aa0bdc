// SPDX-License-Identifier: GPL-2.0-only

package bench

import (
	"errors"
	"fmt"
)

// Sample is one repetition of one device.
type Sample struct {
	Device  string  `json:"device"`
	Round   int     `json:"round"`
	Flows   int     `json:"flows"`
	Mix     string  `json:"mix,omitempty"`   // of frames and flows; the shortest, in turn: empty
	Cores   int     `json:"cores,omitempty"` // of the router's, if more than one
	Seconds float64 `json:"seconds"`
	// Packets: made by the generator, taken by the router's NIC (the rest
	// found its ring full), arrived at the receiver, or back at the generator if
	// each begins a flow, or taken and dropped if that is what is measured.
	Offered  uint64 `json:"offered"`
	Accepted uint64 `json:"accepted"`
	Received uint64 `json:"received"`
	// Busy is the part of the time that the router's NAPI threads ran, all of them together.
	Busy float64 `json:"busy"`
}

func newSample(c Case, a, b reading) Sample {
	d := b.at.Sub(a.at)
	received := b.received - a.received
	if c.Dropped {
		received = b.accepted - a.accepted
	}
	cores := c.Cores
	if cores == 1 {
		cores = 0
	}
	return Sample{
		Device:   c.Name(),
		Flows:    c.Flows,
		Mix:      c.Mix.String(),
		Cores:    cores,
		Seconds:  d.Seconds(),
		Offered:  b.sent - a.sent,
		Accepted: b.accepted - a.accepted,
		Received: received,
		Busy:     (b.busy - a.busy).Seconds() / d.Seconds(),
	}
}

// check refuses what no run can have measured.
func (s Sample) check() error {
	if err := checkName(s.Device); err != nil {
		return err
	}
	switch {
	case s.Round < 0 || s.Flows < 0 || s.Cores < 0:
		return errors.New("a negative number")
	case !printable(s.Mix) || len(s.Mix) > maxName:
		return fmt.Errorf("%.40q is no mix", s.Mix)
	case s.Seconds < 1e-6 || s.Seconds > 1e6:
		return fmt.Errorf("%g seconds", s.Seconds)
	case s.Busy != 0 && (s.Busy < 1e-6 || s.Busy > 1e3):
		return fmt.Errorf("the packet core was busy %g of the time", s.Busy)
	}
	return nil
}

// Rate is packets received per second of the packet core: what the router would
// reach if it had the core for itself all the time. On an idle machine it has.
func (s Sample) Rate() float64 {
	if s.Busy <= 0 {
		return 0
	}
	return s.Wall() / s.Busy
}

// Wall is packets received per second on the clock.
func (s Sample) Wall() float64 { return float64(s.Received) / s.Seconds }

// Lost is the part of the packets that the router took and that did not arrive.
func (s Sample) Lost() float64 {
	if s.Accepted == 0 || s.Received >= s.Accepted {
		return 0
	}
	return float64(s.Accepted-s.Received) / float64(s.Accepted)
}

// Load is how many times what the router took was offered to it.
func (s Sample) Load() float64 {
	if s.Accepted == 0 {
		return 0
	}
	return float64(s.Offered) / float64(s.Accepted)
}

// String is the sample on a line.
func (s Sample) String() string {
	return fmt.Sprintf("%s %.3f Mpps a core, %.3f with %.0f %% of it, offered %.2f times, %.2f %% lost",
		s.Device, s.Rate()/1e6, s.Wall()/1e6, 100*s.Busy, s.Load(), 100*s.Lost())
}
