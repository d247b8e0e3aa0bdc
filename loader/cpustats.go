// SPDX-License-Identifier: GPL-2.0-only

package loader

import (
	"encoding/binary"
	"fmt"
	"regexp"
	"strings"

	"github.com/cilium/ebpf"
)

// CPUStatus is the packets that a CPU has handled since the dataplane was first
// attached.
type CPUStatus struct {
	CPU int `json:"cpu"`
	// Forwarded by XDP and by TC.
	XDPForwarded uint64 `json:"xdp_forwarded"`
	TCForwarded  uint64 `json:"tc_forwarded"`
	// Local are those to the router, or for its kernel to answer.
	Local uint64 `json:"local"`
	// Dropped are those of all directions.
	Dropped uint64 `json:"dropped"`
	// Own are those that the router sends itself, from the CPU of the sender.
	Own uint64 `json:"own"`
}

// Received is how many packets came in on the CPU and were let through: where they are handled
// is up to the interrupts of the interfaces.
func (c CPUStatus) Received() uint64 { return c.XDPForwarded + c.TCForwarded + c.Local }

// statistics are those of each CPU, by their names.
type statistics struct {
	names  []string
	perCPU [][]uint64 // by the statistic, then by the CPU
}

func readStats(m *ebpf.Map) (s statistics, err error) {
	if s.names, err = statNames(); err != nil {
		return s, err
	}
	return s, s.read(m)
}

// readPinnedStats reads those of the build that made the map.
func readPinnedStats(m *ebpf.Map) (s statistics, err error) {
	types, err := typesOf(m)
	if err != nil {
		return s, err
	}
	if s.names, err = statNamesIn(types); err != nil {
		return s, err
	}
	return s, s.read(m)
}

// read reads a map that has a number of 64 bits for each name.
func (s *statistics) read(m *ebpf.Map) error {
	const number = 8
	size := len(s.names) * number
	raw, err := m.LookupBytes(uint32(0))
	if err != nil {
		return fmt.Errorf("statistics: %w", err)
	}
	if int(m.ValueSize()) != size || len(raw)%size != 0 {
		return fmt.Errorf("statistics are %d bytes in values of %d, not of %d", len(raw), m.ValueSize(), size)
	}
	s.perCPU = make([][]uint64, len(s.names))
	for i := range s.perCPU {
		for at := i * number; at < len(raw); at += size {
			s.perCPU[i] = append(s.perCPU[i], binary.NativeEndian.Uint64(raw[at:]))
		}
	}
	return nil
}

// sums are those of all CPUs together.
func (s statistics) sums() map[string]uint64 {
	out := make(map[string]uint64, len(s.names))
	for i, name := range s.names {
		var sum uint64
		for _, n := range s.perCPU[i] {
			sum += n
		}
		out[name] = sum
	}
	return out
}

// cpus are the packets of those CPUs that have handled one.
func (s statistics) cpus() (out []CPUStatus) {
	if len(s.perCPU) == 0 {
		return nil
	}
	for cpu := range s.perCPU[0] {
		c := CPUStatus{}
		for i, name := range s.names {
			n := s.perCPU[i][cpu]
			switch {
			case name == "xdp_forwarded":
				c.XDPForwarded += n
			case name == "tc_forwarded":
				c.TCForwarded += n
			case name == "local_in", name == "to_kernel":
				c.Local += n
			case name == "local_out":
				c.Own += n
			case name == "drop_fragment_timeout": // the collector's, wherever it runs
			case strings.HasPrefix(name, "drop_"):
				c.Dropped += n
			}
		}
		if c != (CPUStatus{}) {
			c.CPU = cpu
			out = append(out, c)
		}
	}
	return out
}

// FlowCPUStatus is what a CPU has done to flows since the dataplane was first
// attached.
type FlowCPUStatus struct {
	CPU int `json:"cpu"`
	// Stats are those of [Status.Stats] that are about flows and their translation.
	Stats map[string]uint64 `json:"stats"`
}

// ofFlows are what the names of statistics about flows begin with.
var ofFlows = regexp.MustCompile(`^(drop_)?(flow|nat|source|ct)_`)

// flowCPUs are the statistics about flows of those CPUs that have any.
func (s statistics) flowCPUs() (out []FlowCPUStatus) {
	if len(s.perCPU) == 0 {
		return nil
	}
	for cpu := range s.perCPU[0] {
		c := FlowCPUStatus{CPU: cpu, Stats: map[string]uint64{}}
		var any uint64
		for i, name := range s.names {
			if ofFlows.MatchString(name) {
				c.Stats[name] = s.perCPU[i][cpu]
				any |= s.perCPU[i][cpu]
			}
		}
		if any != 0 {
			out = append(out, c)
		}
	}
	return out
}
