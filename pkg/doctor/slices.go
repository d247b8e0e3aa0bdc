// SPDX-License-Identifier: GPL-2.0-only

package doctor

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/randomizedcoder/l2d/pkg/cpus"
)

const cgroups = "sys/fs/cgroup/"

func checkSlices(r *report) {
	if !r.exists(cgroups + "cgroup.controllers") {
		r.add(Warning, "cgroup", "there are no control groups of version 2 at /sys/fs/cgroup", "no cgroup.controllers", "systemd.unified_cgroup_hierarchy=1 on the kernel command line")
		return
	}
	r.good("cgroup", "control groups of version 2 are at /sys/fs/cgroup")
	m, err := cpus.Read(r.Root)
	if err != nil {
		return
	}
	for _, path := range append(r.glob(cgroups+"*.slice"), r.glob(cgroups+"*.slice/*.slice")...) {
		r.sliceCPUs(m, path)
		r.sliceMemory(path)
	}
}

// sliceCPUs looks whether processes of a slice can be scheduled on packet CPUs. On
// isolated ones they are only if they ask for it.
func (r *report) sliceCPUs(m cpus.Machine, path string) {
	open := cpus.Without(r.packetCPUs(), m.Isolated)
	list, err := cpus.Parse(r.read(path + "/cpuset.cpus.effective"))
	if err != nil || len(open) == 0 || len(list) == 0 {
		return
	}
	name := filepath.Base(path)
	if both := cpus.Both(list, open); len(both) > 0 {
		house := cpus.Format(cpus.Without(m.Online, r.packetCPUs()))
		r.add(Warning, "cpus", name+": its processes can run on packet CPUs", "cpuset.cpus.effective: "+cpus.Format(list), fmt.Sprintf("systemctl set-property %s AllowedCPUs=%s", name, house))
		return
	}
	r.good("cpus", "%s: its processes keep off the packet CPUs", name)
}

// sliceMemory looks at limits, and what came of them.
func (r *report) sliceMemory(path string) {
	name := filepath.Base(path)
	limits := fmt.Sprintf("MemoryHigh %s, MemoryMax %s", limit(r.read(path+"/memory.high")), limit(r.read(path+"/memory.max")))
	for _, line := range strings.Split(r.read(path+"/memory.events"), "\n") {
		if n, ok := strings.CutPrefix(line, "oom_kill "); ok && n != "0" {
			r.add(Warning, "memory", name+": the kernel has killed processes for want of memory", "oom_kill "+n+"; "+limits, "systemctl set-property "+name+" MemoryMax= with more")
			return
		}
	}
	if r.exists(path + "/memory.max") {
		r.add(Good, "memory", name+": no process was killed for want of memory", limits, "")
	}
}

// limit is a number of bytes for people.
func limit(s string) string {
	if s == "" || s == "max" {
		return "none"
	}
	return sizeText(number(s))
}

// sizeText is a size for people.
func sizeText(n uint64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	f, i := float64(n), 0
	for f >= 1024 && i+1 < len(units) {
		f, i = f/1024, i+1
	}
	if f >= 100 {
		return fmt.Sprintf("%.0f %s", f, units[i])
	}
	return fmt.Sprintf("%.3g %s", f, units[i])
}
