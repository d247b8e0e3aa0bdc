// SPDX-License-Identifier: GPL-2.0-only

package config

import (
	"strings"
	"testing"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// TestSecret: a file says where a secret is; one that has it instead is not quoted.
func TestSecret(t *testing.T) {
	for _, test := range []struct{ text, file, credential string }{
		{"/etc/l2d/wifi.secret", "/etc/l2d/wifi.secret", ""},
		{"credential:wifi", "", "wifi"},
		{"hunter2hunter2", "", ""},
		{`"credential:"`, "", ""},
		{"credential:../x", "", ""},
		{"wifi.secret", "", ""},
		{"12345678", "", ""},
		{"[hunter2hunter2]", "", ""},
	} {
		f, err := parser.ParseBytes([]byte("password: "+test.text), 0)
		if err != nil {
			t.Fatal(err)
		}
		d := &decoder{file: "l2d.yaml"}
		var s *Secret
		v := f.Docs[0].Body
		if m, ok := v.(*ast.MappingNode); ok {
			v = m.Values[0]
		}
		node{d: d, n: v.(*ast.MappingValueNode).Value, key: "password"}.secret(&s)
		switch {
		case test.file+test.credential == "":
			if s != nil || len(d.errs) != 1 || strings.Contains(d.errs.Error(), test.text) {
				t.Errorf("%s: %v, %v", test.text, s, d.errs)
			}
		case s == nil || s.File != test.file || s.Credential != test.credential || s.String() != test.text:
			t.Errorf("%s: %+v, %v", test.text, s, d.errs)
		}
	}
}
