// SPDX-License-Identifier: GPL-2.0-only

package bbr3

import (
	"fmt"
	"time"
)

// Settings are what can be set of the algorithm. The zero value is [DefaultSettings].
type Settings struct {
	// LossThreshold is the share of a round's packets, in thousandths, that probing
	// may lose: 1 to 500.
	LossThreshold int
	// ProbeRTTInterval is how often a connection empties the queue to see the
	// shortest RTT: 1 s to 60 s.
	ProbeRTTInterval time.Duration
	// ECN has marks answered in proportion to their share, as L4S wants it. Else a
	// mark is a lost packet.
	ECN bool
	// ECNMaxRTT is the shortest RTT of a connection up to which that is so, 0 if
	// always.
	ECNMaxRTT time.Duration
}

// DefaultSettings are those of the draft, and for ECN those that BBR's authors had.
var DefaultSettings = Settings{LossThreshold: 20, ProbeRTTInterval: 5 * time.Second, ECNMaxRTT: 5 * time.Millisecond}

// Check returns what is out of range.
func (s *Settings) Check() error {
	switch {
	case s.LossThreshold < 1 || s.LossThreshold > 500:
		return fmt.Errorf("loss threshold of %d thousandths: want 1 to 500", s.LossThreshold)
	case s.ProbeRTTInterval < time.Second || s.ProbeRTTInterval > time.Minute:
		return fmt.Errorf("ProbeRTT every %s: want 1s to 60s", s.ProbeRTTInterval)
	case s.ECNMaxRTT < 0 || s.ECNMaxRTT > time.Minute:
		return fmt.Errorf("ECN up to an RTT of %s: want 0s to 60s", s.ECNMaxRTT)
	}
	return nil
}

// withDefaults are the settings, or those of the draft if there are none.
func (s Settings) withDefaults() Settings {
	if s == (Settings{}) {
		return DefaultSettings
	}
	return s
}

// set changes those of the object's settings that can be set.
func (s *Settings) set(to *bbr3Bbr3Settings) {
	to.LossThreshold = uint32(s.LossThreshold)
	to.ProbeRttInterval = uint32(s.ProbeRTTInterval.Microseconds())
	to.MinRttWindow = 2 * to.ProbeRttInterval
	to.EcnMaxRtt = uint32(s.ECNMaxRTT.Microseconds())
	to.Ecn = 0
	if s.ECN {
		to.Ecn = 1
	}
}
