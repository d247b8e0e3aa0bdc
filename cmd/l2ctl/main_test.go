// SPDX-License-Identifier: GPL-2.0-only

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// asProgram makes the test binary l2ctl itself, for tests that need it in a
// network namespace of its own.
const asProgram = "L2CTL_TEST_RUN"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		os.Exit(execute(context.Background(), os.Args[1:], os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

// run runs l2ctl in a new network namespace, in which there is only lo.
func run(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(t.Context(), self, args...)
	cmd.Env = append(os.Environ(), asProgram+"=1")
	cmd.Stdout, cmd.Stderr = &out, &errs
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	err = cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

// files writes files into a new directory and returns it.
func files(t *testing.T, contents map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range contents {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

const (
	goodConfig  = "dataplane:\n  ruleset: firewall.nft\n  interfaces: [{name: eth0, optional: true}]\n"
	goodRuleset = "table inet filter {\n\tchain input {\n\t\ttype filter hook input priority 0; policy drop;\n\t\ttcp dport 22 accept\n\t}\n}\n"
)

// A warning is an error when that is asked for, and has its place.
func TestCheckStrict(t *testing.T) {
	dir := files(t, map[string]string{
		"odd.nft":  strings.Replace(goodRuleset, "accept\n", "accept\n\t\ttcp dport 22 counter drop\n", 1),
		"good.nft": goodRuleset,
	})
	odd := filepath.Join(dir, "odd.nft")
	if code, out, _ := run(t, "check", "--ruleset", odd); code != 0 || !strings.Contains(out, "warning: "+odd+":5: ") {
		t.Errorf("exit code %d, %s: want a warning", code, out)
	}
	if code, _, errs := run(t, "check", "--strict", "--ruleset", odd); code != 2 || !strings.Contains(errs, odd+":5: ") {
		t.Errorf("--strict: exit code %d, %s", code, errs)
	}
	code, out, _ := run(t, "check", "--strict", "--json", "--ruleset", odd)
	var res checkResult
	if err := json.Unmarshal([]byte(out), &res); err != nil || code != 2 || res.OK || len(res.Errors) != 1 || res.Errors[0].Line != 5 {
		t.Errorf("--strict --json: %v, exit code %d, %s", err, code, out)
	}
	if code, out, errs := run(t, "check", "--strict", "--ruleset", filepath.Join(dir, "good.nft")); code != 0 {
		t.Errorf("--strict, good: exit code %d, %s%s", code, out, errs)
	}
}

func TestCheck(t *testing.T) {
	cases := []struct {
		name            string
		config, ruleset string
		code            int
		line, column    int    // of the first error; 0: any
		text            string // in the first error
	}{
		{"good", goodConfig, goodRuleset, 0, 0, 0, ""},
		{"unknown key", goodConfig + "speed: 1\n", goodRuleset, 2, 4, 1, "speed: unknown key: want one of"},
		{"limit of 0", goodConfig + "conntrack: {max_flows: 0}\n", goodRuleset, 2, 4, 24, `"0": want a whole number from 1 to 16777216`},
		{"missing interface", strings.Replace(goodConfig, ", optional: true", "", 1), goodRuleset, 2, 3, 23, `"eth0": no such interface`},
		{"ruleset that does not parse", goodConfig, goodRuleset + "bogus\n", 2, 0, 0, "firewall.nft:7:"},
		{"ruleset that cannot be compiled", goodConfig, strings.Replace(goodRuleset, "tcp dport 22", `socket transparent 1 tcp dport 22`, 1), 2, 4, 3, "not supported"},
		{"sysctl that does not exist", goodConfig + "host: {sysctl: {net.ipv4.ip_froward: 1}}\n", goodRuleset, 2, 4, 17, "no such sysctl: want net.ipv4.ip_forward"},
		{"ruleset that is not there", strings.Replace(goodConfig, "firewall.nft", "other.nft", 1), goodRuleset, 2, 2, 12, "other.nft"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			dir := files(t, map[string]string{"l2d.yaml": c.config, "firewall.nft": c.ruleset})
			path := filepath.Join(dir, "l2d.yaml")

			code, out, errs := run(t, "check", "--config", path)
			if code != c.code {
				t.Errorf("exit code %d, want %d\n%s%s", code, c.code, out, errs)
			}
			if (errs == "") != (code == 0) || !strings.Contains(errs, c.text) {
				t.Errorf("standard error %q, want %q in it", errs, c.text)
			}

			code, out, errs = run(t, "check", "--json", "--config", path)
			if code != c.code || errs != "" {
				t.Errorf("--json: exit code %d, standard error %q", code, errs)
			}
			var res checkResult
			if err := json.Unmarshal([]byte(out), &res); err != nil {
				t.Fatalf("%v in %s", err, out)
			}
			if res.OK != (c.code == 0) || (len(res.Errors) == 0) != res.OK {
				t.Errorf("ok is %v with %d errors", res.OK, len(res.Errors))
			}
			if res.OK {
				if len(res.Programs) == 0 || res.Programs[0].VerifiedInstructions == 0 {
					t.Errorf("no verified program in %s", out)
				}
				return
			}
			e := res.Errors[0]
			if c.line != 0 && (e.Line != c.line || e.Column != c.column) || !strings.Contains(e.Message, c.text) {
				t.Errorf("first error %+v, want %d:%d %q", e, c.line, c.column, c.text)
			}
		})
	}
}

// TestCheckHost: all that is wrong with what a file declares of the host is told together,
// each with its place.
func TestCheckHost(t *testing.T) {
	dir := files(t, map[string]string{"firewall.nft": goodRuleset, "l2d.yaml": goodConfig +
		"  cpus: 0,8000\nhost:\n  sysctl: {net.ipv4.ip_froward: 1}\n  nics:\n    nosuch7: {rps: 0}\n    nosuch8: {irqs: 0-1, mtu: 1400}\n"})
	code, out, _ := run(t, "check", "--json", "--config", filepath.Join(dir, "l2d.yaml"))
	var res checkResult
	if err := json.Unmarshal([]byte(out), &res); err != nil || code != exitInput || len(res.Errors) != 5 {
		t.Fatalf("%v, exit code %d, %s", err, code, out)
	}
	for i, want := range []struct {
		line, column int
		text         string
	}{
		{4, 9, "the machine has no CPU 8000"}, {6, 12, "no such sysctl"}, {8, 20, "rps nosuch7: no such interface"},
		{9, 5, "mtu nosuch8: no such interface"}, {9, 21, "irq nosuch8: no such interface"},
	} {
		if e := res.Errors[i]; e.Line != want.line || e.Column != want.column || !strings.Contains(e.Message, want.text) {
			t.Errorf("%+v, not %+v", e, want)
		}
	}
}

func TestCheckRuleset(t *testing.T) {
	dir := files(t, map[string]string{"good.nft": goodRuleset, "bad.nft": "table inet x {\n"})
	if code, out, errs := run(t, "check", "--ruleset", filepath.Join(dir, "good.nft")); code != 0 || !strings.Contains(out, "l2_ingress") {
		t.Errorf("good: exit code %d: %s%s", code, out, errs)
	}
	if code, _, errs := run(t, "check", "--ruleset", filepath.Join(dir, "bad.nft")); code != 2 || !strings.Contains(errs, "bad.nft:2:") {
		t.Errorf("bad: exit code %d: %s", code, errs)
	}
	if code, _, errs := run(t, "check", "--ruleset", filepath.Join(dir, "none.nft")); code != 2 || errs == "" {
		t.Errorf("not there: exit code %d: %s", code, errs)
	}
}

// TestCommandLine needs no root: nothing gets as far as the kernel.
func TestCommandLine(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "none.sock")
	for _, c := range []struct {
		args []string
		code int
		text string
	}{
		{[]string{"status"}, 1, "no l2d is running at " + socket + ": want it started"},
		{[]string{"rules"}, 1, "no l2d is running"},
		{[]string{"reload"}, 1, "no l2d is running"},
		{[]string{"flows", "--addr", "10.0.0.256"}, 2, "want an address or a prefix"},
		{[]string{"flows", "--port", "65536"}, 2, "want a number from 1 to 65535"},
		{[]string{"flows", "--json", "--count"}, 2, "--json and --count can't be used together"},
		{[]string{"flows", "list", "--port", "0x"}, 2, "want a number from 1 to 65535"},
		{[]string{"flows", "delete"}, 2, "or --all without one"},
		{[]string{"flows", "delete", "--json"}, 2, "or --all without one"},
		{[]string{"flows", "delete", "--all", "--proto", "udp"}, 2, "or --all without one"},
		{[]string{"flows", "delete", "--addr", "10.0.0.256"}, 2, "want an address or a prefix"},
		{[]string{"flows", "delete", "--port", "53"}, 1, "no l2d is running"},
		{[]string{"flows", "delete", "--all"}, 1, "no l2d is running"},
		{[]string{"flows", "--port", "53"}, 1, "no l2d is running"},
		{[]string{"flows", "stats", "--port", "53"}, 2, "unknown flag --port"},
		{[]string{"flows", "stats"}, 1, "no l2d is running"},
		{[]string{"flows", "events", "-e", "begin"}, 2, "want some of all, new"},
		{[]string{"flows", "-E", "-e", "begin"}, 2, "want some of all, new"},
		{[]string{"--socket", socket, "flows", "-E"}, 1, "no l2d is running"},
		{[]string{"flows", "-D"}, 2, "or --all without one"},
		{[]string{"flows", "-F"}, 1, "no l2d is running"},
		{[]string{"flows", "-F", "--port", "53"}, 2, "or --all without one"},
		{[]string{"flows", "-C", "--json"}, 2, "--json and --count can't be used together"},
		{[]string{"flows", "-L", "--port", "0x"}, 2, "want a number from 1 to 65535"},
		{[]string{"flows", "-S", "--port", "53"}, 2, "unknown flag --port"},
		{[]string{"flows", "events", "--src", "x"}, 2, "want an address or a prefix"},
		{[]string{"flows", "events", "-e", "NEW,DESTROY", "--json"}, 1, "no l2d is running"},
		{[]string{"set", "add", "arp", "t", "s", "e"}, 2, `"ip","ip6","inet"`},
		{[]string{"set", "add", "ip", "t", "s", "e", "--timeout", "5"}, 2, "timeout"},
		{[]string{"set", "add", "ip", "t", "s", "e", "--timeout=-5s"}, 2, "want a positive duration"},
		{[]string{"check", "--config", "a", "--ruleset", "b"}, 2, "can't be used together"},
		{[]string{"detach", "--config", "/nonexistent/l2d.yaml"}, 2, "/nonexistent/l2d.yaml"},
		{[]string{"detach", "--no-fallback", "--pin-path", "/sys/fs/bpf/l2d-test-none"}, 2, "nothing to detach"},
		{[]string{"qdisc", "nosuch0"}, 2, "nosuch0: no such interface"},
		{[]string{"frobnicate"}, 2, "frobnicate"},
		{nil, 2, "expected one of"},
	} {
		var out, errs bytes.Buffer
		t.Setenv("L2D_SOCKET", socket)
		code := execute(t.Context(), c.args, &out, &errs)
		if code != c.code || !strings.Contains(errs.String(), c.text) {
			t.Errorf("%q: exit code %d, want %d; %q, want %q in it", c.args, code, c.code, errs.String(), c.text)
		}
		if strings.Count(errs.String(), "\n") != 1 {
			t.Errorf("%q: not one line: %q", c.args, errs.String())
		}
	}
	var qdiscs []interfaceQdiscs
	if code, out, errs := run(t, "qdisc", "lo", "--json"); code != 0 || json.Unmarshal([]byte(out), &qdiscs) != nil || len(qdiscs) != 1 || qdiscs[0].Interface != "lo" {
		t.Errorf("qdisc: exit code %d: %s%s", code, out, errs)
	}
	var out, errs bytes.Buffer
	if code := execute(t.Context(), []string{"--help"}, &out, &errs); code != 0 || !strings.Contains(out.String(), "l2ctl <command>") {
		t.Errorf("--help: exit code %d: %s", code, out.String())
	}
}
