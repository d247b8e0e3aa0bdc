// SPDX-License-Identifier: GPL-2.0-only

package host

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf/btf"
	"golang.org/x/sys/unix"

	"github.com/randomizedcoder/l2d/internal/mapdiff"
	"github.com/randomizedcoder/l2d/pkg/bbr3"
	"github.com/randomizedcoder/l2d/pkg/config"
	"github.com/randomizedcoder/l2d/pkg/reconcile"
)

// algorithm is the kind with a name of the test's own, which is the whole kernel's, in a
// namespace.
func algorithm(t *testing.T) *Algorithm {
	t.Helper()
	ns(t)
	dir := t.TempDir()
	if err := unix.Mount("bpf", dir, "bpf", 0, ""); err != nil {
		t.Fatal(err)
	}
	name := fmt.Sprintf("b3h%d", os.Getpid())
	k := &Algorithm{bbr3.Registration{Dir: dir + "/bbr3", Name: name}, &trials{takes: map[string]bool{}, provided: map[string]bool{}}}
	t.Cleanup(func() {
		if err := k.registration.Unregister(true); err != nil {
			t.Error(err)
		}
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	return k
}

func (k *Algorithm) want(t *testing.T, b config.BBR3) reconcile.Resource {
	t.Helper()
	c := &config.Config{}
	c.Host.BBR3 = &b
	return *k.resource(c)
}

// What is not there yet is registered and used in one plan, changed in place, and all of it
// undone.
func TestAlgorithm(t *testing.T) {
	k := algorithm(t)
	name := k.registration.Name
	e := engine(t, t.TempDir(), &Sysctl{Root: "/proc/sys", trials: k.trials}, k)
	before := allSysctls(t)
	wanted := []reconcile.Resource{k.want(t, config.BBR3{Source: config.BBR3Auto}), sysctl(congestionControl, name)}
	plan, err := e.Plan(t.Context(), wanted)
	if err != nil {
		t.Fatal(err)
	}
	if slices.Contains(algorithms(), name) || len(plan.Changes) != 2 {
		t.Fatalf("a plan registers it, or %+v", plan.Changes)
	}
	p, err := e.Apply(t.Context(), plan, reconcile.Options{Confirm: 1 << 40})
	if err != nil {
		t.Fatal(err)
	}
	if b, _ := os.ReadFile("/proc/sys/net/ipv4/tcp_congestion_control"); strings.TrimSpace(string(b)) != name {
		t.Errorf("the default is %s", b)
	}
	if plan, err := e.Plan(t.Context(), wanted); err != nil || len(plan.Changes) != 0 {
		t.Errorf("afterwards: %+v, %v", plan, err)
	}
	if err := e.Rollback(t.Context(), p.ID); err != nil {
		t.Fatal(err)
	}
	if d := mapdiff.Of(before, allSysctls(t)); d != nil || slices.Contains(algorithms(), name) {
		t.Errorf("not undone: %s", strings.Join(d, "; "))
	}
}

// apply has a kind's resource as it is wanted.
func apply(t *testing.T, e *reconcile.Engine, r reconcile.Resource) error {
	t.Helper()
	plan, err := e.Plan(t.Context(), []reconcile.Resource{r})
	if err == nil {
		_, err = e.Apply(t.Context(), plan, reconcile.Options{})
	}
	return err
}

// Settings are changed in place and read back; what connections use is removed only if they
// are left to their end.
func TestAlgorithmInUse(t *testing.T) {
	k := algorithm(t)
	e := engine(t, t.TempDir(), k)
	if err := apply(t, e, k.want(t, config.BBR3{Source: config.BBR3BPF})); err != nil {
		t.Fatal(err)
	}
	run(t, "ip", "link", "set", "lo", "up")
	if err := os.WriteFile("/proc/sys/net/ipv4/tcp_congestion_control", []byte(k.registration.Name), 0); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := apply(t, e, k.want(t, config.BBR3{Source: config.BBR3BPF, L4S: true, ECNMaxRTT: -1, LossThreshold: 35})); err != nil {
		t.Fatal(err)
	}
	got, err := k.Observe(t.Context(), k.name(), []string{sourceKey, lossThresholdKey, probeRTTIntervalKey, marksKey, l4sMaxRTTKey})
	want := reconcile.State{sourceKey: "bpf", lossThresholdKey: "35", probeRTTIntervalKey: "5s", marksKey: "l4s", l4sMaxRTTKey: "none"}
	if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%v, %v", got, err)
	}
	if err := apply(t, e, k.want(t, config.BBR3{Source: config.BBR3None})); err == nil || !strings.Contains(err.Error(), "connections use it") {
		t.Errorf("removed while it is used: %v", err)
	}
	if err := apply(t, e, k.want(t, config.BBR3{Source: config.BBR3Drain})); err != nil || slices.Contains(algorithms(), k.name()) {
		t.Errorf("drain: %v", err)
	}
	if _, err := c.Write([]byte("x")); err != nil {
		t.Errorf("the connection: %v", err)
	}
	if err := apply(t, e, k.want(t, config.BBR3{Source: config.BBR3None})); err != nil {
		t.Errorf("none, when there is none: %v", err)
	}
}

// It is never silently another: a module that is not there, and a name that is taken.
func TestAlgorithmRefused(t *testing.T) {
	k := algorithm(t)
	e := engine(t, t.TempDir(), k)
	if err := apply(t, e, k.want(t, config.BBR3{Source: config.BBR3Module})); err == nil || !strings.Contains(err.Error(), "no module") {
		t.Errorf("module: %v", err)
	}
	k.registration.Name = "reno"
	if got := k.want(t, config.BBR3{Source: config.BBR3Auto}).Want[sourceKey]; got != config.BBR3Module {
		t.Errorf("one that is there: %s", got)
	}
	if err := apply(t, e, k.want(t, config.BBR3{Source: config.BBR3BPF})); err == nil || !strings.Contains(err.Error(), "not l2d's") {
		t.Errorf("taken: %v", err)
	}
}

// hiddenBTF says in the environment which type information a process of the test is to find.
const hiddenBTF = "L2D_TEST_BTF"

// Without type information, or without congestion controls in BPF, nothing is registered, and the
// default is not another one: what the kernel lacks is said instead.
func TestAlgorithmUnsupported(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	which := os.Getenv(hiddenBTF)
	if which == "" {
		for _, which := range []string{"none", "without struct_ops"} { // it is read once in a process
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.v", "-test.run=^"+t.Name()+"$")
			cmd.Env = append(os.Environ(), hiddenBTF+"="+which)
			if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
				t.Errorf("type information %s: %v: %s", which, err, out)
			}
		}
		return
	}
	k := algorithm(t)
	if err := unix.Mount("tmpfs", "/sys/kernel/btf", "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	if which != "none" {
		b, err := btf.NewBuilder([]btf.Type{&btf.Struct{Name: "tcp_congestion_ops", Size: 4, Members: []btf.Member{{Name: "flags", Type: &btf.Int{Name: "int", Size: 4}}}}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := b.Marshal(nil, nil)
		if err == nil {
			err = os.WriteFile("/sys/kernel/btf/vmlinux", raw, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	e := engine(t, t.TempDir(), &Sysctl{Root: "/proc/sys", trials: k.trials}, k)
	before := allSysctls(t)
	for _, source := range []string{config.BBR3Auto, config.BBR3BPF} {
		_, err := e.Plan(t.Context(), []reconcile.Resource{k.want(t, config.BBR3{Source: source}), sysctl(congestionControl, k.name())})
		for _, want := range []string{
			"congestion_control " + k.name() + `: source: "bpf": this kernel takes no congestion control in BPF: want Linux 6.6 or newer, with CONFIG_DEBUG_INFO_BTF`,
			map[string]string{"none": "no BTF found for kernel version", "without struct_ops": "bpf_struct_ops_tcp_congestion_ops"}[which],
		} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("source %s: %q is not in %v", source, want, err)
			}
		}
	}
	if d := mapdiff.Of(before, allSysctls(t)); d != nil || slices.Contains(algorithms(), k.name()) {
		t.Errorf("changed: %s; there are %v", strings.Join(d, "; "), algorithms())
	}
	if _, err := k.registration.Register(bbr3.Settings{}); !errors.Is(err, bbr3.ErrUnsupported) {
		t.Errorf("registered all the same: %v", err)
	}
}

// congestionTo is the congestion control that a connection to an address has.
func congestionTo(t *testing.T, address string) string {
	t.Helper()
	c, err := net.DialTimeout("tcp4", address, 30*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	raw, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var name string
	if cErr := raw.Control(func(fd uintptr) { name, err = unix.GetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION) }); errors.Join(cErr, err) != nil {
		t.Fatal(errors.Join(cErr, err))
	}
	return strings.TrimRight(name, "\x00")
}

// Connections by the routes that are declared to have it, and by those that ip gives it, have it,
// and no others, until it is undone.
func TestAlgorithmByRoute(t *testing.T) {
	k := algorithm(t)
	name := k.registration.Name
	farEnd(t)
	for _, args := range []string{"address add 10.9.0.1/24 dev near", "link set near up", "route add 10.8.0.0/16 via 10.9.0.2", "route add 10.7.0.0/16 via 10.9.0.2"} {
		run(t, append([]string{"ip"}, strings.Fields(args)...)...)
	}
	const declared, given, other = "10.8.0.1:5001", "10.7.0.1:5001", "10.9.0.2:5001"
	e := engine(t, t.TempDir(), k, &Route{k.trials})
	before := congestionTo(t, declared)
	plan, err := e.Plan(t.Context(), []reconcile.Resource{
		k.want(t, config.BBR3{Source: config.BBR3BPF}), {Kind: RouteKind, Name: "10.8.0.0/16", Want: reconcile.State{algorithmKey: name}, Rank: routeRank},
	})
	if err != nil {
		t.Fatal(err)
	}
	p, err := e.Apply(t.Context(), plan, reconcile.Options{Confirm: 1 << 40})
	if err != nil {
		t.Fatal(err)
	}
	run(t, "ip", "route", "change", "10.7.0.0/16", "via", "10.9.0.2", "congctl", name)
	for address, want := range map[string]string{declared: name, given: name, other: before} {
		if got := congestionTo(t, address); got != want {
			t.Errorf("to %s: %s, want %s", address, got, want)
		}
	}
	if s, err := k.registration.Status(); err != nil || s.Begun != 2 {
		t.Errorf("%d connections have begun with it, want 2 (%v)", s.Begun, err)
	}
	if err := e.Rollback(t.Context(), p.ID); err != nil {
		t.Fatal(err)
	}
	if got := congestionTo(t, declared); got != before || slices.Contains(algorithms(), name) {
		t.Errorf("undone: %s, want %s; there are %v", got, before, algorithms())
	}
}

// farEnd is a namespace with 10.9.0.2, 10.8.0.1 and 10.7.0.1, which accept connections on port 5001,
// and a link to the test's, where it is called near.
func farEnd(t *testing.T) {
	t.Helper()
	here := fmt.Sprintf("/proc/%d/task/%d/ns/net", os.Getpid(), unix.Gettid())
	ready, end := make(chan error), make(chan struct{})
	t.Cleanup(func() { close(end) })
	go func() {
		runtime.LockOSThread() // never unlocked: the namespace ends with the thread
		err := unix.Unshare(unix.CLONE_NEWNET)
		for _, args := range []string{
			"link add far type veth peer name near netns " + here, "link set far up",
			"address add 10.9.0.2/24 dev far", "address add 10.8.0.1/32 dev far", "address add 10.7.0.1/32 dev far",
		} {
			if err == nil {
				err = exec.Command("ip", strings.Fields(args)...).Run()
			}
		}
		var l net.Listener
		if err == nil {
			l, err = net.Listen("tcp4", "0.0.0.0:5001")
		}
		if ready <- err; err != nil {
			return
		}
		go func() {
			for c, err := l.Accept(); err == nil; c, err = l.Accept() {
				c.Close()
			}
		}()
		<-end
		l.Close()
	}()
	if err := <-ready; err != nil {
		t.Fatal(err)
	}
}
