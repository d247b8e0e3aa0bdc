// SPDX-License-Identifier: GPL-2.0-only

package bench

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"

	"github.com/randomizedcoder/l2d/pkg/ethnl"
)

// NICs are idle interfaces of the machine that a topology borrows instead of making wires:
// what leaves by one of a pair comes in by the other, by a cable or a switch.
type NICs struct {
	Gen     string `json:"generator"`
	Ingress string `json:"ingress"`
	Egress  string `json:"egress"`
	Sink    string `json:"receiver"`
}

// parseNICs reads the names of the command line; none: nil.
func parseNICs(names []string) (*NICs, error) {
	if len(names) == 0 {
		return nil, nil
	}
	if sorted := slices.Sorted(slices.Values(names)); len(names) != 4 || len(slices.Compact(sorted)) != 4 {
		return nil, fmt.Errorf("NICs %q: want four, the generator's, the router's two and the receiver's", names)
	}
	return &NICs{names[0], names[1], names[2], names[3]}, nil
}

// linkPatience is how long a NIC may take until it has a link: 10GBASE-T negotiates for seconds.
const linkPatience = 20 * time.Second

// borrowed is an interface of the machine while it is in a namespace of a topology.
type borrowed struct {
	name, as string // at home, and in the namespace
	ns       *namespace
	up       bool              // at home
	channels map[string]uint32 // at home, if they were changed
}

// borrowAll takes the NICs of the calling thread's namespace into those of the topology.
func (t *Topology) borrowAll(n *NICs) (err error) {
	if t.home, err = os.Open("/proc/thread-self/ns/net"); err != nil {
		return fmt.Errorf("network namespace of the NICs: %w", err)
	}
	for _, b := range []*borrowed{
		{name: n.Gen, as: genName, ns: t.gen}, {name: n.Ingress, as: IngressName, ns: t.dut},
		{name: n.Egress, as: EgressName, ns: t.dut}, {name: n.Sink, as: sinkName, ns: t.sink},
	} {
		if err := t.borrow(b); err != nil {
			return fmt.Errorf("NIC %s: %w", b.name, err)
		}
	}
	return nil
}

// borrow takes a NIC into its namespace, with one queue.
func (t *Topology) borrow(b *borrowed) error {
	link, err := netlink.LinkByName(b.name)
	if err != nil {
		return err
	}
	if err := checkIdle(link); err != nil {
		return err
	}
	b.up = link.Attrs().RawFlags&ifUp != 0
	t.nics = append(t.nics, b)
	if b.channels, err = setChannels(b.name, nil); err != nil {
		return err
	}
	if err := netlink.LinkSetDown(link); err != nil {
		return fmt.Errorf("set down: %w", err)
	}
	if err := netlink.LinkSetNsFd(link, int(b.ns.file.Fd())); err != nil {
		return fmt.Errorf("move into a namespace: %w", err)
	}
	return b.ns.do(func() error { return rename(b.name, b.as) })
}

// IFF_UP of include/uapi/linux/if.h.
const ifUp = 1

// checkIdle refuses what somebody uses: it would lose its addresses.
func checkIdle(link netlink.Link) error {
	a := link.Attrs()
	addrs, err := netlink.AddrList(link, netlink.FAMILY_ALL)
	if err != nil {
		return fmt.Errorf("list addresses: %w", err)
	}
	for _, addr := range addrs {
		if !addr.IP.IsLinkLocalUnicast() {
			return fmt.Errorf("is in use, it has the address %s: want one without", addr.IPNet)
		}
	}
	switch {
	case a.EncapType != "ether":
		return fmt.Errorf("is of type %s: want Ethernet", a.EncapType)
	case a.MasterIndex != 0:
		return errors.New("is in use, a bridge or bond has it: want one without a master")
	case a.Xdp != nil && a.Xdp.Attached:
		return errors.New("is in use, it has an XDP program: want one without")
	}
	return nil
}

// setChannels sets the channels of a NIC of the calling thread's namespace, or, to nil, one
// for each direction. It returns what they were, nil if nothing has changed.
func setChannels(name string, to map[string]uint32) (was map[string]uint32, err error) {
	c, err := ethnl.Dial()
	if err != nil {
		return nil, err
	}
	defer c.Close()
	s, err := c.Get(ethnl.Channels, name)
	if errors.Is(err, errors.ErrUnsupported) {
		return nil, nil // it has but one
	}
	if err != nil {
		return nil, err
	}
	if to == nil {
		to = oneQueue(s.Now)
	}
	was = map[string]uint32{}
	for key, n := range to {
		if s.Now[key] != n {
			was[key] = s.Now[key]
		}
	}
	if len(was) == 0 {
		return nil, nil
	}
	return was, c.Set(ethnl.Channels, name, to)
}

// oneQueue are the channels that come to one queue a direction.
func oneQueue(now map[string]uint32) map[string]uint32 {
	if now["combined"] > 0 {
		return map[string]uint32{"combined": 1}
	}
	return map[string]uint32{"rx": 1, "tx": 1}
}

func rename(name, as string) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	return netlink.LinkSetName(link, as)
}

// giveBack returns all NICs as they were.
func (t *Topology) giveBack() error {
	var errs []error
	for _, b := range t.nics {
		if err := b.giveBack(t.home); err != nil {
			errs = append(errs, fmt.Errorf("give NIC %s back: %w", b.name, err))
		}
	}
	t.nics = nil
	if t.home != nil {
		errs = append(errs, t.home.Close())
		t.home = nil
	}
	return errors.Join(errs...)
}

func (b *borrowed) giveBack(home *os.File) error {
	err := b.ns.do(func() error {
		link, err := netlink.LinkByName(b.as)
		if err != nil {
			if link, err = netlink.LinkByName(b.name); err != nil {
				return nil // has not come here
			}
		}
		return errors.Join(
			os.WriteFile("/sys/class/net/"+link.Attrs().Name+"/threaded", []byte("0"), 0o644),
			netlink.LinkSetDown(link), netlink.LinkSetName(link, b.name), netlink.LinkSetNsFd(link, int(home.Fd())))
	})
	if err != nil {
		return err
	}
	// In a thread of its own: the caller may be in any namespace.
	at := namespace{file: home}
	return <-at.run(func() error {
		if b.channels != nil {
			if _, err := setChannels(b.name, b.channels); err != nil {
				return err
			}
		}
		if !b.up {
			return nil
		}
		link, err := netlink.LinkByName(b.name)
		if err != nil {
			return err
		}
		return netlink.LinkSetUp(link)
	})
}

// awaitLinks waits until all NICs have a link.
func (t *Topology) awaitLinks() error {
	for _, b := range t.nics {
		err := b.ns.do(func() error {
			for end := time.Now().Add(linkPatience); ; time.Sleep(20 * time.Millisecond) {
				link, err := netlink.LinkByName(b.as)
				if err != nil {
					return err
				}
				if link.Attrs().OperState == netlink.OperUp {
					return nil
				}
				if time.Now().After(end) {
					return fmt.Errorf("no link within %s: is there a cable?", linkPatience)
				}
			}
		})
		if err != nil {
			return fmt.Errorf("NIC %s: %w", b.name, err)
		}
	}
	return nil
}

// passXDP attaches a program that lets everything pass to a NIC of the router: most drivers
// take redirected frames only while there is one. A veth does without: nil.
func (t *Topology) passXDP(p Port) (link.Link, error) {
	if len(t.nics) == 0 {
		return nil, nil
	}
	const xdpPass = 2 // include/uapi/linux/bpf.h
	prog, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: "pass", Type: ebpf.XDP, License: "GPL",
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, xdpPass), asm.Return()},
	})
	if err != nil {
		return nil, err
	}
	defer prog.Close()
	return attachXDP(t.dut, prog, p.Index)
}
