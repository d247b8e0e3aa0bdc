// SPDX-License-Identifier: GPL-2.0-only

package host

import (
	"bytes"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"

	"github.com/randomizedcoder/l2d/pkg/config"
	"github.com/randomizedcoder/l2d/pkg/reconcile"
	"github.com/randomizedcoder/l2d/pkg/tcnl"
)

// A shaper is a pair of veth: frames that come in by an interface leave by one end, where
// a qdisc holds them back, and arrive at the other, from where the dataplane brings them
// back. It is a link like others that are made, known by its name and alias.

// shaperRank is behind all other links.
const shaperRank = portRank + 1

// shaperEndMTU lets through what is larger than the interface's MTU says.
const shaperEndMTU = 65535

// shaperOf is the interface that a link is the shaper of, and its other end; nil if it is
// none.
func shaperOf(l netlink.Link) (string, netlink.Link) {
	a := l.Attrs()
	if l.Type() != "veth" || a.NetNsID >= 0 {
		return "", nil
	}
	end, err := netlink.LinkByIndex(a.ParentIndex)
	if err != nil {
		return "", nil
	}
	name := config.ShapedBy(a.Name, a.Alias)
	if a.Alias == "" {
		name = begunFor(a, end.Attrs())
	}
	if name == "" || end.Attrs().Name != config.ShaperEnd(name) {
		return "", nil
	}
	return name, end
}

// begunFor is the interface that a pair without an alias was to be the shaper of when the
// process that made it was killed; empty if it is no such pair. Its addresses tell, which it
// is made with.
func begunFor(a, end *netlink.LinkAttrs) string {
	if !bytes.Equal(a.HardwareAddr, madeAddress(a.Name)) || !bytes.Equal(end.HardwareAddr, madeAddress(end.Name)) {
		return ""
	}
	links, _ := netlink.LinkList()
	for _, l := range links {
		if name := l.Attrs().Name; config.Shaper(name) == a.Name && config.ShaperEnd(name) == end.Name {
			return name
		}
	}
	return ""
}

// isBegun is behind what a shaper is of which a killed process has made some only.
const isBegun = ", begun"

// shaperIs is what a link is that is a shaper; empty if it is none.
func shaperIs(l netlink.Link) string {
	name, end := shaperOf(l)
	switch {
	case end == nil:
		return ""
	case l.Attrs().Alias == "":
		return config.ShaperAlias(name) + isBegun
	}
	return config.ShaperAlias(name)
}

// isShaper tells whether a link is to be the shaper of another one.
func isShaper(is string) bool { return strings.HasPrefix(is, config.ShaperAlias("")) }

// makeShaper makes both ends, and has them known for what they are.
func makeShaper(name, is string) (netlink.Link, error) {
	pair, err := beginShaper(name, is)
	if err != nil {
		return nil, err
	}
	if err := markShaper(pair, is); err != nil {
		return nil, errors.Join(err, netlink.LinkDel(pair))
	}
	return link(name)
}

// beginShaper makes both ends. The first one has the MTU of the interface: qdiscs compute
// with it.
func beginShaper(name, is string) (*netlink.Veth, error) {
	shaped := strings.TrimPrefix(is, config.ShaperAlias(""))
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.HardwareAddr = name, madeAddress(name)
	if l, err := link(shaped); err == nil {
		attrs.MTU = l.Attrs().MTU
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	pair := netlink.NewVeth(attrs)
	pair.PeerName, pair.PeerMTU = config.ShaperEnd(shaped), shaperEndMTU
	pair.PeerHardwareAddr = madeAddress(pair.PeerName)
	if err := netlink.LinkAdd(pair); err != nil {
		return nil, fmt.Errorf("make it: %w", err)
	}
	return pair, nil
}

// markShaper has both ends be silent, and then the first one known for what it is: one that is known is whole.
func markShaper(l netlink.Link, is string) error {
	shaped := strings.TrimPrefix(is, config.ShaperAlias(""))
	if err := errors.Join(silence(l.Attrs().Name), silence(config.ShaperEnd(shaped))); err != nil {
		return err
	}
	if err := netlink.LinkSetAlias(l, is); err != nil {
		return fmt.Errorf("alias: %w", err)
	}
	return nil
}

// silence has the kernel send nothing of its own by a link, and take nothing for itself.
func silence(name string) error {
	err := os.WriteFile(filepath.Join("/proc/sys/net/ipv6/conf", name, "disable_ipv6"), []byte("1"), 0)
	if errors.Is(err, fs.ErrNotExist) { // a kernel without IPv6
		return nil
	}
	return err
}

// madeAddress is a locally administered address that a name always has.
func madeAddress(name string) net.HardwareAddr {
	h := fnv.New64a()
	h.Write([]byte(name))
	return h.Sum([]byte{2})[:6]
}

// shaperResources are the shapers that a configuration declares, and the end of those that it
// does not declare any more.
func shaperResources(c *config.Config) (out []reconcile.Resource, err error) {
	var wanted []string
	for i := range c.Host.Qdiscs {
		q := &c.Host.Qdiscs[i]
		if q.Ingress == nil || isMissing(q) {
			continue
		}
		at := q.At(c.Path)
		wanted = append(wanted, config.Shaper(q.Name))
		out = append(out, reconcile.Resource{
			Kind: LinkKind, Name: config.Shaper(q.Name), Rank: shaperRank, Enforce: q.Enforce,
			Want: reconcile.State{isKey: config.ShaperAlias(q.Name), upKey: onOff(true)},
			At:   reconcile.PlaceOf(at),
		})
	}
	links, err := netlink.LinkList()
	if err != nil {
		return out, fmt.Errorf("list links: %w", err)
	}
	for _, l := range links {
		name := l.Attrs().Name
		if _, end := shaperOf(l); end == nil || slices.Contains(wanted, name) {
			continue
		}
		out = append(out, reconcile.Resource{Kind: LinkKind, Name: name, Rank: shaperRank, Want: reconcile.State{isKey: isAbsent}, At: reconcile.Place{File: c.Path, Line: 1, Column: 1}})
	}
	return out, nil
}

// isMissing tells whether an interface is not there, and need not be.
func isMissing(q *config.Qdisc) bool {
	if !q.Optional {
		return false
	}
	_, err := link(q.Name)
	return errors.Is(err, fs.ErrNotExist)
}

// Resets implements [reconcile.Resetter]: what was set of a link goes with it.
func (k *Link) Resets(name string, to reconcile.State) []reconcile.Ref {
	if to[isKey] != isAbsent {
		return nil
	}
	l, err := link(name)
	if err != nil {
		return nil
	}
	c, err := tcnl.Dial()
	if err != nil {
		return nil
	}
	defer func() { _ = c.Close() }()
	q, err := c.Root(l.Attrs().Index)
	if err != nil {
		return nil
	}
	return []reconcile.Ref{
		{Kind: MTUKind, Name: name, Keys: []string{valueKey}}, // the interface may have another by now
		{Kind: QdiscKind, Name: name, Keys: attributes(q, false).Keys()},
	}
}
