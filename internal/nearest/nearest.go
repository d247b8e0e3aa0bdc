// SPDX-License-Identifier: GPL-2.0-only

// Package nearest finds the name that was probably meant.
package nearest

import "strings"

// Of is the one of some names that is most like another, or the only one that has
// it as a part; empty if there is none.
func Of(name string, names []string) string {
	part := ""
	for _, n := range names {
		if strings.Contains(n, name) && n != name {
			if part != "" {
				part = ""
				break
			}
			part = n
		}
	}
	if part != "" {
		return part
	}
	best, least := "", len(name)/6+2
	for _, n := range names {
		if max(len(n)-len(name), len(name)-len(n)) >= least {
			continue
		}
		if d := distance(n, name); d < least {
			best, least = n, d
		}
	}
	return best
}

// distance is how many letters have to be added, left out or replaced to get from
// one name to the other (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		last := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replace := last
			if a[i] != b[j] {
				replace++
			}
			last = row[j+1]
			row[j+1] = min(replace, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
