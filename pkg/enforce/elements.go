// SPDX-License-Identifier: GPL-2.0-only

package enforce

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/cilium/ebpf"

	"github.com/randomizedcoder/l2d/pkg/nft"
	"github.com/randomizedcoder/l2d/pkg/policy"
)

// Maps calls a function with the maps of the running policy, by name.
type Maps func(with func(map[string]*ebpf.Map) error) error

// elementsPerCommand keeps the lines of commands within reason.
const elementsPerCommand = 1000

// elementCommands are the nft commands that fill a set with what its map holds
// now, in the place of what it has. Ranges of the ruleset, which are several
// entries of the map, stay ranges.
func elementCommands(s *policy.Set, src *nft.Set, maps Maps) (string, error) {
	var list []policy.SetElement
	err := maps(func(m map[string]*ebpf.Map) (err error) {
		list, err = s.Elements(m)
		return err
	})
	if err == nil && s.InPrefixes() {
		list, err = wholeRanges(s, src, list)
	}
	if err != nil {
		return "", err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "flush %s %v\n", s.Kind(), s)
	for len(list) > 0 {
		n := min(len(list), elementsPerCommand)
		texts := make([]string, n)
		for i, e := range list[:n] {
			texts[i] = e.Command()
		}
		list = list[n:]
		fmt.Fprintf(&b, "add element %v { %s }\n", s, strings.Join(texts, ", "))
	}
	return b.String(), nil
}

// wholeRanges puts the parts of ranges together that a set of the ruleset has.
func wholeRanges(s *policy.Set, src *nft.Set, list []policy.SetElement) ([]policy.SetElement, error) {
	at := make(map[string]int, len(list))
	for i, e := range list {
		key, _, _ := strings.Cut(e.Element, " : ")
		at[key] = i
	}
	used := make([]bool, len(list))
	var out []policy.SetElement
	for _, r := range src.Ranges() {
		var parts []int
		keys := s.Keys(r)
		for _, k := range keys {
			text, err := s.Decode(k)
			if err != nil {
				return nil, err
			}
			if i, ok := at[text]; ok {
				parts = append(parts, i)
			}
		}
		if len(parts) < 2 || len(parts) != len(keys) {
			continue // is one, or is not whole any more
		}
		whole := list[parts[0]]
		_, data, isMap := strings.Cut(whole.Element, " : ")
		if whole.Element = s.RangeText(r); isMap {
			whole.Element += " : " + data
		}
		out = append(out, whole)
		for _, i := range parts {
			used[i] = true
		}
	}
	for i, e := range list {
		if !used[i] {
			out = append(out, e)
		}
	}
	return out, nil
}

// runtimeElements are the commands that give the sets of a ruleset what those of
// the running program hold, as far as they are the same.
func runtimeElements(p *policy.Program, rs *nft.Ruleset, of func(*policy.Set) bool, maps Maps) (string, error) {
	var b strings.Builder
	for _, s := range p.Sets {
		t := rs.Table(s.Family, s.Table)
		if s.Constant || t == nil || !of(s) {
			continue
		}
		src := t.Set(s.Name)
		if src == nil || src.KeyType != s.KeyType || src.Has(nft.SetInterval) != s.Interval || src.Has(nft.SetTimeout) != s.Timeouts ||
			src.Has(nft.SetConstant) {
			continue
		}
		commands, err := elementCommands(s, src, maps)
		if err != nil {
			return "", err
		}
		b.WriteString(commands)
	}
	return b.String(), nil
}

// AddElement puts an element into a set of the kernel's nftables, also where one
// is there with another timeout. 0 is the set's own.
func AddElement(ctx context.Context, s *policy.Set, element string, timeout time.Duration) error {
	e := policy.SetElement{Element: element, Expires: timeout}
	key, _, _ := strings.Cut(element, " : ")
	return runNFT(ctx, "/", fmt.Sprintf("add element %v { %s }\ndelete element %v { %s }\nadd element %v { %s }\n", s, e.Command(), s, key, s, e.Command()))
}

// DeleteElement takes an element out of a set of the kernel's nftables.
func DeleteElement(ctx context.Context, s *policy.Set, element string) error {
	return runNFT(ctx, "/", fmt.Sprintf("delete element %v { %s }\n", s, element))
}
