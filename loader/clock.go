// SPDX-License-Identifier: GPL-2.0-only

package loader

import (
	"fmt"
	"io/fs"
	"unsafe"

	"golang.org/x/sys/unix"
)

// readClock asks what is between the kernel's atomic time and its wall clock,
// in seconds, and for its time zone, which is not the user's.
func readClock() (l2TCClock, error) {
	var tx unix.Timex
	if _, err := unix.Adjtimex(&tx); err != nil {
		return l2TCClock{}, fmt.Errorf("clock: adjtimex: %w", err)
	}
	var tv unix.Timeval
	var tz struct{ minutesWest, dstTime int32 }
	if _, _, errno := unix.Syscall(unix.SYS_GETTIMEOFDAY, uintptr(unsafe.Pointer(&tv)), uintptr(unsafe.Pointer(&tz)), 0); errno != 0 {
		return l2TCClock{}, fmt.Errorf("clock: gettimeofday: %w", errno)
	}
	return l2TCClock{TaiOffset: tx.Tai, MinutesWest: tz.minutesWest}, nil
}

// RefreshClock tells the programs if leap seconds or the kernel's time zone have
// changed, which only rules about the time depend on.
func (d *Dataplane) RefreshClock() error {
	c, err := readClock()
	if err != nil {
		return err
	}
	d.mu.RLock()
	defer d.mu.RUnlock()
	m := d.maps["l2_clock"]
	if m == nil {
		return fmt.Errorf("there is no map l2_clock: %w", fs.ErrNotExist)
	}
	return m.Put(uint32(0), c)
}
