// SPDX-License-Identifier: GPL-2.0-only

package service

import (
	"os"
	"path/filepath"
	"testing"
)

// TestStoreClean: what a process that was killed has left of a unit, which has secrets, goes with the next start.
func TestStoreClean(t *testing.T) {
	dir := t.TempDir()
	if err := openStore(dir).put("x", "1", &Unit{Name: "x"}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"key.new", "x/2.json.new"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := openStore(dir)
	if left, err := filepath.Glob(dir + "/*/*"); err != nil || len(left) != 1 || s.get("x", "1") == nil {
		t.Errorf("%v, %v", left, err)
	}
	if _, err := os.Stat(filepath.Join(dir, "key.new")); !os.IsNotExist(err) {
		t.Error(err)
	}
}
