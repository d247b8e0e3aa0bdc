// SPDX-License-Identifier: GPL-2.0-only

package loader

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"time"
)

// Run is how often a program has run, and for how long, while the kernel counted
// that.
type Run struct {
	Name string        `json:"name"`
	Runs uint64        `json:"runs"`
	Time time.Duration `json:"time_ns"`
}

// runs returns what the kernel has counted of each program. It counts only if it is
// told to, by the sysctl kernel.bpf_stats_enabled or BPF_ENABLE_STATS. The caller
// holds d.mu.
func (d *Dataplane) runs() ([]Run, error) {
	programs, err := openPrograms(filepath.Join(d.cfg.PinPath, dirPrograms))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // they are being replaced
	}
	if err != nil {
		return nil, err
	}
	defer closePrograms(programs)
	var runs []Run
	for name, p := range programs {
		s, err := p.Stats()
		if err != nil {
			return nil, fmt.Errorf("program %s: %w", name, err)
		}
		if s.RunCount > 0 {
			runs = append(runs, Run{name, s.RunCount, s.Runtime})
		}
	}
	slices.SortFunc(runs, func(a, b Run) int { return cmp.Compare(a.Name, b.Name) })
	return runs, nil
}
