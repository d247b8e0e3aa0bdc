// SPDX-License-Identifier: GPL-2.0-only

package host

import (
	"errors"
	"io/fs"
	"slices"
	"strings"

	"github.com/randomizedcoder/l2d/pkg/config"
	"github.com/randomizedcoder/l2d/pkg/reconcile"
)

const (
	// linkRank is before all that is of links: one that is of another one comes a rank
	// behind it.
	linkRank = -100
	// portRank is behind all links.
	portRank = linkRank + 50
)

// linkResources are the links that a configuration declares, and the ports of its
// bridges.
func linkResources(c *config.Config) (out []reconcile.Resource, errs []error) {
	made := c.Host.Made()
	for i := range c.Host.Links {
		l := &c.Host.Links[i]
		var missing []string
		for _, other := range append(slices.Clone(l.Members), l.Parent) {
			if other == "" || slices.Contains(made, other) {
				continue
			}
			if isUnread(c, other) {
				continue
			}
			if _, err := link(other); errors.Is(err, fs.ErrNotExist) {
				e := l.At(c.Path)
				e.Problem, e.Want = other+": no such interface", "one of "+linkNames()+", or one that is declared here with a kind"
				errs, missing = append(errs, e), append(missing, other)
			} else if err != nil {
				errs = append(errs, err)
			}
		}
		if l.Optional {
			if _, err := link(l.Name); errors.Is(err, fs.ErrNotExist) {
				continue
			}
		}
		for _, member := range l.Members {
			if problem, want := memberFault(c, l, member); problem != "" {
				e := l.At(c.Path)
				e.Problem, e.Want = member+": "+problem, want
				errs = append(errs, e)
			}
		}
		depth, err := depthOf(c, l)
		if err != nil {
			errs = append(errs, err)
		}
		at := l.At(c.Path)
		place := reconcile.PlaceOf(at)
		out = append(out, reconcile.Resource{Kind: LinkKind, Name: l.Name, Want: wantedLink(l), Rank: linkRank + depth, Of: makerOf(made, l.Parent), At: place, Enforce: l.Enforce})
		for _, member := range l.Members {
			if slices.Contains(missing, member) {
				continue // that is told
			}
			out = append(out, reconcile.Resource{
				Kind: PortKind, Name: member, Want: reconcile.State{bridgeKey: l.Name, upKey: onOff(true)}, Rank: portRank, At: place, Enforce: l.Enforce,
				Of: makerOf(made, member),
			})
		}
	}
	return out, errs
}

// memberFault is why an interface cannot be a port of a declared bridge, and what could; empty if it can.
func memberFault(c *config.Config, bridge *config.Link, member string) (problem, want string) {
	kind := ""
	if have, err := link(member); err == nil {
		kind = have.Type()
	}
	for i := range c.Host.Links {
		o := &c.Host.Links[i]
		if o.Name == member && o.Kind != "" {
			kind = o.Kind
		}
		if o.Name != bridge.Name && slices.Contains(o.Members, member) {
			return "it is a member of " + o.Name + ", too", "one bridge for each interface"
		}
	}
	if kind == config.LinkBridge {
		return "a bridge cannot be a member of one", "an interface that is none"
	}
	return "", ""
}

func wantedLink(l *config.Link) reconcile.State {
	want := reconcile.State{upKey: onOff(true)}
	if is := wantedIs(l); is != "" {
		want[isKey] = is
	}
	if l.Force {
		want[forceKey] = "true"
	}
	for name, on := range l.Options {
		want[name] = onOff(on)
	}
	if l.Addresses != nil {
		var list []string
		for _, a := range l.Addresses {
			list = append(list, a.String())
		}
		want[addressesKey] = strings.Join(list, " ")
	}
	return want
}

// depthOf is how many declared links a link is on top of.
func depthOf(c *config.Config, l *config.Link) (int, error) {
	depth := 0
	for at := l; at.Parent != ""; depth++ {
		if depth > len(c.Host.Links) {
			e := l.At(c.Path)
			e.Problem, e.Want = "it is on top of itself", "a parent that is not on top of it"
			return 0, e
		}
		i := slices.IndexFunc(c.Host.Links, func(o config.Link) bool { return o.Name == at.Parent })
		if i < 0 {
			break
		}
		at = &c.Host.Links[i]
	}
	return depth, nil
}

// makerOf is the resource that makes an interface; empty if none does.
func makerOf(made []string, name string) string {
	if !slices.Contains(made, name) {
		return ""
	}
	r := reconcile.Resource{Kind: LinkKind, Name: name}
	return r.ID()
}

// isUnread tells whether an interface is not there, and the file says something of it that
// could not be read: nothing can be said of what is of it.
func isUnread(c *config.Config, name string) bool {
	if name == "" || c.Sound("host.links."+name) {
		return false
	}
	_, err := link(name)
	return errors.Is(err, fs.ErrNotExist)
}

// makers says of each resource of an interface which one makes that, and leaves out those of
// interfaces of which that is not known.
func makers(c *config.Config, list []reconcile.Resource) []reconcile.Resource {
	list = slices.DeleteFunc(list, func(r reconcile.Resource) bool { return isUnread(c, linkOf(&r)) })
	made := c.Host.Made()
	for i := range list {
		switch r := &list[i]; r.Kind {
		case LinkKind, PortKind: // know that by themselves
		default:
			r.Of = makerOf(made, linkOf(r))
		}
	}
	return list
}

// linkOf is the interface that a resource is of; empty if it is of none.
func linkOf(r *reconcile.Resource) string {
	switch r.Kind {
	case SysctlKind:
		return linkOfSysctl(r.Name)
	case GovernorKind, AlgorithmKind, RegdomKind, RouteKind:
		return ""
	}
	return r.Name
}

// madeSysctls are those of a pattern that the links have which a configuration makes.
func madeSysctls(c *config.Config, pattern string) (names []string) {
	if linkOfSysctl(pattern) != "*" {
		return nil
	}
	for _, link := range c.Host.Made() {
		names = append(names, swap.Replace(strings.Replace(swap.Replace(pattern), "*", link, 1)))
	}
	return names
}

// linkOfSysctl is the interface whose sysctl it is; empty if it is none's.
func linkOfSysctl(name string) string {
	part := strings.Split(swap.Replace(name), "/")
	if len(part) < 5 || part[0] != "net" || part[1] != "ipv4" && part[1] != "ipv6" || part[2] != "conf" && part[2] != "neigh" {
		return ""
	}
	return part[3]
}
