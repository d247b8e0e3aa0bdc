// SPDX-License-Identifier: GPL-2.0-only

package cpus

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Machine is which CPUs there are.
type Machine struct {
	// Possible can be there, Online run now.
	Possible, Online []int
	// Isolated are out of the scheduler's domains (isolcpus=), Tickless have no timer
	// tick while one task runs (nohz_full=).
	Isolated, Tickless []int
}

// dir is the kernel's directory of CPUs, below a root.
const dir = "sys/devices/system/cpu"

// Read reads which CPUs there are below a root directory, which is / but in tests.
func Read(root string) (Machine, error) {
	var m Machine
	for _, f := range []struct {
		name     string
		to       *[]int
		optional bool
	}{{"possible", &m.Possible, false}, {"online", &m.Online, false}, {"isolated", &m.Isolated, true}, {"nohz_full", &m.Tickless, true}} {
		b, err := os.ReadFile(filepath.Join(root, dir, f.name))
		if f.optional && errors.Is(err, fs.ErrNotExist) {
			continue // a kernel without it
		}
		if err != nil {
			return m, err
		}
		if *f.to, err = Parse(string(b)); err != nil {
			return m, fmt.Errorf("%s: %w", f.name, err)
		}
	}
	return m, nil
}

// Refuses says why a CPU of a list cannot be used for anything, and what could be;
// empty if all can.
func (m Machine) Refuses(list []int) (problem, want string) {
	if beyond := Without(list, m.Possible); len(beyond) > 0 {
		return "the machine has no CPU " + Format(beyond), "CPUs of " + Format(m.Online)
	}
	if off := Without(list, m.Online); len(off) > 0 {
		return "not online: CPU " + Format(off), "CPUs of " + Format(m.Online)
	}
	return "", ""
}

// RefusesSteering is Refuses for receive packet steering. The kernel takes isolated
// CPUs out of what is set there: rps_cpumask_housekeeping of net/core/net-sysfs.c.
func (m Machine) RefusesSteering(list []int) (problem, want string) {
	if problem, want = m.Refuses(list); problem != "" {
		return problem, want
	}
	house := Without(Without(m.Online, m.Isolated), m.Tickless)
	if isolated := Without(list, house); len(isolated) > 0 {
		return "the kernel does not steer packets to isolated CPUs (isolcpus, nohz_full): " + Format(isolated), "CPUs of " + Format(house)
	}
	return "", ""
}
