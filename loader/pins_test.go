// SPDX-License-Identifier: GPL-2.0-only

package loader

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/randomizedcoder/l2d/internal/mishap"
)

// TestReplaceDir: whichever of its steps fails, one directory or the other is there, and all of it.
func TestReplaceDir(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	w, err := mishap.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	for at, hit := 0, "begins"; hit != ""; at++ {
		dir := t.TempDir()
		from, to := filepath.Join(dir, "next"), filepath.Join(dir, "policy")
		for name, content := range map[string]string{from: "new", to: "old"} {
			if err := os.Mkdir(name, 0o700); err != nil {
				t.Fatal(err)
			}
			for _, file := range []string{"a", "b", "c"} {
				if err := os.WriteFile(filepath.Join(name, file), []byte(content), 0o600); err != nil {
					t.Fatal(err)
				}
			}
		}
		w.Arm(at, mishap.Fails)
		w.Do(func() { err = replaceDir(from, to) })
		_, hit = w.Disarm()
		if hit == "" && err != nil || hit == "" && at < 3 {
			t.Fatalf("%d steps: %v", at, err)
		}
		all := ""
		for _, file := range []string{"a", "b", "c"} {
			b, _ := os.ReadFile(filepath.Join(to, file))
			all += string(b) + " "
		}
		if all != "new new new " && all != "old old old " || (all == "new new new ") != (err == nil) {
			t.Errorf("%q failed: %q, %v", hit, all, err)
		}
	}
}
