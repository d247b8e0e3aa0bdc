// SPDX-License-Identifier: GPL-2.0-only

package reconcile

import (
	"log/slog"
	"reflect"
	"slices"
	"strings"
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
	if want := (map[string]State{"a": {"x": "1", "y": "3"}, "b": {"x": "bad as it was"}, "m": {"x": "0"}, "untouched": {"x": "1"}}); !reflect.DeepEqual(k.rows, want) {
		t.Errorf("%v", k.rows)
	}
	// What is said is checked all the same.
	if _, err := e.Plan(t.Context(), e.Back(t.Context(), []Resource{want("b", State{"x": "bad"})}, since)); err == nil {
		t.Error("a value that is none")
	}
}

// wholeTable has all attributes of a row set together.
type wholeTable struct{ *table }

func (wholeTable) Whole() {}

// TestBackAnew: what later changes say of a resource that was not there before, or is set as a whole, is nothing
// to go back to.
func TestBackAnew(t *testing.T) {
	k := newTable(map[string]State{"a": {"x": "1"}})
	e, _ := newEngine(t, t.TempDir(), k)
	whole := New(t.TempDir(), slog.New(slog.DiscardHandler), wholeTable{k})
	for _, c := range []struct {
		e     *Engine
		since []Before
		want  State
	}{
		{e, []Before{{State: State{"y": "5"}}, {State: State{"is": Absent}}}, State{"is": Absent}},
		{e, []Before{{State: State{"y": "5"}}, {State: State{"x": "4"}}}, State{"x": "4", "y": "5"}},
		{whole, []Before{{State: State{"kind": "htb", "rate": "1"}}, {State: State{"kind": "fifo"}}}, State{"kind": "fifo"}},
	} {
		for i := range c.since {
			c.since[i].Kind, c.since[i].Name = "table", "a"
		}
		if list := c.e.Back(t.Context(), nil, c.since); len(list) != 1 || !reflect.DeepEqual(list[0].Before, c.want) {
			t.Errorf("%+v, want %v", list, c.want)
		}
	}
}

// TestSigns: a plan shows what comes, what goes and what changes.
func TestSigns(t *testing.T) {
	p := &Plan{Resources: 4, Changes: []Change{
		{Kind: "link", Name: "a", From: State{"is": Absent, "mtu": ""}, To: State{"is": "bridge", "mtu": "1400"}},
		{Kind: "link", Name: "b", From: State{"is": "bridge"}, To: State{"is": Absent}},
		{Kind: "mtu", Name: "c", From: State{"value": "1"}, To: State{"value": "2"}},
		{Kind: "mtu", Name: "a", From: State{}, To: State{"value": "2"}, Later: true},
	}}
	for i := range p.Changes {
		p.Changes[i].Effect.Impact = InPlace
	}
	var b strings.Builder
	want := "+ link a\n    is: absent -> bridge\n    mtu: 1400\n- link b\n    is: bridge -> absent\n~ mtu c\n    value: 1 -> 2\n+ mtu a\n    value: 2, when it is there\nPlan: 4 of 4 resources change.\n"
	if err := p.Write(&b); err != nil || b.String() != want {
		t.Errorf("%v\n%s", err, b.String())
	}
}
