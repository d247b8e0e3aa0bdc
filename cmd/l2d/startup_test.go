// SPDX-License-Identifier: GPL-2.0-only

package main

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/randomizedcoder/l2d/pkg/api"
	"github.com/randomizedcoder/l2d/pkg/revision"
)

// history is a daemon whose rulesets differ in a port.
type history struct {
	*host
	p *daemonProcess
}

// newHistory is one whose daemon has started.
func newHistory(t *testing.T) *history {
	t.Helper()
	h := &history{host: newHost(t)}
	h.p = h.start()
	h.expect("READY=1")
	return h
}

func (h *history) port(port string) {
	h.t.Helper()
	h.write("firewall.nft", strings.Replace(ruleset, "dport 22", "dport "+port, 1))
}

// runs checks which ruleset is in force, and whether it is said why not the files.
func (h *history) runs(port, notice string) {
	h.t.Helper()
	r, err := h.client().Rules(h.t.Context())
	if err != nil || !strings.Contains(r.Text, "tcp dport "+port+" accept") {
		h.t.Errorf("not port %s, %v:\n%s", port, err, r.Text)
	}
	if s := h.status(); !strings.Contains(s.Host.Notice, notice) || notice == "" && s.Host.Notice != "" {
		h.t.Errorf("notice %q", s.Host.Notice)
	}
}

func (h *history) apply(o api.HostOptions) api.HostApplied {
	h.t.Helper()
	a, err := h.client().HostApply(h.t.Context(), o)
	if err != nil {
		h.t.Fatal(err)
	}
	return a
}

// restart kills the daemon, has something happen meanwhile, and starts another one.
func (h *history) restart(meanwhile func()) {
	h.t.Helper()
	if err := h.p.Process.Kill(); err != nil {
		h.t.Fatal(err)
	}
	_ = h.p.Wait()
	meanwhile()
	h.p = h.start()
	h.expect("READY=1")
}

// edit replaces text in a file of the state directory.
func (h *history) edit(name, from, to string) {
	h.t.Helper()
	path := filepath.Join(h.path("state"), name)
	b, err := os.ReadFile(path)
	if err != nil || !strings.Contains(string(b), from) {
		h.t.Fatalf("%s: no %q, %v", name, from, err)
	}
	if err := os.WriteFile(path, []byte(strings.ReplaceAll(string(b), from, to)), 0o600); err != nil {
		h.t.Fatal(err)
	}
}

// TestRevisions: a ruleset is planned, confirmed and undone like the rest of the host,
// and what is known to be wrong is not started with.
func TestRevisions(t *testing.T) {
	h := newHistory(t)
	c, ctx, nothing := h.client(), t.Context(), func() {}

	h.port("23")
	plan, err := c.HostPlan(ctx)
	if err != nil || len(plan.Changes) != 1 || plan.Changes[0].Kind != dataplaneName || !strings.Contains(plan.Changes[0].To[rulesetKey], "dport 23") {
		t.Fatalf("%+v, %v", plan, err)
	}
	h.runs("22", "")

	a := h.apply(api.HostOptions{Confirm: time.Hour})
	h.runs("23", "")
	if _, err := c.Reload(ctx); !api.IsBadInput(err) || !strings.Contains(err.Error(), a.Pending.ID) {
		t.Errorf("a reload meanwhile: %v", err)
	}
	h.restart(func() { h.port("24") })
	h.runs("23", "waits for its confirmation")
	if err := c.HostRollback(ctx, a.Pending.ID); err != nil {
		t.Error(err)
	}
	h.runs("22", "rolled back")

	// The files are known to be wrong.
	h.port("23")
	h.restart(nothing)
	h.runs("22", "revision 2 (undone)")
	h.ip("link", "add", "late0", "type", "bridge") // which makes the dataplane anew
	h.settles("attached", func() bool { return len(h.status().Waiting) == 0 })
	h.runs("22", "revision 2 (undone)")
	if d, err := c.Detach(ctx, true); err != nil || !d.Fallback {
		t.Errorf("%+v, %v", d, err)
	}
	if got := h.nft("list", "ruleset"); !strings.Contains(got, "dport 22 ") {
		t.Errorf("not what was in force: %s", got)
	}
	if plan, err := c.HostPlan(ctx); err != nil || len(plan.Notes) != 1 || !strings.Contains(plan.Notes[0], "detached") {
		t.Errorf("%+v, %v", plan, err)
	}
	// Unless somebody says that they are right.
	if _, err := c.Reload(ctx); err != nil {
		t.Fatal(err)
	}
	h.runs("23", "")

	// A daemon that is killed while it changes something.
	h.port("25")
	a = h.apply(api.HostOptions{Confirm: time.Hour})
	h.restart(func() { h.edit("pending.json", `"waiting"`, `"applying"`) })
	h.runs("23", "(undone)")
	if s := h.status(); s.Host.Pending != nil {
		t.Errorf("%+v", s.Host)
	}

	// Until the next reboot.
	h.port("26")
	a = h.apply(api.HostOptions{Runtime: true})
	h.restart(nothing)
	h.runs("26", "")
	h.restart(func() { h.edit(filepath.Join("revisions", revisionFile(a.Revision)), `"boot": "`, `"boot": "another `) })
	h.runs("23", "(applied at run time)")
	h.apply(api.HostOptions{})
	h.runs("26", "")

	// What waited for its confirmation went with a reboot.
	h.port("27")
	a = h.apply(api.HostOptions{Confirm: time.Hour})
	h.restart(func() { h.edit("pending.json", `"boot": "`, `"boot": "another `) })
	h.runs("26", "(undone)")
	list, err := c.HostRevisions(ctx)
	if err != nil || list[0].Fate != revision.Undone || list[0].Number != a.Revision {
		t.Errorf("%+v, %v", list[0], err)
	}

	// Back to an earlier one, which lasts.
	h.apply(api.HostOptions{Revision: 1})
	h.runs("22", "it was asked for")
	h.restart(nothing)
	h.runs("22", "(undone)")
	// What was edited since is what somebody wants.
	h.restart(func() { h.port("28") })
	h.runs("28", "")
}

func revisionFile(n int) string { return strconv.Itoa(n) + ".json" }

// TestDamagedRevision: a revision whose file is damaged keeps nobody from applying, from going back to others, and from
// starting with them.
func TestDamagedRevision(t *testing.T) {
	h := newHistory(t)
	h.port("23")
	h.apply(api.HostOptions{})
	h.edit(filepath.Join("revisions", revisionFile(2)), "{", "[")

	h.port("24")
	h.apply(api.HostOptions{})
	h.runs("24", "")
	if _, err := h.client().HostApply(t.Context(), api.HostOptions{Revision: 2}); !api.IsBadInput(err) || !strings.Contains(err.Error(), "2.json") || !strings.Contains(err.Error(), "want another one") {
		t.Errorf("back to what is damaged: %v", err)
	}
	list, err := h.client().HostRevisions(t.Context())
	if err != nil || len(list) != 3 || list[1].Fate != revision.Damaged {
		t.Errorf("%+v, %v", list, err)
	}
	if a := h.apply(api.HostOptions{Revision: 1}); len(a.Plan.Warnings) != 1 || !strings.Contains(a.Plan.Warnings[0], "revision 2 is damaged") {
		t.Errorf("%+v", a.Plan)
	}
	h.runs("22", "it was asked for")
	h.restart(func() { h.write("l2d.yaml", h.config()+"nosuch: 1\n") })
	h.runs("22", "nosuch")
}

// TestConfirmedByAnother: a daemon that goes on with a change that waits knows what is in force, and says no more that the
// files are not when it is confirmed.
func TestConfirmedByAnother(t *testing.T) {
	h := newHistory(t)
	declares := func(value string) string {
		return h.config() + "  sysctl: {net.ipv4.tcp_fin_timeout: {value: " + value + ", enforce: true}}\n"
	}
	enforced := func(value string) {
		t.Helper()
		h.settles("enforced", func() bool {
			if h.sysctl("net/ipv4/tcp_fin_timeout") == value {
				return true
			}
			h.ip("link", "set", "far0", "alias", strconv.Itoa(int(time.Now().UnixNano()))) // for it to look now
			return false
		})
	}
	for i, edited := range []bool{false, true} {
		value := strconv.Itoa(33 + i)
		h.write("l2d.yaml", declares(value))
		a := h.apply(api.HostOptions{Confirm: time.Hour})
		h.restart(func() {
			if edited {
				h.write("l2d.yaml", declares("44"))
			}
		})
		s := h.status().Host
		if s.Resources != 1 || s.Pending == nil || (s.Notice != "") != edited {
			t.Errorf("it waits: %+v", s)
		}
		if err := h.client().HostConfirm(t.Context(), a.Pending.ID); err != nil {
			t.Fatal(err)
		}
		s = h.status().Host
		if want := "revision 3 is in force, not the files: it was confirmed"; edited && s.Notice != want || !edited && s.Notice != "" {
			t.Errorf("it is confirmed: %+v", s)
		}
		if out, err := h.command("sysctl", "-w", "net.ipv4.tcp_fin_timeout=7").CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		enforced(value)
	}
}

// TestEditedBack: files that are again what they were before the last change are what somebody wants, unless that change
// was one back to a revision.
func TestEditedBack(t *testing.T) {
	h := newHistory(t)
	h.port("23")
	h.apply(api.HostOptions{})
	h.restart(func() { h.port("22") })
	h.runs("22", "")
	h.apply(api.HostOptions{Revision: 2})
	h.restart(func() {})
	h.runs("23", "revision 3 (applied)")
}

// TestNotKept: what cannot be kept as a revision is not applied.
func TestNotKept(t *testing.T) {
	h := newHistory(t)
	// Nothing can be written there.
	if err := os.MkdirAll(filepath.Join(h.path("state"), "revisions", revisionFile(2)+".new", "in the way"), 0o700); err != nil {
		t.Fatal(err)
	}
	h.port("23")
	if _, err := h.client().HostApply(t.Context(), api.HostOptions{}); err == nil || !strings.Contains(err.Error(), "cannot be kept as a revision") {
		t.Errorf("%v", err)
	}
	h.runs("22", "")
}

// TestTextInForce: what changes nothing but the host is the text that the dataplane's next change is compared with, and not
// any more when it is undone.
func TestTextInForce(t *testing.T) {
	h := newHistory(t)
	before := func(more string) string {
		t.Helper()
		h.write("l2d.yaml", h.config()+more+"conntrack: {tcp_loose: false}\n")
		plan, err := h.client().HostPlan(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range plan.Changes {
			if c.Kind == dataplaneName {
				return c.From[configurationKey]
			}
		}
		t.Fatalf("no change of the dataplane: %+v", plan)
		return ""
	}
	const more = "  sysctl: {net.ipv4.tcp_fin_timeout: 33}\n"
	h.write("l2d.yaml", h.config()+more)
	a := h.apply(api.HostOptions{Confirm: time.Hour})
	if was := before(more); was != h.config()+more {
		t.Errorf("it is in force: %s", was)
	}
	if err := h.client().HostRollback(t.Context(), a.Pending.ID); err != nil {
		t.Fatal(err)
	}
	if was := before(more); was != h.config() {
		t.Errorf("it is undone: %s", was)
	}
}

// TestSecondDaemon: a daemon whose file has another socket leaves alone what one that runs works with.
func TestSecondDaemon(t *testing.T) {
	h := newHistory(t)
	h.port("23")
	a := h.apply(api.HostOptions{Confirm: time.Hour})
	h.write("l2d.yaml", strings.Replace(h.config(), "l2d.sock", "other.sock", 1))
	second := h.start()
	if code, said := second.wait(t), second.stderr.String(); code != exitFailure || !strings.Contains(said, "another daemon works with "+h.path("state")) {
		t.Errorf("exit code %d: %s", code, said)
	}
	if err := h.client().HostConfirm(t.Context(), a.Pending.ID); err != nil {
		t.Error(err)
	}
	h.runs("23", "")
	// One that was killed keeps nobody away.
	h.restart(func() { h.write("l2d.yaml", h.config()) })
	h.runs("23", "")
}
