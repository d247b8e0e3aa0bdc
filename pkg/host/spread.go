// SPDX-License-Identifier: GPL-2.0-only

package host

import (
	"fmt"
	"slices"
	"strings"

	"github.com/randomizedcoder/l2d/pkg/cpus"
)

// A spread is sets of CPUs for the queues of an interface, in their order. Its text
// has spaces between them; a set without CPUs is noCPUs.
type spread [][]int

const noCPUs = "none"

func parseSpread(s string) (spread, error) {
	var out spread
	for _, word := range strings.Fields(s) {
		if word == noCPUs {
			out = append(out, nil)
			continue
		}
		set, err := cpus.Parse(word)
		if err != nil {
			return nil, err
		}
		out = append(out, set)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%q has no CPUs", s)
	}
	return out, nil
}

// String is the text of it.
func (s spread) String() string {
	words := make([]string, len(s))
	for i, set := range s {
		if words[i] = cpus.Format(set); words[i] == "" {
			words[i] = noCPUs
		}
	}
	return strings.Join(words, " ")
}

// over has the sets for some queues, at least one: the first again behind the last, and if
// there are more sets than queues, the first queue has that behind the last one's, too.
func (s spread) over(queues int) spread {
	out := make(spread, queues)
	for i := range max(queues, len(s)) {
		out[i%queues] = append(out[i%queues], s[i%len(s)]...)
	}
	return out
}

// all are the CPUs of all sets.
func (s spread) all() []int { return slices.Concat(s...) }

// sameSpread tells whether the sets of some queues are those of a spread.
func sameSpread(want, have string) bool {
	w, err := parseSpread(want)
	h, err2 := parseSpread(have)
	return err == nil && err2 == nil && w.over(len(h)).String() == h.String()
}
