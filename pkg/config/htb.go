// SPDX-License-Identifier: GPL-2.0-only

package config

import (
	"fmt"
	"strings"

	"github.com/randomizedcoder/l2d/pkg/tcnl"
)

// htbHandle is that of an htb, and the first half of the names of its classes.
const htbHandle = "1:"

// maxDepth is how many classes of an htb can be below each other: TC_HTB_MAXDEPTH.
const maxDepth = 8

// class is a class of an htb in the file.
type class struct {
	name         node
	id, parent   string
	parentAt     node
	leaf         bool
	onlyOfLeaves []node // options that classes above others do not have
}

// classes reads the classes of an htb into attributes.
func (v node) classes(to map[string]string) {
	list := map[string]*class{}
	var order []*class
	v.entries(`classes, such as {"1:10": {rate: 100mbit}}`, func(name, v node) {
		if !v.given(name) {
			return
		}
		id, ok := classID(name.text())
		if !ok {
			name.fail("the name of a class, 1: and up to four hexadecimal digits other than 0, such as 1:10")
			return
		}
		c := &class{name: name, id: id, leaf: true}
		list[id], order = c, append(order, c)
		v.class(c, to)
	})
	var words []string
	for _, c := range order {
		word := c.id
		if c.parent != "" {
			parent := list[c.parent]
			if parent == nil {
				c.parentAt.failf("no such class", "one of "+strings.Join(ids(order), ", "))
				continue
			}
			parent.leaf = false
			word = c.parent + ">" + c.id
			if depth(list, c) > maxDepth {
				c.parentAt.failf("is too far below others, or below itself", fmt.Sprintf("at most %d classes below each other", maxDepth))
			}
		}
		words = append(words, word)
	}
	for _, c := range order {
		for _, n := range c.onlyOfLeaves {
			if !c.leaf {
				n.failf("has no effect at a class that has others below it", "none here")
			}
		}
	}
	to["classes"] = strings.Join(sortedClasses(words), " ")
	if d, ok := to["default"]; ok && d != "0" {
		if c := list[htbHandle+d]; c == nil || !c.leaf {
			v.failf("the default "+htbHandle+d+" is not among the classes that have none below them", "a class for what is not put into another one")
		}
	}
}

// sortedClasses has them in the order that they are reported in.
func sortedClasses(words []string) []string {
	var list []tcnl.Class
	text := map[uint32]string{}
	for _, w := range words {
		c := tcnl.Class{Parent: tcnl.TopParent}
		parent, id, ok := strings.Cut(w, ">")
		if !ok {
			id = w
		} else {
			c.Parent, _ = tcnl.ParseClass(parent) // have been read before
		}
		c.ID, _ = tcnl.ParseClass(id)
		list, text[c.ID] = append(list, c), w
	}
	out := make([]string, len(words))
	for i, c := range tcnl.Sorted(list) {
		out[i] = text[c.ID]
	}
	return out
}

func ids(list []*class) []string {
	out := make([]string, len(list))
	for i, c := range list {
		out[i] = c.id
	}
	return out
}

// depth is how many classes there are from a top to one.
func depth(list map[string]*class, c *class) int {
	n := 1
	for ; c.parent != "" && list[c.parent] != nil && n <= maxDepth; n++ {
		c = list[c.parent]
	}
	return n
}

// classID returns the name of a class as the kernel's are written.
func classID(text string) (string, bool) {
	id, err := tcnl.ParseClass(text)
	return tcnl.ClassText(id), err == nil && tcnl.HandleText(id) == htbHandle
}

// class reads one class.
func (v node) class(c *class, to map[string]string) {
	prefix := "class " + c.id + " "
	before := len(v.d.errs)
	v.entries("a rate and other options, such as {rate: 10mbit, ceil: 100mbit}", func(name, v node) {
		key := name.text()
		if !v.given(name) {
			return
		}
		switch key {
		case "parent":
			id, ok := classID(v.text())
			if !ok {
				v.fail("the name of a class, such as 1:1")
				return
			}
			c.parent, c.parentAt = id, v
			return
		case "leaf":
			v.qdisc(to, "leaf "+c.id+" ", leafPlace)
			c.onlyOfLeaves = append(c.onlyOfLeaves, v)
			return
		case "prio", "quantum":
			c.onlyOfLeaves = append(c.onlyOfLeaves, v)
		}
		o := tcnl.ClassOptions.Option(key)
		if o == nil {
			name.unknown(v.key, "an option of a class", append([]string{"parent", "leaf"}, tcnl.ClassOptions.Names()...))
			return
		}
		v.option(o, to, prefix)
	})
	if rate := to[prefix+"rate"]; rate != "" && to[prefix+"ceil"] == "" {
		to[prefix+"ceil"] = rate // also where the class has had another
	}
	if to[prefix+"rate"] == "" && len(v.d.errs) == before {
		at := positionOf(c.name.n)
		v.d.add(Error{Line: at.line, Column: at.column, Key: v.key + ".rate", Problem: "is missing", Want: "the rate that the class is sure of, such as 10mbit"})
	}
}
