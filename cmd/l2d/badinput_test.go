// SPDX-License-Identifier: GPL-2.0-only

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/randomizedcoder/l2d/internal/servicetest"
	"github.com/randomizedcoder/l2d/pkg/api"
	"github.com/randomizedcoder/l2d/pkg/config"
	hostkinds "github.com/randomizedcoder/l2d/pkg/host"
	"github.com/randomizedcoder/l2d/pkg/reconcile"
)

// badInput is what is wrong with a file: how it is written, what of it the host cannot have,
// and its ruleset. Each is on a line of its own, with what is said of it, and begins behind a ^.
var badInput = []struct{ line, said string }{
	{"dataplane:", ""},
	{"  ruleset: firewall.nft", ""},
	{"  pin_path: PINS", ""},
	{"  mirror: ^yes", `dataplane.mirror: "yes": want true or false`},
	{"  interfaces: [{name: wan0}]", ""},
	{"  cpus: ^0,8000", "the machine has no CPU 8000"},
	{"  ntuple:", ""},
	{"    - {match: {proto: tcp4, dport: 135}, action: queue 0}", ""},
	{"    - ^{match: {proto: tcp4, src: 192.0.2.0/24}, action: queue 0}", "its filters have one mask per port"},
	{"    - {match: {proto: tcp4, dport: 136}, action: ^queue 500}", "wan0 has no receive queue 500"},
	{"control: {socket: SOCKET}", ""},
	{"host:", ""},
	{"  state_dir: STATE", ""},
	{"  links:", ""},
	{"    br9: {kind: bridge, ^memberz: [br0]}", "host.links.br9.memberz: unknown key"},
	{"  nics:", ""},
	{"    br9: {mtu: 1400}", ""}, // might have been made
	{"    wan0:", ""},
	{"      irqs: dataplane", ""}, // these are wrong, not this
	{"      features: {rx-ntuple-filter: true, rx-lrro: ^false}", `"off": no such feature: want rx-lro`},
	{"      channels:", ""},
	{"        tx: 1", ""},
	{"        rx: ^99", `channels wan0: rx: "99": more than the device has: want at most`},
	{"      xps: ^0,8000", "the machine has no CPU 8000"},
	{"      mtu: ^17", `mtu: "17": want a whole number from 68`},
	{"  qdiscs: {^wan0: LACKED}", "this kernel does not have it"},
	{"  sysctl:", ""},
	{"    ^net.ipv4.ip_froward: 1", "no such sysctl: want net.ipv4.ip_forward"},
	{"    net.ipv4.tcp_ecn: ^[1]", "host.sysctl.net.ipv4.tcp_ecn"},
	{"    ^net.ipv4.tcp_rmem: 1 2", "not 3 whole numbers: want 3 whole numbers, such as"},
	{"    ^net.ipv4.tcp_retries1: 4000", "this kernel does not take it"},
	{"    net.ipv4.conf.br9.rp_filter: 1", ""},
	{"  governor: {^\"0,8000\": performance}", `host.governor: "0,8000": the machine has no CPU 8000`},
	{"log: {^levle: info}", "log.levle: unknown key"},
}

// TestBadInput: all that is wrong with the files is told together, in their order, by a daemon
// that runs, one that has been detached, one that begins, and by l2ctl, and nothing is touched.
func TestBadInput(t *testing.T) {
	h := newHost(t)
	h.sysfs, h.as82599 = true, "wan0"
	p := h.start()
	h.expect("READY=1")
	lacked := hostkinds.LacksQdiscs("dualpi2", "cake_mq", "cake")
	if len(lacked) == 0 {
		t.Skip("the kernel has all kinds of qdiscs")
	}
	values := strings.NewReplacer("PINS", h.pins, "SOCKET", h.path("run/l2d.sock"), "STATE", h.path("state"), "LACKED", lacked[0])
	var file strings.Builder
	var wants []string
	for i, l := range badInput {
		column := strings.IndexByte(l.line, '^') + 1
		fmt.Fprintln(&file, values.Replace(strings.Replace(l.line, "^", "", 1)))
		if l.said != "" {
			wants = append(wants, fmt.Sprintf("l2d.yaml:%d:%d: %s", i+1, column, l.said))
		}
	}
	h.write("firewall.nft", "table inet filter {\n\tchain input {\n\t\ttype filter hook input priority 0\n\t\tsocket transparent 1 accept\n\t}\n}\n")
	wants = append(wants, "firewall.nft:4:3: not supported")
	h.write("l2d.yaml", file.String())

	_, planned := h.client().HostPlan(t.Context())
	_, applied := h.client().HostApply(t.Context(), api.HostOptions{})
	l2ctl := h.l2ctl()
	by := func(args ...string) error {
		cmd := h.command(l2ctl, append([]string{"--socket", h.path("run/l2d.sock")}, args...)...)
		out, err := cmd.CombinedOutput()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != 2 {
			t.Errorf("l2ctl %v: %v", args, err)
		}
		return errors.New(string(out))
	}
	for who, err := range map[string]error{
		"plan of the daemon": planned, "apply of the daemon": applied,
		"l2ctl plan": by("plan"), "l2ctl check": by("check", "--config", h.path("l2d.yaml")),
	} {
		if !saysAll(err, wants) {
			t.Errorf("%s says\n%v\nnot\n%s", who, err, strings.Join(wants, "\n"))
		}
	}
	if s := h.status(); !s.Attached || s.Host.Pending != nil || s.Host.Applies[api.ApplyRefused] != 1 || len(s.Host.Applies) != 1 {
		t.Errorf("something was touched: %+v", s.Host)
	}

	if _, err := h.client().Detach(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	if _, err := h.client().Reload(t.Context()); !saysAll(err, wants) {
		t.Errorf("reload says\n%v\nnot\n%s", err, strings.Join(wants, "\n"))
	}
	if s := h.status(); s.Attached {
		t.Error("a reload with bad files attaches the dataplane")
	}
	if err := p.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = p.Wait()
	h.startRefuses(wants)

	// What is possible, and not as it was meant, is no error.
	h.write("firewall.nft", ruleset)
	h.write("l2d.yaml", h.config()+"  nics: {wan0: {features: {rx-lro: true}}}\n  qdiscs: {br0: pfifo}\n")
	out, err := h.command(l2ctl, "check", "--config", h.path("l2d.yaml")).CombinedOutput()
	if err != nil || !regexp.MustCompile(`(?m)^note: left out: .*l2d.yaml:8:36: features wan0: rx-lro`).Match(out) || !regexp.MustCompile(`(?m)^warning: .*qdisc br0: .*never wait here`).Match(out) {
		t.Errorf("%v\n%s", err, out)
	}
}

// hasState tells whether this machine has a state of its own, which a daemon whose files are wrong would begin with.
func hasState(t *testing.T) bool {
	t.Helper()
	list, err := revisionsOf(config.DefaultStateDir).List()
	if err == nil && len(list) == 0 {
		return false
	}
	t.Logf("this machine has a state of its own: %d revisions, %v", len(list), err)
	return true
}

// startRefuses begins a daemon that has never applied anything, which ends and says what is wrong with its files.
func (h *host) startRefuses(wants []string) {
	h.t.Helper()
	if err := os.RemoveAll(h.path("state")); err != nil {
		h.t.Fatal(err)
	}
	p := h.start()
	code, said := p.wait(h.t), p.stderr.String()
	if code != exitInput || !saysAll(errors.New(said), wants) {
		h.t.Errorf("a start ends with %d and says\n%s\nnot\n%s", code, said, strings.Join(wants, "\n"))
	}
}

// TestBadService: what is wrong with a service is told with the rest, whatever that is: how the file is written, or
// what the ruleset or the host cannot have.
func TestBadService(t *testing.T) {
	h := newHost(t)
	good := h.config() + "  sysctl: {net.ipv4.ip_froward: 1}\nservices: {llama: [{name: x, model: /m.gguf, api_key: /nosuch/key}]}\n"
	lines := strings.Count(good, "\n")
	wants := []string{fmt.Sprintf("l2d.yaml:%d: no such sysctl", lines-1), fmt.Sprintf("l2d.yaml:%d: /nosuch/key", lines)}
	for _, c := range []struct {
		ruleset, more  string
		before, behind []string
	}{
		{ruleset, "log: {levle: info}\n", nil, []string{fmt.Sprintf("l2d.yaml:%d: log.levle: unknown key", lines+1)}},
		{"table inet filter {\n\tchain input {\n\t\ttype filter hook input priority 0\n\t\tsocket transparent 1 accept\n\t}\n}\n", "", []string{"firewall.nft:4: not supported"}, nil},
	} {
		h.write("firewall.nft", c.ruleset)
		h.write("l2d.yaml", good+c.more)
		wants := slices.Concat(c.before, wants, c.behind)
		h.startRefuses(wants)
		out, err := h.command(h.l2ctl(), "check", "--config", h.path("l2d.yaml")).CombinedOutput()
		if err == nil || !saysAll(errors.New(string(out)), wants) {
			t.Errorf("l2ctl check says\n%s\nnot\n%s", out, strings.Join(wants, "\n"))
		}
	}
}

// TestXDPEffect: a plan says that a NIC's driver closes the interface for a program of XDP.
func TestXDPEffect(t *testing.T) {
	h := newHost(t)
	h.sysfs, h.as82599 = true, "wan0"
	off := strings.Replace(h.config(), "{name: wan0}", "{name: wan0, xdp: \"off\"}", 1)
	h.write("l2d.yaml", off)
	h.start()
	h.expect("READY=1")
	effect := func(text string) (e reconcile.Effect) {
		t.Helper()
		h.write("l2d.yaml", text)
		plan, err := h.client().HostPlan(t.Context())
		if err != nil || len(plan.Changes) != 1 {
			t.Fatalf("%+v, %v", plan, err)
		}
		return plan.Changes[0].Effect
	}
	if e := effect(h.config()); e.Impact != reconcile.Disruptive || e.Why != "XDP of wan0 comes or goes: the interface is closed and opened again" {
		t.Errorf("XDP comes: %+v", e)
	}
	if e := effect(off + "conntrack: {tcp_loose: false}\n"); e.Impact != reconcile.InPlace || e.Why != "" {
		t.Errorf("XDP stays off: %+v", e)
	}
}

// TestRefusedService: what the program of a service says of its file is told with the rest when the daemon begins, and none
// has begun.
func TestRefusedService(t *testing.T) {
	servicetest.Need(t, "kea-dhcp4")
	h := newHost(t)
	h.dir = servicetest.Dir(t)
	h.states = readStates(t, h.path("notify"))
	good := h.config() + fmt.Sprintf(`  sysctl: {net.ipv4.ip_froward: 1}
network: {lan: {interface: wan0, addresses: [192.0.2.1/24]}}
services:
  recursor: {binary: /nosuch/recursor}
  kea_dhcp4: {mode: child, binary: %q, pools: [192.0.2.100-192.0.2.200], lease_hook: /nosuch/hook.so}
`, servicetest.Program(t, "kea-dhcp4"))
	line := strings.Count(good, "\n")
	h.write("l2d.yaml", good)
	h.write("firewall.nft", "table inet filter {\n\tchain input {\n\t\ttype filter hook input priority 0\n\t\tsocket transparent 1 accept\n\t}\n}\n")
	p := h.start()
	code, said := p.wait(t), p.stderr.String()
	want := fmt.Sprintf(`(?s)firewall.nft:4:.*not supported.*l2d.yaml:%d:.*no such sysctl.*l2d.yaml:%d:.*service recursor: /nosuch/recursor is not installed.*l2d.yaml:%d:.*service kea-dhcp4: .*failed to open hook library /nosuch/hook.so.*want what kea-dhcp4 accepts`, line-4, line-1, line)
	if code != exitInput || !regexp.MustCompile(want).MatchString(said) {
		t.Errorf("%d, and not %s:\n%s", code, want, said)
	}
	if left, err := os.ReadDir(h.path("run-services")); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

// TestLostElements: a plan says that elements go with their set.
func TestLostElements(t *testing.T) {
	h := newHost(t)
	h.start()
	h.expect("READY=1")
	name := api.SetName{Family: "inet", Table: "filter", Set: "s"}
	for _, element := range []string{"192.0.2.7", "192.0.2.8"} {
		if err := h.client().SetAdd(t.Context(), name, element, 0); err != nil {
			t.Fatal(err)
		}
	}
	effect := func(text string) reconcile.Effect {
		t.Helper()
		h.write("firewall.nft", text)
		plan, err := h.client().HostPlan(t.Context())
		if err != nil || len(plan.Changes) != 1 {
			t.Fatalf("%+v, %v", plan, err)
		}
		return plan.Changes[0].Effect
	}
	if e := effect(strings.Replace(ruleset, "dport 22", "dport 23", 1)); e.Impact != reconcile.InPlace || e.Why != "" {
		t.Errorf("the set stays: %+v", e)
	}
	const why = "elements that sets were given at run time go, for good when the change is final: inet filter s (2)"
	if e := effect(strings.NewReplacer("set s ", "set other ", "@s", "@other").Replace(ruleset)); e.Impact != reconcile.Disruptive || e.Why != why {
		t.Errorf("the set goes: %+v", e)
	}
}

// TestUndoneSets: what undoes a change gives sets what they had, be they gone meanwhile or not, also after the
// daemon's death; what was done to those that stayed is so still. Nothing is kept for a change that is final.
func TestUndoneSets(t *testing.T) {
	h := newHost(t)
	first := strings.Replace(ruleset, "flags timeout", "flags timeout\n\t\telements = { 192.0.2.200, 192.0.2.201 }", 1)
	gone := strings.NewReplacer("set s ", "set other ", "@s", "@other").Replace(first)
	h.write("firewall.nft", first)
	p := h.start()
	h.expect("READY=1")
	c, name := h.client(), api.SetName{Family: "inet", Table: "filter", Set: "s"}
	noError := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	has := func(want string) {
		t.Helper()
		list, err := c.SetList(t.Context(), name)
		noError(err)
		got := ""
		for _, e := range list {
			got += strings.TrimPrefix(e.Value, "192.0.2.")
			if e.Expires > 0 && e.Expires < 3600 {
				got += " expires"
			}
			got += ", "
		}
		if got != want {
			t.Errorf("%s\nwant %s", got, want)
		}
	}
	apply := func(text string) string {
		t.Helper()
		h.write("firewall.nft", text)
		a, err := c.HostApply(t.Context(), api.HostOptions{Confirm: time.Hour})
		noError(err)
		return a.Pending.ID
	}
	noError(c.SetAdd(t.Context(), name, "192.0.2.7", time.Hour))
	noError(c.SetAdd(t.Context(), name, "192.0.2.8", 0))
	noError(c.SetDelete(t.Context(), name, "192.0.2.201"))
	has("7 expires, 8, 200, ")

	id := apply(gone)
	if _, err := c.SetList(t.Context(), name); err == nil {
		t.Error("the set is not gone")
	}
	noError(p.Process.Kill())
	_ = p.Wait()
	h.start()
	h.expect("READY=1")
	noError(c.HostRollback(t.Context(), id))
	has("7 expires, 8, 200, ")

	id = apply(strings.Replace(first, "dport 22", "dport 23", 1))
	noError(c.SetAdd(t.Context(), name, "192.0.2.9", 0))
	noError(c.SetDelete(t.Context(), name, "192.0.2.8"))
	has("7 expires, 9, 200, 201, ") // what a ruleset says is so when it is put in force
	noError(c.HostRollback(t.Context(), id))
	has("7 expires, 9, 200, ")

	id = apply(gone)
	kept := filepath.Join(h.pins, "kept")
	if list, err := os.ReadDir(kept); err != nil || len(list) == 0 {
		t.Errorf("kept: %v, %v", list, err)
	}
	noError(c.HostConfirm(t.Context(), id))
	if _, err := os.Stat(kept); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("still kept: %v", err)
	}
}

// saysAll tells whether the lines of an error are those of some places, and say what they
// are to.
func saysAll(err error, wants []string) bool {
	if err == nil {
		return false
	}
	lines := strings.Split(strings.TrimSpace(err.Error()), "\n")
	place := regexp.MustCompile(`/(\w+\.\w+:\d+:\d+): (.*)`)
	for i := range lines {
		at := place.FindStringSubmatch(lines[i])
		if at == nil || i >= len(wants) {
			return false
		}
		want, said, _ := strings.Cut(wants[i], ": ")
		if !strings.HasPrefix(at[1]+":", want+":") || !strings.Contains(at[2], said) { // with a column, or without
			return false
		}
	}
	return len(lines) == len(wants)
}
