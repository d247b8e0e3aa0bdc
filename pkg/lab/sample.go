// SPDX-License-Identifier: GPL-2.0-only

package lab

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// sample is what a dataplane has counted at one moment.
type sample struct {
	at     time.Time
	rules  []Rule
	status Status
}

func takeSample(ctx context.Context, dp Dataplane) (s sample, err error) {
	if s.rules, err = dp.Rules(ctx); err != nil {
		return s, err
	}
	s.status, err = dp.Status(ctx)
	s.at = time.Now()
	return s, err
}

// drops tells whether what matches the rule goes no further.
func (r Rule) drops() bool { return strings.HasSuffix(r.Text, "drop") }

// changes returns the rules that have counted between two readings, with what
// they have counted.
func changes(before, after []Rule) []Rule {
	type key struct {
		table, chain, text string
		handle             uint64
		policy             bool
	}
	id := func(r Rule) key { return key{r.Table, r.Chain, r.Text, r.Handle, r.Policy} }
	old := map[key]Rule{}
	for _, r := range before {
		old[id(r)] = r
	}
	var list []Rule
	for _, r := range after {
		o := old[id(r)]
		if r.Packets != o.Packets {
			r.Packets -= o.Packets
			r.Bytes -= o.Bytes
			list = append(list, r)
		}
	}
	return list
}

// dropped lists the reasons and rules by which packets were dropped between two
// samples, each with its count as format writes it.
func (s sample) dropped(before sample, format func(n uint64) string) []string {
	var list []string
	for _, name := range slices.Sorted(maps.Keys(s.status.Reasons)) {
		n := s.status.Reasons[name] - before.status.Reasons[name]
		if what, ok := strings.CutPrefix(name, "drop_"); ok && n > 0 {
			list = append(list, what+" "+format(n))
		}
	}
	for _, r := range changes(before.rules, s.rules) {
		if r.drops() {
			list = append(list, fmt.Sprintf("%q %s", r.Chain+": "+plainRule(r.Text), format(r.Packets)))
		}
	}
	return list
}

// drops is dropped as one text.
func (s sample) drops(before sample) string {
	list := s.dropped(before, func(n uint64) string { return fmt.Sprintf("(+%d)", n) })
	if len(list) == 0 {
		return "nothing"
	}
	return strings.Join(list, ", ")
}
