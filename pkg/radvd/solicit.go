// SPDX-License-Identifier: GPL-2.0-only

package radvd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv6"

	"github.com/randomizedcoder/l2d/pkg/prefixes"
	"github.com/randomizedcoder/l2d/pkg/service"
)

// routers is the address of all routers of a link, RFC 4291.
var routers = net.ParseIP("ff02::2")

// hosts is the address of all hosts of a link, neighbour one of theirs.
var (
	hosts     = net.ParseIP("ff02::1")
	neighbour = net.ParseIP("fe80::fffe:2")
)

// errSilent is the health of a daemon that runs and does not answer.
var errSilent = errors.New("no router advertisement of this host's own is seen")

// again is the wait before another solicitation: the daemon may just have started, and
// answers within half a second, RFC 4861, 10.
const again = 700 * time.Millisecond

// solicit asks as a host does, and waits for an advertisement that has an address of this host
// as its source. The socket sees what is sent to this host itself, too.
func solicit(ctx context.Context, name string) error {
	link, own, err := prefixes.LinkLocals(name)
	if err != nil {
		return err
	}
	conn, err := icmp.ListenPacket("ip6:ipv6-icmp", "::")
	if err != nil {
		return err
	}
	defer conn.Close()
	p := conn.IPv6PacketConn()
	var only ipv6.ICMPFilter
	only.SetAll(true)
	only.Accept(ipv6.ICMPTypeRouterAdvertisement)
	// Multicast advertisements come to who is in the group of all hosts; it is there already.
	err = errors.Join(p.SetICMPFilter(&only), p.SetMulticastInterface(link), p.SetMulticastHopLimit(255), p.SetMulticastLoopback(true))
	if err != nil {
		return err
	}
	end, ok := ctx.Deadline()
	if !ok {
		end = time.Now().Add(3 * time.Second)
	}
	buf := make([]byte, 1500)
	for time.Now().Before(end) {
		if err := ask(p, link); err != nil {
			return err
		}
		if err := p.SetReadDeadline(earlier(end, time.Now().Add(again))); err != nil {
			return err
		}
		for {
			_, _, from, err := p.ReadFrom(buf)
			if errors.Is(err, os.ErrDeadlineExceeded) {
				break
			}
			if err != nil {
				return err
			}
			if a, ok := from.(*net.IPAddr); ok && isOne(own, a.IP) {
				return nil
			}
		}
	}
	return fmt.Errorf("%s: %w", name, errSilent)
}

// ask sends a router solicitation; the kernel computes its checksum.
func ask(p *ipv6.PacketConn, link *net.Interface) error {
	m := icmp.Message{Type: ipv6.ICMPTypeRouterSolicitation, Body: &icmp.RawBody{Data: make([]byte, 4)}}
	b, err := m.Marshal(nil)
	if err != nil {
		return err
	}
	// By number: package net remembers for a while which one a name had.
	to := &net.IPAddr{IP: routers, Zone: strconv.Itoa(link.Index)}
	_, err = p.WriteTo(b, &ipv6.ControlMessage{IfIndex: link.Index, HopLimit: 255}, to)
	return err
}

// Packets implements [service.Firewalled]: what hosts ask by, and what they are told.
func (*Daemon) Packets(u *service.Unit) ([]service.Packet, error) {
	name := u.Params[interfaceParam]
	_, own, err := prefixes.LinkLocals(name)
	if err != nil {
		return nil, err
	}
	return []service.Packet{
		{Name: "hosts' router solicitations", Text: fmt.Sprintf("iif %s icmpv6 %s > %v type nd-router-solicit hoplimit 255", name, neighbour, routers)},
		{Name: "router advertisements", Text: fmt.Sprintf("oif %s icmpv6 %s > %v type nd-router-advert hoplimit 255", name, own[0], hosts)},
	}, nil
}

func isOne(list []netip.Addr, ip net.IP) bool {
	a, ok := netip.AddrFromSlice(ip)
	return ok && slices.Contains(list, a)
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
