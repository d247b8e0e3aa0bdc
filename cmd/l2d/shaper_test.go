// SPDX-License-Identifier: GPL-2.0-only

package main

import (
	"strings"
	"testing"
	"time"

	"github.com/randomizedcoder/l2d/pkg/api"
	hostkinds "github.com/randomizedcoder/l2d/pkg/host"
)

// shaper is what the daemon says of the shaper of wan0.
func (h *host) shaper() string {
	h.t.Helper()
	for _, i := range h.status().Dataplane.Interfaces {
		if i.Name == "wan0" {
			return i.Shaper
		}
	}
	return "no wan0"
}

// awaitShaper waits until the daemon has it so.
func (h *host) awaitShaper(want string) {
	h.t.Helper()
	h.settles("the shaper of wan0 is "+want, func() bool { return h.shaper() == want })
}

// shaperLinks are the interfaces that shapers are made of.
func (h *host) shaperLinks() string {
	h.t.Helper()
	out, err := h.command("ip", "-br", "link", "show", "type", "veth").CombinedOutput()
	if err != nil {
		h.t.Fatalf("%v: %s", err, out)
	}
	var links strings.Builder
	for line := range strings.Lines(string(out)) {
		if strings.HasPrefix(line, "in-") || strings.HasPrefix(line, "re-") {
			links.WriteString(line)
		}
	}
	return links.String()
}

// TestIngressQdisc: what comes in by an interface waits at the qdisc that the file declares,
// as long as it does, over changes that are undone, a restart and a detach.
func TestIngressQdisc(t *testing.T) {
	h := newHost(t)
	shape := "  qdiscs: { wan0: { ingress: { kind: htb, default: \"1:1\", classes: { \"1:1\": { rate: 10mbit, leaf: { kind: pfifo, limit: 50 } } } } } }\n"
	if len(hostkinds.LacksQdiscs("cake")) == 0 {
		shape = "  qdiscs: { wan0: { ingress: { kind: cake, bandwidth: 10mbit, ingress: true } } }\n"
	}
	h.write("l2d.yaml", h.config())
	p := h.start()
	h.expect("READY=1")
	c := h.client()
	h.awaitShaper("")

	h.write("l2d.yaml", h.config()+shape)
	a, err := c.HostApply(t.Context(), api.HostOptions{Confirm: time.Hour})
	if err != nil || a.Pending == nil || len(a.Plan.Changes) != 2 {
		t.Fatalf("%+v, %v", a, err)
	}
	h.awaitShaper("in-wan0")
	if err := c.HostRollback(t.Context(), a.Pending.ID); err != nil {
		t.Fatal(err)
	}
	h.awaitShaper("")
	if out := h.shaperLinks(); out != "" {
		t.Errorf("not undone: %s", out)
	}
	if _, err = c.HostApply(t.Context(), api.HostOptions{}); err != nil {
		t.Fatal(err)
	}
	h.awaitShaper("in-wan0")

	// An end that is down is gone round, and put right if that is wanted.
	h.ip("link", "set", "re-wan0", "down")
	h.awaitShaper("")
	if _, err = c.HostApply(t.Context(), api.HostOptions{}); err != nil {
		t.Fatal(err)
	}
	h.awaitShaper("in-wan0")

	if err := p.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = p.Wait()
	h.start()
	h.expect("READY=1")
	h.awaitShaper("in-wan0")
	h.write("l2d.yaml", h.config())
	if a, err = c.HostApply(t.Context(), api.HostOptions{}); err != nil || len(a.Plan.Changes) != 1 {
		t.Fatalf("%+v, %v", a, err)
	}
	h.awaitShaper("")
	if out := h.shaperLinks(); out != "" {
		t.Errorf("still there: %s", out)
	}
}
