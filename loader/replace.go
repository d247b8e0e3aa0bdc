// SPDX-License-Identifier: GPL-2.0-only

package loader

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
)

// identityMap is pinned with each policy and says which one it is.
const identityMap = "l2_identity"

// replacement is one transaction: from what is pinned to what a configuration
// says.
type replacement struct {
	cfg        Config
	loaded     *loaded
	pinned     map[string]*ebpf.Map // state maps in force
	resize     map[string]*ebpf.Map // of these, those that need another size
	oldPolicy  map[string]*ebpf.Map // maps of the policy in force
	identity   [32]byte
	same       bool // the policy in force is this one
	changes    []*change
	interfaces []InterfaceStatus
	fresh      bool // nothing was pinned
}

// newReplacement loads everything; it changes nothing that runs.
func newReplacement(cfg Config) (_ *replacement, err error) {
	r := &replacement{cfg: cfg}
	defer func() {
		if err != nil {
			r.close()
		}
	}()
	if err := recoverPolicy(cfg.PinPath); err != nil {
		return nil, err
	}
	if r.pinned, err = openMaps(filepath.Join(cfg.PinPath, dirState)); err != nil {
		return nil, err
	}
	if r.oldPolicy, err = openMaps(filepath.Join(cfg.PinPath, dirPolicy)); err != nil {
		return nil, err
	}
	r.fresh = len(r.pinned) == 0
	keep, resize, err := takeOver(&cfg, r.pinned)
	if err != nil {
		return nil, err
	}
	r.resize = resize

	if r.identity, err = identityOf(cfg.Policy); err != nil {
		return nil, err
	}
	r.same = len(resize) == 0 && identityIs(r.oldPolicy[identityMap], r.identity)
	if r.same {
		// Its counters, limits and sets go on.
		for name, m := range r.oldPolicy {
			keep[name] = m
		}
	}
	if r.loaded, err = load(&cfg, keep); err != nil {
		return nil, err
	}
	if !r.same {
		if err := r.addIdentity(); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// identityOf is the policy in these programs: a new build of the programs with
// the old policy is another dataplane.
func identityOf(p Policy) ([32]byte, error) {
	h := sha256.New()
	policy := p.Hash()
	h.Write(policy[:])
	h.Write(_L2TCBytes)
	h.Write(_L2XDPBytes)
	return [32]byte(h.Sum(nil)), nil
}

func identityIs(m *ebpf.Map, want [32]byte) bool {
	var got [32]byte
	return m != nil && m.Lookup(uint32(0), &got) == nil && got == want
}

func (r *replacement) addIdentity() error {
	m, err := ebpf.NewMap(&ebpf.MapSpec{
		Name: identityMap, Type: ebpf.Array, KeySize: 4, ValueSize: 32, MaxEntries: 1,
		Key:   &btf.Int{Name: "unsigned int", Size: 4},
		Value: &btf.Array{Index: &btf.Int{Name: "unsigned int", Size: 4}, Type: &btf.Int{Name: "unsigned char", Size: 1}, Nelems: 32},
	})
	if err != nil {
		return fmt.Errorf("map %s: %w", identityMap, err)
	}
	r.loaded.maps[identityMap] = m
	return m.Update(uint32(0), r.identity, ebpf.UpdateAny)
}

// run makes the changes, in an order in which each is safe on its own: contents
// of maps, links, flows of a resized table, pins.
func (r *replacement) run() error {
	maps := r.loaded.maps
	if err := os.MkdirAll(filepath.Join(r.cfg.PinPath, dirLinks), 0o700); err != nil {
		return err
	}
	if err := maps["l2_settings"].Update(uint32(0), settingsOf(r.cfg.Timeouts), ebpf.UpdateAny); err != nil {
		return fmt.Errorf("settings: %w", err)
	}
	if err := r.carrySets(); err != nil {
		return err
	}
	for name, old := range r.resize {
		if err := copyEntries(maps[name], old); err != nil {
			return fmt.Errorf("flows of %s to a table of another size: %w", name, err)
		}
	}
	for _, i := range r.cfg.Interfaces {
		if err := r.attach(i); err != nil {
			return err
		}
	}
	// What the old programs added after the first copy.
	for name, old := range r.resize {
		if err := copyEntries(maps[name], old); err != nil {
			return fmt.Errorf("flows of %s to a table of another size: %w", name, err)
		}
	}
	if err := r.startCollector(); err != nil {
		return err
	}
	return r.pin()
}

// attach puts the programs on an interface, and tells them of it.
func (r *replacement) attach(i Interface) error {
	maps, progs := r.loaded.maps, r.loaded.programs
	entry, err := ifaceEntry(i.Index)
	if err != nil {
		return err
	}
	if err := maps["l2_ifaces"].Update(uint32(i.Index), entry, ebpf.UpdateAny); err != nil {
		return fmt.Errorf("interface %s: %w", i.Name, err)
	}
	status := InterfaceStatus{Name: i.Name, Index: i.Index, TC: true, XDP: XDPOff}
	for _, h := range []hook{hookIngress, hookEgress} {
		c, err := h.set(r.cfg.PinPath, i, progs[h.program])
		if err != nil {
			return err
		}
		r.changes = append(r.changes, c)
	}
	if err := r.attachXDP(i, &status); err != nil {
		return err
	}
	if err := r.setPort(i, entry, &status); err != nil {
		return err
	}
	r.interfaces = append(r.interfaces, status)
	return nil
}

// attachXDP attaches the XDP program where it may be and can be.
func (r *replacement) attachXDP(i Interface, status *InterfaceStatus) error {
	if i.XDP == XDPOff {
		return nil
	}
	vlans, err := hasVLANs(i.Index)
	if err == nil && vlans {
		err = fmt.Errorf("interface %s: XDP cannot tell the frames of its VLAN devices from its own", i.Name)
	}
	if err == nil {
		var c *change
		if c, err = hookXDP.set(r.cfg.PinPath, i, r.loaded.programs[hookXDP.program]); err == nil {
			r.changes = append(r.changes, c)
			status.XDP = XDPNative
			return nil
		}
	}
	if i.XDP == XDPNative {
		return err
	}
	status.Note = "TC alone: " + err.Error()
	slog.Debug("no native XDP, TC alone", "interface", i.Name, "err", err)
	return nil
}

// setPort decides whether XDP may send by an interface.
func (r *replacement) setPort(i Interface, entry l2TCIface, status *InterfaceStatus) error {
	ports := r.loaded.maps["l2_xdp_ports"]
	key := uint32(i.Index)
	managed, err := hasQueueManager(i.Index)
	if err != nil {
		return err
	}
	takes, err := takesXDPFrames(i.Index)
	if err != nil {
		return err
	}
	status.AQM = i.AQM || managed
	status.XDPRedirect = takes && status.XDP == XDPNative && !status.AQM
	if status.XDPRedirect {
		if err := ports.Update(key, key, ebpf.UpdateAny); err != nil {
			return fmt.Errorf("interface %s: XDP redirect: %w", i.Name, err)
		}
		entry.Flags |= ifaceXDPPort
	}
	if err := r.loaded.maps["l2_ifaces"].Update(key, entry, ebpf.UpdateAny); err != nil {
		return fmt.Errorf("interface %s: %w", i.Name, err)
	}
	if status.XDPRedirect {
		return nil
	}
	if err := ports.Delete(key); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return fmt.Errorf("interface %s: XDP redirect: %w", i.Name, err)
	}
	return nil
}

// startCollector (re)starts the collection of dead flows with the callbacks of
// the programs just loaded.
func (r *replacement) startCollector() error {
	ret, err := r.loaded.programs["l2_gc_start"].Run(&ebpf.RunOptions{})
	if err != nil {
		return fmt.Errorf("collector of dead flows: %w", err)
	}
	if ret != 0 {
		return fmt.Errorf("collector of dead flows: start returned %d", int32(ret))
	}
	return nil
}

// pin makes the pins say what the links do. Links of interfaces that are not
// configured any more go last.
func (r *replacement) pin() error {
	state, policy := map[string]*ebpf.Map{}, map[string]*ebpf.Map{}
	for name, m := range r.loaded.maps {
		if isStateMap(name) {
			state[name] = m
		} else {
			policy[name] = m
		}
	}
	for name := range r.resize {
		path := filepath.Join(r.cfg.PinPath, dirState, name)
		if err := os.Remove(path); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(filepath.Join(r.cfg.PinPath, dirState), 0o700); err != nil {
		return err
	}
	for name, m := range state {
		path := filepath.Join(r.cfg.PinPath, dirState, name)
		if _, err := os.Stat(path); err == nil {
			continue // taken over from there
		}
		if err := repin(m, path); err != nil {
			return fmt.Errorf("pin map %s: %w", name, err)
		}
	}
	if !r.same {
		next := filepath.Join(r.cfg.PinPath, dirNext)
		if err := pinMaps(next, policy); err != nil {
			return err
		}
		if err := replaceDir(next, filepath.Join(r.cfg.PinPath, dirPolicy)); err != nil {
			return err
		}
	}
	if err := r.pinPrograms(); err != nil {
		return err
	}
	keep := map[string]bool{}
	for _, s := range r.interfaces {
		keep[s.Name+"_"+hookIngress.name] = true
		keep[s.Name+"_"+hookEgress.name] = true
		keep[s.Name+"_"+hookXDP.name] = s.XDP == XDPNative
	}
	return detachOthers(r.cfg.PinPath, keep)
}

func (r *replacement) pinPrograms() error {
	dir := filepath.Join(r.cfg.PinPath, dirPrograms)
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for name, p := range r.loaded.programs {
		if err := p.Pin(filepath.Join(dir, name)); err != nil {
			return fmt.Errorf("pin program %s: %w", name, err)
		}
	}
	return nil
}

// undo takes the attachments back, newest first; a dataplane that was not
// there before is removed whole.
func (r *replacement) undo() error {
	var errs []error
	for n := len(r.changes) - 1; n >= 0; n-- {
		if err := r.changes[n].undo(); err != nil {
			errs = append(errs, fmt.Errorf("undo: %w", err))
		}
	}
	r.changes = nil
	if r.fresh {
		errs = append(errs, os.RemoveAll(r.cfg.PinPath))
	}
	return errors.Join(errs...)
}

func (r *replacement) close() {
	closeMaps(r.pinned)
	closeMaps(r.oldPolicy)
	for _, c := range r.changes {
		c.link.Close()
	}
	if r.loaded != nil {
		r.loaded.close()
	}
}

// generation is for log lines and status: the first bytes of the identity.
func generation(id [32]byte) string {
	return strconv.FormatUint(uint64(id[0])<<24|uint64(id[1])<<16|uint64(id[2])<<8|uint64(id[3]), 16)
}
