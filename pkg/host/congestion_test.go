// SPDX-License-Identifier: GPL-2.0-only

package host

import (
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/randomizedcoder/l2d/internal/mapdiff"
	"github.com/randomizedcoder/l2d/pkg/config"
	"github.com/randomizedcoder/l2d/pkg/reconcile"
)

func TestCongestionControl(t *testing.T) {
	ns(t)
	e := engine(t, t.TempDir(), NewSysctl())
	before := allSysctls(t)
	plan, err := e.Plan(t.Context(), []reconcile.Resource{sysctl(congestionControl, "reno"), sysctl("net.ipv4.tcp_ecn", "1")})
	if err != nil {
		t.Fatal(err)
	}
	p, err := e.Apply(t.Context(), plan, reconcile.Options{Confirm: 1 << 40})
	if err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile("/proc/sys/net/ipv4/tcp_congestion_control"); string(b) != "reno\n" || err != nil {
		t.Errorf("%q, %v", b, err)
	}
	if err := e.Rollback(t.Context(), p.ID); err != nil {
		t.Fatal(err)
	}
	if d := mapdiff.Of(before, allSysctls(t)); d != nil {
		t.Errorf("not undone: %s", strings.Join(d, "; "))
	}
}

// TestCongestionControlLacks: what the kernel does not have is refused before anything
// is touched, with what it has, wherever it is declared.
func TestCongestionControlLacks(t *testing.T) {
	ns(t)
	c, err := config.Parse("/x/l2d.yaml", []byte("dataplane: {ruleset: x, interfaces: [{name: a}]}\nhost:\n  congestion_control:\n    default: cubik\n    allowed: [reno, nosuch]\n"))
	if err != nil {
		t.Fatal(err)
	}
	list, err := Resources(c)
	if err != nil {
		t.Fatal(err)
	}
	before := allSysctls(t)
	e := engine(t, t.TempDir(), NewSysctl())
	// The list of what is allowed cannot be written in this namespace.
	_, err = e.Plan(t.Context(), append(list[:1:1], sysctl("net.ipv4.tcp_ecn", "77")))
	for _, want := range []string{
		`/x/l2d.yaml:4:14: sysctl net.ipv4.tcp_congestion_control: value: "cubik": this kernel has no congestion control cubik: want cubic, or one of `,
		`sysctl net.ipv4.tcp_ecn: value: "77": this kernel does not take it`,
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in\n%v", want, err)
		}
	}
	if p := NewSysctl().refused(&list[1]); len(p) != 1 || !strings.Contains(p[0].Error(), `/x/l2d.yaml:5:14: sysctl net.ipv4.tcp_allowed_congestion_control: value: "nosuch reno": this kernel has no congestion control nosuch`) {
		t.Errorf("%v", p)
	}
	if d := mapdiff.Of(before, allSysctls(t)); d != nil {
		t.Errorf("a plan changes %s", strings.Join(d, "; "))
	}
}

// machine is given where tests may change what is the whole kernel's.
var machine = flag.Bool("host.machine", false, "this machine is for tests alone: change its sysctls")

// TestAllowedCongestionControls is for a machine of its own: the list is the kernel's and
// not a namespace's. The default makes an algorithm allowed, which is undone with it.
func TestAllowedCongestionControls(t *testing.T) {
	if !*machine {
		t.Skip("changes the host's sysctls: for a virtual machine")
	}
	read := func(name string) string {
		b, err := os.ReadFile(NewSysctl().path(name))
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(b))
	}
	e := engine(t, t.TempDir(), NewSysctl())
	c, err := config.Parse("/x/l2d.yaml", []byte("dataplane: {ruleset: x, interfaces: [{name: a}]}\nhost: {congestion_control: {default: dctcp, allowed: [reno, dctcp, bbr]}}\n"))
	if err != nil {
		t.Fatal(err)
	}
	list, err := Resources(c)
	if err != nil {
		t.Fatal(err)
	}
	before := read(congestionControl) + " " + read(allowedCongestionControl)
	plan, err := e.Plan(t.Context(), list)
	if err != nil {
		t.Fatal(err)
	}
	p, err := e.Apply(t.Context(), plan, reconcile.Options{Confirm: 1 << 40})
	if err != nil {
		t.Fatal(err)
	}
	if got := canonical(allowedCongestionControl, read(allowedCongestionControl)); got != "bbr dctcp reno" || read(congestionControl) != "dctcp" {
		t.Errorf("%s, %s", got, read(congestionControl))
	}
	if err := e.Rollback(t.Context(), p.ID); err != nil {
		t.Fatal(err)
	}
	if after := read(congestionControl) + " " + read(allowedCongestionControl); after != before {
		t.Errorf("not undone: %s, not %s", after, before)
	}
}
