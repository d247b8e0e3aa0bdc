// SPDX-License-Identifier: GPL-2.0-only

package nft

import (
	"bufio"
	"fmt"
	"io"
	"regexp"
	"strings"
)

var counterText = regexp.MustCompile(`counter packets [0-9]+ bytes [0-9]+`)

// Render writes the ruleset as "nft -a list ruleset" prints it, with the
// packets and bytes that counts returns for each rule: in the rule's counter
// statement, or in a comment behind a rule that has none. Rules for which
// counts returns false stay as they were.
func (r *Ruleset) Render(w io.Writer, counts func(rule *Rule) (packets, bytes uint64, ok bool)) error {
	out := bufio.NewWriter(w)
	for _, l := range r.listing {
		text := l.text
		if l.rule != nil {
			if packets, bytes, ok := counts(l.rule); ok {
				text = withCounter(l.text, packets, bytes)
			}
		}
		if _, err := fmt.Fprintln(out, text); err != nil {
			return err
		}
	}
	return out.Flush()
}

// withCounter puts a count into the line of a rule, which ends in its handle.
func withCounter(line string, packets, bytes uint64) string {
	count := fmt.Sprintf("packets %d bytes %d", packets, bytes)
	handle := handleTail.FindString(line)
	rule := strings.TrimSuffix(line, handle)
	if counted := replaceCounter(rule, "counter "+count); counted != rule {
		return counted + handle
	}
	if hasCounter(rule) {
		return line
	}
	return rule + " # " + count + handle
}

// findCounter returns where the counter statement of a rule is, or nil.
func findCounter(rule string) []int {
	for _, m := range counterText.FindAllStringIndex(rule, -1) {
		// A comment or a prefix is in quotes; a statement is not.
		if strings.Count(rule[:m[0]], `"`)%2 == 0 {
			return m
		}
	}
	return nil
}

func hasCounter(rule string) bool { return findCounter(rule) != nil }

func replaceCounter(rule, with string) string {
	m := findCounter(rule)
	if m == nil {
		return rule
	}
	return rule[:m[0]] + with + rule[m[1]:]
}
