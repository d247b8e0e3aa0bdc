// SPDX-License-Identifier: GPL-2.0-only

package path

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"runtime"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Addresses of the ends.
var (
	senderAddr   = netip.MustParsePrefix("192.0.2.1/24")
	receiverAddr = netip.MustParsePrefix("192.0.2.2/24")
	sender6      = netip.MustParsePrefix("2001:db8::1/64")
	receiver6    = netip.MustParsePrefix("2001:db8::2/64")
)

// queueLength is long enough for a window that is sent at once: what is lost is to be lost
// by the path.
const queueLength = 20000

// end is a namespace with a TUN device, whose packets the path has.
type end struct {
	jobs chan func()
	done chan struct{}
	tun  *os.File
}

// newEnd makes one. The namespace has no name: it ends with its thread.
func newEnd(addrs ...netip.Prefix) (*end, error) {
	e := &end{jobs: make(chan func()), done: make(chan struct{})}
	made := make(chan error)
	go func() {
		defer close(e.done)
		runtime.LockOSThread() // never unlocked
		err := unix.Unshare(unix.CLONE_NEWNET)
		if err == nil {
			err = e.setUp(addrs)
		}
		made <- err
		if err != nil {
			return
		}
		for f := range e.jobs {
			f()
		}
	}()
	return e, <-made
}

// do runs f in the namespace. Sockets that it makes are there.
func (e *end) do(f func() error) error {
	err := make(chan error)
	e.jobs <- func() { err <- f() }
	return <-err
}

func (e *end) close() error {
	close(e.jobs)
	<-e.done
	return e.tun.Close()
}

func (e *end) setUp(addrs []netip.Prefix) error {
	const name = "path0"
	var err error
	if e.tun, err = openTun(name); err != nil {
		return err
	}
	fail := func(err error) error { return errors.Join(err, e.tun.Close()) }
	for _, dev := range []string{"lo", name} {
		l, err := netlink.LinkByName(dev)
		if err != nil {
			return fail(err)
		}
		if dev == name {
			if err := errors.Join(netlink.LinkSetTxQLen(l, queueLength), netlink.LinkSetMTU(l, maxPacket)); err != nil {
				return fail(err)
			}
			for _, a := range addrs {
				addr, err := netlink.ParseAddr(a.String())
				if err != nil {
					return fail(err)
				}
				addr.Flags = unix.IFA_F_NODAD
				if err := netlink.AddrAdd(l, addr); err != nil {
					return fail(fmt.Errorf("%s: %w", a, err))
				}
			}
		}
		if err := netlink.LinkSetUp(l); err != nil {
			return fail(err)
		}
	}
	if err := buffers(); err != nil {
		return fail(err)
	}
	return nil
}

// buffers lets connections of the thread's namespace fill long paths.
func buffers() error {
	var errs []error
	for name, value := range map[string]string{
		"net/ipv4/tcp_rmem": "4096 1048576 67108864", "net/ipv4/tcp_wmem": "4096 1048576 67108864",
		"net/ipv4/tcp_no_metrics_save": "1",
	} {
		errs = append(errs, sysctl(name, value))
	}
	return errors.Join(errs...)
}

// sysctl sets one of the thread's namespace.
func sysctl(name, value string) error { return os.WriteFile("/proc/sys/"+name, []byte(value), 0) }

// openTun makes a TUN device in the thread's namespace.
func openTun(name string) (*os.File, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("/dev/net/tun: %w", err)
	}
	ifr, err := unix.NewIfreq(name)
	if err == nil {
		ifr.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, ifr)
	}
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("tun device %s: %w", name, err)
	}
	return os.NewFile(uintptr(fd), "tun"), nil
}
