// SPDX-License-Identifier: GPL-2.0-only

package doctor

import (
	"strconv"
	"strings"
)

// sample is counters at one time.
type sample struct {
	// interrupts by their number or abbreviation.
	interrupts map[string]row
	// softnet has a line for each CPU that is online: processed, dropped, squeezed.
	softnet [][]uint64
}

// row is a line of /proc/interrupts.
type row struct {
	counts []uint64 // by the CPU's number
	name   string   // what the driver calls it, or what the abbreviation stands for
}

// samples are the counters before and after the pause.
func (h *Host) samples() (before, after *sample) {
	if h.before == nil {
		h.before = h.sample()
		h.Pause()
		h.after = h.sample()
	}
	return h.before, h.after
}

func (h *Host) sample() *sample {
	s := &sample{interrupts: map[string]row{}}
	lines := strings.Split(h.read("proc/interrupts"), "\n")
	var columns []int
	for _, f := range strings.Fields(lines[0]) {
		if n, err := strconv.Atoi(strings.TrimPrefix(f, "CPU")); err == nil {
			columns = append(columns, n)
		}
	}
	for _, line := range lines[1:] {
		name, rest, ok := strings.Cut(line, ":")
		fields := strings.Fields(rest)
		if !ok || len(columns) == 0 || len(fields) < len(columns) {
			continue
		}
		r := row{counts: make([]uint64, columns[len(columns)-1]+1)}
		for i, cpu := range columns {
			r.counts[cpu], _ = strconv.ParseUint(fields[i], 10, 64)
		}
		name = strings.TrimSpace(name)
		if r.name = strings.Join(fields[len(columns):], " "); isNumber(name) && len(fields) > len(columns) {
			r.name = fields[len(fields)-1]
		}
		s.interrupts[name] = r
	}
	for _, line := range strings.Split(h.read("proc/net/softnet_stat"), "\n") {
		var n []uint64
		for _, f := range strings.Fields(line) {
			v, _ := strconv.ParseUint(f, 16, 64)
			n = append(n, v)
		}
		if len(n) >= 3 {
			s.softnet = append(s.softnet, n)
		}
	}
	return s
}

func isNumber(s string) bool {
	_, err := strconv.Atoi(s)
	return err == nil
}

// moved is how often an interrupt came to a CPU during the pause.
func moved(before, after *sample, interrupt string, cpu int) uint64 {
	a, b := before.interrupts[interrupt], after.interrupts[interrupt]
	if cpu >= len(a.counts) || cpu >= len(b.counts) || b.counts[cpu] < a.counts[cpu] {
		return 0
	}
	return b.counts[cpu] - a.counts[cpu]
}
