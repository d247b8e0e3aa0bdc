// SPDX-License-Identifier: GPL-2.0-only

package loader

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// elemSize is the size of struct set_elem of bpf/lib/types.h.
const elemSize = 8

// carrySets gives the sets of a new policy what was added to the old one's
// while it ran, as far as the configuration carries it: by default elements that
// expire, such as a bouncer's. Elements that do not are the ruleset file's, and
// the new file says which there are.
func (r *replacement) carrySets() error {
	if r.same {
		return nil
	}
	carries := r.cfg.Carry
	if carries == nil {
		carries = func(_ string, _ []byte, expires bool) bool { return expires }
	}
	for name, old := range r.oldPolicy {
		set := r.loaded.maps[name]
		if set == nil || strings.HasPrefix(name, "l2_") || set.Type() != old.Type() ||
			set.KeySize() != old.KeySize() || set.ValueSize() != elemSize || old.ValueSize() != elemSize {
			continue
		}
		err := carrySet(set, old, monotonic(), func(key []byte, expires bool) bool { return carries(name, key, expires) })
		if err != nil {
			return fmt.Errorf("set %s: elements of the running policy: %w", name, err)
		}
	}
	return nil
}

func carrySet(to, from *ebpf.Map, now uint64, carries func(key []byte, expires bool) bool) error {
	key, value := make([]byte, from.KeySize()), make([]byte, elemSize)
	it := from.Iterate()
	for it.Next(&key, &value) {
		expires := binary.NativeEndian.Uint64(value)
		if expires != 0 && expires <= now || !carries(key, expires != 0) {
			continue
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
