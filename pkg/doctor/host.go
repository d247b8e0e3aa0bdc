// SPDX-License-Identifier: GPL-2.0-only

package doctor

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/randomizedcoder/l2d/pkg/api"
	"github.com/randomizedcoder/l2d/pkg/config"
	"github.com/randomizedcoder/l2d/pkg/cpus"
)

// Host is what is looked at.
type Host struct {
	// Root is / but in tests.
	Root string
	// Config is the configuration; ConfigError is why there is none.
	Config      *config.Config
	ConfigError error
	// Status is the daemon's, twice with the time of [Host.Pause] in between; nil if
	// none runs.
	Status, Later *api.Status
	Facts
	// Pause lets some time pass, in which counters move; Interval is how long it takes.
	Pause    func()
	Interval time.Duration

	before, after *sample
}

// Facts are what files do not tell.
type Facts struct {
	// Links by name.
	Links []Link
	// Qdiscs tells of some kinds whether the kernel has them; without those that could not
	// be tried.
	Qdiscs map[string]bool
	// BBR3 is what is registered of it; nil if nothing is.
	BBR3 *BBR3
	// Tables of nftables.
	Tables []Table
	// FileSystems are those of some paths.
	FileSystems []FileSystem
	// Clock is what the kernel says of its clock; nil if it does not.
	Clock *Clock
	// HostProblem is why the dataplane cannot run here; empty if it can.
	HostProblem string
	// Region is the country of radios; empty if the kernel does not tell, 00 if none is set.
	Region string
	// Bands of the radio that an interface is of: 2g, 5g, 6g.
	Bands map[string][]string
	// GPUs are lines of nvidia-smi: name, driver, persistence, temperature in °C, power
	// and its limit in W.
	GPUs []string
}

// Link is a network interface.
type Link struct {
	Name string
	Up   bool
	// Kind is the kernel's for virtual ones, such as veth or bridge.
	Kind string
	// Qdisc is the kind at the root; empty if it is not known.
	Qdisc string
	// L4S is what a DualPI2 at the root has counted; nil if there is none.
	L4S *L4S
	// XDP has bits of what the driver can do for it; nil if that is not known.
	XDP *uint64
	// Features by the kernel's names, without those that the driver does not have.
	Features map[string]bool
	// Master is the bridge or bond that it is of.
	Master string
}

// Table is one of nftables.
type Table struct {
	Name     string // with its family
	Dormant  bool
	Chains   int // with a hook
	Comment  string
	Adoption bool // l2d enforces it and has put it to sleep
}

// FileSystem is how full one is.
type FileSystem struct {
	Path               string
	Size, Free         uint64 // bytes
	Inodes, FreeInodes uint64
}

// Clock is the state of the kernel's clock.
type Clock struct {
	Synchronised bool
	// MaxError is how far off it may be.
	MaxError time.Duration
}

// read is the content of a file without space around it; empty if it cannot be read.
func (h *Host) read(path string) string {
	b, err := os.ReadFile(filepath.Join(h.Root, path))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// exists tells whether there is a file.
func (h *Host) exists(path string) bool {
	_, err := os.Lstat(filepath.Join(h.Root, path))
	return err == nil
}

// glob are the paths that match a pattern, without the root.
func (h *Host) glob(pattern string) []string {
	found, _ := filepath.Glob(filepath.Join(h.Root, pattern))
	for i, path := range found {
		found[i] = strings.TrimPrefix(strings.TrimPrefix(path, h.Root), "/")
	}
	slices.Sort(found)
	return found
}

// link is one by name; nil if there is none.
func (h *Host) link(name string) *Link {
	for i := range h.Links {
		if h.Links[i].Name == name {
			return &h.Links[i]
		}
	}
	return nil
}

// driver is the name of an interface's driver; empty if it has none.
func (h *Host) driver(link string) string {
	target, err := os.Readlink(filepath.Join(h.Root, "sys/class/net", link, "device/driver"))
	if err != nil {
		return ""
	}
	return filepath.Base(target)
}

// isRadio tells whether an interface is one of a radio.
func (h *Host) isRadio(link string) bool { return h.exists("sys/class/net/" + link + "/phy80211") }

// routes tells whether the dataplane is attached to an interface.
func (h *Host) routes(link string) bool {
	if h.Config == nil {
		return false
	}
	return slices.ContainsFunc(h.Config.Dataplane.Interfaces, func(i config.Interface) bool { return i.Name == link })
}

// packetCPUs are those that are to handle packets: declared, or isolated.
func (h *Host) packetCPUs() []int {
	if h.Config != nil && len(h.Config.Dataplane.CPUs) > 0 {
		return slices.Sorted(slices.Values(h.Config.Dataplane.CPUs))
	}
	m, _ := cpus.Read(h.Root)
	return m.Isolated
}

// attached tells whether a daemon runs and its dataplane is attached.
func (h *Host) attached() bool { return h.Status != nil && h.Status.Attached }
