// SPDX-License-Identifier: GPL-2.0-only

package nft

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// listingLine is a line of "nft -a list ruleset"; rule is nil unless it is the
// rule's (last) line.
type listingLine struct {
	text string
	rule *Rule
}

var (
	tableLine  = regexp.MustCompile(`^table (\S+) (\S+) \{`)
	chainLine  = regexp.MustCompile(`^\tchain (\S+) \{`)
	handleTail = regexp.MustCompile(` # handle ([0-9]+)$`)
)

// setListing keeps the listing and gives each rule its text.
func (r *Ruleset) setListing(out string) error {
	byHandle := make(map[*Chain]map[uint64]*Rule)
	for _, rule := range r.Rules() {
		if byHandle[rule.Chain] == nil {
			byHandle[rule.Chain] = make(map[uint64]*Rule)
		}
		byHandle[rule.Chain][rule.Handle] = rule
	}

	var table *Table
	var chain *Chain
	var pending []string // lines of a rule that goes over several
	for line := range strings.Lines(out) {
		line = strings.TrimRight(line, "\n")
		entry := listingLine{text: line}
		if m := tableLine.FindStringSubmatch(line); m != nil {
			family, err := ParseFamily(m[1])
			if err != nil {
				return fmt.Errorf("nft list ruleset: %w", err)
			}
			table, chain = r.Table(family, m[2]), nil
		} else if m := chainLine.FindStringSubmatch(line); m != nil && table != nil {
			chain = table.Chain(m[1])
		} else if line == "\t}" || line == "}" {
			chain, pending = nil, nil
		} else if chain != nil && strings.HasPrefix(line, "\t\t") {
			pending = append(pending, strings.TrimSpace(line))
			if m := handleTail.FindStringSubmatch(line); m != nil {
				handle, err := strconv.ParseUint(m[1], 10, 64)
				if err != nil {
					return fmt.Errorf("nft list ruleset: %w", err)
				}
				if rule := byHandle[chain][handle]; rule != nil {
					text := strings.TrimSuffix(strings.Join(pending, " "), m[0])
					rule.Text = replaceCounter(text, "counter")
					entry.rule = rule
				}
				pending = nil
			} else if strings.HasSuffix(line, ";") || strings.HasPrefix(line, "\t\tcomment ") {
				pending = nil // the chain's own properties
			}
		}
		r.listing = append(r.listing, entry)
	}
	for _, rule := range r.Rules() {
		if rule.Text == "" {
			return fmt.Errorf("nft list ruleset: no text for table %v chain %s rule handle %d", rule.Chain.Table, rule.Chain.Name, rule.Handle)
		}
	}
	return nil
}

// expires is what a listing says of how long an element has left.
var expires = regexp.MustCompile(` expires [0-9a-z]+`)

// Listing returns the ruleset as nft lists it: a file of its own, in which nothing
// is included, defined or commented.
func (r *Ruleset) Listing() string {
	var out strings.Builder
	for _, l := range r.listing {
		// What is quoted is a name or a comment.
		for i, part := range strings.SplitAfter(handleTail.ReplaceAllString(l.text, ""), `"`) {
			if i%2 == 0 {
				part = expires.ReplaceAllString(part, "")
			}
			out.WriteString(part)
		}
		out.WriteByte('\n')
	}
	return out.String()
}

// Definition returns the lines that define a named set or map, without its
// elements, as they stand in a file within the table; nil if it is not listed.
func (r *Ruleset) Definition(s *Set) []string {
	var out []string
	var table *Table
	inside, elements := false, false
	for _, l := range r.listing {
		text := strings.TrimSpace(handleTail.ReplaceAllString(l.text, ""))
		switch m := tableLine.FindStringSubmatch(l.text); {
		case m != nil:
			family, _ := ParseFamily(m[1])
			table = r.Table(family, m[2])
		case table != s.Table:
		case !inside:
			if inside = text == "set "+s.Name+" {" || text == "map "+s.Name+" {"; inside {
				out = append(out, text)
			}
		case l.text == "\t}":
			return append(out, "}")
		case elements || strings.HasPrefix(text, "elements = {"):
			elements = !strings.HasSuffix(text, "}")
		default:
			out = append(out, text)
		}
	}
	return nil
}
