// SPDX-License-Identifier: GPL-2.0-only

package config

import (
	"fmt"
	"hash/fnv"
	"slices"
	"strings"

	"github.com/randomizedcoder/l2d/pkg/tcnl"
)

// Shaper and ShaperEnd are the names of the pair of interfaces that what comes in by
// another interface goes through: the qdisc is at the first one, and frames that
// have waited arrive at the second one.
func Shaper(name string) string { return prefixed("in-", name) }

// ShaperEnd is described at [Shaper].
func ShaperEnd(name string) string { return prefixed("re-", name) }

// ShaperAlias is the alias of the first one, by which it is known.
func ShaperAlias(name string) string { return shaperAlias + name }

// ShapedBy is the interface that the one of a name and an alias is the shaper of; empty if it
// is none.
func ShapedBy(name, alias string) string {
	shaped, ok := strings.CutPrefix(alias, shaperAlias)
	if !ok || Shaper(shaped) != name {
		return ""
	}
	return shaped
}

const shaperAlias = "ingress shaper of "

// maxName is the length of the longest name of an interface.
const maxName = 15

// prefixed is a name with something in front of it. Of one that would be too long, the
// end is replaced by four digits that stand for all of it.
func prefixed(prefix, name string) string {
	if len(prefix)+len(name) <= maxName {
		return prefix + name
	}
	h := fnv.New32a()
	h.Write([]byte(name))
	return fmt.Sprintf("%s%.*s-%04x", prefix, maxName-len(prefix)-5, name, h.Sum32()&0xffff)
}

// Shaped are the names of the interfaces of which a qdisc is declared for what comes in.
func (h *Host) Shaped() (names []string) {
	for i := range h.Qdiscs {
		if h.Qdiscs[i].Ingress != nil {
			names = append(names, h.Qdiscs[i].Name)
		}
	}
	return names
}

// ingress reads the qdisc of what comes in. It has to hold packets back: behind it there
// is nothing that would.
func (d *decoder) ingress(v node, q *Qdisc) {
	before := len(d.errs)
	q.Ingress, q.ingressAt = map[string]string{}, positionOf(v.n)
	v.qdisc(q.Ingress, "", ingressPlace)
	if len(d.errs) > before {
		return
	}
	wrong := func(key, problem, want string) {
		d.add(Error{Line: q.ingressAt.line, Column: q.ingressAt.column, Key: v.key + key, Problem: problem, Want: want})
	}
	switch bandwidth := q.Ingress["bandwidth"]; {
	case q.Ingress["kind"] != "cake":
	case bandwidth == "":
		wrong(".bandwidth", "is missing", "a rate a little below what the link has, such as 90mbit")
	case bandwidth == "unlimited":
		wrong(".bandwidth", "holds nothing back", "a rate a little below what the link has, such as 90mbit")
	}
}

// ingressPlace has the kinds that hold packets back by themselves, at an interface with one
// queue.
var ingressPlace = qdiscPlace{
	may: func(k *tcnl.Kind) bool { return k.Name == "htb" || k.Name == "cake" },
	not: "holds nothing back by itself, and can be a leaf of htb",
}

// checkShapers refuses what the dataplane, which hands what comes in to the qdisc, could not.
func (d *decoder) checkShapers(c *Config) {
	var all []string
	for _, i := range c.Dataplane.Interfaces {
		all = append(all, i.Name)
	}
	seen := map[string]string{}
	for i := range c.Host.Qdiscs {
		q := &c.Host.Qdiscs[i]
		if q.Ingress == nil {
			continue
		}
		wrong := func(problem, want string) {
			d.add(Error{Line: q.ingressAt.line, Column: q.ingressAt.column, Key: "host.qdiscs." + q.Name + ".ingress", Problem: problem, Want: want})
		}
		other, again := seen[Shaper(q.Name)]
		seen[Shaper(q.Name)] = q.Name
		switch {
		case !slices.Contains(all, q.Name) && d.sound("dataplane.interfaces"):
			wrong("the dataplane, which hands what comes in to the qdisc, is not at the interface", "one of dataplane.interfaces: "+strings.Join(all, ", "))
		case slices.Contains(all, Shaper(q.Name)) || slices.Contains(all, ShaperEnd(q.Name)):
			wrong("its device "+Shaper(q.Name)+" cannot be one of the dataplane's", "dataplane.interfaces without it and "+ShaperEnd(q.Name))
		case again:
			wrong("its device "+Shaper(q.Name)+" would have the name of that of "+other, "another name of one of the interfaces")
		}
	}
}
