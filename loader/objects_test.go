// SPDX-License-Identifier: GPL-2.0-only

package loader

import "testing"

// TestForgetParsed: what is forgotten is parsed again, and until then once.
func TestForgetParsed(t *testing.T) {
	first, err := parseOnce()
	if err != nil {
		t.Fatal(err)
	}
	if again, err := parseOnce(); err != nil || again[0] != first[0] {
		t.Errorf("parsed twice, %v", err)
	}
	if types := kernelTypes(); types != kernelTypes() {
		t.Error("the kernel's types are read twice")
	}
	forgetParsed()
	parsing.Lock()
	kept := parsing.specs != nil || parsing.types != nil
	parsing.Unlock()
	if kept {
		t.Error("not forgotten")
	}
	if again, err := parseOnce(); err != nil || again[0] == first[0] || len(again[0].Programs) != len(first[0].Programs) {
		t.Errorf("not parsed again, %v", err)
	}
}
