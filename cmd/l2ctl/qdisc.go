// SPDX-License-Identifier: GPL-2.0-only

package main

import (
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/randomizedcoder/l2d/pkg/api"
	"github.com/randomizedcoder/l2d/pkg/tcnl"
)

type qdiscCmd struct {
	Interface string `arg:"" optional:"" complete:"interface" help:"Only those of this interface."`
	JSON      bool   `help:"Print JSON." name:"json"`
}

// interfaceQdiscs is what is printed of an interface.
type interfaceQdiscs struct {
	Interface string        `json:"interface"`
	Qdiscs    []tcnl.Report `json:"qdiscs"`
}

// Run implements the command. It asks the kernel: no daemon need run.
func (c *qdiscCmd) Run(e *env) error {
	links, err := net.Interfaces()
	if err != nil {
		return fmt.Errorf("interfaces: %w", err)
	}
	client, err := tcnl.Dial()
	if err != nil {
		return err
	}
	defer func() { _ = client.Close() }()
	reports, err := client.Reports(0)
	if err != nil {
		return err
	}
	out := []interfaceQdiscs{}
	for _, l := range links {
		q := interfaceQdiscs{Interface: l.Name}
		for _, r := range reports {
			if r.Interface == l.Index {
				q.Qdiscs = append(q.Qdiscs, r)
			}
		}
		if c.Interface == l.Name || c.Interface == "" && len(q.Qdiscs) > 0 {
			out = append(out, q)
		}
	}
	switch {
	case c.Interface != "" && len(out) == 0:
		return api.BadInput(fmt.Errorf("%s: no such interface", c.Interface))
	case c.JSON:
		return printJSON(e.out, out)
	}
	var text strings.Builder
	for _, q := range out {
		for i := range q.Qdiscs {
			writeQdisc(&text, q.Interface, &q.Qdiscs[i])
		}
	}
	_, err = fmt.Fprint(e.out, text.String())
	return err
}

// writeQdisc writes a qdisc for people.
func writeQdisc(w *strings.Builder, name string, r *tcnl.Report) {
	fmt.Fprintf(w, "%s %s %s", name, r.Parent, r.Kind)
	if r.Handle == "0:" {
		fmt.Fprint(w, " (default)")
	}
	for _, o := range slices.Sorted(maps.Keys(r.Options)) {
		fmt.Fprintf(w, " %s %s", o, r.Options[o])
	}
	fmt.Fprintf(w, "\n  sent %d packets, %d bytes; dropped %d; waiting %d packets, %d bytes; overlimits %d, requeues %d\n",
		r.Packets, r.Bytes, r.Drops, r.Queued, r.Backlog, r.Overlimits, r.Requeues)
	writeValues(w, "  ", r.Details)
	for _, t := range r.Tins {
		writeValues(w, "  "+t.Name+": ", t.Values)
	}
}

func writeValues(w *strings.Builder, before string, list []tcnl.Value) {
	if len(list) == 0 {
		return
	}
	parts := make([]string, len(list))
	for i, v := range list {
		parts[i] = v.Name + " " + strconv.FormatFloat(v.Value, 'g', 6, 64)
		if v.Value == float64(int64(v.Value)) {
			parts[i] = v.Name + " " + strconv.FormatInt(int64(v.Value), 10)
		}
	}
	fmt.Fprintf(w, "%s%s\n", before, strings.Join(parts, ", "))
}
