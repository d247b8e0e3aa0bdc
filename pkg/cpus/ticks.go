// SPDX-License-Identifier: GPL-2.0-only

package cpus

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// TickRate is how many ticks a second has in /proc, whatever the kernel's own clock:
// USER_HZ.
const TickRate = 100

// Ticks are what a CPU has done since it started, proc_stat(5). What guests have had is of
// User and Nice.
type Ticks struct {
	User, Nice, System, Idle, IOWait, IRQ, SoftIRQ, Steal uint64
}

// Busy are those in which the CPU did something, or another machine did in its place.
func (t Ticks) Busy() uint64 { return t.User + t.Nice + t.System + t.IRQ + t.SoftIRQ + t.Steal }

// All are those since it started.
func (t Ticks) All() uint64 { return t.Busy() + t.Idle + t.IOWait }

// TicksTime is how long some ticks are.
func TicksTime(ticks uint64) time.Duration { return time.Duration(ticks) * time.Second / TickRate }

// ReadTicks reads those of all CPUs that are online.
func ReadTicks() (map[int]Ticks, error) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return nil, err
	}
	out, err := parseTicks(string(text))
	if err != nil {
		return nil, fmt.Errorf("/proc/stat: %w", err)
	}
	return out, nil
}

func parseTicks(text string) (map[int]Ticks, error) {
	out := map[int]Ticks{}
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) == 0 || !strings.HasPrefix(f[0], "cpu") || f[0] == "cpu" {
			continue
		}
		n, err := strconv.Atoi(f[0][len("cpu"):])
		if err != nil {
			return nil, err
		}
		var t Ticks
		fields := []*uint64{&t.User, &t.Nice, &t.System, &t.Idle, &t.IOWait, &t.IRQ, &t.SoftIRQ, &t.Steal}
		if len(f) <= len(fields) {
			return nil, fmt.Errorf("%q has less than %d numbers", line, len(fields))
		}
		for i, to := range fields {
			if *to, err = strconv.ParseUint(f[1+i], 10, 64); err != nil {
				return nil, err
			}
		}
		out[n] = t
	}
	return out, nil
}
