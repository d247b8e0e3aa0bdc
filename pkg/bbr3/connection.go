// SPDX-License-Identifier: GPL-2.0-only

package bbr3

import (
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/cilium/ebpf"
)

// Connection is what the congestion control knows of a connection's path.
type Connection struct {
	// State is STARTUP, DRAIN, DOWN, CRUISE, REFILL, UP or PROBE_RTT.
	State string `json:"state"`
	// Bandwidth is the estimate that it sends by, MaxBandwidth what the path has given, in
	// bits of payload a second.
	Bandwidth    float64 `json:"bandwidth"`
	MaxBandwidth float64 `json:"max_bandwidth"`
	// MinRTT is the shortest of the last ten seconds; 0 before there is one.
	MinRTT time.Duration `json:"min_rtt_ns"`
	// InflightLongterm is how many packets the path takes without losing too many; 0 if
	// that is not known.
	InflightLongterm uint32 `json:"inflight_longterm"`
	// FullBandwidth says that it has once filled the path.
	FullBandwidth bool `json:"full_bandwidth"`
	// Rounds, and how many times it has looked for the shortest RTT.
	Rounds    uint32 `json:"rounds"`
	ProbeRTTs uint32 `json:"probe_rtts"`
	// ECNAlpha is the smoothed share of packets that were marked.
	ECNAlpha float64 `json:"ecn_alpha"`
	// PacingGain and CwndGain are those of now.
	PacingGain float64 `json:"pacing_gain"`
	CwndGain   float64 `json:"cwnd_gain"`
}

// stateNames are those of enum bbr3_state.
var stateNames = [...]string{"STARTUP", "DRAIN", "DOWN", "CRUISE", "REFILL", "UP", "PROBE_RTT", "none"}

// ErrNoState is that a connection has none: it uses another congestion control, or another
// build of this one, or there was no memory for it.
var ErrNoState = errors.New("no state of a connection")

// Connection reads the state of a connection of this process.
func (r Registration) Connection(c syscall.Conn) (Connection, error) {
	m, err := ebpf.LoadPinnedMap(r.pin(socksPin), nil)
	if err != nil {
		return Connection{}, fmt.Errorf("pinned map %s: %w", r.pin(socksPin), err)
	}
	defer m.Close()
	s, err := stateOf(m, c)
	if err != nil {
		return Connection{}, err
	}
	return describe(&s.B), nil
}

func stateOf(m *ebpf.Map, c syscall.Conn) (s bbr3Bbr3Sock, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return s, err
	}
	var lookup error
	if err := raw.Control(func(fd uintptr) { lookup = m.Lookup(uint32(fd), &s) }); err != nil {
		return s, err
	}
	if errors.Is(lookup, ebpf.ErrKeyNotExist) {
		return s, ErrNoState
	}
	return s, lookup
}

// describe is a state in units of the world.
func describe(b *bbr3Bbr3) Connection {
	const unit, gain, noLimit = 1 << 24, 256, ^uint32(0)
	bits := func(bw uint64) float64 { return float64(bw) / unit * 1e6 * float64(b.C.Mss) * 8 }
	c := Connection{
		State: stateNames[min(int(b.State), len(stateNames)-1)], Bandwidth: bits(b.Bw), MaxBandwidth: bits(max(b.MaxBw[0], b.MaxBw[1])),
		FullBandwidth: b.FullBwReached != 0, Rounds: b.RoundCount, ProbeRTTs: b.ProbeRtts, ECNAlpha: float64(b.EcnAlpha) / 1000,
		PacingGain: float64(b.PacingGain) / gain, CwndGain: float64(b.CwndGain) / gain,
	}
	if b.MinRtt != noLimit {
		c.MinRTT = time.Duration(b.MinRtt) * time.Microsecond
	}
	if b.InflightLongterm != noLimit {
		c.InflightLongterm = b.InflightLongterm
	}
	return c
}
