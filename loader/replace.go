// SPDX-License-Identifier: GPL-2.0-only

package loader

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"
	"github.com/randomizedcoder/l2d/pkg/flow"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// identityMap is pinned with each policy and says which one it is.
const identityMap = "l2_identity"

// replacement is one transaction: from what is pinned to what a configuration
// says.
type replacement struct {
	cfg        Config
	loaded     *loaded
	pinned     map[string]*ebpf.Map // state maps in force
	cutOff     map[string]*ebpf.Map // state maps of a replacement that was cut off, and may run
	anew       map[string][]source  // state maps that are made anew, and where their entries come from
	oldPolicy  map[string]*ebpf.Map // maps of the policy in force
	identity   [32]byte
	same       bool // the policy in force is this one
	running    map[string]*ebpf.Program
	took       phases
	links      []link.Link
	undos      []func() error // of the changes made until now
	interfaces []InterfaceStatus
	closing    []uint32 // interfaces that are no XDP ports any more
	detached   []detached
	fresh      bool // nothing was pinned
	copied     bool // entries were, once
}

// newReplacement loads everything; it changes nothing that runs.
func newReplacement(cfg Config) (_ *replacement, err error) {
	r := &replacement{cfg: cfg, took: phases{begun: time.Now()}}
	defer func() {
		if err != nil {
			r.close()
		}
	}()
	if r.cfg.Interfaces, err = behindNICs(cfg.Interfaces); err != nil {
		return nil, err
	}
	if err := recoverPins(cfg.PinPath); err != nil {
		return nil, err
	}
	if r.pinned, err = openMaps(filepath.Join(cfg.PinPath, dirState)); err != nil {
		return nil, err
	}
	if r.oldPolicy, err = openMaps(filepath.Join(cfg.PinPath, dirPolicy)); err != nil {
		return nil, err
	}
	if r.cutOff, err = openMaps(filepath.Join(cfg.PinPath, dirNextState)); err != nil {
		return nil, err
	}
	r.fresh = len(r.pinned) == 0
	keep, anew, err := takeOver(&cfg, r.pinned, r.cutOff)
	if err != nil {
		return nil, err
	}
	r.anew = anew

	if r.identity, err = identityOf(cfg.Policy); err != nil {
		return nil, err
	}
	r.same = len(anew) == 0 && identityIs(r.oldPolicy[identityMap], r.identity)
	if r.same {
		// Its counters, limits and sets go on.
		for name, m := range r.oldPolicy {
			keep[name] = m
		}
		if r.running, err = openPrograms(filepath.Join(cfg.PinPath, dirPrograms)); err != nil {
			return nil, err
		}
	}
	r.took.end("pins")
	if err := r.planSteering(); err != nil {
		return nil, err
	}
	if r.loaded, err = load(&r.cfg, keep, r.running, &r.took); err != nil {
		return nil, err
	}
	if !r.same {
		if err := errors.Join(r.addIdentity(), r.addCounted()); err != nil {
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

// run makes the changes, in an order in which each is safe on its own: new pins
// beside the old ones, contents of maps, links, flows of a resized table; and
// then only the pins have to be moved.
func (r *replacement) run() error {
	maps := r.loaded.maps
	if err := os.MkdirAll(filepath.Join(r.cfg.PinPath, dirLinks), 0o700); err != nil {
		return err
	}
	if err := r.stagePins(); err != nil {
		return err
	}
	settings := settingsOf(&r.cfg)
	meanwhile := settings
	if r.movesFlows() {
		// One direction of a connection may go by the new tables and the other
		// still by the old ones: neither sees where the window is.
		meanwhile.TcpLiberal = 1
		if err := r.makeLiberal(); err != nil {
			return fmt.Errorf("settings: %w", err)
		}
	}
	if err := r.put(maps["l2_settings"], uint32(0), meanwhile); err != nil {
		return fmt.Errorf("settings: %w", err)
	}
	if err := r.put(maps["l2_nat_reserved"], uint32(0), reservedOf(r.cfg.NAT.ReservedPorts)); err != nil {
		return fmt.Errorf("reserved ports: %w", err)
	}
	clock, err := readClock()
	if err != nil {
		return err
	}
	if err := r.put(maps["l2_clock"], uint32(0), clock); err != nil {
		return fmt.Errorf("clock: %w", err)
	}
	if err := errors.Join(r.keepSets(), r.carrySets()); err != nil {
		return err
	}
	if err := r.carryStatistics(); err != nil {
		return err
	}
	if err := r.copyEntries(); err != nil {
		return err
	}
	if err := r.followNames(); err != nil {
		return err
	}
	if err := r.announce(); err != nil {
		return err
	}
	if err := r.fillSteering(); err != nil {
		return err
	}
	r.took.end("contents")
	if err := r.attachLoopback(); err != nil {
		return err
	}
	for _, i := range r.cfg.Interfaces {
		if err := r.attach(i); err != nil {
			return err
		}
	}
	r.took.end("attach")
	if meanwhile != settings {
		if err := r.put(maps["l2_settings"], uint32(0), settings); err != nil {
			return fmt.Errorf("settings: %w", err)
		}
	}
	// What the old programs added after the first copy.
	if err := r.copyEntries(); err != nil {
		return err
	}
	if err := r.fillCounted(); err != nil {
		return err
	}
	if err := r.noteSteering(); err != nil {
		return err
	}
	if err := r.startCollector(); err != nil {
		return err
	}
	if err := r.reevaluate(); err != nil {
		return err
	}
	if err := r.movePins(); err != nil {
		return err
	}
	if err := r.forgetOthers(); err != nil {
		return err
	}
	err = r.closePorts()
	r.took.end("tidy")
	return err
}

// put writes an entry of a map that the running programs read, remove deletes
// it; both remember what was there.
func (r *replacement) put(m *ebpf.Map, key, value any) error {
	return r.changeEntry(m, key, func() error { return m.Update(key, value, ebpf.UpdateAny) })
}

func (r *replacement) remove(m *ebpf.Map, key any) error {
	return r.changeEntry(m, key, func() error { return deleteEntry(m, key) })
}

func (r *replacement) changeEntry(m *ebpf.Map, key any, change func() error) error {
	before, err := m.LookupBytes(key)
	if err != nil {
		return err
	}
	if err := change(); err != nil {
		return err
	}
	r.undos = append(r.undos, func() error {
		if before == nil {
			return deleteEntry(m, key)
		}
		return m.Update(key, before, ebpf.UpdateAny)
	})
	return nil
}

func deleteEntry(m *ebpf.Map, key any) error {
	if err := m.Delete(key); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return err
	}
	return nil
}

// announce tells of all interfaces where nothing of them is known: the programs
// of the first one send by the others.
func (r *replacement) announce() error {
	if !r.isAnew("l2_ifaces") {
		return nil
	}
	for _, i := range r.cfg.Interfaces {
		entry, err := ifaceEntry(i.Index)
		if err != nil {
			return err
		}
		if err := r.put(r.loaded.maps["l2_ifaces"], uint32(i.Index), entry); err != nil {
			return fmt.Errorf("interface %s: %w", i.Name, err)
		}
	}
	return nil
}

// attach puts the programs on an interface, and tells them of it.
func (r *replacement) attach(i Interface) error {
	maps, progs := r.loaded.maps, r.loaded.programs
	entry, err := ifaceEntry(i.Index)
	if err != nil {
		return err
	}
	v, err := vlanOf(i.Index)
	if err != nil {
		return err
	}
	if v != nil {
		tag(&entry, v)
		if r.isShaped(v.ParentIndex) {
			entry.Flags |= ifaceShaped // XDP sees its frames at the NIC
		}
	}
	if err := r.openShaper(i, &entry); err != nil {
		return err
	}
	if err := r.put(maps["l2_ifaces"], uint32(i.Index), entry); err != nil {
		return fmt.Errorf("interface %s: %w", i.Name, err)
	}
	status := InterfaceStatus{Name: i.Name, Index: i.Index, TC: true, XDP: XDPOff}
	if i.Shaper != nil {
		status.Shaper = i.Shaper.Queue
	}
	for _, h := range []hook{hookIngress, hookEgress} {
		c, err := h.set(r.cfg.PinPath, i, progs[h.program])
		if err != nil {
			return err
		}
		r.changed(c)
	}
	if err := r.attachXDP(i, v, &status); err != nil {
		return err
	}
	if err := r.setPort(i, v, entry, &status); err != nil {
		return err
	}
	r.interfaces = append(r.interfaces, status)
	return nil
}

func (r *replacement) changed(c *change) {
	r.links = append(r.links, c.link)
	r.undos = append(r.undos, c.undo)
}

// attachXDP attaches the XDP program where it may be and can be.
func (r *replacement) attachXDP(i Interface, v *netlink.Vlan, status *InterfaceStatus) error {
	if i.XDP == XDPOff {
		return withoutRules(i, "XDP is off")
	}
	var err error
	if v != nil {
		if err := withoutRules(i, "it is the device of a VLAN: they belong to its NIC, with the VLAN's number"); err != nil {
			return err
		}
		err = r.attachVLAN(i, v)
	} else {
		err = r.attachNIC(i)
	}
	if err == nil {
		status.XDP = XDPNative
		return nil
	}
	if no := (refusal{}); !errors.As(err, &no) || i.XDP == XDPNative || len(i.Rules) > 0 {
		return err
	}
	status.Note = "TC alone: " + err.Error()
	slog.Debug("no native XDP, TC alone", "interface", i.Name, "err", err)
	return nil
}

func (r *replacement) attachNIC(i Interface) error {
	if err := leavesTags(i); err != nil {
		return err
	}
	c, err := hookXDP.set(r.cfg.PinPath, i, r.loaded.programs[hookXDP.program])
	if err != nil {
		return err
	}
	r.changed(c)
	return nil
}

// setPort decides whether XDP may send by an interface: by a VLAN's, if it may by
// the NIC.
func (r *replacement) setPort(i Interface, v *netlink.Vlan, entry l2TCIface, status *InterfaceStatus) error {
	ports := r.loaded.maps["l2_xdp_ports"]
	key := uint32(i.Index)
	managed, err := hasQueueManager(i.Index)
	if err != nil {
		return err
	}
	takes := false
	if v == nil {
		takes, err = takesXDPFrames(i.Index)
	} else if nic := r.attachedNIC(v); nic != nil {
		takes = nic.XDPRedirect
	}
	if err != nil {
		return err
	}
	status.AQM = i.AQM || managed
	status.XDPRedirect = takes && status.XDP == XDPNative && !status.AQM
	if status.XDPRedirect {
		entry.Flags |= ifaceXDPPort
		if v == nil {
			if err := r.put(ports, key, key); err != nil {
				return fmt.Errorf("interface %s: XDP redirect: %w", i.Name, err)
			}
		}
	}
	if err := r.put(r.loaded.maps["l2_ifaces"], key, entry); err != nil {
		return fmt.Errorf("interface %s: %w", i.Name, err)
	}
	if status.XDPRedirect {
		return nil
	}
	r.closing = append(r.closing, key)
	return nil
}

// closePorts takes away the ports that XDP may not send by any more. It
// remembers a flow's way for a tick, and drops what it finds no port for: they
// go when none is remembered.
func (r *replacement) closePorts() error {
	ports := r.loaded.maps["l2_xdp_ports"]
	open := slices.DeleteFunc(r.closing, func(key uint32) bool {
		v, err := ports.LookupBytes(key)
		return err == nil && v == nil
	})
	if len(open) > 0 {
		time.Sleep(flow.FromTicks(2))
	}
	for _, key := range open {
		if err := r.remove(ports, key); err != nil {
			return fmt.Errorf("interface %d: XDP redirect: %w", key, err)
		}
	}
	return nil
}

// collectorTries: the kernel allocates the collector's timer and work item
// without waiting for a lock (kmalloc_nolock), and has to be asked again when
// another processor held it, or as long as there is no memory to be had that way: two seconds at least.
const collectorTries = 2000

// startCollector (re)starts the collection of dead flows with the callbacks of
// the programs just loaded.
func (r *replacement) startCollector() error {
	var ret uint32
	for range collectorTries {
		var err error
		if ret, err = r.loaded.programs["l2_gc_start"].Run(&ebpf.RunOptions{}); err != nil {
			return fmt.Errorf("collector of dead flows: %w", err)
		}
		if ret == 0 {
			return nil
		}
		time.Sleep(time.Millisecond)
	}
	return fmt.Errorf("collector of dead flows: %w", unix.Errno(-int32(ret)))
}

// reevaluate marks the flows that there are, if a new policy is to judge them.
func (r *replacement) reevaluate() error {
	if !r.cfg.Reevaluate || r.fresh || identityIs(r.oldPolicy[identityMap], r.identity) {
		return nil
	}
	for range 2 { // a packet may have undone a mark
		if err := r.markFlows(); err != nil {
			return fmt.Errorf("mark the flows: %w", err)
		}
	}
	return nil
}

// markFlows walks through all flows, so many at a time: others have the CPU in between.
func (r *replacement) markFlows() error {
	var walk l2TCWalk
	for {
		more, err := r.loaded.programs["l2_reevaluate"].Run(&ebpf.RunOptions{Context: walk, ContextOut: &walk})
		if err != nil || more == 0 {
			return err
		}
	}
}

// forgetOthers lets go of interfaces that are not configured any more.
func (r *replacement) forgetOthers() error {
	keep := map[string]bool{}
	indexes := map[uint32]bool{}
	for _, s := range r.interfaces {
		keep[s.Name+"_"+hookIngress.name] = true
		keep[s.Name+"_"+hookEgress.name] = true
		keep[s.Name+"_"+hookXDP.name] = s.XDP == XDPNative
		indexes[uint32(s.Index)] = true
	}
	for _, i := range r.cfg.Interfaces {
		if i.Shaper != nil {
			keep[i.Shaper.End+"_"+hookIngress.name] = true
			indexes[uint32(i.Shaper.EndIndex)] = true
		}
	}
	r.keepLoopback(keep)
	if err := r.closeShapers(); err != nil {
		return err
	}
	managed, err := managedInterfaces(r.loaded.maps["l2_ifaces"])
	if err != nil {
		return err
	}
	for _, key := range managed {
		if indexes[key] || r.keepsEnd(key, keep) {
			continue
		}
		if err := r.put(r.loaded.maps["l2_ifaces"], key, l2TCIface{}); err != nil {
			return fmt.Errorf("interface %d: %w", key, err)
		}
		r.closing = append(r.closing, key)
	}
	r.detached, err = detachOthers(r.cfg.PinPath, keep)
	for _, d := range r.detached {
		r.undos = append(r.undos, d.attachAgain)
	}
	return errors.Join(r.forgetVLANs(), err)
}

// undo takes the changes back, newest first; a dataplane that was not there
// before is removed whole.
func (r *replacement) undo() error {
	var errs []error
	for _, undo := range slices.Backward(r.undos) {
		if err := undo(); err != nil {
			errs = append(errs, fmt.Errorf("undo: %w", err))
		}
	}
	if r.fresh {
		errs = append(errs, os.RemoveAll(r.cfg.PinPath))
	}
	return errors.Join(errs...)
}

func (r *replacement) close() {
	closeMaps(r.pinned)
	closeMaps(r.cutOff)
	closeMaps(r.oldPolicy)
	closePrograms(r.running)
	closeDetached(r.detached)
	for _, l := range r.links {
		l.Close()
	}
	if r.loaded != nil {
		r.loaded.close()
	}
}

// generation is for log lines and status: the first bytes of the identity.
func generation(id [32]byte) string { return hex.EncodeToString(id[:4]) }
