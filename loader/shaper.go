// SPDX-License-Identifier: GPL-2.0-only

package loader

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"
)

// shapersMap has the shaper of each interface.
const shapersMap = "l2_shapers"

// Shaper is a pair of veth that frames of an interface go through when they come in,
// before all else: a qdisc at the first one holds them back.
type Shaper struct {
	// Queue is where the qdisc is, End where frames arrive that have waited. They
	// are names of interfaces, and their indexes.
	Queue, End           string
	QueueIndex, EndIndex int
}

// end is what the program is attached to.
func (s *Shaper) end() Interface { return Interface{Name: s.End, Index: s.EndIndex} }

func (s *Shaper) validate() error {
	for _, i := range []Interface{{Name: s.Queue, Index: s.QueueIndex}, s.end()} {
		if err := i.validate(); err != nil {
			return err
		}
	}
	return nil
}

// openShaper has frames of an interface go through its shaper, if it has one. The entry
// of the interface says so from then on. The far end is ready before the first one comes.
func (r *replacement) openShaper(i Interface, entry *l2TCIface) error {
	if i.Shaper == nil {
		return nil
	}
	far := i.Shaper.end()
	if err := r.put(r.loaded.maps["l2_ifaces"], uint32(far.Index), l2TCIface{Flags: ifaceShaper, Parent: uint32(i.Index)}); err != nil {
		return fmt.Errorf("interface %s: %w", far.Name, err)
	}
	c, err := hookIngress.set(r.cfg.PinPath, far, r.loaded.programs[hookIngress.program])
	if err != nil {
		return err
	}
	r.changed(c)
	if err := r.put(r.loaded.maps[shapersMap], uint32(i.Index), uint32(i.Shaper.QueueIndex)); err != nil {
		return fmt.Errorf("interface %s: its shaper %s: %w", i.Name, i.Shaper.Queue, err)
	}
	entry.Flags |= ifaceShaped
	return nil
}

// closeShapers ends the use of shapers that are not configured any more.
func (r *replacement) closeShapers() error {
	m := r.loaded.maps[shapersMap]
	var open []uint32
	var key, device uint32
	it := m.Iterate()
	for it.Next(&key, &device) {
		open = append(open, key)
	}
	if err := it.Err(); err != nil {
		return fmt.Errorf("shapers: %w", err)
	}
	for _, key := range open {
		if r.isShaped(int(key)) {
			continue
		}
		if err := r.remove(m, key); err != nil {
			return fmt.Errorf("interface %d: its shaper: %w", key, err)
		}
	}
	return nil
}

// isShaped tells whether an interface has a shaper.
func (r *replacement) isShaped(index int) bool {
	for _, i := range r.cfg.Interfaces {
		if i.Index == index {
			return i.Shaper != nil
		}
	}
	return false
}

// keepsEnd tells whether an interface is the far end of a shaper that is there, if no
// longer in use: frames that still wait are not to reach the stack from it.
func (r *replacement) keepsEnd(index uint32, keep map[string]bool) bool {
	var entry l2TCIface
	if err := r.loaded.maps["l2_ifaces"].Lookup(index, &entry); err != nil || entry.Flags&ifaceShaper == 0 {
		return false
	}
	l, err := netlink.LinkByIndex(int(index))
	if err != nil {
		return false
	}
	pin := l.Attrs().Name + "_" + hookIngress.name
	_, err = os.Stat(filepath.Join(r.cfg.PinPath, dirLinks, pin))
	keep[pin] = err == nil
	return keep[pin]
}

// stopShaping has no frame go to a shaper any more, before the programs are taken away
// that its far end needs.
func stopShaping(pinPath string) error {
	m, err := ebpf.LoadPinnedMap(filepath.Join(pinPath, dirState, shapersMap), nil)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("shapers: %w", err)
	}
	defer m.Close()
	var key uint32
	for m.NextKey(nil, &key) == nil {
		if err := deleteEntry(m, key); err != nil {
			return fmt.Errorf("shapers: %w", err)
		}
	}
	return nil
}
