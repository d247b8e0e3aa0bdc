// SPDX-License-Identifier: GPL-2.0-only

package diff

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/randomizedcoder/l2d/pkg/lab"
)

// router is a router in a namespace and the wires to it in another.
type router struct {
	name     string
	ports    []port
	self     *namespace
	outside  *namespace
	patience time.Duration // with a frame on its way
	index    []int         // of the router's interfaces; the same at both routers
	outIndex []int         // of their other ends
	wire     *wire
	local    *local
	links    []link.Link
	marker   uint32 // last one sent
}

var routerSysctls = []string{
	"ipv4/ip_forward=1", "ipv6/conf/all/forwarding=1",
	"ipv4/conf/all/rp_filter=0", "ipv4/conf/default/rp_filter=0",
	"ipv4/conf/all/send_redirects=0", "ipv4/conf/default/send_redirects=0",
	"ipv6/conf/default/accept_dad=0", "ipv6/conf/default/router_solicitations=0", "ipv6/conf/default/addr_gen_mode=1",
	"ipv6/conf/default/mldv1_unsolicited_report_interval=1", "ipv6/conf/default/mldv2_unsolicited_report_interval=1",
	"ipv6/conf/all/accept_ra=0", "ipv6/auto_flowlabels=0",
	"ipv4/icmp_ratelimit=0", "ipv6/icmp/ratelimit=0", "ipv4/icmp_msgs_per_sec=1000000", "ipv4/icmp_msgs_burst=100000",
	"ipv4/icmp_echo_ignore_broadcasts=1", "ipv4/tcp_invalid_ratelimit=0",
	// Errors that tell of a small path MTU, or of none, change nothing in the stacks behind the
	// routers: for ten minutes, also in the next run, each would send fragments, or nothing.
	"ipv4/ip_no_pmtu_disc=2",
}

func fields(s string) []string { return strings.Fields(s) }

// newRouter builds a router without a ruleset.
func newRouter(name string, ports []port) (_ *router, err error) {
	r := &router{name: name, ports: ports}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("router with %s: %w", name, err), r.close())
		}
	}()
	if r.self, err = newNamespace(); err != nil {
		return nil, err
	}
	if r.outside, err = newNamespace(); err != nil {
		return nil, err
	}
	if err := r.outside.do(func() error { return setSysctls("ipv6/conf/default/disable_ipv6=1", "ipv6/conf/all/disable_ipv6=1") }); err != nil {
		return nil, err
	}
	if err := r.self.do(r.buildSelf); err != nil {
		return nil, err
	}
	if err := r.outside.do(r.buildOutside); err != nil {
		return nil, err
	}
	return r, r.waitUp()
}

func (r *router) buildSelf() (err error) {
	if err := setSysctls(routerSysctls...); err != nil {
		return err
	}
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		return err
	}
	for i, p := range r.ports {
		if err := r.buildPort(i, p); err != nil {
			return fmt.Errorf("interface %s: %w", p.name, err)
		}
	}
	if err := r.routeMarked(); err != nil {
		return err
	}
	r.local, err = openLocal()
	return err
}

// routeMark is the mark of packets that have a routing table of their own, whose
// default route is by the last interface that is not the WAN.
const routeMark = 0x65

func (r *router) routeMarked() error {
	i := len(r.ports) - 1
	if r.ports[i].wan {
		return nil
	}
	for v, family := range []int{unix.AF_INET, unix.AF_INET6} {
		host := r.ports[i].hosts[v][0]
		route := netlink.Route{Table: routeMark, LinkIndex: r.index[i], Gw: host.AsSlice(), Dst: anywhere(v)}
		if err := netlink.RouteAdd(&route); err != nil {
			return fmt.Errorf("route by the mark: %w", err)
		}
		rule := netlink.NewRule()
		rule.Family, rule.Mark, rule.Table, rule.Priority = family, routeMark, routeMark, 100
		if err := netlink.RuleAdd(rule); err != nil {
			return fmt.Errorf("routing rule: %w", err)
		}
	}
	return nil
}

// anywhere is the prefix of all addresses.
func anywhere(version int) *net.IPNet {
	n := []int{32, 128}[version]
	return &net.IPNet{IP: make(net.IP, n/8), Mask: net.CIDRMask(0, n)}
}

// firstIndex is that of the first interface, the same at every router.
const firstIndex = 10

func (r *router) buildPort(i int, p port) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.HardwareAddr, attrs.Index = p.name, routerMAC(i), firstIndex+i
	v := &netlink.Veth{LinkAttrs: attrs, PeerName: fmt.Sprintf("h%d", i), PeerHardwareAddr: hostMAC(i), PeerNamespace: netlink.NsFd(r.outside.file.Fd())}
	if err := netlink.LinkAdd(v); err != nil {
		return err
	}
	l, err := netlink.LinkByName(p.name)
	if err != nil {
		return err
	}
	r.index = append(r.index, l.Attrs().Index)
	if err := netlink.LinkSetGroup(l, i); err != nil {
		return err
	}
	if err := lab.PlainWire(p.name); err != nil {
		return err
	}
	for _, a := range p.addrs {
		addr := &netlink.Addr{IPNet: &net.IPNet{IP: a.Addr().AsSlice(), Mask: net.CIDRMask(a.Bits(), a.Addr().BitLen())}, Flags: unix.IFA_F_NODAD}
		if err := netlink.AddrAdd(l, addr); err != nil {
			return err
		}
	}
	if err := netlink.LinkSetUp(l); err != nil {
		return err
	}
	for v := range p.hosts {
		for n, a := range p.hosts[v] {
			if p.onLink(a) {
				err := netlink.NeighSet(&netlink.Neigh{LinkIndex: l.Attrs().Index, State: netlink.NUD_PERMANENT, IP: a.AsSlice(), HardwareAddr: hostMAC(i)})
				if err != nil {
					return fmt.Errorf("neighbour %s: %w", a, err)
				}
			}
			if p.wan && n == 0 {
				dst := &net.IPNet{IP: make(net.IP, a.BitLen()/8), Mask: net.CIDRMask(0, a.BitLen())}
				if err := netlink.RouteAdd(&netlink.Route{LinkIndex: l.Attrs().Index, Dst: dst, Gw: a.AsSlice()}); err != nil {
					return fmt.Errorf("default route: %w", err)
				}
			}
		}
	}
	return nil
}

// buildOutside sets the wires' other ends up. Each has an XDP program, so that
// what arrives by redirect and what arrives by the stack stand in one queue.
func (r *router) buildOutside() error {
	pass, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: "pass", Type: ebpf.XDP, License: "GPL",
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 2), asm.Return()},
	})
	if err != nil {
		return err
	}
	defer pass.Close()
	for i := range r.ports {
		name := fmt.Sprintf("h%d", i)
		l, err := netlink.LinkByName(name)
		if err != nil {
			return err
		}
		r.outIndex = append(r.outIndex, l.Attrs().Index)
		if err := lab.PlainWire(name); err != nil {
			return err
		}
		x, err := link.AttachXDP(link.XDPOptions{Program: pass, Interface: l.Attrs().Index, Flags: link.XDPDriverMode})
		if err != nil {
			return err
		}
		r.links = append(r.links, x)
		if err := netlink.LinkSetUp(l); err != nil {
			return err
		}
	}
	r.wire, err = openWire(r.outIndex)
	return err
}

// reportTime is what the stack takes to tell of the groups that it has joined.
const reportTime = 50 * time.Millisecond

// waitUp waits for the wires to carry frames in both directions.
func (r *router) waitUp() error {
	r.patience = 20 * time.Millisecond
	defer func() { r.patience = settleTime }()
	end := time.Now().Add(settleTime)
	for i := 0; i < len(r.ports); {
		err := r.settle(i)
		if err != nil && time.Now().After(end) {
			return err
		}
		if err == nil {
			i++
		}
	}
	time.Sleep(reportTime)
	return nil
}

// giveUp ends the search for neighbours that nobody has: what waits for them
// would be answered in the middle of the next run.
func (r *router) giveUp() error {
	return r.self.do(func() error {
		list, err := netlink.NeighList(0, unix.AF_UNSPEC)
		if err != nil {
			return fmt.Errorf("neighbours: %w", err)
		}
		for _, n := range list {
			if n.State&netlink.NUD_INCOMPLETE == 0 {
				continue
			}
			if err := netlink.NeighDel(&n); err != nil && !errors.Is(err, unix.ENOENT) {
				return fmt.Errorf("neighbour %v: %w", n.IP, err)
			}
		}
		return nil
	})
}

// nft runs nft in the router's namespace.
func (r *router) nft(stdin string, args ...string) (out string, err error) {
	err = r.self.do(func() error {
		out, err = command(stdin, append([]string{"nft"}, args...)...)
		return err
	})
	return out, err
}

func (r *router) close() error {
	for _, l := range r.links {
		l.Close()
	}
	if r.wire != nil {
		r.wire.close()
	}
	if r.local != nil {
		r.local.close()
	}
	for _, n := range []*namespace{r.self, r.outside} {
		if n != nil && n.file != nil {
			n.file.Close()
		}
	}
	return nil
}
