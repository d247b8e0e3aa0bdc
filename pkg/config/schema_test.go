// SPDX-License-Identifier: GPL-2.0-only

package config

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// compiled is the schema as a validator has it.
func compiled(t *testing.T) *jsonschema.Schema {
	t.Helper()
	text, err := Schema()
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("l2d.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("l2d.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// check is what an editor says of a file.
func check(t *testing.T, s *jsonschema.Schema, text string) error {
	t.Helper()
	var v any
	if err := yaml.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%v in:\n%s", err, text)
	}
	j, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(j))
	if err != nil {
		t.Fatal(err)
	}
	return s.Validate(doc)
}

// TestSchema: an editor accepts what l2d accepts, wherever these tests and the
// documentation have it, and refuses keys, words and numbers that it does not.
func TestSchema(t *testing.T) {
	s := compiled(t)
	var good []string
	files, err := filepath.Glob("../../examples/*/l2d.yaml")
	if err != nil || len(files) < 2 {
		t.Fatal(files, err)
	}
	for _, f := range append(files, "../../docs/configuration.md") {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if filepath.Ext(f) == ".yaml" {
			good = append(good, string(text))
			continue
		}
		for _, m := range regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(string(text), -1) {
			switch key, _, _ := strings.Cut(m[1], ":"); key {
			case "dataplane":
				good = append(good, m[1])
			case "host", "conntrack", "nat", "services", "network", "control", "metrics", "log": // and not a part of these
				good = append(good, m[1]+"dataplane: {}\n")
			}
		}
	}
	// Texts of the tests that are valid.
	tests, err := filepath.Glob("*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range tests {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile("(?s)`([^`]*dataplane:[^`]*)`").FindAllStringSubmatch(string(text), -1) {
			if _, err := Parse("/etc/l2d/l2d.yaml", []byte(m[1])); err == nil {
				good = append(good, m[1])
			}
		}
	}
	if len(good) < 10 {
		t.Fatalf("only %d files are looked at", len(good))
	}
	for _, text := range good {
		if err := check(t, s, text); err != nil {
			t.Errorf("%v in:\n%s", err, text)
		}
	}
	for _, text := range []string{
		"dataplane: {rulset: a}", "metrics: {}", "dataplane: []", "dataplane: {}\nconntrack: {max_flows: 0}", "dataplane: {}\nconntrack: {max_flows: many}",
		"dataplane: {interfaces: [{name: eth0, xdp: generic}]}", "dataplane: {interfaces: eth0}", "dataplane: {mirror: 1}",
		"dataplane: {}\nhost: {nics: {eth0: {rings: {rx: true}}}}", "dataplane: {}\nhost: {links: {br0: {kind: brige}}}",
	} {
		if err := check(t, s, text); err == nil {
			t.Errorf("%s: nothing is wrong with it", text)
		}
	}
}

// TestReference: the reference names every key.
func TestReference(t *testing.T) {
	text, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	body, err := Schema()
	if err != nil {
		t.Fatal(err)
	}
	var root map[string]any
	if err := json.Unmarshal(body, &root); err != nil {
		t.Fatal(err)
	}
	named := map[string]bool{}
	for _, m := range regexp.MustCompile("(?s)```yaml\n.*?```|`[^`\n]+`").FindAllString(string(text), -1) {
		for _, word := range regexp.MustCompile(`[\w-]+`).FindAllString(m, -1) {
			named[word] = true
		}
	}
	var walk func(path string, s map[string]any)
	walk = func(path string, s map[string]any) {
		keys, _ := s["properties"].(map[string]any)
		for key, value := range keys {
			if !named[key] && !strings.HasSuffix(path, ".coalesce.") { // "the others that ethtool has"
				t.Errorf("docs/configuration.md does not name %s%s", path, key)
			}
			walk(path+key+".", value.(map[string]any))
		}
		for _, below := range []string{"items", "additionalProperties"} {
			if s, ok := s[below].(map[string]any); ok {
				walk(path+"*.", s)
			}
		}
	}
	walk("", root)
}
