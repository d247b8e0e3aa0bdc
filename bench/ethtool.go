// SPDX-License-Identifier: GPL-2.0-only

package bench

import (
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ETHTOOL_SGRO and ETHTOOL_STXCSUM of include/uapi/linux/ethtool.h.
const (
	ethtoolSetGRO    = 0x2c
	ethtoolSetTxCsum = 0x17
)

// setGRO turns generic receive offload on for an interface of the calling
// thread's network namespace.
func setGRO(name string) error { return setOffload(name, ethtoolSetGRO, 1) }

// setOffload turns an offload on or off.
func setOffload(name string, cmd, on uint32) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("%s: socket for ethtool: %w", name, err)
	}
	defer unix.Close(fd)

	value := struct{ cmd, data uint32 }{cmd, on}
	request := struct {
		name [unix.IFNAMSIZ]byte
		data unsafe.Pointer
		_    [16]byte
	}{data: unsafe.Pointer(&value)}
	copy(request.name[:unix.IFNAMSIZ-1], name)

	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd),
		unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&request)))
	runtime.KeepAlive(&value)
	if errno != 0 {
		return fmt.Errorf("%s: ethtool command %#x, value %d: %w", name, cmd, on, errno)
	}
	return nil
}
