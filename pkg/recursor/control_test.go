// SPDX-License-Identifier: GPL-2.0-only

package recursor

import (
	"slices"
	"strconv"
	"testing"

	"github.com/randomizedcoder/l2d/pkg/config"
	"github.com/randomizedcoder/l2d/pkg/service"
)

const topText = "Over last 4 entries:\n50.00%\twww.lab.test|AAAA\n25%\t\x1b[2Jx|A\n10.0%\t192.168.1.53\n15.00%\trest\n"

func TestParseTop(t *testing.T) {
	list, err := parseTop(topText)
	want := []Share{{50, "www.lab.test", "AAAA"}, {25, `\x1b[2Jx`, "A"}, {10, "192.168.1.53", ""}}
	if err != nil || !slices.Equal(list, want) {
		t.Errorf("%+v %v, want %+v", list, err, want)
	}
	if list, err := parseTop(nothingYet + "\n"); err != nil || len(list) != 0 {
		t.Errorf("nothing yet: %v %v", list, err)
	}
	if _, err := parseTop("Unknown command\n"); err == nil {
		t.Error("an error is taken for a list")
	}
}

func FuzzParseTop(f *testing.F) {
	f.Add(topText)
	f.Fuzz(func(t *testing.T, text string) {
		list, _ := parseTop(text)
		for _, s := range list {
			for _, r := range s.Name + s.Type {
				if !strconv.IsPrint(r) || r > 126 {
					t.Fatalf("%q %q", s.Name, s.Type)
				}
			}
		}
	})
}

func FuzzParseStatistics(f *testing.F) {
	f.Add("questions\t12\ncache-hits\t3\n")
	f.Fuzz(func(_ *testing.T, text string) { parseStatistics(text) })
}

// TestEffect: zones, who may ask, and trust anchors are read again; all else starts it anew.
func TestEffect(t *testing.T) {
	unit := func(text string) *service.Unit {
		t.Helper()
		c, err := config.Parse("l2d.yaml", []byte("dataplane: {ruleset: x, interfaces: [{name: br0}]}\nservices: {recursor: {"+text+"}}\n"))
		if err != nil {
			t.Fatal(err)
		}
		list, err := New().Units(c, service.Dirs{Run: "/run/x"})
		if err != nil {
			t.Fatal(err)
		}
		return list[0]
	}
	old := unit("")
	for text, want := range map[string]service.Action{
		"forward: {a.b: [10.0.0.1]}":         service.Reload,
		"forward_recursive: {.: [10.0.0.1]}": service.Reload,
		"allow: [10.0.0.0/8]":                service.Reload,
		"insecure: [a.b]":                    service.Reload,
		"serve_rfc1918: false":               service.Restart,
		"dnssec: process":                    service.Restart,
		"listen: [127.0.0.1]":                service.Restart,
		"cache_entries: 5000":                service.Restart,
	} {
		if e := New().Effect(old, unit(text)); e.Action != want || e.Disruptive != (want == service.Restart) {
			t.Errorf("%s: %+v, want %d", text, e, want)
		}
	}
}
