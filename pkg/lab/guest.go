// SPDX-License-Identifier: GPL-2.0-only

package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Guest is the host of the LAN that is there for some checks only, and asks for its addresses.
const Guest = "guest"

// ifGuest is the router's end of its cable.
const ifGuest = "guest0"

// guestSysctls have it configure itself by the first advertisement that comes.
var guestSysctls = []sysctl{
	{"net/ipv6/conf/default/accept_ra", "1"},
	{"net/ipv6/conf/default/autoconf", "1"},
	{"net/ipv6/conf/default/addr_gen_mode", "0"},
	{"net/ipv6/conf/default/router_solicitations", "-1"},
	{"net/ipv6/conf/default/router_solicitation_delay", "0"},
	{"net/ipv6/conf/default/router_solicitation_interval", "1"},
	{"net/ipv6/conf/default/router_solicitation_max_interval", "2"},
}

// withGuest has a host come to the LAN as long as fn runs. fn gets a socket that hears what its kernel
// does not take of advertisements itself.
func (t *trial) withGuest(fn func(options *options) error) (err error) {
	ns, err := createNamespace(nsPrefix(t.id) + Guest)
	if err != nil {
		return err
	}
	t.ns[Guest] = ns
	defer func() {
		delete(t.ns, Guest)
		err = errors.Join(err, endProcesses([]string{ns.name}), ns.Close(), removeNamespace(ns.name))
	}()
	if err := ns.setSysctls(slices.Concat(hostSysctls, guestSysctls)); err != nil {
		return err
	}
	heard, err := listenOptions(ns)
	if err != nil {
		return err
	}
	defer heard.close()
	if err := t.plugIn(ns); err != nil {
		return err
	}
	return fn(heard)
}

// plugIn gives a namespace a cable to the router's bridge.
func (t *trial) plugIn(ns *Namespace) error {
	bridge, err := t.link(Router, IfLAN)
	if err != nil {
		return err
	}
	veth := &netlink.Veth{LinkAttrs: netlink.NewLinkAttrs(), PeerName: ifHost, PeerNamespace: netlink.NsFd(ns.Fd())}
	veth.Name, veth.MasterIndex = ifGuest, bridge.Attrs().Index
	if err := t.links[Router].LinkAdd(veth); err != nil {
		return fmt.Errorf("add %s: %w", ifGuest, err)
	}
	if err := t.setUp(Router, ifGuest); err != nil {
		return err
	}
	handle, err := netlink.NewHandleAt(netns.NsHandle(ns.Fd()), unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer handle.Close()
	for _, name := range []string{"lo", ifHost} {
		link, err := handle.LinkByName(name)
		if err == nil {
			err = handle.LinkSetUp(link)
		}
		if err != nil {
			return fmt.Errorf("%s: %s: %w", ns.name, name, err)
		}
	}
	return nil
}

// addressIn waits until the guest has an address of a prefix, and a route to everywhere.
func (t *trial) addressIn(ctx context.Context, prefix netip.Prefix) (addr netip.Addr, err error) {
	err = poll(ctx, checkLimit/3, func() error {
		return t.ns[Guest].Do(func() error {
			link, err := net.InterfaceByName(ifHost)
			if err != nil {
				return err
			}
			addrs, err := link.Addrs()
			if err != nil {
				return err
			}
			routes, err := netlink.RouteGet(AddrServer.V6.AsSlice())
			if err != nil || len(routes) == 0 {
				return fmt.Errorf("no route to %v; addresses %v", AddrServer.V6, addrs)
			}
			// One that may still be another host's is no source.
			if ip, _ := netip.AddrFromSlice(routes[0].Src); prefix.Contains(ip) {
				addr = ip
				return nil
			}
			return fmt.Errorf("no address of %v to send from: %v", prefix, addrs)
		})
	})
	return addr, err
}

// options hears the options of advertisements that the kernel leaves to others, among them resolvers.
type options struct{ fd int }

func listenOptions(ns *Namespace) (o *options, err error) {
	o = &options{fd: -1}
	err = ns.Do(func() error {
		o.fd, err = unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
		if err != nil {
			return err
		}
		return unix.Bind(o.fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: 1 << (unix.RTNLGRP_ND_USEROPT - 1)})
	})
	if err != nil {
		o.close()
	}
	return o, wrap(err, "options of advertisements")
}

func (o *options) close() { unix.Close(o.fd) }

// Parts of the messages, of linux/rtnetlink.h and RFC 8106.
const (
	userOptHeader = 16 // struct nduseroptmsg
	optRDNSS      = 25
)

// resolvers waits for the resolvers that an advertisement names.
func (o *options) resolvers(limit time.Duration) ([]netip.Addr, error) {
	buf := make([]byte, 4096)
	for end := time.Now().Add(limit); time.Now().Before(end); {
		left := unix.NsecToTimeval(int64(max(time.Until(end), time.Millisecond)))
		if err := unix.SetsockoptTimeval(o.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &left); err != nil {
			return nil, err
		}
		n, _, err := unix.Recvfrom(o.fd, buf, 0)
		if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if list := resolversIn(buf[:n]); list != nil {
			return list, nil
		}
	}
	return nil, errors.New("no advertisement names a resolver")
}

// resolversIn reads a netlink message.
func resolversIn(b []byte) (list []netip.Addr) {
	b = b[min(len(b), unix.NLMSG_HDRLEN+userOptHeader):]
	if len(b) < 8 || b[0] != optRDNSS || len(b) < 8*int(b[1]) {
		return nil
	}
	for a := b[8 : 8*int(b[1])]; len(a) >= 16; a = a[16:] {
		list = append(list, netip.AddrFrom16([16]byte(a)))
	}
	return list
}
