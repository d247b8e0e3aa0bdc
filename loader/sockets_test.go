// SPDX-License-Identifier: GPL-2.0-only

package loader

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Sockets in the fixture's namespaces.

// patience is what a packet takes at most on a busy machine.
const patience = 20 * time.Second

// listen returns a TCP listener of a host.
func (r *router) listen(t *testing.T, ns string, at netip.AddrPort) *net.TCPListener {
	t.Helper()
	var l *net.TCPListener
	r.in(ns, func() (err error) {
		l, err = net.ListenTCP("tcp", net.TCPAddrFromAddrPort(at))
		return err
	})
	t.Cleanup(func() { l.Close() })
	return l
}

// echoTCP gives back what it is sent, and sends each connection's peer on
// peers first.
func (r *router) echoTCP(t *testing.T, ns string, at netip.AddrPort) (peers chan netip.AddrPort) {
	t.Helper()
	l := r.listen(t, ns, at)
	peers = make(chan netip.AddrPort, 1024)
	go func() {
		for {
			c, err := l.AcceptTCP()
			if err != nil {
				return
			}
			peers <- c.RemoteAddr().(*net.TCPAddr).AddrPort()
			go func() {
				io.Copy(c, c)
				c.Close()
			}()
		}
	}()
	return peers
}

// dial connects from an address of a host.
func (r *router) dial(ns string, from, to netip.AddrPort) (*net.TCPConn, error) {
	var c net.Conn
	err := r.do(ns, func() (err error) {
		d := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(from), Timeout: patience}
		c, err = d.Dial("tcp", to.String())
		return err
	})
	if err != nil {
		return nil, err
	}
	return c.(*net.TCPConn), nil
}

func (r *router) mustDial(t *testing.T, ns string, from, to netip.AddrPort) *net.TCPConn {
	t.Helper()
	c, err := r.dial(ns, from, to)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// udp returns a bound UDP socket of a host.
func (r *router) udp(t *testing.T, ns string, at netip.AddrPort) *net.UDPConn {
	t.Helper()
	var c *net.UDPConn
	r.in(ns, func() (err error) {
		return bindAgain(func() error {
			c, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(at))
			return err
		})
	})
	t.Cleanup(func() { c.Close() })
	return c
}

// bindAgain tries again while a child that another test is starting holds a
// socket that was closed here.
func bindAgain(bind func() error) error {
	for end := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		err := bind()
		if !errors.Is(err, unix.EADDRINUSE) || time.Now().After(end) {
			return err
		}
	}
}

// echoUDP gives back each datagram, and sends its sender on peers.
func (r *router) echoUDP(t *testing.T, ns string, at netip.AddrPort) (peers chan netip.AddrPort) {
	t.Helper()
	c := r.udp(t, ns, at)
	peers = make(chan netip.AddrPort, 1024)
	go func() {
		buf := make([]byte, 65536)
		for {
			n, peer, err := c.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			c.WriteToUDPAddrPort(buf[:n], peer)
			select {
			case peers <- peer:
			default:
			}
		}
	}()
	return peers
}

// nextPeer is the next peer of an echo server.
func nextPeer(t *testing.T, peers chan netip.AddrPort) netip.AddrPort {
	t.Helper()
	select {
	case p := <-peers:
		return p
	case <-time.After(patience):
		t.Fatal("nobody has come to the server")
		return netip.AddrPort{}
	}
}

// exchange sends a message on a connection and wants it back.
func exchange(c net.Conn, message string) error {
	c.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(c, message); err != nil {
		return err
	}
	buf := make([]byte, len(message))
	if _, err := io.ReadFull(c, buf); err != nil {
		return fmt.Errorf("answer: %w", err)
	}
	if string(buf) != message {
		return fmt.Errorf("answer %q, not %q", buf, message)
	}
	return nil
}

// exchangeUDP is exchange by datagram.
func exchangeUDP(c *net.UDPConn, to netip.AddrPort, message []byte) error {
	c.SetDeadline(time.Now().Add(2 * time.Second))
	if _, err := c.WriteToUDPAddrPort(message, to); err != nil {
		return err
	}
	buf := make([]byte, 65536)
	n, peer, err := c.ReadFromUDPAddrPort(buf)
	switch {
	case err != nil:
		return err
	case peer != to:
		return fmt.Errorf("answer from %v, not %v", peer, to)
	case string(buf[:n]) != string(message):
		return fmt.Errorf("answer of %d bytes is not the message of %d", n, len(message))
	}
	return nil
}

// transfer sends random bytes both ways at once, over a connection from a
// client to a listener, and compares what arrives.
func transfer(client *net.TCPConn, l *net.TCPListener, size int64) error {
	l.SetDeadline(time.Now().Add(patience))
	server, err := l.AcceptTCP()
	if err != nil {
		return err
	}
	defer server.Close()
	defer client.Close()
	errs := make(chan error, 4)
	for i, ends := range [][2]*net.TCPConn{{client, server}, {server, client}} {
		seed := rand.Int63()
		want := sha256.New()
		if _, err := io.CopyN(want, rand.New(rand.NewSource(seed)), size); err != nil {
			return err
		}
		go func() {
			ends[0].SetWriteDeadline(time.Now().Add(20 * time.Second))
			_, err := io.CopyN(ends[0], rand.New(rand.NewSource(seed)), size)
			if err == nil {
				err = ends[0].CloseWrite()
			}
			if err != nil {
				err = fmt.Errorf("way %d: %w", i, err)
			}
			errs <- err
		}()
		go func() {
			ends[1].SetReadDeadline(time.Now().Add(20 * time.Second))
			got := sha256.New()
			n, err := io.Copy(got, ends[1])
			switch {
			case err != nil:
				err = fmt.Errorf("way %d after %d bytes: %w", i, n, err)
			case n != size || string(got.Sum(nil)) != string(want.Sum(nil)):
				err = fmt.Errorf("way %d: %d bytes of %d, or others than were sent", i, n, size)
			}
			errs <- err
		}()
	}
	var all []error
	for range cap(errs) {
		all = append(all, <-errs)
	}
	return errors.Join(all...)
}

// icmpReport is what a socket was told by an ICMP error.
type icmpReport struct {
	typ, code uint8
	info      uint32 // MTU
	errno     syscall.Errno
	from      netip.Addr // of the error's sender
}

// probe is a datagram that is to provoke an ICMP error.
type probe struct {
	ns   string
	from netip.AddrPort
	to   netip.AddrPort
	ttl  int // 0: the default
	size int
	df   bool // never fragmented, whatever the path's MTU is known to be
}

// provoke sends a probe and returns the error that comes back.
func (r *router) provoke(t *testing.T, p probe) icmpReport {
	t.Helper()
	family, level, recverr, ttlOpt, mtuOpt, hdr := unix.AF_INET, unix.IPPROTO_IP, unix.IP_RECVERR, unix.IP_TTL, unix.IP_MTU_DISCOVER, 16
	if p.to.Addr().Is6() {
		family, level, recverr, ttlOpt, mtuOpt = unix.AF_INET6, unix.IPPROTO_IPV6, unix.IPV6_RECVERR, unix.IPV6_UNICAST_HOPS, unix.IPV6_MTU_DISCOVER
	}
	var fd int
	r.in(p.ns, func() (err error) {
		fd, err = unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		return err
	})
	defer unix.Close(fd)
	discover := unix.IP_PMTUDISC_DONT
	if p.df {
		discover = unix.IP_PMTUDISC_PROBE
	}
	steps := []error{
		unix.SetsockoptInt(fd, level, recverr, 1),
		unix.SetsockoptInt(fd, level, mtuOpt, discover),
		bindAgain(func() error { return unix.Bind(fd, sockaddr(p.from)) }),
		unix.Connect(fd, sockaddr(p.to)),
	}
	if p.ttl != 0 {
		steps = append(steps, unix.SetsockoptInt(fd, level, ttlOpt, p.ttl))
	}
	if _, err := unix.Write(fd, make([]byte, p.size)); err != nil {
		steps = append(steps, err)
	}
	if err := errors.Join(steps...); err != nil {
		t.Fatal(err)
	}
	fds := []unix.PollFd{{Fd: int32(fd)}}
	n, err := 0, error(unix.EINTR)
	for err == unix.EINTR {
		n, err = unix.Poll(fds, 2000)
	}
	if n != 1 || err != nil {
		t.Fatalf("no ICMP error for %+v: %v", p, err)
	}
	oob := make([]byte, 512)
	_, n, _, _, err = unix.Recvmsg(fd, make([]byte, 65536), oob, unix.MSG_ERRQUEUE)
	if err != nil {
		t.Fatalf("no ICMP error for %+v: %v", p, err)
	}
	msgs, err := unix.ParseSocketControlMessage(oob[:n])
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range msgs {
		if int(m.Header.Level) != level || len(m.Data) < hdr {
			continue
		}
		// struct sock_extended_err of include/uapi/linux/errqueue.h, and the
		// offender's address behind it.
		e := (*unix.SockExtendedErr)(unsafe.Pointer(&m.Data[0]))
		report := icmpReport{typ: e.Type, code: e.Code, info: e.Info, errno: syscall.Errno(e.Errno)}
		if family == unix.AF_INET {
			report.from = netip.AddrFrom4([4]byte(m.Data[hdr+4:]))
		} else {
			report.from = netip.AddrFrom16([16]byte(m.Data[hdr+8:]))
		}
		return report
	}
	t.Fatalf("no ICMP error in %v", msgs)
	return icmpReport{}
}

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Addr: a.Addr().As4(), Port: int(a.Port())}
	}
	return &unix.SockaddrInet6{Addr: a.Addr().As16(), Port: int(a.Port())}
}

// at is an address with a port.
func at(a netip.Addr, port uint16) netip.AddrPort { return netip.AddrPortFrom(a, port) }

// rawSocket is a raw IP socket of a host; its kernel makes ICMPv6's checksum.
func (r *router) rawSocket(t *testing.T, ns string, proto uint8, addr netip.Addr) *net.IPConn {
	t.Helper()
	network := fmt.Sprintf("ip4:%d", proto)
	if addr.Is6() {
		network = fmt.Sprintf("ip6:%d", proto)
	}
	var c *net.IPConn
	r.in(ns, func() (err error) {
		c, err = net.ListenIP(network, &net.IPAddr{IP: addr.AsSlice()})
		return err
	})
	t.Cleanup(func() { c.Close() })
	return c
}
