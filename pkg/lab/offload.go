// SPDX-License-Identifier: GPL-2.0-only

package lab

import (
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Commands of SIOCETHTOOL, include/uapi/linux/ethtool.h.
const (
	ethtoolSetTxCsum = 0x17
	ethtoolSetTSO    = 0x1f
	ethtoolSetGSO    = 0x24
	ethtoolSetGRO    = 0x2c
)

// offload is one on/off setting of a network interface.
type offload struct {
	what  string
	cmd   uint32
	value uint32
}

// realWire makes an interface send what a wire carries: single segments with
// complete checksums. An XDP program at the other end of a veth sees the packet
// before the kernel would fill these in.
var realWire = []offload{
	{"tso off", ethtoolSetTSO, 0},
	{"gso off", ethtoolSetGSO, 0},
	{"tx checksum off", ethtoolSetTxCsum, 0},
}

// xdpReceiver makes a veth accept frames that XDP redirects into it: only an
// interface with NAPI has the ring for them, and GRO turns NAPI on.
var xdpReceiver = []offload{
	{"gro on", ethtoolSetGRO, 1},
}

func (n *Namespace) setOffloads(link string, lists ...[]offload) error {
	return n.Do(func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("%s: ethtool socket: %w", n.name, err)
		}
		defer unix.Close(fd)
		for _, list := range lists {
			for _, o := range list {
				if err := ethtoolSet(fd, link, o); err != nil {
					return fmt.Errorf("%s: %s: %s: %w", n.name, link, o.what, err)
				}
			}
		}
		return nil
	})
}

func ethtoolSet(fd int, link string, o offload) error {
	value := struct{ cmd, data uint32 }{o.cmd, o.value}
	var request struct {
		name [unix.IFNAMSIZ]byte
		data unsafe.Pointer
		_    [16]byte // struct ifreq's union is larger than a pointer
	}
	if len(link) >= unix.IFNAMSIZ {
		return fmt.Errorf("interface name %q is too long", link)
	}
	copy(request.name[:], link)
	request.data = unsafe.Pointer(&value)
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&request)))
	runtime.KeepAlive(&value)
	if errno != 0 {
		return errno
	}
	return nil
}

// PlainWire makes an interface of the calling thread's network namespace send
// what a wire carries: single segments with complete checksums.
func PlainWire(link string) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("ethtool socket: %w", err)
	}
	defer unix.Close(fd)
	for _, o := range realWire {
		if err := ethtoolSet(fd, link, o); err != nil {
			return fmt.Errorf("%s: %s: %w", link, o.what, err)
		}
	}
	return nil
}
