// SPDX-License-Identifier: GPL-2.0-only

package config

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// bbr3Name is the congestion control that l2d can bring along.
const bbr3Name = "bbr3"

// Sources of bbr3.
const (
	// BBR3Auto takes what the kernel has or has a module for, else l2d's.
	BBR3Auto = "auto"
	// BBR3BPF is l2d's, BBR3Module the kernel's.
	BBR3BPF    = "bpf"
	BBR3Module = "module"
	// BBR3None removes l2d's, unless connections use it; BBR3Drain leaves these to
	// their end with it.
	BBR3None  = "none"
	BBR3Drain = "drain"
)

// BBR3 is where the congestion control bbr3 comes from, and how l2d's is set.
type BBR3 struct {
	Source string `json:"source"`
	// LossThreshold is in thousandths, 0 for the default; the same with times.
	LossThreshold    int           `json:"loss_threshold,omitempty"`
	ProbeRTTInterval time.Duration `json:"probe_rtt_interval,omitempty"`
	// L4S has marks answered in proportion to their share, up to an RTT: 0 for the
	// default, less than 0 for any.
	L4S       bool          `json:"l4s,omitempty"`
	ECNMaxRTT time.Duration `json:"ecn_max_rtt,omitempty"`
	// Enforce has it set again when something else has changed it.
	Enforce bool `json:"enforce,omitempty"`

	at position
}

// At is an error with the place of the section in a file.
func (b *BBR3) At(file string) Error {
	return Error{File: file, Line: b.at.line, Column: b.at.column, Key: "host.congestion_control"}
}

// hasSettings tells whether something of l2d's is set.
func (b *BBR3) hasSettings() bool {
	return b.LossThreshold != 0 || b.ProbeRTTInterval != 0 || b.L4S || b.ECNMaxRTT != 0
}

const (
	leastProbeRTTInterval = time.Second
	mostProbeRTTInterval  = time.Minute
	mostECNMaxRTT         = time.Minute
	mostLossThreshold     = 500
)

// bbr3 reads how l2d's congestion control is set.
func (d *decoder) bbr3(v node, b *BBR3) {
	answer := ""
	v.mapping(map[string]field{
		"loss_threshold": func(v node) {
			var s string
			v.str(&s, "a share from 0.1% to 50% in steps of 0.1%, such as 2%", func(s string) bool { return thousandths(s) > 0 })
			b.LossThreshold = thousandths(s)
		},
		"probe_rtt_interval": func(v node) { v.within(&b.ProbeRTTInterval, leastProbeRTTInterval, mostProbeRTTInterval) },
		"marks": func(v node) {
			v.oneOf(&answer, "l4s", "classic")
			b.L4S = answer == "l4s"
		},
		"l4s_max_rtt": func(v node) {
			var s string
			v.str(&s, "a time from 1us to 1m, such as 5ms, or none", func(s string) bool { return maxRTT(s) != 0 })
			b.ECNMaxRTT = maxRTT(s)
		},
	})
}

// thousandths of a share in percent; 0 if it is none that can be.
func thousandths(s string) int {
	number, ok := strings.CutSuffix(s, "%")
	whole, tenth, _ := strings.Cut(number, ".")
	if tenth == "" {
		tenth = "0"
	}
	n, err := strconv.ParseUint(whole+tenth, 10, 16)
	if !ok || err != nil || len(tenth) != 1 || whole == "" || n > mostLossThreshold {
		return 0
	}
	return int(n)
}

// maxRTT is less than 0 for any; 0 if it is none that can be.
func maxRTT(s string) time.Duration {
	if s == wordNone {
		return -1
	}
	x, err := time.ParseDuration(s)
	if err != nil || x < time.Microsecond || x > mostECNMaxRTT || x%time.Microsecond != 0 {
		return 0
	}
	return x
}

// wantBBR3 completes what a section says of bbr3: it is wanted if something uses it.
func wantBBR3(v node, b BBR3, list []Sysctl, routes []Route) *BBR3 {
	used := slices.ContainsFunc(list, func(s Sysctl) bool {
		return s.Name != tcpECN && slices.Contains(strings.Fields(s.Value), bbr3Name)
	}) || slices.ContainsFunc(routes, func(r Route) bool { return r.CongestionControl == bbr3Name })
	if !used && b.Source == "" && !b.hasSettings() {
		return nil
	}
	gone := b.Source == BBR3None || b.Source == BBR3Drain
	switch {
	case gone && used:
		v.failf("bbr3 is used here", "auto, bpf or module as its source, or another congestion control")
	case (gone || b.Source == BBR3Module) && b.hasSettings():
		v.failf("the settings of bbr3 are of l2d's", "auto or bpf as its source, or no settings")
	}
	if b.Source == "" {
		b.Source = BBR3Auto
	}
	b.at = positionOf(v.n)
	return &b
}
