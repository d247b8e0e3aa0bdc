// SPDX-License-Identifier: GPL-2.0-only

package main

import (
	"encoding/json"
	"flag"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/randomizedcoder/l2d/pkg/config"
)

// underSystemd is for a machine that is there for the test: it has a unit l2d then.
var underSystemd = flag.Bool("l2d.systemd", false, "run l2d as the unit that packages install; systemd has to be the first process")

// TestJournal: as its unit, l2d writes to the journal, with levels and fields.
func TestJournal(t *testing.T) {
	if !*underSystemd {
		t.Skip("-l2d.systemd: make test-vm VM=journal")
	}
	command(t, "systemctl", "start", "systemd-journald.service") // as a boot does before all units
	dir := installUnit(t)
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("firewall.nft", ruleset)
	write("l2d.yaml", "dataplane: {ruleset: firewall.nft, interfaces: [{name: wan0}]}\n")
	command(t, "ip", "link", "add", "wan0", "type", "veth", "peer", "name", "far0")
	command(t, "systemctl", "start", "l2d.service")
	t.Cleanup(func() { command(t, "systemctl", "stop", "l2d.service") })

	write("firewall.nft", strings.Replace(ruleset, "dport 22", "dport none", 1))
	command(t, "systemctl", "reload", "l2d.service")
	inForce := find(t, "dataplane in force ")
	for field, want := range map[string]string{
		"PRIORITY": "6", "SYSLOG_IDENTIFIER": "l2d", "L2D_RULES": "5", "L2D_INTERFACES": "1", "L2D_RULESET": filepath.Join(dir, "firewall.nft"),
	} {
		if inForce[field] != want {
			t.Errorf("%s is %q, want %q", field, inForce[field], want)
		}
	}
	refused := find(t, "reload refused")
	if err, _ := refused["L2D_ERR"].(string); refused["PRIORITY"] != "3" || !strings.Contains(err, "firewall.nft:9") {
		t.Errorf("priority %v, %s", refused["PRIORITY"], err)
	}
	// What is read without fields says why, too.
	if errs := command(t, "journalctl", "-u", "l2d", "-p", "err", "-o", "cat"); !strings.Contains(errs, "firewall.nft:9") || strings.Contains(errs, "in force") {
		t.Errorf("errors are:\n%s", errs)
	}

	// So does what it ends of, where there is no revision to start with.
	write("l2d.yaml", "dataplane: {}\n")
	command(t, "systemctl", "stop", "l2d.service")
	if err := os.RemoveAll(config.DefaultStateDir); err != nil {
		t.Fatal(err)
	}
	if err := exec.CommandContext(t.Context(), "systemctl", "start", "l2d.service").Run(); err == nil {
		t.Error("it starts without a ruleset")
	}
	ends := find(t, "l2d ends")
	if err, _ := ends["L2D_ERR"].(string); ends["PRIORITY"] != "3" || !strings.Contains(err, "dataplane.ruleset") {
		t.Errorf("priority %v, %s", ends["PRIORITY"], err)
	}
}

// installUnit has systemd know this program by the unit of packages, with files of a directory.
func installUnit(t *testing.T) (dir string) {
	t.Helper()
	const units = "/run/systemd/system/"
	dir = "/run/l2d-test" // the unit sees no other /tmp
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{dir, units + "l2d.service.d"} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	override := "[Service]\nExecStart=\nExecStart=" + dir + "/l2d --config " + dir + "/l2d.yaml\nRestart=no\nEnvironment=" + asProgram + "=1\n"
	if err := os.WriteFile(units+"l2d.service.d/test.conf", []byte(override), 0o600); err != nil {
		t.Fatal(err)
	}
	copyFile(t, self, dir+"/l2d", 0o700)
	copyFile(t, "../../scripts/l2d.service", units+"l2d.service", 0o600)
	command(t, "systemctl", "daemon-reload")
	return dir
}

func copyFile(t *testing.T, from, to string, mode os.FileMode) {
	t.Helper()
	in, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, mode)
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.Copy(out, in)
	if e := out.Close(); err != nil || e != nil {
		t.Fatal(err, e)
	}
}

func command(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v: %s", name, args, err, out)
	}
	return string(out)
}

// find waits for an entry of the unit whose message begins so, and returns the last one.
func find(t *testing.T, begin string) (found map[string]any) {
	t.Helper()
	var log string
	for end := time.Now().Add(time.Minute); found == nil; time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("no entry begins with %q:\n%s", begin, log)
		}
		log = command(t, "journalctl", "-u", "l2d", "-o", "json")
		for d := json.NewDecoder(strings.NewReader(log)); ; {
			var entry map[string]any
			if err := d.Decode(&entry); err == io.EOF {
				break
			} else if err != nil {
				t.Fatal(err)
			}
			if message, _ := entry["MESSAGE"].(string); strings.HasPrefix(message, begin) {
				found = entry
			}
		}
	}
	return found
}
