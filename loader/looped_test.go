// SPDX-License-Identifier: GPL-2.0-only

package loader

import (
	"context"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/randomizedcoder/l2d/pkg/flow"
)

// looped is a datagram that the router sends to who is on its LAN, itself included.
type looped struct {
	name  string
	f     family
	group netip.Addr
}

var loopedTo = []looped{
	{"a group, IPv4", families[0], netip.MustParseAddr("239.7.7.7")},
	{"broadcast", families[0], netip.MustParseAddr("192.168.7.255")},
	{"a group, IPv6", families[1], netip.MustParseAddr("ff05::7:7")},
}

// send sends it from an address of the router's; received is what its own socket gets of it, empty for nothing.
func (l looped) send(t *testing.T, r *router, from netip.Addr, message string) (received string) {
	t.Helper()
	index := r.index("lan0")
	var listener, sender net.PacketConn
	r.in("r", func() (err error) {
		if listener, err = l.listen(index); err != nil {
			return err
		}
		sender, err = l.sender(from, index)
		return err
	})
	defer listener.Close()
	defer sender.Close()
	if _, err := sender.WriteTo([]byte(message), net.UDPAddrFromAddrPort(at(l.group, 7700))); err != nil {
		t.Fatal(err)
	}
	// It was handed over before the call returned.
	listener.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
	buf := make([]byte, 100)
	n, _, err := listener.ReadFrom(buf)
	if err != nil {
		return ""
	}
	return string(buf[:n])
}

// listen has a socket in the group.
func (l looped) listen(index int) (net.PacketConn, error) {
	config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) (err error) {
		ctl := c.Control(func(fd uintptr) {
			// A process that begins elsewhere in the test may hold the socket before it for a moment.
			if err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err == nil {
				err = l.join(int(fd), index)
			}
		})
		if ctl != nil {
			return ctl
		}
		return err
	}}
	return config.ListenPacket(context.Background(), "udp", at(l.group, 7700).String())
}

func (l looped) join(fd, index int) error {
	switch {
	case !l.group.IsMulticast():
		return nil
	case l.group.Is4():
		return unix.SetsockoptIPMreqn(fd, unix.IPPROTO_IP, unix.IP_ADD_MEMBERSHIP, &unix.IPMreqn{Multiaddr: l.group.As4(), Ifindex: int32(index)})
	}
	return unix.SetsockoptIPv6Mreq(fd, unix.IPPROTO_IPV6, unix.IPV6_ADD_MEMBERSHIP, &unix.IPv6Mreq{Multiaddr: l.group.As16(), Interface: uint32(index)})
}

// sender has a socket that sends to groups by an interface.
func (l looped) sender(from netip.Addr, index int) (net.PacketConn, error) {
	config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) (err error) {
		ctl := c.Control(func(fd uintptr) {
			if l.group.Is4() {
				err = unix.SetsockoptIPMreqn(int(fd), unix.IPPROTO_IP, unix.IP_MULTICAST_IF, &unix.IPMreqn{Ifindex: int32(index)})
			} else {
				err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_IF, index)
			}
			if err == nil {
				err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_BROADCAST, 1)
			}
		})
		if ctl != nil {
			return ctl
		}
		return err
	}}
	return config.ListenPacket(context.Background(), "udp", at(from, 7701).String())
}

// TestLooped: what the router sends to a group that it is in, it gets too, and both are of one flow.
func TestLooped(t *testing.T) {
	inModes(t, testPolicy{countStates: true}, func(t *testing.T, r *router, d *Dataplane, m mode) {
		lan := r.tap(t, "l")
		for _, l := range loopedTo {
			t.Run(l.name, func(t *testing.T) {
				before := stateCounters(t, d)["input new"]
				l.arrives(t, r, d, lan, l.f.rlan)
				if n := stateCounters(t, d)["input new"] - before; n != 1 {
					t.Errorf("the input chain has seen %d packets", n)
				}
			})
		}
		if n := stat(t, d, "drop_malformed"); n != 0 {
			t.Errorf("%d packets are malformed", n)
		}
	})
}

// TestLoopedTranslated: what leaves is translated as if there were no copy.
func TestLoopedTranslated(t *testing.T) {
	inModes(t, testPolicy{masquerade: true}, func(t *testing.T, r *router, d *Dataplane, m mode) {
		lan := r.tap(t, "l")
		for _, l := range loopedTo {
			if l.f.rlan.Is4() {
				t.Run(l.name, func(t *testing.T) { l.arrives(t, r, d, lan, l.f.rwan) })
			}
		}
	})
}

// arrives sends it, and sees it at the router's own socket and at the LAN's host, where it is from the router's address there.
func (l looped) arrives(t *testing.T, r *router, d *Dataplane, lan *wire, from netip.Addr) {
	t.Helper()
	if got := l.send(t, r, from, "to all"); got != "to all" {
		t.Errorf("its own socket has %q", got)
	}
	sent := lan.receive("the datagram", func(p packet) bool { return p.dst == at(l.group, 7700) })
	if sent.src.Addr() != l.f.rlan {
		t.Errorf("it leaves from %v, not from %v", sent.src, l.f.rlan)
	}
	if n := len(flows(t, d, flow.Filter{OrigDst: netip.PrefixFrom(l.group, l.group.BitLen())})); n != 1 {
		t.Errorf("%d flows, not 1", n)
	}
}

// TestLoopedDropped: the input chain decides.
func TestLoopedDropped(t *testing.T) {
	inModes(t, testPolicy{dropInput: true}, func(t *testing.T, r *router, d *Dataplane, m mode) {
		for _, l := range loopedTo {
			before := stat(t, d, "drop_policy")
			if got := l.send(t, r, l.f.rlan, "to all"); got != "" {
				t.Errorf("%s: its own socket has %q", l.name, got)
			}
			if stat(t, d, "drop_policy") == before {
				t.Errorf("%s: the drop is not counted", l.name)
			}
		}
	})
}
