// SPDX-License-Identifier: GPL-2.0-only

package config

import (
	"strings"
	"testing"
)

func TestFollowedSets(t *testing.T) {
	c, err := Parse("l2d.yaml", []byte("dataplane: {ruleset: x, interfaces: [{name: br0}], sets: [{set: inet filter lan6, interface: br0}]}"))
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Dataplane.Sets) != 1 || c.Dataplane.Sets[0].Name() != "inet filter lan6" || c.Dataplane.Sets[0].Interface != "br0" {
		t.Errorf("%+v", c.Dataplane.Sets)
	}
	for _, test := range []struct{ ruleset, sets, want string }{
		{"x", "[{set: filter lan6, interface: br0}]", "want the family, table and name of a set"},
		{"x", "[{set: bridge filter lan6, interface: br0}]", "want the family, table and name of a set"},
		{"x", "[{set: inet filter lan6, interface: lo}]", "want an interface's name"},
		{"x", "[{set: inet filter lan6}]", "interface: is missing"},
		{"x", "[{interface: br0}]", "set: is missing"},
		{"x", "[{set: inet filter a, interface: br0}, {set: inet filter a, interface: br1}]", "follows an interface already, on line 1"},
		{"kernel", "[{set: inet filter lan6, interface: br0}]", "want a ruleset file"},
	} {
		_, err := Parse("l2d.yaml", []byte("dataplane: {ruleset: "+test.ruleset+", interfaces: [{name: br0}], sets: "+test.sets+"}"))
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", test.sets, err, test.want)
		}
	}
}
