// SPDX-License-Identifier: GPL-2.0-only

package host

import (
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/randomizedcoder/l2d/internal/mapdiff"
	"github.com/randomizedcoder/l2d/pkg/reconcile"
)

func sysctl(name, value string) reconcile.Resource {
	return reconcile.Resource{Kind: SysctlKind, Name: name, Want: reconcile.State{valueKey: value}, Rank: SysctlRank(name)}
}

func engine(t *testing.T, dir string, kinds ...reconcile.Kind) *reconcile.Engine {
	t.Helper()
	return reconcile.New(dir, slog.New(slog.DiscardHandler), kinds...)
}

// allSysctls is every setting of the network namespace that can be read.
func allSysctls(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, dir := range []string{"net/ipv4", "net/ipv6"} {
		err := filepath.WalkDir("/proc/sys/"+dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			switch d.Name() {
			case "stat_refresh", "tcp_available_congestion_control", "tcp_allowed_congestion_control": // the machine's
				return nil
			}
			if b, err := os.ReadFile(path); err == nil {
				out[path] = string(b)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(out) < 100 {
		t.Fatalf("only %d sysctls", len(out))
	}
	return out
}

// routerSysctls are some that depend on each other.
func routerSysctls() []reconcile.Resource {
	return []reconcile.Resource{
		sysctl("net.ipv4.conf.veth0.forwarding", "0"),
		sysctl("net.ipv4.ip_forward", "1"),
		sysctl("net.ipv4.conf.all.accept_redirects", "1"),
		sysctl("net.ipv6.conf.all.forwarding", "1"),
		sysctl("net.ipv6.conf.veth1/7.forwarding", "0"),
		sysctl("net.ipv4.ip_local_port_range", "1026 65535"),
		sysctl("net.ipv4.tcp_rmem", "4096 1000000  16000000"),
	}
}

func vethSysctls(t *testing.T) {
	t.Helper()
	run(t, "ip", "link", "add", "veth0", "type", "veth", "peer", "name", "veth1.7")
}

func TestSysctls(t *testing.T) {
	ns(t)
	vethSysctls(t)
	before := allSysctls(t)
	e := engine(t, t.TempDir(), NewSysctl())
	plan, err := e.Plan(t.Context(), routerSysctls())
	if err != nil {
		t.Fatal(err)
	}
	p, err := e.Apply(t.Context(), plan, reconcile.Options{Confirm: 1 << 40})
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"ipv4/ip_forward": "1\n", "ipv6/conf/veth1.7/forwarding": "0\n", "ipv4/ip_local_port_range": "1026\t65535\n", "ipv4/tcp_rmem": "4096\t1000000\t16000000\n",
	} {
		if b, err := os.ReadFile("/proc/sys/net/" + path); string(b) != want || err != nil {
			t.Errorf("%s: %q, %v", path, b, err)
		}
	}
	if err := e.Rollback(t.Context(), p.ID); err != nil {
		t.Fatal(err)
	}
	if d := mapdiff.Of(before, allSysctls(t)); d != nil {
		t.Errorf("not undone: %s", strings.Join(d, "; "))
	}
}

// TestAlong: which sysctls the kernel changes along with each that is about several interfaces is what is known of it.
func TestAlong(t *testing.T) {
	ns(t)
	vethSysctls(t)
	k := NewSysctl()
	for _, family := range []string{"net.ipv4", "net.ipv6"} {
		for _, of := range []string{"all", "default"} {
			names, err := k.Expand(family + ".conf." + of + ".*")
			if err != nil {
				t.Fatal(err)
			}
			for _, name := range names {
				changedAlong(t, k, name)
			}
		}
	}
}

// changedAlong gives a sysctl another value, and looks at what has changed.
func changedAlong(t *testing.T, k *Sysctl, name string) {
	t.Helper()
	pattern := strings.NewReplacer(".all.", ".*.", ".default.", ".*.").Replace(name)
	b, err := os.ReadFile(k.path(name))
	value := words(string(b))
	if err != nil || !k.writable(name) {
		return // it is an action, or for the kernel alone
	}
	before := readAll(t, k, pattern)
	other := ""
	for _, v := range []string{"1", "0", "2", "1001"} {
		if v != value && write(k.path(name), v) == nil {
			other = v
			break
		}
	}
	if other == "" {
		return
	}
	defer func() { // with all that follows
		if err := write(k.path(name), value); err != nil {
			t.Fatal(err)
		}
	}()
	follows := slices.Contains(alongWith(name), pattern)
	for one, was := range before {
		changed := readAll(t, k, pattern)[one] != was
		switch {
		case one == name || strings.Contains(one, ".all."), strings.Contains(one, ".default."):
			if changed && one != name && !follows {
				t.Errorf("%s changes along with %s, which is not known", one, name)
			}
		case changed != follows:
			t.Errorf("%s changes along with %s: %v, known: %v", one, name, changed, follows)
		}
	}
}

func readAll(t *testing.T, k *Sysctl, pattern string) map[string]string {
	t.Helper()
	names, err := k.Expand(pattern)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, name := range names {
		b, err := os.ReadFile(k.path(name))
		if err != nil {
			t.Fatal(err)
		}
		out[name] = string(b)
	}
	return out
}

// TestSysctlDefault: an interface that is declared keeps its value when the default that it would follow changes, and
// one that is not has its value of before when that is undone.
func TestSysctlDefault(t *testing.T) {
	ns(t)
	vethSysctls(t)
	before := allSysctls(t)
	e := engine(t, t.TempDir(), NewSysctl())
	declared := []reconcile.Resource{sysctl("net.ipv4.conf.veth0.rp_filter", "0"), sysctl("net.ipv4.conf.default.rp_filter", "2")}
	plan, err := e.Plan(t.Context(), declared)
	if err != nil {
		t.Fatal(err)
	}
	p, err := e.Apply(t.Context(), plan, reconcile.Options{Confirm: 1 << 40})
	if err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile("/proc/sys/net/ipv4/conf/veth0/rp_filter"); string(b) != "0\n" || err != nil {
		t.Errorf("it follows: %q, %v", b, err)
	}
	if b, err := os.ReadFile("/proc/sys/net/ipv4/conf/veth1.7/rp_filter"); string(b) != "2\n" || err != nil {
		t.Errorf("the other one does not: %q, %v", b, err)
	}
	if err := e.Rollback(t.Context(), p.ID); err != nil {
		t.Fatal(err)
	}
	if d := mapdiff.Of(before, allSysctls(t)); d != nil {
		t.Errorf("not undone: %s", strings.Join(d, "; "))
	}
	if plan, err = e.Plan(t.Context(), declared); err != nil || len(plan.Changes) != 2 {
		t.Errorf("%+v, %v", plan, err)
	}
}

// TestSysctlGone: an interface that went away takes its settings with it.
func TestSysctlGone(t *testing.T) {
	ns(t)
	vethSysctls(t)
	e := engine(t, t.TempDir(), NewSysctl())
	plan, err := e.Plan(t.Context(), routerSysctls())
	if err != nil {
		t.Fatal(err)
	}
	p, err := e.Apply(t.Context(), plan, reconcile.Options{Confirm: 1 << 40})
	if err != nil {
		t.Fatal(err)
	}
	run(t, "ip", "link", "del", "veth0")
	if err := e.Rollback(t.Context(), p.ID); err != nil || e.Pending() != nil {
		t.Errorf("%v, %+v", err, e.Pending())
	}
	if b, err := os.ReadFile("/proc/sys/net/ipv4/ip_forward"); string(b) != "0\n" || err != nil {
		t.Errorf("%q, %v", b, err)
	}
}

func TestSysctlProblems(t *testing.T) {
	ns(t)
	e := engine(t, t.TempDir(), NewSysctl())
	for _, c := range []struct{ name, want string }{
		{"net.ipv4.ip_foward", "no such sysctl: want net.ipv4.ip_forward"},
		{"net.ipv4.conf.lo.froward_me_please", `no such sysctl: want one that "sysctl -a" lists`},
		{"net.ipv4.conf.lo", "is a directory of sysctls: want one of those in it"},
		{"net.ipv4.route.flush", "cannot be read back"},
		{"net.ipv4.tcp_available_congestion_control", "cannot be written"},
	} {
		if _, err := e.Plan(t.Context(), []reconcile.Resource{sysctl(c.name, "1")}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, not %s", c.name, err, c.want)
		}
	}
	plan, err := e.Plan(t.Context(), []reconcile.Resource{sysctl("net.ipv4.ip_forward", "1"), sysctl("net.ipv4.ip_local_port_range", "5 1")})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Apply(t.Context(), plan, reconcile.Options{}); err == nil {
		t.Error("the kernel takes any range")
	}
	if b, _ := os.ReadFile("/proc/sys/net/ipv4/ip_forward"); string(b) != "0\n" {
		t.Errorf("a change that failed leaves ip_forward at %q", b)
	}
}

func TestSysctlNames(t *testing.T) {
	for in, want := range map[string]string{
		"net/ipv4/conf/eth0.100/forwarding": "net.ipv4.conf.eth0/100.forwarding",
		"net.ipv4.conf.eth0/100.forwarding": "net.ipv4.conf.eth0/100.forwarding",
		"vm.swappiness":                     "vm.swappiness",
	} {
		if got := CanonicalSysctl(in); got != want {
			t.Errorf("%s: %s, not %s", in, got, want)
		}
	}
	ns(t)
	vethSysctls(t)
	got, err := NewSysctl().Expand("net.ipv4.conf.*.forwarding")
	want := []string{"net.ipv4.conf.all.forwarding", "net.ipv4.conf.default.forwarding", "net.ipv4.conf.lo.forwarding", "net.ipv4.conf.veth0.forwarding", "net.ipv4.conf.veth1/7.forwarding"}
	if slices.Sort(got); !reflect.DeepEqual(got, want) || err != nil {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := NewSysctl().Expand("net.*.nosuch"); err == nil {
		t.Error("nothing is something")
	}
}

func TestSysctlEffects(t *testing.T) {
	for _, c := range []struct {
		name, value string
		want        reconcile.Impact
	}{
		{"vm.swappiness", "1", reconcile.InPlace},
		{"kernel.modules_disabled", "1", reconcile.NotRevertable},
		{"kernel.unprivileged_bpf_disabled", "2", reconcile.InPlace},
		{"net.ipv6.conf.eth0.disable_ipv6", "1", reconcile.NotRevertable},
		{"net.ipv6.conf.eth0.disable_ipv6", "0", reconcile.InPlace},
	} {
		if got := NewSysctl().Effect(c.name, reconcile.State{valueKey: c.value}); got.Impact != c.want {
			t.Errorf("%s=%s: %v", c.name, c.value, got)
		}
	}
}
