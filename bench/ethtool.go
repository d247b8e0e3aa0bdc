// SPDX-License-Identifier: GPL-2.0-only

package bench

import (
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ETHTOOL_SGRO of include/uapi/linux/ethtool.h.
const ethtoolSetGRO = 0x2c

// setGRO turns generic receive offload on for an interface of the calling
// thread's network namespace.
func setGRO(name string) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("%s: socket for ethtool: %w", name, err)
	}
	defer unix.Close(fd)

	value := struct{ cmd, data uint32 }{ethtoolSetGRO, 1}
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
		return fmt.Errorf("%s: turn GRO on: %w", name, errno)
	}
	return nil
}
