// SPDX-License-Identifier: GPL-2.0-only

package service

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/randomizedcoder/l2d/pkg/config"
	"github.com/randomizedcoder/l2d/pkg/cpus"
)

// cgroups has the control groups of services that are processes of l2d's own: version 2, a group for
// each service below that of its slice.
type cgroups struct {
	root string // l2d's, of all; empty if there are none
	why  string // there are none
}

// controllers are those of the limits that a service can have.
var controllers = []string{"cpuset", "cpu", "memory"}

// Files of a group.
const (
	cpusFile   = "cpuset.cpus"
	weightFile = "cpu.weight"
	highFile   = "memory.high"
	maxFile    = "memory.max"
)

// openCgroups makes the group of all services, where the host has such groups and lets it.
func openCgroups(mount string) *cgroups {
	have, err := os.ReadFile(filepath.Join(mount, "cgroup.controllers"))
	if err != nil {
		return &cgroups{why: "no control groups of version 2 are at " + mount}
	}
	for _, c := range controllers {
		if !strings.Contains(" "+strings.TrimSpace(string(have))+" ", " "+c+" ") {
			return &cgroups{why: "the control groups at " + mount + " have no controller " + c}
		}
	}
	g := &cgroups{root: filepath.Join(mount, "l2d")}
	if err := errors.Join(delegate(mount), makeGroup(g.root), delegate(g.root)); err != nil {
		return &cgroups{why: err.Error()}
	}
	return g
}

func makeGroup(dir string) error {
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

// delegate lets groups below one have limits.
func delegate(dir string) error {
	return os.WriteFile(filepath.Join(dir, "cgroup.subtree_control"), []byte("+"+strings.Join(controllers, " +")), 0)
}

// slice makes the group of a slice.
func (g *cgroups) slice(name string) (string, error) {
	dir := filepath.Join(g.root, name)
	return dir, errors.Join(makeGroup(dir), delegate(dir))
}

// refuses says why a unit's limits cannot be; empty if they can.
func (g *cgroups) refuses(l *config.Limits) string {
	if g.root == "" && (l.CPUWeight != 0 || l.MemoryHigh != 0 || l.MemoryMax != 0) {
		return "its limits cannot be kept: " + g.why
	}
	return ""
}

// open makes a unit's group with its limits, and returns its directory; nil if there are no groups.
func (g *cgroups) open(u *Unit) (*os.File, error) {
	if g.root == "" {
		return nil, nil
	}
	parent := g.root
	if u.Service.Slice != "" {
		var err error
		if parent, err = g.slice(u.Service.Slice); err != nil {
			return nil, err
		}
	}
	dir := filepath.Join(parent, groupName(u.Name))
	if err := makeGroup(dir); err != nil {
		return nil, err
	}
	if err := setLimits(dir, &u.Service.Limits); err != nil {
		return nil, err
	}
	return os.Open(dir)
}

// groupName cannot be that of a slice, which has no dot.
func groupName(service string) string { return service + ".service" }

// setLimits writes all limits of a group: those that are not said are the kernel's.
func setLimits(dir string, l *config.Limits) error {
	for name, value := range limitFiles(l) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(value), 0); err != nil {
			return fmt.Errorf("%s %q: %w", name, value, err)
		}
	}
	return nil
}

func limitFiles(l *config.Limits) map[string]string {
	out := map[string]string{cpusFile: cpus.Format(l.CPUs) + "\n", weightFile: "100", highFile: "max", maxFile: "max"}
	if l.CPUWeight != 0 {
		out[weightFile] = fmt.Sprint(l.CPUWeight)
	}
	if l.MemoryHigh != 0 {
		out[highFile] = fmt.Sprint(l.MemoryHigh)
	}
	if l.MemoryMax != 0 {
		out[maxFile] = fmt.Sprint(l.MemoryMax)
	}
	return out
}

// kill ends all that is in a unit's group; it tells whether there is such a group.
func (g *cgroups) kill(u *Unit) bool {
	if g.root == "" {
		return false
	}
	dir := filepath.Join(g.root, u.Service.Slice, groupName(u.Name))
	return os.WriteFile(filepath.Join(dir, "cgroup.kill"), []byte("1"), 0) == nil
}

// remove removes a unit's group once it is empty.
func (g *cgroups) remove(u *Unit) {
	if g.root != "" {
		_ = os.Remove(filepath.Join(g.root, u.Service.Slice, groupName(u.Name)))
	}
}
