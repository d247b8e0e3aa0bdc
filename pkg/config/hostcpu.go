// SPDX-License-Identifier: GPL-2.0-only

package config

import (
	"fmt"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"github.com/randomizedcoder/l2d/pkg/cpus"
)

// Words in the place of CPUs.
const (
	wordDataplane = "dataplane" // those of dataplane.cpus
	wordKeep      = "keep"      // as they are
	wordNone      = "none"
)

// Queues is which CPUs work for the queues of an interface.
type Queues struct {
	// Dataplane: those of the dataplane.
	Dataplane bool `json:"dataplane,omitempty"`
	// Keep leaves them as they are.
	Keep bool `json:"keep,omitempty"`
	// Sets has CPUs for each queue, and begins again behind the last one; a set
	// without CPUs is none. Or, if Each, one list for the queues one by one.
	Sets [][]int `json:"sets,omitempty"`
	Each bool    `json:"each,omitempty"`

	at position
}

// Governor is what decides about the frequency of some CPUs.
type Governor struct {
	// CPUs are all if there is none.
	CPUs []int  `json:"cpus,omitempty"`
	Name string `json:"name"`

	at position
}

// At is an error with the place of the governor in a file.
func (g *Governor) At(file string) Error {
	return Error{File: file, Line: g.at.line, Column: g.at.column, Key: "host.governor", Value: cpus.Format(g.CPUs)}
}

// At is an error with the place of a NIC's CPUs in a file.
func (q *Queues) At(file, nic, key string) Error {
	return Error{File: file, Line: q.at.line, Column: q.at.column, Key: "host.nics." + nic + "." + key}
}

// CPUsAt is an error with the place of the dataplane's CPUs in a file.
func (d *Dataplane) CPUsAt(file string) Error {
	return Error{File: file, Line: d.cpusAt.line, Column: d.cpusAt.column, Key: "dataplane.cpus", Value: cpus.Format(d.CPUs)}
}

const wantCPUs = "a list of CPUs, such as 0-7 or 0,12,1,13"

// cpuList reads a list of CPUs, in the order in which it names them.
func (v node) cpuList(dst *[]int) {
	list, err := cpus.Parse(v.text())
	switch {
	case !v.isWord():
		v.fail(wantCPUs)
	case err != nil:
		v.failf(err.Error(), wantCPUs)
	case len(list) == 0:
		v.fail(wantCPUs)
	default:
		*dst = list
	}
}

// isWord tells whether the value is a text or a whole number.
func (v node) isWord() bool {
	switch v.n.(type) {
	case *ast.StringNode, *ast.IntegerNode:
		return true
	}
	return false
}

// queues reads the CPUs of an interface's queues: a list of CPUs, a list of such lists, or
// one of some words. Each tells that a list is for the queues one by one.
func (d *decoder) queues(v node, dst **Queues, each bool, words ...string) {
	q := &Queues{at: positionOf(v.n)}
	before := len(d.errs)
	want := wantCPUs + ", a list of them, or " + strings.Join(words, " or ")
	if _, list := v.n.(*ast.SequenceNode); list {
		v.list("lists of CPUs", func(_ int, v node) {
			var set []int
			if v.text() != wordNone {
				v.cpuList(&set)
			}
			q.Sets = append(q.Sets, set)
		})
		if len(q.Sets) == 0 {
			v.fail(want)
		}
	} else if word := v.text(); v.isWord() && slices.Contains(words, word) {
		q.Dataplane, q.Keep = word == wordDataplane, word == wordKeep
		q.Each = each
		if word == wordNone {
			q.Sets, q.Each = [][]int{nil}, false
		}
		if q.Dataplane {
			d.needCPUs = append(d.needCPUs, v)
		}
	} else {
		var list []int
		if v.cpuList(&list); list != nil {
			q.Sets, q.Each = [][]int{list}, each
		}
	}
	if len(d.errs) == before {
		*dst = q
	}
}

// rps reads the CPUs that packets are handed to, or these and the size of the
// tables of flows.
func (d *decoder) rps(v node, n *NIC) {
	read := func(v node) { d.queues(v, &n.RPS, false, wordDataplane, wordNone) }
	switch v.n.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		v.mapping(map[string]field{
			"cpus": read,
			"flows": func(v node) {
				n.Flows = new(uint32)
				v.number(n.Flows, 0, maxFlowTable)
			},
		})
	default:
		read(v)
	}
}

// maxFlowTable is the most entries that the kernel gives a queue's table, and a power of two.
const maxFlowTable = 1 << 27

// governor reads one word for all CPUs, or words by lists of CPUs.
func (d *decoder) governor(v node, c *Host) {
	const want = "a governor, such as performance, or governors by lists of CPUs, such as {0-7: performance}"
	word := func(at, v node, list []int) {
		g := Governor{CPUs: list, at: positionOf(at.n)}
		before := len(d.errs)
		v.str(&g.Name, want, func(s string) bool { return s != "" && !strings.ContainsAny(s, " \t\n/") })
		if len(d.errs) == before {
			c.Governors = append(c.Governors, g)
		}
	}
	switch v.n.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
	default:
		word(v, v, nil)
		return
	}
	seen := map[int]int{} // the line of each CPU
	v.entries(want, func(name, v node) {
		var list []int
		if !v.given(name) {
			return
		}
		if name.cpuList(&list); list == nil {
			return
		}
		for _, n := range list {
			if line, again := seen[n]; again {
				name.failf(fmt.Sprintf("CPU %d has one already, on line %d", n, line), "each CPU once")
				return
			}
			seen[n] = positionOf(name.n).line
		}
		word(name, v, list)
	})
}

// checkCPUs refuses the word for the dataplane's CPUs if there are none.
func (d *decoder) checkCPUs(c *Config) {
	if len(c.Dataplane.CPUs) > 0 || !d.sound("dataplane.cpus") {
		return
	}
	for _, v := range d.needCPUs {
		v.failf("dataplane.cpus is not given", wantCPUs+", or dataplane.cpus with one")
	}
}
