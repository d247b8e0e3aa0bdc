// SPDX-License-Identifier: GPL-2.0-only

// Package packaging checks what packages are made of. scripts/deb/test.sh builds and
// installs one.
package packaging

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

const unit = "../l2d.service"

// TestNix has Nix read its files.
func TestNix(t *testing.T) {
	nix, err := exec.LookPath("nix-instantiate")
	if err != nil {
		t.Skip("nix-instantiate is not there: scripts/setup.sh test installs it")
	}
	files, err := filepath.Glob("../../nix/*.nix")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, f := range files {
		if out, err := exec.CommandContext(t.Context(), nix, "--parse", f).CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", f, err, out)
		}
	}
}

// settings are those of a unit's section Service, the last of each name.
func settings(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile(unit)
	if err != nil {
		t.Fatal(err)
	}
	_, service, _ := strings.Cut(string(text), "\n[Service]\n")
	service, _, _ = strings.Cut(service, "\n[Install]\n")
	out := map[string]string{}
	for line := range strings.Lines(service) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && !strings.HasPrefix(name, "#") {
			out[name] = value
		}
	}
	return out
}

// TestNixUnit: NixOS confines the daemon as the unit does.
func TestNixUnit(t *testing.T) {
	text, err := os.ReadFile("../../nix/module.nix")
	if err != nil {
		t.Fatal(err)
	}
	plain := strings.Join(strings.Fields(strings.NewReplacer(`"`, "", "[", "", "]", "", ";", " ;").Replace(string(text))), " ")
	for name, value := range settings(t) {
		if name == "ExecStart" {
			continue
		}
		if truth := map[string]string{"yes": "true", "no": "false"}[value]; truth != "" {
			value = truth
		}
		if !strings.Contains(plain, name+" = "+value+" ;") {
			t.Errorf("nix/module.nix does not have %s=%s", name, value)
		}
	}
}

// TestExposure: the unit is as confined as the documentation says.
func TestExposure(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "systemd-analyze", "security", "--offline=true", "--no-pager", unit).CombinedOutput()
	if err != nil && !regexp.MustCompile("Overall exposure").Match(out) {
		t.Skipf("systemd-analyze: %v: %s", err, out)
	}
	m := regexp.MustCompile(`Overall exposure level for l2d.service: ([0-9.]+)`).FindSubmatch(out)
	if m == nil {
		t.Skipf("this systemd says no figure: %s", out)
	}
	figure, err := strconv.ParseFloat(string(m[1]), 64)
	if err != nil || figure > 5.5 {
		t.Errorf("exposure %v, %v; want 5.5 at most:\n%s", figure, err, out)
	}
}

// TestSBOM reads the bill of a program: this test.
func TestSBOM(t *testing.T) {
	dir := t.TempDir()
	program := filepath.Join(dir, "l2ctl")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, "../../cmd/l2ctl").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	out, err := exec.CommandContext(t.Context(), "go", "run", "../sbom", program).Output()
	if err != nil {
		t.Fatal(err)
	}
	var bom struct {
		BOMFormat  string
		Components []struct {
			Name, Version string
			Hashes        []struct{ Content string }
		}
	}
	if err := json.Unmarshal(out, &bom); err != nil || bom.BOMFormat != "CycloneDX" {
		t.Fatalf("%v: %s", err, out)
	}
	found := map[string]bool{}
	for _, c := range bom.Components {
		if c.Version == "" || c.Name != "std" && len(c.Hashes) != 1 {
			t.Errorf("%+v", c)
		}
		found[c.Name] = true
	}
	for _, want := range []string{"std", "github.com/cilium/ebpf", "github.com/alecthomas/kong"} {
		if !found[want] {
			t.Errorf("no %s in %s", want, out)
		}
	}
}
