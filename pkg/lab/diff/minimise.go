// SPDX-License-Identifier: GPL-2.0-only

package diff

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// mismatchCase is a ruleset and packets on which the routers differ.
type mismatchCase struct {
	text  string
	shots []shot
}

// minimise drops packets and parts of the ruleset as long as the routers differ,
// and until the time is over. What it returns differs, if c did.
func (r *Rig) minimise(ctx context.Context, c mismatchCase, opt Options, dir string, end time.Time) mismatchCase {
	differ := func(c mismatchCase) bool {
		if ctx.Err() != nil || time.Now().After(end) {
			return false
		}
		file := filepath.Join(dir, "smaller.nft")
		if os.WriteFile(file, []byte(c.text), 0o600) != nil {
			return false
		}
		opt.replay = c.shots
		res, err := r.run(ctx, file, opt, pass{})
		return err == nil && res.Mismatch != nil
	}
	if !differ(c) {
		return c
	}
	shots := func() {
		last := c.shots[len(c.shots)-1]
		c.shots = append(shrink(c.shots[:len(c.shots)-1], func(s []shot) bool {
			return differ(mismatchCase{c.text, append(slices.Clone(s), last)})
		}), last)
	}
	shots()
	for _, units := range []func(lines []string) [][]int{tables, blocks, ruleLines, blocks} {
		lines := strings.Split(c.text, "\n")
		keep := shrink(units(lines), func(keep [][]int) bool {
			return differ(mismatchCase{without(lines, units(lines), keep), c.shots})
		})
		c.text = without(lines, units(lines), keep)
	}
	shots()
	return c
}

// shrink drops elements of a list in smaller and smaller runs as long as fails
// says that what is left still does.
func shrink[T any](list []T, fails func([]T) bool) []T {
	for size := len(list); size > 0; size /= 2 {
		for at := 0; at < len(list); {
			less := slices.Concat(list[:at], list[min(at+size, len(list)):])
			if fails(less) {
				list = less
			} else {
				at += size
			}
		}
	}
	return list
}

// without is a text without the units, sets of lines, that are not kept.
func without(lines []string, units, keep [][]int) string {
	kept := map[int]bool{}
	for _, k := range keep {
		kept[k[0]] = true
	}
	gone := map[int]bool{}
	for _, u := range units {
		for _, line := range u {
			gone[line] = gone[line] || !kept[u[0]]
		}
	}
	var out []string
	for i, line := range lines {
		if !gone[i] && strings.TrimSpace(line) != "" {
			out = append(out, line)
		}
	}
	return strings.Join(out, "\n")
}

// tables are the tables of a ruleset.
func tables(lines []string) [][]int { return braces(lines, 0) }

var blockName = regexp.MustCompile(`^\s*(?:chain|set|map|counter|quota|limit)\s+(\S+)\s*\{`)

// blocks are chains, sets and objects, each with the rules that name it.
func blocks(lines []string) [][]int {
	list := braces(lines, 1)
	for i, block := range list {
		m := blockName.FindStringSubmatch(lines[block[0]])
		if m == nil {
			continue
		}
		names := regexp.MustCompile(`(?:jump |goto |@|name )"?` + regexp.QuoteMeta(m[1]) + `\b`)
		for n, line := range lines {
			if names.MatchString(line) && !slices.Contains(block, n) {
				list[i] = append(list[i], n)
			}
		}
	}
	return list
}

// braces are the blocks of lines at a depth.
func braces(lines []string, depth int) [][]int {
	var list [][]int
	var block []int
	at := 0
	for i, line := range lines {
		open := strings.Count(line, "{") - strings.Count(line, "}")
		if at >= depth && (block != nil || strings.Contains(line, "{") && at == depth) {
			block = append(block, i)
		}
		at += open
		if block != nil && at <= depth {
			list = append(list, block)
			block = nil
		}
	}
	return list
}

// ruleLines are the rules of a ruleset.
func ruleLines(lines []string) [][]int {
	var list [][]int
	eachRule(lines, func(i int, _, _ string) { list = append(list, []int{i}) })
	return list
}
