// SPDX-License-Identifier: GPL-2.0-only

package host

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/randomizedcoder/l2d/pkg/config"
	"github.com/randomizedcoder/l2d/pkg/reconcile"
)

// LinkKind is the name of [Link].
const LinkKind = "link"

// Attributes of a link, beside a bridge's options.
const (
	isKey        = "is" // what it is, as [linkIs] says it
	upKey        = "up" // administratively
	addressesKey = "addresses"
	forceKey     = "force" // no state of the host, which always agrees: whose it is does not matter
)

const (
	isAbsent = reconcile.Absent
	isDevice = "a device" // of which nothing more is to be known
)

// Link is the kind of network interfaces that are there, are up and have addresses.
// What is not there is made, and undoing that removes it.
type Link struct {
	root string // where /run and /sys are
}

// Name implements [reconcile.Kind].
func (*Link) Name() string { return LinkKind }

// linkIs is what a link has to be for what a configuration declares.
func linkIs(l netlink.Link) string {
	switch l := l.(type) {
	case *netlink.Bridge:
		return config.LinkBridge
	case *netlink.Dummy:
		return config.LinkDummy
	case *netlink.Vlan:
		parent, err := netlink.LinkByIndex(l.ParentIndex)
		if err != nil {
			return fmt.Sprintf("VLAN %d of another network namespace", l.VlanId)
		}
		return vlanIs(l.VlanProtocol.String(), uint32(l.VlanId), parent.Attrs().Name)
	case *netlink.Veth:
		if is := shaperIs(l); is != "" {
			return is
		}
	}
	return isDevice
}

func vlanIs(protocol string, id uint32, parent string) string {
	return fmt.Sprintf("%s vlan %d of %s", protocol, id, parent)
}

// kindOf is an example of what is made in the same way.
func kindOf(is string) string {
	if protocol, _, ok := strings.Cut(is, " vlan "); ok {
		return vlanIs(protocol, 1, tryParent)
	}
	if isShaper(is) {
		return config.ShaperAlias(tryParent)
	}
	return is
}

// wantedIs is what a declaration wants; empty if whatever is there will do.
func wantedIs(l *config.Link) string {
	if l.Kind == config.LinkVLAN {
		return vlanIs(l.Protocol, l.ID, l.Parent)
	}
	return l.Kind
}

// Check implements [reconcile.Kind].
func (k *Link) Check(_ context.Context, r *reconcile.Resource) []reconcile.Problem {
	l, err := link(r.Name)
	want := r.Want[isKey]
	if want == isAbsent {
		return nil
	}
	if want != "" {
		if problems := lacking(r, tryLink(kindOf(want))); problems != nil {
			return problems
		}
	}
	switch {
	case errors.Is(err, fs.ErrNotExist) && want != "":
		return nil
	case err != nil:
		return []reconcile.Problem{linkProblem(r, LinkKind, err)}
	case want != "" && linkIs(l) != want && linkIs(l) != want+isBegun:
		return []reconcile.Problem{{Resource: r, Key: isKey, Problem: "there is one of that name: " + linkIs(l), Want: "another name, or that it is removed: ip link delete " + r.Name}}
	case r.Want[forceKey] != "":
		return nil
	}
	if owner := k.owner(l.Attrs().Index); owner != "" {
		return []reconcile.Problem{{Resource: r, Problem: owner + " manages it", Want: "that it does not, or force: true", Skip: true}}
	}
	return nil
}

// lacking is what the kernel cannot do of a link that is made.
func lacking(r *reconcile.Resource, t tried) (out []reconcile.Problem) {
	if t.err != nil {
		return []reconcile.Problem{{Resource: r, Key: isKey, Problem: "this kernel cannot make it: " + t.err.Error(), Want: "a kernel with that kind of link, or its module"}}
	}
	for _, option := range config.BridgeOptions {
		if _, wanted := r.Want[option]; wanted && t.lacks[option] {
			out = append(out, reconcile.Problem{Resource: r, Key: option, Problem: "this kernel does not have it", Want: "a bridge without that option"})
		}
	}
	return out
}

// owner is the network manager that a link belongs to; empty if none.
func (k *Link) owner(index int) string {
	for _, o := range []struct{ name, path, line string }{
		// systemd's state of a link: unmanaged, pending, initialized, configuring,
		// configured, failed or linger.
		{"systemd-networkd", "run/systemd/netif/links", "ADMIN_STATE="},
		{"NetworkManager", "run/NetworkManager/devices", "managed="},
	} {
		b, err := os.ReadFile(filepath.Join(k.root, o.path, fmt.Sprint(index)))
		if err != nil {
			continue // it does not run, or does not know it
		}
		for line := range strings.Lines(string(b)) {
			value, ok := strings.CutPrefix(strings.TrimSpace(line), o.line)
			if ok && value != "unmanaged" && value != "false" && value != "" {
				return o.name
			}
		}
	}
	return ""
}

// Observe implements [reconcile.Kind].
func (k *Link) Observe(_ context.Context, name string, keys []string) (reconcile.State, error) {
	l, err := link(name)
	if errors.Is(err, fs.ErrNotExist) && slices.Contains(keys, isKey) {
		return reconcile.State{isKey: isAbsent}, nil
	}
	if err != nil {
		return nil, err
	}
	out := reconcile.State{isKey: linkIs(l), upKey: onOff(isUp(l)), forceKey: "true"}
	if slices.Contains(keys, addressesKey) {
		list, err := permanent(l)
		if err != nil {
			return nil, err
		}
		out[addressesKey] = addressText(list)
	}
	for _, option := range config.BridgeOptions {
		if b, err := os.ReadFile(k.option(name, option)); err == nil {
			out[option] = onOff(strings.TrimSpace(string(b)) != "0")
		}
	}
	return out.Pick(keys), nil
}

// option is the file of a bridge's option.
func (k *Link) option(bridge, name string) string {
	if name == "stp" {
		name = "stp_state"
	}
	return filepath.Join(k.root, "sys/class/net", bridge, "bridge", name)
}

// Same implements [reconcile.Kind].
func (*Link) Same(key, want, have string) bool {
	if key == addressesKey {
		return inOrder(want) == inOrder(have)
	}
	return want == have
}

// Effect implements [reconcile.Kind]. An address that goes takes routes along, which
// nothing brings back.
func (k *Link) Effect(name string, to reconcile.State) reconcile.Effect {
	l, err := link(name)
	switch {
	case to[isKey] == isAbsent:
		return reconcile.Effect{Impact: reconcile.Disruptive, Why: "packets that wait there are lost"}
	case err != nil:
		return reconcile.Effect{Impact: reconcile.InPlace, Makes: to[isKey] != ""}
	}
	wanted, ok := to[addressesKey]
	have, err := permanent(l)
	if !ok || err != nil {
		return reconcile.Effect{Impact: reconcile.InPlace}
	}
	gone := slices.DeleteFunc(have, func(a netlink.Addr) bool { return slices.Contains(strings.Fields(wanted), a.IPNet.String()) })
	if len(gone) == 0 {
		return reconcile.Effect{Impact: reconcile.InPlace}
	}
	if route := routeBy(l, gone); route != "" {
		return reconcile.Effect{Impact: reconcile.NotRevertable, Why: fmt.Sprintf("the route %s goes with %s", route, addressText(gone))}
	}
	return reconcile.Effect{Impact: reconcile.Disruptive, Why: "connections of " + addressText(gone) + " end"}
}

// routeBy is a route that is not the kernel's own and needs one of some addresses of
// a link; empty if there is none.
func routeBy(l netlink.Link, addresses []netlink.Addr) string {
	routes, err := netlink.RouteListFiltered(netlink.FAMILY_ALL, &netlink.Route{LinkIndex: l.Attrs().Index, Table: unix.RT_TABLE_UNSPEC}, netlink.RT_FILTER_OIF|netlink.RT_FILTER_TABLE)
	if err != nil {
		return err.Error() // what is not known is not promised
	}
	for _, r := range routes {
		for _, a := range addresses {
			if r.Protocol != unix.RTPROT_KERNEL && (a.Contains(r.Gw) || a.IP.Equal(r.Src)) {
				return r.String()
			}
		}
	}
	return ""
}

// Before implements [reconcile.Kind].
func (k *Link) Before(ctx context.Context, name string, to reconcile.State) (reconcile.State, error) {
	l, err := link(name)
	if errors.Is(err, fs.ErrNotExist) || err == nil && strings.HasSuffix(linkIs(l), isBegun) {
		return reconcile.State{isKey: isAbsent}, nil
	}
	if to[isKey] == isAbsent {
		return k.Observe(ctx, name, []string{isKey, upKey})
	}
	return k.Observe(ctx, name, to.Keys())
}

// Set implements [reconcile.Kind].
func (k *Link) Set(_ context.Context, name string, to reconcile.State) error {
	l, err := link(name)
	switch is := to[isKey]; {
	case is == isAbsent && errors.Is(err, fs.ErrNotExist):
		return nil
	case is == isAbsent && err == nil:
		return netlink.LinkDel(l)
	case is != "" && errors.Is(err, fs.ErrNotExist):
		l, err = makeLink(name, is)
	case err == nil && linkIs(l) == is+isBegun:
		err = markShaper(l, is)
	}
	if err != nil {
		return err
	}
	for _, option := range config.BridgeOptions {
		v, ok := to[option]
		if !ok {
			continue
		}
		number := "0"
		if v == onOff(true) {
			number = "1"
		}
		if err := os.WriteFile(k.option(name, option), []byte(number), 0); err != nil {
			return fmt.Errorf("%s: %w", option, err)
		}
	}
	if err := setUp(l, to[upKey]); err != nil {
		return err
	}
	if wanted, ok := to[addressesKey]; ok {
		return setAddresses(l, wanted)
	}
	return nil
}

// isUp tells whether a link is up, and a shaper's other end as well.
func isUp(l netlink.Link) bool {
	_, end := shaperOf(l)
	return l.Attrs().Flags&net.FlagUp != 0 && (end == nil || end.Attrs().Flags&net.FlagUp != 0)
}

func setUp(l netlink.Link, up string) error {
	set := netlink.LinkSetUp
	switch up {
	case "":
		return nil
	case onOff(false):
		set = netlink.LinkSetDown
	}
	if _, end := shaperOf(l); end != nil {
		if err := set(end); err != nil {
			return err
		}
	}
	return set(l)
}

// makeLink makes what [linkIs] would call so.
func makeLink(name, is string) (netlink.Link, error) {
	if isShaper(is) {
		return makeShaper(name, is)
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name = name
	var l netlink.Link
	switch is {
	case config.LinkBridge:
		l = &netlink.Bridge{LinkAttrs: attrs}
	case config.LinkDummy:
		l = &netlink.Dummy{LinkAttrs: attrs}
	default:
		var protocol, parent string
		var id int
		if _, err := fmt.Sscanf(is, "%s vlan %d of %s", &protocol, &id, &parent); err != nil {
			return nil, fmt.Errorf("%s: cannot be made", is)
		}
		below, err := link(parent)
		if err != nil {
			return nil, err
		}
		attrs.ParentIndex = below.Attrs().Index
		l = &netlink.Vlan{LinkAttrs: attrs, VlanId: id, VlanProtocol: netlink.StringToVlanProtocol(protocol)}
	}
	if err := netlink.LinkAdd(l); err != nil {
		return nil, fmt.Errorf("make it: %w", err)
	}
	return link(name)
}
