// SPDX-License-Identifier: GPL-2.0-only

package lab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// smallMTU is what the WAN gets for the MTU checks; wireMTU what it has.
const (
	smallMTU = 1400
	wireMTU  = 1500
)

func edgeChecks() []Check {
	const group = "from the LAN"
	return slices.Concat(
		both(group, "to special-purpose", "10.9.9.9, 2001:db8::9 do not leave by the WAN", checkNowhere),
		[]Check{{group, "upstream source", "the LAN may not speak for the upstream LAN", checkUpstreamSource}},
		both(group, "traceroute", "router, upstream and server answer, in that order", checkTraceroute),
		both(group, "over the MTU", "DF: fragmentation needed or packet too big; an upload adapts", checkMTU),
	)
}

func checkNowhere(ctx context.Context, t *trial, family int) error {
	src, dst := AddrClient1.Of(family), addrNowhere.Of(family)
	return t.droppedOutbound(ctx, src, dst, pick(family, fwSpecial4, fwSpecial6))
}

func checkUpstreamSource(ctx context.Context, t *trial) error {
	return t.droppedOutbound(ctx, netip.MustParseAddr("172.16.5.5"), AddrServer.V4, fwUpstream)
}

func (t *trial) droppedOutbound(ctx context.Context, src, dst netip.Addr, rule ruleName) error {
	wan, err := t.openTap(ISP, ifISP, func(p packet) bool { return p.dst == dst && p.dport == portProbe })
	if err != nil {
		return err
	}
	defer wan.close()
	return t.dropped(ctx, volley{
		from: fromLAN, rule: rule, arrived: wan.matched.Load,
		frame: func(i int) []byte {
			return udpFrame(fromLAN.hop, src, dst, portStranger+uint16(i), portProbe, []byte("lost"))
		},
	})
}

func checkTraceroute(ctx context.Context, t *trial, family int) error {
	server := AddrServer.Of(family)
	want := []string{AddrRouterLAN.Of(family).String(), AddrISP.Of(family).String(), server.String()}
	return t.decidedBy(ctx, func() error {
		out, err := t.run(ctx, Client1, "", "traceroute", "-n", "-q", "1", "-w", "5", "-m", "6", fmt.Sprintf("-%d", family), server.String())
		if err != nil {
			return err
		}
		var hops []string
		for _, line := range strings.Split(strings.TrimSpace(out), "\n")[1:] {
			if f := strings.Fields(line); len(f) > 1 {
				hops = append(hops, f[1])
			}
		}
		if !slices.Equal(hops, want) {
			return fmt.Errorf("hops %v, want %v", hops, want)
		}
		return nil
	}, pick(family, fwOut4, fwOut6), fwReturn)
}

// checkMTU makes the WAN narrow. A datagram that does not fit and may not be
// fragmented must come back as an error of the router with the right MTU; a TCP
// upload must find its way by itself.
func checkMTU(ctx context.Context, t *trial, family int) (err error) {
	for _, e := range []struct{ ns, link string }{{Router, IfWAN}, {ISP, ifISP}} {
		if err := t.setMTU(e.ns, e.link, smallMTU); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, t.setMTU(e.ns, e.link, wireMTU)) }()
	}
	return t.decidedBy(ctx, func() error {
		to := netip.AddrPortFrom(AddrPMTU.Of(family), portEcho)
		mtu, offender, err := t.tooBig(ctx, Client1, to)
		if err != nil {
			return err
		}
		if want := AddrRouterLAN.Of(family); mtu != smallMTU || offender != want {
			return fmt.Errorf("%s says MTU %d, want %d from %s", offender, mtu, smallMTU, want)
		}
		return t.upload(ctx, Client1, to.Addr(), 4_000_000)
	}, pick(family, fwOut4, fwOut6), fwReturn)
}

// tooBig sends a datagram that fills a wireMTU packet, with "do not fragment", and
// returns the MTU and the sender of the ICMP error that it provokes.
func (t *trial) tooBig(ctx context.Context, ns string, to netip.AddrPort) (mtu uint32, offender netip.Addr, err error) {
	family, level, discover, probe, recvErr, header := unix.AF_INET, unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_PROBE, unix.IP_RECVERR, ip4Header
	var dst unix.Sockaddr = &unix.SockaddrInet4{Port: int(to.Port())}
	if to.Addr().Is6() {
		family, level, discover, probe, recvErr, header = unix.AF_INET6, unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_PROBE, unix.IPV6_RECVERR, ip6Header
		dst = &unix.SockaddrInet6{Port: int(to.Port()), Addr: to.Addr().As16()}
	} else {
		dst.(*unix.SockaddrInet4).Addr = to.Addr().As4()
	}
	fd := -1
	err = t.ns[ns].Do(func() (err error) {
		fd, err = unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		return err
	})
	if err != nil {
		return 0, offender, err
	}
	defer unix.Close(fd)
	for _, o := range [][2]int{{discover, probe}, {recvErr, 1}} {
		if err := unix.SetsockoptInt(fd, level, o[0], o[1]); err != nil {
			return 0, offender, err
		}
	}
	if err := unix.Connect(fd, dst); err != nil {
		return 0, offender, err
	}
	if _, err := unix.Write(fd, make([]byte, wireMTU-header-8)); err != nil {
		return 0, offender, fmt.Errorf("send %d bytes: %w", wireMTU, err)
	}
	control := make([]byte, 512)
	err = poll(ctx, answerTime, func() error {
		_, n, _, _, err := unix.Recvmsg(fd, make([]byte, 2048), control, unix.MSG_ERRQUEUE)
		if err != nil {
			return fmt.Errorf("no ICMP error: %w", err)
		}
		mtu, offender, err = parseTooBig(control[:n])
		return err
	})
	return mtu, offender, err
}

// parseTooBig reads the error that IP_RECVERR or IPV6_RECVERR delivers: a
// sock_extended_err and the address of who sent it.
func parseTooBig(control []byte) (mtu uint32, offender netip.Addr, err error) {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return 0, offender, err
	}
	const size = int(unsafe.Sizeof(unix.SockExtendedErr{}))
	for _, m := range messages {
		if len(m.Data) < size+int(unsafe.Sizeof(unix.RawSockaddrInet4{})) {
			continue
		}
		e := (*unix.SockExtendedErr)(unsafe.Pointer(&m.Data[0]))
		from := m.Data[size:]
		switch e.Origin {
		case unix.SO_EE_ORIGIN_ICMP:
			offender = netip.AddrFrom4([4]byte(from[4:8]))
		case unix.SO_EE_ORIGIN_ICMP6:
			offender = netip.AddrFrom16([16]byte(from[8:24]))
		default:
			return 0, offender, fmt.Errorf("error %d of origin %d, want an ICMP error", e.Errno, e.Origin)
		}
		if unix.Errno(e.Errno) != unix.EMSGSIZE {
			return 0, offender, fmt.Errorf("ICMP type %d code %d from %s, want one about the size", e.Type, e.Code, offender)
		}
		return e.Info, offender, nil
	}
	return 0, offender, errors.New("an error without its cause")
}
