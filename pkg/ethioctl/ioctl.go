// SPDX-License-Identifier: GPL-2.0-only

package ethioctl

import (
	"errors"
	"fmt"
	"io/fs"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Device takes commands of ethtool for network interfaces.
type Device interface {
	// Do gives a command to an interface: data begins with its number. The answer
	// takes its place. It is fs.ErrNotExist if there is no such interface.
	Do(link string, data []byte) error
}

// Kernel are the interfaces of the calling thread's network namespace.
type Kernel struct{}

// ifreq is struct ifreq with a pointer.
type ifreq struct {
	name [unix.IFNAMSIZ]byte
	data unsafe.Pointer
	_    [24 - unsafe.Sizeof(uintptr(0))]byte
}

// Do implements [Device].
func (Kernel) Do(link string, data []byte) error {
	if len(link) >= unix.IFNAMSIZ {
		return fmt.Errorf("%s: %w", link, fs.ErrNotExist)
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("ethtool: %w", err)
	}
	defer unix.Close(fd)
	r := ifreq{data: unsafe.Pointer(&data[0])}
	copy(r.name[:], link)
	_, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&r)))
	runtime.KeepAlive(data)
	switch {
	case e == 0:
		return nil
	case errors.Is(e, unix.ENODEV):
		return fmt.Errorf("%s: %w", link, fs.ErrNotExist)
	}
	return e
}
