// SPDX-License-Identifier: GPL-2.0-only

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/randomizedcoder/l2d/internal/mishap"
	"github.com/randomizedcoder/l2d/loader"
	"github.com/randomizedcoder/l2d/pkg/api"
	"github.com/randomizedcoder/l2d/pkg/enforce"
	"github.com/randomizedcoder/l2d/pkg/flow"
)

// asProgram makes the test binary l2d itself, so that it can be killed.
const asProgram = "L2D_TEST_RUN"

func TestMain(m *testing.M) {
	mishap.Become()
	if os.Getenv(asProgram) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// host is a network namespace with two interfaces, and files for a daemon in it.
type host struct {
	t      *testing.T
	holder *exec.Cmd // a process that keeps the namespace
	dir    string
	pins   string
	states chan string // notifications of daemons
	// sysfs has commands see the namespace's interfaces in /sys; one of them, if it is
	// named, as an 82599.
	sysfs   bool
	as82599 string
}

const ruleset = "table inet filter {\n\tset s {\n\t\ttype ipv4_addr\n\t\tflags timeout\n\t}\n\tchain input {\n\t\ttype filter hook input priority 0; policy drop;\n\t\tip saddr @s drop\n\t\ttcp dport 22 accept\n\t}\n\tchain output {\n\t\ttype filter hook output priority 0;\n\t\tudp dport 9 log prefix \"discarded: \"\n\t}\n}\n"

func newHost(t *testing.T) *host {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	if err := enforce.EnsureBPFFS("/sys/fs/bpf/l2d"); err != nil {
		t.Fatal(err)
	}
	h := &host{t: t, dir: t.TempDir()}
	h.pins = fmt.Sprintf("/sys/fs/bpf/l2d-test-%d", os.Getpid())
	patience := 600 // of a namespace whose test was killed
	if *stepsApart > 0 {
		patience *= 600
	}
	h.holder = exec.Command("bash", "-c", `set -e
ip link add wan0 type veth peer name far0
ip link add br0 type bridge
ip link set wan0 up
ip link set far0 up
ip addr add 192.0.2.1/24 dev wan0
ip neigh add 192.0.2.2 lladdr 02:00:00:00:00:02 dev wan0
echo up
exec sleep $1`, "holder", fmt.Sprint(patience))
	h.holder.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	h.holder.Stderr = os.Stderr
	up, err := h.holder.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := h.holder.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = h.holder.Process.Kill()
		_ = h.holder.Wait()
		if _, err := os.Stat(h.pins); err == nil {
			if err := loader.Detach(h.pins); err != nil {
				t.Error(err)
			}
		}
	})
	if _, err := up.Read(make([]byte, 3)); err != nil {
		t.Fatalf("no namespace: %v", err)
	}
	h.states = readStates(t, h.path("notify"))
	h.write("firewall.nft", ruleset)
	h.write("l2d.yaml", h.config())
	return h
}

func (h *host) path(name string) string { return filepath.Join(h.dir, name) }

func (h *host) config() string {
	return fmt.Sprintf("dataplane:\n  ruleset: firewall.nft\n  pin_path: %s\n  interfaces: [{name: wan0}, {name: br0}, {name: late0, optional: true}]\ncontrol: {socket: %s}\nhost:\n  state_dir: %s\n", h.pins, h.path("run/l2d.sock"), h.path("state"))
}

// l2ctl builds that, and returns where it is.
func (h *host) l2ctl() string {
	h.t.Helper()
	path := h.path("l2ctl")
	if out, err := exec.CommandContext(h.t.Context(), "go", "build", "-o", path, "../l2ctl").CombinedOutput(); err != nil {
		h.t.Fatalf("%v: %s", err, out)
	}
	return path
}

func (h *host) write(name, text string) {
	h.t.Helper()
	if err := os.WriteFile(h.path(name), []byte(text), 0o600); err != nil {
		h.t.Fatal(err)
	}
}

func (h *host) text(name string) string {
	h.t.Helper()
	text, err := os.ReadFile(h.path(name))
	if err != nil {
		h.t.Fatal(err)
	}
	return string(text)
}

// command runs a program in the namespace.
func (h *host) command(name string, args ...string) *exec.Cmd {
	ns := fmt.Sprintf("--net=/proc/%d/ns/net", h.holder.Process.Pid)
	if h.sysfs {
		args = append([]string{"-m", "bash", "-c", `set -e
d=$(mktemp -d)
mount --bind /sys/fs/bpf $d
mount -t sysfs sysfs /sys
mount --move $d /sys/fs/bpf
mount -t tmpfs tmpfs $d
for link in /sys/class/net/*; do
	device=$(readlink -f $link)
	if [ ${link##*/} = "$0" ]; then
		mkdir -p $d/$0/device
		ln -s $device/* $d/$0/
		ln -s /drivers/ixgbe $d/$0/device/driver
	else
		ln -s $device $d/
	fi
done
mount --move $d /sys/class/net
rmdir $d
exec "$@"`, h.as82599, name}, args...)
		name = "unshare"
	}
	return exec.CommandContext(h.t.Context(), "nsenter", append([]string{ns, name}, args...)...)
}

// daemonProcess is a running l2d.
type daemonProcess struct {
	*exec.Cmd
	stderr output
}

// output is a buffer that can be looked into while a process writes to it.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

func (h *host) start(args ...string) *daemonProcess {
	h.t.Helper()
	return h.startBy(func(p *daemonProcess) error { return p.Start() }, args...)
}

// startBy has something start the daemon's process.
func (h *host) startBy(begin func(*daemonProcess) error, args ...string) *daemonProcess {
	h.t.Helper()
	for len(h.states) > 0 { // of daemons before
		<-h.states
	}
	self, err := os.Executable()
	if err != nil {
		h.t.Fatal(err)
	}
	p := &daemonProcess{Cmd: h.command(self, append([]string{"--config", h.path("l2d.yaml")}, args...)...)}
	p.Env = append(os.Environ(), asProgram+"=1", "NOTIFY_SOCKET="+h.path("notify"), "WATCHDOG_USEC=200000")
	p.Stderr = &p.stderr
	if err := begin(p); err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() {
		_ = p.Process.Kill()
		_ = p.Wait()
		if h.t.Failed() {
			h.t.Logf("l2d %v:\n%s", args, p.stderr.String())
		}
	})
	return p
}

// readStates makes a notification socket and reads it all the time: a service
// manager that does not would stop the daemon.
func readStates(t *testing.T, path string) chan string {
	t.Helper()
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	states := make(chan string, 1<<16)
	go func() {
		buf := make([]byte, 4096)
		for {
			n, err := conn.Read(buf)
			if err != nil {
				return
			}
			states <- string(buf[:n])
		}
	}()
	return states
}

// expect waits until the daemon notifies of a state.
func (h *host) expect(state string) {
	h.t.Helper()
	timeout := time.After(20 * time.Second)
	for {
		select {
		case s := <-h.states:
			if strings.HasPrefix(s, state) {
				return
			}
		case <-timeout:
			h.t.Fatalf("no notification of %s", state)
		}
	}
}

// wait returns the exit code.
func (p *daemonProcess) wait(t *testing.T) int {
	t.Helper()
	err := p.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return p.ProcessState.ExitCode()
}

func (h *host) client() *api.Client { return api.NewClient(h.path("run/l2d.sock")) }

func (h *host) status() api.Status {
	h.t.Helper()
	s, err := h.client().Status(h.t.Context())
	if err != nil {
		h.t.Fatal(err)
	}
	return s
}

// expectLog sends a datagram that the ruleset logs, and waits for the line.
func (h *host) expectLog(p *daemonProcess) {
	h.t.Helper()
	before := strings.Count(p.stderr.String(), "discarded: ")
	deadline := time.Now().Add(5 * time.Second)
	for {
		// The daemon begins to read a moment after it is ready.
		if out, err := h.command("bash", "-c", "echo >/dev/udp/192.0.2.2/9").CombinedOutput(); err != nil {
			h.t.Fatalf("%v: %s", err, out)
		}
		time.Sleep(50 * time.Millisecond)
		switch log := p.stderr.String(); {
		case strings.Count(log, "discarded: ") > before:
			const want = `msg="discarded: IN= OUT=wan0 SRC=192.0.2.1 DST=192.0.2.2 LEN=29 TOS=0x00 PREC=0x00 TTL=64 `
			if !strings.Contains(log, want) || !strings.Contains(log, ` DPT=9 LEN=9" table="inet filter" chain=output handle=`) {
				h.t.Errorf("the log has no line like %s:\n%s", want, log)
			}
			return
		case time.Now().After(deadline):
			h.t.Errorf("nothing logged:\n%s", log)
			return
		}
	}
}

// attached returns the interfaces that the kernel says have TCX programs.
func (h *host) attached() []string {
	h.t.Helper()
	var names []string
	err := h.inNamespace(func() (err error) {
		names, err = tcxInterfaces()
		return err
	})
	if err != nil {
		h.t.Fatal(err)
	}
	return names
}

// tcxInterfaces are those of the thread's network namespace.
func tcxInterfaces() ([]string, error) {
	links, err := enforce.ReadLinks()
	if err != nil {
		return nil, err
	}
	var names []string
	for _, name := range links.Names() {
		q, err := link.QueryPrograms(link.QueryOptions{Target: links[name], Attach: ebpf.AttachTCXIngress})
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if len(q.Programs) > 0 {
			names = append(names, name)
		}
	}
	return names, nil
}

func TestLife(t *testing.T) {
	h := newHost(t)
	ctx := t.Context()
	p := h.start()
	h.expect("READY=1")
	h.expect("WATCHDOG=1")
	s := h.status()
	if !s.Attached || len(s.Dataplane.Interfaces) != 2 || s.PID != p.Process.Pid || len(s.Waiting) != 1 {
		t.Errorf("status %+v", s)
	}

	h.expectLog(p)

	t.Run("flows are deleted", func(t *testing.T) {
		discard := flow.Filter{Port: 9, Prefix: netip.MustParsePrefix("192.0.2.2/32"), Protocol: "udp"}
		before, err := h.client().CountFlows(ctx, discard)
		if err != nil || before == 0 {
			t.Fatalf("%d flows, %v", before, err)
		}
		if n, err := h.client().DeleteFlows(ctx, flow.Filter{Port: 10}, false); n != 0 || err != nil {
			t.Errorf("%d deleted that are others, %v", n, err)
		}
		if n, err := h.client().DeleteFlows(ctx, flow.Filter{}, false); !api.IsBadInput(err) {
			t.Errorf("without a filter: %d deleted, %v", n, err)
		}
		if n, err := h.client().CountFlows(ctx, discard); n != before || err != nil {
			t.Errorf("%d flows, %v, not %d", n, err, before)
		}
		if n, err := h.client().DeleteFlows(ctx, discard, false); n != before || err != nil {
			t.Errorf("%d deleted, %v, not %d", n, err, before)
		}
		if n, err := h.client().CountFlows(ctx, discard); n != 0 || err != nil {
			t.Errorf("%d flows are left, %v", n, err)
		}
		// The same by hand.
		l2ctl := h.l2ctl()
		for _, c := range []struct{ args, want string }{
			{"--port 9 --addr 192.0.2.0/24", "flows deleted: %d\n"},
			{"--port 9 --proto udp --json", "{\n  \"deleted\": %d\n}\n"},
		} {
			h.expectLog(p) // begins a flow for each datagram that it needs
			n, err := h.client().CountFlows(ctx, discard)
			if err != nil || n == 0 {
				t.Fatalf("%d flows, %v", n, err)
			}
			args := append([]string{"--socket", h.path("run/l2d.sock"), "flows", "delete"}, strings.Fields(c.args)...)
			if out, err := exec.CommandContext(ctx, l2ctl, args...).CombinedOutput(); err != nil || string(out) != fmt.Sprintf(c.want, n) {
				t.Errorf("%s: %v, %q, not %d deleted", c.args, err, out, n)
			}
		}
		h.expectLog(p)
		if n, err := h.client().DeleteFlows(ctx, flow.Filter{}, true); n == 0 || err != nil {
			t.Errorf("all: %d deleted, %v", n, err)
		}
	})

	t.Run("statistics of flows", func(t *testing.T) {
		for _, args := range [][]string{{"flows", "stats"}, {"flows", "stats", "--json"}} {
			out, err := exec.CommandContext(ctx, h.path("l2ctl"), append([]string{"--socket", h.path("run/l2d.sock")}, args...)...).CombinedOutput()
			if err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			s, err := h.client().Status(ctx)
			if err != nil {
				t.Fatal(err)
			}
			begun := 0
			for _, m := range regexp.MustCompile(`(?m)^(?:cpu=\d+ |{"cpu":\d+,).*\bflow_new"?[=:](\d+)`).FindAllSubmatch(out, -1) {
				n, err := strconv.Atoi(string(m[1]))
				if err != nil {
					t.Fatal(err)
				}
				begun += n
			}
			if uint64(begun) != s.Dataplane.Stats["flow_new"] || begun == 0 {
				t.Errorf("%q: %d flows, not %d: %s", args, begun, s.Dataplane.Stats["flow_new"], out)
			}
		}
	})

	t.Run("events of flows are heard", func(t *testing.T) {
		var out output
		cmd := exec.CommandContext(ctx, h.path("l2ctl"), "--socket", h.path("run/l2d.sock"), "flows", "events", "--dport", "9", "--out", "wan0", "-e", "new,destroy")
		cmd.Stdout, cmd.Stderr = &out, &out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		hears := func(text string, more func()) {
			t.Helper()
			for end := time.Now().Add(20 * time.Second); !strings.Contains(out.String(), text); time.Sleep(20 * time.Millisecond) {
				if time.Now().After(end) {
					t.Fatalf("%q is not in %q", text, out.String())
				}
				more()
			}
		}
		hears("[NEW] udp ", func() { h.expectLog(p) }) // until it listens
		if n, err := h.client().DeleteFlows(ctx, flow.Filter{Port: 9}, false); n == 0 || err != nil {
			t.Errorf("%d deleted, %v", n, err)
		}
		hears("[DESTROY] udp ", func() {})
		hears(" out=wan0 reason=deleted\n", func() {})
		// It is told to end, and does.
		if err := cmd.Process.Signal(os.Interrupt); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("%v: %s", err, out.String())
		}
	})

	set := api.SetName{Family: "inet", Table: "filter", Set: "s"}
	if err := h.client().SetAdd(ctx, set, "192.0.2.1", time.Hour); err != nil {
		t.Fatal(err)
	}

	t.Run("a reload of bad files changes nothing", func(t *testing.T) {
		h.write("l2d.yaml", h.config()+"speed: 1\n")
		if err := p.Process.Signal(unix.SIGHUP); err != nil {
			t.Fatal(err)
		}
		h.expect("RELOADING=1\nMONOTONIC_USEC=")
		h.expect("READY=1")
		if s := h.status(); !strings.Contains(s.ReloadError, "l2d.yaml:8:1: speed: unknown key") {
			t.Errorf("reload error %q", s.ReloadError)
		}
		_, err := h.client().Reload(ctx)
		if !api.IsBadInput(err) || !strings.Contains(err.Error(), "unknown key") {
			t.Errorf("reload: %v", err)
		}
		h.write("l2d.yaml", strings.Replace(h.config(), h.pins, h.pins+"x", 1))
		if _, err = h.client().Reload(ctx); !api.IsBadInput(err) || !strings.Contains(err.Error(), "cannot change while l2d runs") {
			t.Errorf("reload with another pin path: %v", err)
		}
		h.write("l2d.yaml", h.config())
		h.write("firewall.nft", ruleset+"bogus\n")
		if _, err = h.client().Reload(ctx); !api.IsBadInput(err) || !strings.Contains(err.Error(), "firewall.nft:16") {
			t.Errorf("reload with a ruleset that does not parse: %v", err)
		}
		if now := h.status(); now.Dataplane.Generation != s.Dataplane.Generation || !now.Applied.Equal(s.Applied) {
			t.Errorf("the dataplane is another one: %+v", now)
		}
	})

	t.Run("a reload of good files", func(t *testing.T) {
		h.write("firewall.nft", strings.Replace(ruleset, "dport 22", "dport 2222", 1))
		r, err := h.client().Reload(ctx)
		if err != nil || !r.Changed || r.Rules != 5 {
			t.Fatalf("%+v, %v", r, err)
		}
		rules, err := h.client().Rules(ctx)
		if err != nil || !strings.Contains(rules.Text, "tcp dport 2222 accept") || rules.Rules[1].Text != "tcp dport 2222 accept" || rules.Rules[1].Line != 9 {
			t.Errorf("%v: %+v", err, rules)
		}
		if s := h.status(); s.ReloadError != "" {
			t.Errorf("reload error %q", s.ReloadError)
		}
		if r, err = h.client().Reload(ctx); err != nil || r.Changed {
			t.Errorf("the same again: %+v, %v", r, err)
		}
	})

	t.Run("an interface appears", func(t *testing.T) {
		if out, err := h.command("ip", "link", "add", "late0", "type", "bridge").CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		deadline := time.Now().Add(10 * time.Second)
		for len(h.status().Waiting) > 0 {
			if time.Now().After(deadline) {
				t.Fatal("late0 is not attached")
			}
			time.Sleep(50 * time.Millisecond)
		}
		if got := h.attached(); !slices.Contains(got, "late0") {
			t.Errorf("programs are on %v, not on late0", got)
		}
	})

	t.Run("a second daemon is refused", func(t *testing.T) {
		second := h.start()
		if code := second.wait(t); code != exitFailure || !strings.Contains(second.stderr.String(), "another daemon") {
			t.Errorf("exit code %d: %s", code, second.stderr.String())
		}
	})

	t.Run("killed, and bad files at the next start", func(t *testing.T) {
		if err := p.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = p.Wait()
		before := h.attached()
		if !slices.Equal(before, []string{"br0", "late0", "wan0"}) {
			t.Fatalf("programs are on %v", before)
		}
		h.write("l2d.yaml", strings.Replace(h.config(), "name: wan0", "name: nowhere0", 1))
		const problem = `l2d.yaml:4:23: dataplane.interfaces[0].name: "nowhere0": no such interface`
		if err := os.Rename(h.path("state"), h.path("aside")); err != nil {
			t.Fatal(err)
		}
		bad := h.start()
		if code := bad.wait(t); code != exitInput || !strings.Contains(bad.stderr.String(), problem) {
			t.Errorf("exit code %d: %s", code, bad.stderr.String())
		}
		if after := h.attached(); !slices.Equal(after, before) {
			t.Errorf("programs were on %v, and are on %v", before, after)
		}
		// With a history, it is what was in force before.
		if err := errors.Join(os.Remove(h.path("state")), os.Rename(h.path("aside"), h.path("state"))); err != nil {
			t.Fatal(err)
		}
		p = h.start()
		h.expect("READY=1")
		if s := h.status(); !strings.Contains(s.Host.Notice, problem) || s.Rules != 5 {
			t.Errorf("%+v", s)
		}
		if err := p.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = p.Wait()
		h.write("l2d.yaml", h.config())
	})

	t.Run("taken over", func(t *testing.T) {
		p = h.start()
		h.expect("READY=1")
		list, err := h.client().SetList(ctx, set)
		if err != nil || len(list) != 1 || list[0].Value != "192.0.2.1" {
			t.Errorf("set %v, %v", list, err)
		}
	})

	t.Run("ended, attached", func(t *testing.T) {
		silent, err := net.Dial("unix", h.path("run/l2d.sock"))
		if err != nil {
			t.Fatal(err)
		}
		defer silent.Close()
		if err := p.Process.Signal(unix.SIGTERM); err != nil {
			t.Fatal(err)
		}
		h.expect("STOPPING=1")
		if code := p.wait(t); code != exitOK {
			t.Errorf("exit code %d", code)
		}
		if log := p.stderr.String(); strings.Contains(log, "cut off") {
			t.Errorf("it has waited for a connection that asks nothing:\n%s", log)
		}
		if got := h.attached(); !slices.Contains(got, "wan0") {
			t.Errorf("programs are on %v", got)
		}
		if _, err := h.client().Status(ctx); !errors.Is(err, api.ErrNotRunning) {
			t.Errorf("the socket answers: %v", err)
		}
	})

	t.Run("detached on exit", func(t *testing.T) {
		p = h.start("--detach-on-exit")
		h.expect("READY=1")
		if err := p.Process.Signal(unix.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if code := p.wait(t); code != exitOK {
			t.Errorf("exit code %d", code)
		}
		if got := h.attached(); len(got) != 0 {
			t.Errorf("programs are on %v", got)
		}
		if out, err := h.command("nft", "list", "table", "inet", "filter").CombinedOutput(); err != nil || !strings.Contains(string(out), "tcp dport 2222 accept") {
			t.Errorf("not in nftables: %v: %s", err, out)
		}
	})

	t.Run("attached again, out of nftables", func(t *testing.T) {
		p = h.start()
		h.expect("READY=1")
		if out, err := h.command("nft", "list", "tables").CombinedOutput(); err != nil || len(out) != 0 {
			t.Errorf("nftables has, %v: %s", err, out)
		}
		d, err := h.client().Detach(ctx, false)
		if err != nil || d.Fallback {
			t.Errorf("%+v, %v", d, err)
		}
		if s := h.status(); s.Attached {
			t.Errorf("status %+v", s)
		}
		var e *api.Error
		if _, err := h.client().Rules(ctx); !errors.As(err, &e) || e.Status != 409 {
			t.Errorf("rules of nothing: %v", err)
		}
		if _, err := h.client().DeleteFlows(ctx, flow.Filter{}, true); !errors.As(err, &e) || e.Status != 409 {
			t.Errorf("flows of nothing: %v", err)
		}
		if _, err := h.client().Reload(ctx); err != nil || !h.status().Attached {
			t.Errorf("reload: %v", err)
		}
		h.expectLog(p)
	})
}

func TestExitCodes(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		code int
		text string
	}{
		{[]string{"--version"}, exitOK, ""},
		{[]string{"--bogus"}, exitInput, "unknown flag --bogus"},
		{[]string{"--config", "/nonexistent/l2d.yaml"}, exitInput, "/nonexistent/l2d.yaml: no such file"},
	} {
		if len(c.args) > 1 && hasState(t) {
			continue
		}
		cmd := exec.CommandContext(context.Background(), self, c.args...)
		cmd.Env = append(os.Environ(), asProgram+"=1")
		var errs bytes.Buffer
		cmd.Stderr = &errs
		_ = cmd.Run()
		if code := cmd.ProcessState.ExitCode(); code != c.code || !strings.Contains(errs.String(), c.text) {
			t.Errorf("%q: exit code %d, want %d: %q", c.args, code, c.code, errs.String())
		}
	}
}
