// SPDX-License-Identifier: GPL-2.0-only

// Package loader puts the dataplane into the kernel: it loads and verifies the
// programs with the compiled policy in them, attaches them, pins everything
// that has to outlive the daemon, and replaces or takes over what is running.
package loader

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"
)

// Dataplane is a running dataplane. Its methods may be called concurrently.
type Dataplane struct {
	// replacing is held by the one replacement that goes on, mu by whoever
	// uses or exchanges what follows it: not while programs are verified.
	replacing sync.Mutex

	mu         sync.RWMutex
	cfg        Config
	maps       map[string]*ebpf.Map
	report     []Program
	phases     []Phase
	interfaces []InterfaceStatus
	kept       bool
	identity   [32]byte       // of the policy in force
	closers    []func() error // links
}

// Apply makes the dataplane of cfg the one that runs. A dataplane pinned at
// cfg.PinPath is taken over: its flows go on, and if it is the same policy on
// the same interfaces, its programs and counters too. Else its programs are
// replaced, on each interface in one step. All is loaded and verified before
// the first change; an error later takes back the changes made until then.
func Apply(cfg Config) (*Dataplane, error) {
	d := &Dataplane{}
	if err := d.Replace(cfg); err != nil {
		return nil, err
	}
	return d, nil
}

// Replace is Apply on a dataplane that this process runs already. After an
// error the dataplane runs as before.
func (d *Dataplane) Replace(cfg Config) error {
	if err := cfg.validate(); err != nil {
		return err
	}
	if err := checkBPFFS(cfg.PinPath); err != nil {
		return err
	}
	d.replacing.Lock()
	defer d.replacing.Unlock()
	r, err := newReplacement(cfg)
	if err != nil {
		return err
	}
	defer r.close()
	if err := r.run(); err != nil {
		return errors.Join(err, r.undo())
	}
	d.take(r)
	return nil
}

// take makes the result of a replacement this dataplane's.
func (d *Dataplane) take(r *replacement) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.release()
	d.cfg, d.maps, d.report, d.phases = r.cfg, r.loaded.maps, r.loaded.report, r.took.done
	d.interfaces, d.kept, d.identity = r.interfaces, r.same, r.identity
	for _, l := range r.links {
		d.closers = append(d.closers, l.Close)
	}
	r.loaded.maps = nil
	r.links = nil
}

func (d *Dataplane) release() {
	closeMaps(d.maps)
	for _, c := range d.closers {
		c()
	}
	d.maps, d.closers = nil, nil
}

// Phases are the parts of the last replacement, and Programs what it loaded or
// kept.
func (d *Dataplane) Phases() ([]Phase, []Program) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.phases, d.report
}

// Kept tells whether the policy was in force already when this dataplane was
// applied or last replaced: its counters, limits and sets go on, and the contents
// of its sets are not those of the new configuration.
func (d *Dataplane) Kept() bool {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.kept
}

// Close lets go of the dataplane's descriptors. Everything stays attached and
// pinned.
func (d *Dataplane) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.release()
	return nil
}

// Map returns a map of the dataplane by its name, such as that of a set. It
// is valid until the next Replace; with says what to do with it.
func (d *Dataplane) Map(name string, with func(*ebpf.Map) error) error {
	d.mu.RLock()
	defer d.mu.RUnlock()
	m := d.maps[name]
	if m == nil {
		return fmt.Errorf("there is no map %s: %w", name, fs.ErrNotExist)
	}
	return with(m)
}

// Maps calls with with all maps, by name: as [Dataplane.Map] does.
func (d *Dataplane) Maps(with func(map[string]*ebpf.Map) error) error {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return with(d.maps)
}

// PinnedMaps is [Dataplane.Maps] of a policy that is pinned at a path and that no
// process holds.
func PinnedMaps(pinPath string, with func(map[string]*ebpf.Map) error) error {
	maps, err := openMaps(filepath.Join(pinPath, dirPolicy))
	if err != nil {
		return err
	}
	defer closeMaps(maps)
	return with(maps)
}

// Detach takes the dataplane that is pinned at a path away: links first, so
// that no program runs on maps that are going. Flows are lost.
func Detach(pinPath string) error {
	if _, err := os.Stat(pinPath); err != nil {
		return fmt.Errorf("no dataplane is pinned at %s: %w", pinPath, err)
	}
	if err := checkBPFFS(pinPath); err != nil {
		return err
	}
	err := stopShaping(pinPath)
	done, errLinks := detachOthers(pinPath, nil)
	closeDetached(done)
	if err := errors.Join(err, errLinks); err != nil {
		return err
	}
	for _, dir := range []string{dirLinks, dirPrograms, dirNextPrograms, dirPolicy, dirNext, dirKept, dirState, dirNextState} {
		if err := os.RemoveAll(filepath.Join(pinPath, dir)); err != nil {
			return err
		}
	}
	if err := os.Remove(pinPath); err != nil && !errors.Is(err, fs.ErrNotExist) {
		slog.Warn("pin path not removed", "path", pinPath, "err", err)
	}
	return nil
}

// AttachedInterfaces returns the names of the interfaces that a dataplane
// pinned at a path is attached to.
func AttachedInterfaces(pinPath string) ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(pinPath, dirLinks))
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		const suffix = "_" + "ingress"
		if name := e.Name(); len(name) > len(suffix) && name[len(name)-len(suffix):] == suffix {
			names = append(names, name[:len(name)-len(suffix)])
		}
	}
	return names, nil
}

// Flags of struct iface, bpf/lib/types.h.
const (
	ifaceManaged = 1 << iota
	ifaceL3
	ifaceXDPPort
	ifaceShaped
	ifaceShaper
)

// ifaceEntry is what the programs have to know of an interface.
func ifaceEntry(index int) (l2TCIface, error) {
	l, err := netlink.LinkByIndex(index)
	if err != nil {
		return l2TCIface{}, fmt.Errorf("interface %d: %w", index, err)
	}
	e := l2TCIface{Flags: ifaceManaged}
	switch l.Attrs().EncapType {
	case "ether", "loopback":
		copy(e.Mac[:], l.Attrs().HardwareAddr)
	default:
		e.Flags |= ifaceL3
	}
	return e, nil
}

// managedInterfaces are the indexes of the interfaces that the programs know.
func managedInterfaces(m *ebpf.Map) ([]uint32, error) {
	keys, values := make([]uint32, maxIfindex), make([]l2TCIface, maxIfindex)
	var cursor ebpf.MapBatchCursor
	n, err := m.BatchLookup(&cursor, keys, values, nil)
	if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return nil, fmt.Errorf("interfaces: %w", err)
	}
	var managed []uint32
	for i := range n {
		if values[i].Flags&(ifaceManaged|ifaceShaper) != 0 {
			managed = append(managed, keys[i])
		}
	}
	return managed, nil
}
