// SPDX-License-Identifier: GPL-2.0-only

package tcnl

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Qdisc is a qdisc of an interface.
type Qdisc struct {
	// Kind is the kernel's name of it.
	Kind string
	// Handle is its major number in the upper half; 0 is one that the kernel has put
	// there by itself.
	Handle uint32
	// Parent is the class it is attached to; of a root, it is all ones.
	Parent uint32
	// Options are the values of the kind's, as text.
	Options map[string]string
	// Strange says what is not known of it; empty if all is.
	Strange string
	// Children are the qdiscs of the queues of an mq that was put there, or of the
	// classes of an htb that are leaves and have one that was put there.
	Children []Qdisc
	// Classes are those of an htb, parents before their children.
	Classes []Class
}

// Default tells whether the kernel has put it there by itself.
func (q *Qdisc) Default() bool { return q.Handle == 0 }

// NoQdisc is the kind of an interface's root that has none, as it is down.
const NoQdisc = "none"

// Root reads the root qdisc of an interface, and what is attached to it.
func (c *Client) Root(index int) (*Qdisc, error) {
	list, err := c.dump(unix.RTM_GETQDISC, &message{index: index})
	if err != nil {
		return nil, fmt.Errorf("qdiscs: %w", err)
	}
	root := &Qdisc{Kind: NoQdisc, Parent: rootParent}
	for i := range list {
		if list[i].parent == rootParent {
			root = qdiscOf(&list[i])
		}
	}
	for i := range list {
		m := &list[i]
		if m.parent == rootParent || m.parent == ingressParent || root.Default() {
			continue
		}
		switch {
		case (root.Kind == "mq" || root.Kind == "htb") && m.parent&^0xffff == root.Handle:
			root.Children = append(root.Children, *qdiscOf(m))
		case root.Kind == "cake_mq":
			// They are as it is.
		default:
			root.Strange = "has a qdisc " + m.kind + " below it"
		}
	}
	slices.SortFunc(root.Children, func(a, b Qdisc) int { return int(a.Parent) - int(b.Parent) })
	if root.Kind == "htb" && !root.Default() {
		if root.Classes, err = c.classes(index); err != nil {
			return nil, err
		}
		for i := range root.Classes {
			if root.Classes[i].Strange != "" {
				root.Strange = root.Classes[i].Strange
			}
		}
	}
	return root, nil
}

func qdiscOf(m *message) *Qdisc {
	q := &Qdisc{Kind: m.kind, Handle: m.handle, Parent: m.parent}
	k := KindOf(m.kind)
	known := false
	if k != nil {
		q.Options, known = k.decode(m.options)
	}
	switch {
	case k == nil:
		q.Strange = "is of a kind that is not known"
	case !known:
		q.Strange = "has parameters that are not known"
	case m.attributes[unix.TCA_STAB] != nil:
		q.Strange = "has a table of sizes"
	}
	return q
}

// HasFilters tells whether filters are attached to a qdisc.
func (c *Client) HasFilters(index int, q *Qdisc) (bool, error) {
	if q.Default() {
		return false, nil
	}
	list, err := c.dump(unix.RTM_GETTFILTER, &message{index: index, parent: q.Handle})
	if err != nil && !errors.Is(err, errMissing) && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.EOPNOTSUPP) {
		return false, fmt.Errorf("filters: %w", err)
	}
	return len(list) > 0, nil
}

// Put makes a qdisc of an interface what is wanted, where have is now: it is
// changed in place if that is possible, and replaced else. A handle of 0 is any;
// options that are not wanted stay, or have the kernel's defaults if it is replaced.
func (c *Client) Put(index int, have, want *Qdisc) error {
	k := KindOf(want.Kind)
	if k == nil {
		k = &Kind{Name: want.Kind}
	}
	if !want.InPlace(have) {
		return c.replace(index, k, have, want)
	}
	options := k.changed(have.Options, want.Options)
	if len(options) == 0 {
		return nil
	}
	return c.set(index, k, 0, want.Parent, have.Handle, options)
}

// InPlace tells whether have becomes want by a change of parameters, or of none.
func (q *Qdisc) InPlace(have *Qdisc) bool {
	k := KindOf(q.Kind)
	if have.Default() || have.Kind != q.Kind || q.Handle != 0 && q.Handle != have.Handle || k == nil {
		return false
	}
	for name := range k.changed(have.Options, q.Options) {
		if o := k.Option(name); o == nil || o.initial || k.fixed {
			return false
		}
	}
	return true
}

// changed are the options that have to be set, with those that the kernel would
// change along with them.
func (k *Kind) changed(have, want map[string]string) map[string]string {
	out := map[string]string{}
	for name, v := range want {
		if o := k.Option(name); o == nil || !o.same(v, have[name]) {
			out[name] = v
		}
	}
	for name := range maps.Clone(out) {
		if o := k.Option(name); o != nil && o.with != "" && want[o.with] != "" {
			out[o.with] = want[o.with]
		}
	}
	return out
}

// replace puts a new qdisc in the place of one.
func (c *Client) replace(index int, k *Kind, have, want *Qdisc) error {
	handle := want.Handle
	switch {
	case have.Default():
	case have.Handle == handle:
		if err := c.Remove(index, have); err != nil {
			return err
		}
	case have.Kind == want.Kind && handle == 0:
		// Without a handle, or with its own, it would be a change of it.
		var err error
		if handle, err = c.unused(index); err != nil {
			return err
		}
	}
	return c.set(index, k, netlink.Create|netlink.Replace, want.Parent, handle, want.Options)
}

// unused is a handle that no qdisc of an interface has.
func (c *Client) unused(index int) (uint32, error) {
	list, err := c.dump(unix.RTM_GETQDISC, &message{index: index})
	if err != nil {
		return 0, fmt.Errorf("qdiscs: %w", err)
	}
	// The kernel gives handles of the upper half by itself, from the lowest on.
	handle := uint32(0x7fff0000)
	for slices.ContainsFunc(list, func(m message) bool { return m.handle == handle }) {
		handle -= 1 << 16
	}
	return handle, nil
}

func (c *Client) set(index int, k *Kind, flags netlink.HeaderFlags, parent, handle uint32, options map[string]string) error {
	b, err := k.encode(options)
	if err != nil {
		return err
	}
	return c.do(unix.RTM_NEWQDISC, flags, &message{index: index, parent: parent, handle: handle, kind: k.Name, options: b, nested: !k.header})
}

// Remove takes a qdisc away that somebody has put there. The kernel has its default
// at the root then. The queue of an mq has nothing that takes a packet then.
func (c *Client) Remove(index int, q *Qdisc) error {
	return c.do(unix.RTM_DELQDISC, 0, &message{index: index, parent: q.Parent, handle: q.Handle})
}

// HandleText is a handle as tc writes it.
func HandleText(handle uint32) string { return fmt.Sprintf("%x:", handle>>16) }

// ParseHandle reads what [HandleText] writes.
func ParseHandle(text string) (uint32, error) {
	major, ok := strings.CutSuffix(text, ":")
	n, err := strconv.ParseUint(major, 16, 16)
	if !ok || err != nil || n == 0 || n == 0xffff {
		return 0, fmt.Errorf("%q: want a handle such as 1: here", text)
	}
	return uint32(n) << 16, nil
}

// TopParent is the parent of a class at the top.
const TopParent = rootParent

// ParseClass reads the identifier of a class, such as 1:10.
func ParseClass(text string) (uint32, error) {
	major, minor, ok := strings.Cut(text, ":")
	a, err := strconv.ParseUint(major, 16, 16)
	b, err2 := strconv.ParseUint(minor, 16, 16)
	if !ok || err != nil || err2 != nil || a == 0 || a == 0xffff || b == 0 {
		return 0, fmt.Errorf("%q: want the identifier of a class, such as 1:10", text)
	}
	return uint32(a<<16 | b), nil
}

// Lacks are those of some kinds that the kernel does not have, and of others the options that it does not have: which it
// would ignore. It tries them on the loopback interface of the calling thread's network namespace, which should have no
// other use.
func Lacks(kinds []string) (missing []string, ignored map[string][]string) {
	c, err := Dial()
	if err != nil {
		return nil, nil
	}
	defer func() { _ = c.Close() }()
	const loopback = 1
	ignored = map[string][]string{}
	for _, kind := range kinds {
		// A kind that is there may still not like it.
		switch err := c.set(loopback, &Kind{Name: kind}, netlink.Create|netlink.Replace, rootParent, 0, nil); {
		case errors.Is(err, errMissing):
			missing = append(missing, kind)
		case err == nil:
			if q, err := c.Root(loopback); err == nil && q.Kind == kind {
				ignored[kind] = q.unreported()
			}
		}
	}
	return missing, ignored
}

// unreported are the options of its kind that the kernel says nothing of, but for those that it is silent about when they are
// not set, or when another one is there instead.
func (q *Qdisc) unreported() (names []string) {
	k := KindOf(q.Kind)
	if k == nil {
		return nil
	}
	for i := range k.Options {
		o := &k.Options[i]
		_, there := q.Options[o.Name]
		_, other := q.Options[o.instead]
		if !there && !other && o.absent == "" {
			names = append(names, o.Name)
		}
	}
	return names
}
