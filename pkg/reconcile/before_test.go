// SPDX-License-Identifier: GPL-2.0-only

package reconcile

import (
	"reflect"
	"slices"
	"testing"
)

// TestBack: what later changes have left is as it was before the first of them, but for what
// the earlier state says itself.
func TestBack(t *testing.T) {
	k := newTable(map[string]State{"a": {"x": "1", "y": "1"}, "b": {"x": "bad as it was"}, "m": {"x": "0"}, "untouched": {"x": "1"}})
	k.makes = map[string]State{"m": {"x": "1"}}
	e, _ := newEngine(t, t.TempDir(), k)
	var since []Before
	for _, list := range [][]Resource{
		{want("a", State{"x": "5"})},
		{want("a", State{"x": "6", "y": "7"}), want("b", State{"x": "9"}), want("m", State{"x": "1"})},
	} {
		p := mustPlan(t, e, list...)
		since = slices.Concat(p.Before(), since)
		if _, err := e.Apply(t.Context(), p, Options{}); err != nil {
			t.Fatal(err)
		}
	}
	since = append(since, Before{Kind: "table", Name: "gone", State: State{"x": "1"}}, Before{Kind: "nosuch", Name: "a", State: State{"x": "1"}})
	list := e.Back(t.Context(), []Resource{want("a", State{"y": "3"})}, since)
	if len(list) != 3 || list[0].Rank != 0 || list[1].ID() != "table m" || list[1].Rank != makerRank {
		t.Errorf("%+v", list)
	}
	p := mustPlan(t, e, list...)
	if last := p.Changes[len(p.Changes)-1]; last.Name != "m" {
		t.Errorf("what makes others does not go last: %+v", p.Changes)
	}
	if _, err := e.Apply(t.Context(), p, Options{}); err != nil {
		t.Fatal(err)
	}
	if want := (map[string]State{"a": {"x": "1", "y": "3"}, "b": {"x": "bad as it was"}, "m": {"x": "0"}, "untouched": {"x": "1"}}); !reflect.DeepEqual(k.clone(), want) {
		t.Errorf("%v", k.clone())
	}
	// What is said is checked all the same.
	if _, err := e.Plan(t.Context(), e.Back(t.Context(), []Resource{want("b", State{"x": "bad"})}, since)); err == nil {
		t.Error("a value that is none")
	}
}
