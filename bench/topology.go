// SPDX-License-Identifier: GPL-2.0-only

package bench

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Interface names of the router, as L2's ruleset has them.
const (
	IngressName = "enp66s0f0np0" // from the generator
	EgressName  = "enp1s0"       // the WAN, to the receiver
	LANName     = "br0"          // carries no traffic here
)

const (
	genName  = "gen0"
	sinkName = "sink0"
)

// Addresses of the topology.
var (
	GenAddr     = netip.MustParsePrefix("10.0.0.2/24")
	IngressAddr = netip.MustParsePrefix("10.0.0.1/24")
	EgressAddr  = netip.MustParsePrefix("172.16.0.1/16")
	SinkAddr    = netip.MustParsePrefix("172.16.0.2/16") // and those behind it: flowsAtAddr
)

// The same of IPv6, where a case has it.
var (
	genAddr6     = netip.MustParsePrefix("fd00:10::2/64")
	ingressAddr6 = netip.MustParsePrefix("fd00:10::1/64")
	egressAddr6  = netip.MustParsePrefix("fd00:172::1/64")
	sinkAddr6    = netip.MustParsePrefix("fd00:172::2/64")
)

// Port is one end of a wire.
type Port struct {
	Index int // in its own namespace
	MAC   net.HardwareAddr
}

// Topology is a generator, a router and a receiver in a row. The router has
// addresses, neighbours and forwarding on, and no firewall.
type Topology struct {
	gen, dut, sink *namespace
	queues         int         // of each interface, each way
	nics           []*borrowed // none: wires are its own
	home           *os.File    // the namespace of the NICs

	Gen, Ingress, Egress, Sink Port
}

// NewTopology builds one with interfaces of one queue: one flow of work for one core.
func NewTopology() (*Topology, error) { return newTopology(1, nil) }

// newTopology builds one whose interfaces have so many queues, or of NICs with one.
func newTopology(queues int, nics *NICs) (*Topology, error) {
	t := &Topology{queues: queues}
	for _, ns := range []**namespace{&t.gen, &t.dut, &t.sink} {
		n, err := newNamespace()
		if err != nil {
			return nil, errors.Join(err, t.Close())
		}
		*ns = n
		if err := n.do(disableIPv6); err != nil {
			return nil, errors.Join(err, t.Close())
		}
	}
	var err error
	if nics != nil {
		err = t.borrowAll(nics)
	} else {
		err = t.dut.do(t.addWires)
	}
	if err != nil {
		return nil, errors.Join(err, t.Close())
	}
	if err := t.dut.do(t.buildRouter); err != nil {
		return nil, errors.Join(fmt.Errorf("router: %w", err), t.Close())
	}
	err = t.gen.do(func() (err error) {
		t.Gen, err = configure(genName, GenAddr)
		return err
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("generator: %w", err), t.Close())
	}
	err = t.sink.do(func() (err error) {
		t.Sink, err = configure(sinkName, SinkAddr)
		return err
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("receiver: %w", err), t.Close())
	}
	if err := t.dut.do(t.addNeighbours); err != nil {
		return nil, errors.Join(fmt.Errorf("router: %w", err), t.Close())
	}
	if err := t.awaitLinks(); err != nil {
		return nil, errors.Join(err, t.Close())
	}
	return t, nil
}

// Close removes the topology.
func (t *Topology) Close() error {
	errs := []error{t.giveBack()}
	for _, ns := range []*namespace{t.gen, t.dut, t.sink} {
		if ns != nil {
			errs = append(errs, ns.close())
		}
	}
	return errors.Join(errs...)
}

// wholeChecksums has the sender's and the receiver's stacks make them: XDP of the router
// sends frames on as they are.
func (t *Topology) wholeChecksums() error {
	return errors.Join(
		t.gen.do(func() error { return setOffload(genName, ethtoolSetTxCsum, 0) }),
		t.sink.do(func() error { return setOffload(sinkName, ethtoolSetTxCsum, 0) }))
}

// InRouter runs fn on a thread in the router's network namespace.
func (t *Topology) InRouter(fn func() error) error { return t.dut.do(fn) }

func (t *Topology) buildRouter() error {
	err := os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0o644)
	if err != nil {
		return fmt.Errorf("sysctl: %w", err)
	}
	lan := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: LANName}}
	if err := netlink.LinkAdd(lan); err != nil {
		return fmt.Errorf("add %s: %w", LANName, err)
	}
	if t.Ingress, err = configure(IngressName, IngressAddr); err != nil {
		return err
	}
	if t.Egress, err = configure(EgressName, EgressAddr); err != nil {
		return err
	}
	return nil
}

// addWires makes those of a topology without NICs. It runs in the router.
func (t *Topology) addWires() error {
	for _, w := range []struct {
		name, peer string
		ns         *namespace
	}{{IngressName, genName, t.gen}, {EgressName, sinkName, t.sink}} {
		attrs := netlink.NewLinkAttrs()
		attrs.Name = w.name
		attrs.NumTxQueues, attrs.NumRxQueues = t.queues, t.queues
		err := netlink.LinkAdd(&netlink.Veth{
			LinkAttrs:       attrs,
			PeerName:        w.peer,
			PeerNamespace:   netlink.NsFd(int(w.ns.file.Fd())),
			PeerNumTxQueues: uint32(t.queues),
			PeerNumRxQueues: uint32(t.queues),
		})
		if err != nil {
			return fmt.Errorf("add %s: %w", w.name, err)
		}
	}
	return nil
}

// disableIPv6 keeps router solicitations and the like out of a namespace.
func disableIPv6() error {
	for _, s := range []string{"all", "default"} {
		err := os.WriteFile("/proc/sys/net/ipv6/conf/"+s+"/disable_ipv6", []byte("1"), 0o644)
		if err != nil {
			return fmt.Errorf("sysctl: %w", err)
		}
	}
	return nil
}

// configure gives an interface its address and brings it up. GRO gives a veth
// a NAPI instance: without, a redirected frame cannot enter it.
func configure(name string, addr netip.Prefix) (Port, error) {
	l, err := netlink.LinkByName(name)
	if err != nil {
		return Port{}, fmt.Errorf("%s: %w", name, err)
	}
	if err := setGRO(name); err != nil {
		return Port{}, err
	}
	err = netlink.AddrAdd(l, &netlink.Addr{IPNet: ipNet(addr)})
	if err != nil {
		return Port{}, fmt.Errorf("%s: add %s: %w", name, addr, err)
	}
	if err := netlink.LinkSetUp(l); err != nil {
		return Port{}, fmt.Errorf("%s up: %w", name, err)
	}
	a := l.Attrs()
	return Port{Index: a.Index, MAC: a.HardwareAddr}, nil
}

func (t *Topology) addNeighbours() error {
	return errors.Join(
		addNeighbours(t.Ingress, GenAddr.Addr(), 1, t.Gen),
		addNeighbours(t.Egress, SinkAddr.Addr(), MaxFlows/flowsAtAddr, t.Sink))
}

// addNeighbours lets the other end of a wire have so many addresses, from one on.
func addNeighbours(port Port, addr netip.Addr, hosts int, other Port) error {
	for range hosts {
		n := netlink.Neigh{LinkIndex: port.Index, IP: addr.AsSlice(), HardwareAddr: other.MAC, State: netlink.NUD_PERMANENT}
		if err := netlink.NeighSet(&n); err != nil {
			return fmt.Errorf("add neighbour %s: %w", addr, err)
		}
		addr = addr.Next()
	}
	return nil
}

// addIPv6 has the router forward IPv6. It runs in there.
func (t *Topology) addIPv6() error {
	for _, s := range []string{
		IngressName + "/disable_ipv6=0", EgressName + "/disable_ipv6=0", "all/forwarding=1",
	} {
		value := s[len(s)-1:]
		err := os.WriteFile("/proc/sys/net/ipv6/conf/"+s[:len(s)-2], []byte(value), 0o644)
		if err != nil {
			return fmt.Errorf("sysctl: %w", err)
		}
	}
	for _, side := range []struct {
		port    Port
		addr    netip.Prefix
		other   netip.Prefix
		hosts   int
		otherIf Port
	}{
		{t.Ingress, ingressAddr6, genAddr6, 1, t.Gen},
		{t.Egress, egressAddr6, sinkAddr6, MaxFlows / flowsAtAddr, t.Sink},
	} {
		link, err := netlink.LinkByIndex(side.port.Index)
		if err != nil {
			return err
		}
		if err := netlink.AddrAdd(link, &netlink.Addr{IPNet: ipNet(side.addr), Flags: unix.IFA_F_NODAD}); err != nil {
			return fmt.Errorf("add %s: %w", side.addr, err)
		}
		if err := addNeighbours(side.port, side.other.Addr(), side.hosts, side.otherIf); err != nil {
			return err
		}
	}
	return nil
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{
		IP:   p.Addr().AsSlice(),
		Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen()),
	}
}
