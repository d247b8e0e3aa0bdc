// SPDX-License-Identifier: GPL-2.0-only

package enforce

import (
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"

	"github.com/randomizedcoder/l2d/loader"
	"github.com/randomizedcoder/l2d/pkg/config"
)

// shapersOf are the shapers among some links, by the interfaces that they are of. One
// that is not up would lose all frames: it is none.
func shapersOf(list []netlink.Link) map[string]*loader.Shaper {
	byIndex := make(map[int]netlink.Link, len(list))
	for _, l := range list {
		byIndex[l.Attrs().Index] = l
	}
	out := map[string]*loader.Shaper{}
	for _, l := range list {
		a := l.Attrs()
		name := config.ShapedBy(a.Name, a.Alias)
		if name == "" || l.Type() != "veth" || a.NetNsID >= 0 {
			continue
		}
		end := byIndex[a.ParentIndex]
		if end == nil || end.Attrs().Name != config.ShaperEnd(name) || a.Flags&end.Attrs().Flags&net.FlagUp == 0 {
			continue
		}
		out[name] = &loader.Shaper{Queue: a.Name, QueueIndex: a.Index, End: end.Attrs().Name, EndIndex: end.Attrs().Index}
	}
	return out
}

// ShaperState is a text that changes with the shapers that there are.
func ShaperState(list []netlink.Link) string {
	var parts []string
	for name, s := range shapersOf(list) {
		parts = append(parts, fmt.Sprintf("%s=%d,%d", name, s.QueueIndex, s.EndIndex))
	}
	slices.Sort(parts)
	return strings.Join(parts, " ")
}

// findShapers gives the interfaces their shapers: what there is counts, also while a
// configuration is being applied or undone.
func (p *Plan) findShapers() error {
	list, err := netlink.LinkList()
	if err != nil {
		return fmt.Errorf("list interfaces: %w", err)
	}
	p.shapers = shapersOf(list)
	for i := range p.Loader.Interfaces {
		p.Loader.Interfaces[i].Shaper = p.shapers[p.Loader.Interfaces[i].Name]
	}
	return nil
}

// isShaperEnd tells whether an interface is one of the two that a shaper is made of.
func isShaperEnd(name string, shapers map[string]*loader.Shaper) bool {
	for _, s := range shapers {
		if s.Queue == name || s.End == name {
			return true
		}
	}
	return false
}
