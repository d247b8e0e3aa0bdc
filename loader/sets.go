// SPDX-License-Identifier: GPL-2.0-only

package loader

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// elemSize is the size of struct set_elem of bpf/lib/types.h.
const elemSize = 8

// carrySets gives the sets of a new policy what was added to the old one's
// while it ran.
func (r *replacement) carrySets() error {
	if r.same {
		return nil
	}
	if r.cfg.Restore != nil {
		return r.restoreSets()
	}
	carry := r.cfg.Carry
	if carry == nil && r.cfg.CarryAll != nil {
		return r.cfg.CarryAll(r.loaded.maps, r.oldPolicy)
	}
	if carry == nil {
		carry = carrySet
	}
	for name, old := range r.oldPolicy {
		set := r.loaded.maps[name]
		if set == nil || strings.HasPrefix(name, "l2_") || set.Type() != old.Type() ||
			set.KeySize() != old.KeySize() || set.ValueSize() != old.ValueSize() {
			continue
		}
		if err := carry(name, set, old); err != nil {
			return fmt.Errorf("set %s: elements of the running policy: %w", name, err)
		}
	}
	return nil
}

// restoreSets gives the sets of a policy what they had before another one took its place.
func (r *replacement) restoreSets() error {
	kept, err := openMaps(filepath.Join(r.cfg.PinPath, dirKept))
	if err != nil {
		return err
	}
	defer closeMaps(kept)
	return r.cfg.Restore(r.loaded.maps, r.oldPolicy, kept)
}

// keepSets pins what a new policy may not have of the one before. It is no change of what runs, which would have to
// be undone: who has it kept forgets it.
func (r *replacement) keepSets() error {
	if r.same || !r.cfg.Keep {
		return nil
	}
	sets := maps.Clone(r.oldPolicy)
	maps.DeleteFunc(sets, func(name string, _ *ebpf.Map) bool { return strings.HasPrefix(name, "l2_") })
	return pinMaps(filepath.Join(r.cfg.PinPath, dirKept), sets)
}

// Forget lets go of the maps that [Config.Keep] has kept.
func Forget(pinPath string) error { return os.RemoveAll(filepath.Join(pinPath, dirKept)) }

// carrySet carries elements that expire, such as a bouncer's. Elements that do
// not are the ruleset file's, and the new file says which there are.
func carrySet(_ string, to, from *ebpf.Map) error {
	if from.ValueSize() != elemSize {
		return nil
	}
	now := monotonic()
	key, value := make([]byte, from.KeySize()), make([]byte, elemSize)
	it := from.Iterate()
	for it.Next(&key, &value) {
		if binary.NativeEndian.Uint64(value) <= now {
			continue // never expires, or has
		}
		err := to.Update(key, value, ebpf.UpdateNoExist)
		if err != nil && !errors.Is(err, ebpf.ErrKeyExist) {
			return err
		}
	}
	return it.Err()
}

// monotonic is the clock of the dataplane, in ns.
func monotonic() uint64 {
	var ts unix.Timespec
	// Cannot fail for this clock.
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts)
	return uint64(ts.Nano())
}
