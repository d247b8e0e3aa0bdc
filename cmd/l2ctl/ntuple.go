// SPDX-License-Identifier: GPL-2.0-only

package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"github.com/randomizedcoder/l2d/pkg/api"
	"github.com/randomizedcoder/l2d/pkg/ethioctl"
	"github.com/randomizedcoder/l2d/pkg/host"
	"github.com/randomizedcoder/l2d/pkg/ntuple"
)

type ntupleCmd struct {
	List ntupleListCmd `cmd:"" help:"Show where each rule is, and what it has matched."`
	Test ntupleTestCmd `cmd:"" help:"Ask a NIC which kinds of rules it takes, and remove them again. Needs no daemon."`
}

type ntupleListCmd struct {
	JSON bool `help:"Print JSON." name:"json"`
}

// Run implements the command.
func (c *ntupleListCmd) Run(e *env) error {
	list, err := e.client.NTuples(e.ctx)
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(e.out, list)
	}
	return writeNTuples(e.out, list)
}

func writeNTuples(w io.Writer, list []api.NTuple) error {
	t := newTable(w)
	t.row("INTERFACE", "RULE", "IN", "HITS", "NOT IN THE NIC, AS")
	for i := range list {
		r := &list[i]
		place := string(r.Place)
		if r.Place == api.PlaceNIC {
			place = fmt.Sprintf("NIC, at %d", *r.Location)
		}
		t.row(r.Interface, r.Rule, place, hitsText(r), r.Why)
	}
	return t.Flush()
}

// hitsText says how many packets a rule has matched, or, of a rule in a NIC, what its
// driver tells of all of them.
func hitsText(r *api.NTuple) string {
	switch {
	case r.Hits != nil:
		return fmt.Sprint(*r.Hits)
	case r.Place != api.PlaceNIC:
		return "-"
	case len(r.NICHits) == 0:
		return "not told by " + cmp.Or(r.Driver, "the driver")
	}
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(r.NICHits)) {
		parts = append(parts, fmt.Sprintf("%s %d", name, r.NICHits[name]))
	}
	return strings.Join(parts, ", ") + ", of all its rules"
}

type ntupleTestCmd struct {
	Interface string `arg:"" complete:"interface" help:"The network interface."`
	JSON      bool   `help:"Print JSON." name:"json"`
}

// Run implements the command.
func (c *ntupleTestCmd) Run(e *env) error {
	nic, err := host.NTupleNIC(c.Interface)
	var list []ntuple.Probed
	var there []ethioctl.Spec
	if err == nil {
		list, there, err = ntuple.Probe(ethioctl.Kernel{}, c.Interface, nic)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return api.BadInput(fmt.Errorf("%s: no such interface", c.Interface))
	case errors.Is(err, errors.ErrUnsupported):
		return fmt.Errorf("%s: the driver %s has no such rules: all are for XDP", c.Interface, nic.Driver)
	case err != nil:
		return err
	}
	if c.JSON {
		return printJSON(e.out, list)
	}
	if !nic.NTuple {
		fmt.Fprintf(e.out, "The feature rx-ntuple-filter is off: most drivers take no rules then.\n")
	}
	if len(there) > 0 {
		fmt.Fprintf(e.out, "There are %d rules already, which may be in the way of others.\n", len(there))
	}
	t := newTable(e.out)
	t.row("KIND OF RULE", "TAKEN", "REMARK")
	for _, p := range list {
		t.row(p.Kind, yes(p.Taken), p.Error+p.Use)
	}
	return t.Flush()
}
