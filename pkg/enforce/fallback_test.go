// SPDX-License-Identifier: GPL-2.0-only

package enforce

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// ownNamespace moves the test into a new network namespace. Its thread is not
// used again.
func ownNamespace(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatal(err)
	}
}

func nftables(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "nft", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("nft %v: %v: %s", args, err, out)
	}
	return string(out)
}

func TestFallback(t *testing.T) {
	ownNamespace(t)
	ctx := t.Context()
	dir, run := t.TempDir(), filepath.Join(t.TempDir(), "run")
	ruleset := filepath.Join(dir, "firewall.nft")
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("ports.inc", "define ssh = 22\n")
	write("firewall.nft", "include \"ports.inc\"\ntable inet filter {\n\tchain input {\n\t\ttype filter hook input priority 0; policy drop;\n\t\ttcp dport $ssh accept\n\t}\n}\n")

	// Tables of others stay, those of the same name are replaced.
	nftables(t, "add table ip other")
	nftables(t, "add table inet filter; add chain inet filter old")

	tables := []string{"inet filter"}
	for range 2 { // the second time must not double the rules
		if err := LoadFallback(ctx, ruleset, tables, run); err != nil {
			t.Fatal(err)
		}
	}
	got := nftables(t, "list", "ruleset")
	if strings.Count(got, "tcp dport 22 accept") != 1 || strings.Contains(got, "chain old") || !strings.Contains(got, "table ip other") {
		t.Errorf("after loading:\n%s", got)
	}

	// A file that does not load changes nothing.
	write("firewall.nft", "table inet filter {\n\tchain input {\n\t\tbogus\n")
	if err := LoadFallback(ctx, ruleset, tables, run); err == nil || !strings.Contains(err.Error(), "firewall.nft:3") {
		t.Errorf("a file that does not parse: %v", err)
	}
	if now := nftables(t, "list", "ruleset"); now != got {
		t.Errorf("after a file that does not parse:\n%s", now)
	}

	dropped, err := DropFallback(ctx, run)
	if err != nil || !slices.Equal(dropped, tables) {
		t.Errorf("dropped %q, %v", dropped, err)
	}
	if now := nftables(t, "list", "tables"); now != "table ip other\n" {
		t.Errorf("after dropping:\n%s", now)
	}
	if dropped, err := DropFallback(ctx, run); err != nil || dropped != nil {
		t.Errorf("dropped again: %q, %v", dropped, err)
	}
}
