// SPDX-License-Identifier: GPL-2.0-only

package explain

import (
	"bufio"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/randomizedcoder/l2d/loader"
	"github.com/randomizedcoder/l2d/pkg/enforce"
	"github.com/randomizedcoder/l2d/pkg/flow"
)

// router is a namespace with two interfaces, whose other ends are in another one:
//
//	192.168.7.0/24 -- lan0 [router] wan0 -- 198.51.7.0/24
type router struct {
	t    *testing.T
	name string
}

func newRouter(t *testing.T) *router {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: network namespaces and BPF")
	}
	if err := enforce.EnsureBPFFS("/sys/fs/bpf/l2d"); err != nil {
		t.Fatal(err)
	}
	r := &router{t, fmt.Sprintf("l2d-explain-%d", os.Getpid())}
	far := r.name + "-far"
	t.Cleanup(func() {
		os.RemoveAll("/sys/fs/bpf/" + r.name)
		exec.Command("ip", "netns", "del", r.name).Run()
		exec.Command("ip", "netns", "del", far).Run()
	})
	for _, args := range []string{
		"netns add " + r.name, "netns add " + far,
		// The other ends are to say nothing of their own.
		"netns exec " + far + " sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1",
		"-n " + r.name + " link set lo up",
		"-n " + r.name + " link add lan0 type veth peer name lan0 netns " + far,
		"-n " + r.name + " link add wan0 type veth peer name wan0 netns " + far,
		"-n " + r.name + " addr add 192.168.7.1/24 dev lan0", "-n " + r.name + " addr add 198.51.7.1/24 dev wan0",
		"-n " + r.name + " addr add fd07::1/64 dev lan0 nodad", "-n " + r.name + " addr add 2001:db8:7::1/64 dev wan0 nodad",
		"-n " + r.name + " link set lan0 up", "-n " + r.name + " link set wan0 up",
		"-n " + far + " link set lan0 up", "-n " + far + " link set wan0 up",
		"-n " + r.name + " route add default via 198.51.7.2", "-n " + r.name + " route add default via 2001:db8:7::2",
		"-n " + r.name + " route add blackhole 203.0.113.0/24",
		"-n " + r.name + " neigh add 198.51.7.2 lladdr 02:00:00:00:00:02 dev wan0",
		"-n " + r.name + " neigh add 192.168.7.2 lladdr 02:00:00:00:00:03 dev lan0",
		"netns exec " + r.name + " sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.lan0.rp_filter=0 net.ipv4.conf.wan0.rp_filter=0",
	} {
		if out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
			t.Fatalf("ip %s: %v\n%s", args, err, out)
		}
	}
	return r
}

// in runs f in a namespace of the router: its own, or that of the other ends.
func (r *router) in(suffix string, f func() error) {
	r.t.Helper()
	errs := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with it
		fd, err := unix.Open("/run/netns/"+r.name+suffix, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err == nil {
			defer unix.Close(fd)
			err = unix.Setns(fd, unix.CLONE_NEWNET)
		}
		if err == nil {
			err = f()
		}
		errs <- err
	}()
	if err := <-errs; err != nil {
		r.t.Fatal(err)
	}
}

// target compiles a ruleset for the router.
func (r *router) target(ruleset string) Target {
	r.t.Helper()
	path := filepath.Join(r.t.TempDir(), "firewall.nft")
	if err := os.WriteFile(path, []byte(ruleset), 0o600); err != nil {
		r.t.Fatal(err)
	}
	var t Target
	r.in("", func() error {
		plan, err := enforce.PrepareRuleset(r.t.Context(), path)
		if err != nil {
			return err
		}
		for _, name := range []string{"lan0", "wan0"} {
			plan.Loader.Interfaces = append(plan.Loader.Interfaces, loader.Interface{Name: name, Index: plan.Links[name], XDP: loader.XDPAuto})
		}
		plan.Loader.PinPath = "/sys/fs/bpf/" + r.name
		t = Target{Config: plan.Loader, Program: plan.Program, Name: plan.Links.Name}
		return nil
	})
	return t
}

func (r *router) explain(t Target, packet string) *Explanation {
	r.t.Helper()
	var e *Explanation
	r.in("", func() (err error) {
		e, err = Run(t, Request{Packet: packet})
		return err
	})
	return e
}

// send has a packet come in, or be sent by the kernel's own socket.
func (r *router) send(packet string) {
	r.t.Helper()
	p, err := ParsePacket(packet)
	if err != nil {
		r.t.Fatal(err)
	}
	var mac net.HardwareAddr
	r.in("", func() error {
		l, err := netlink.LinkByName(p.In)
		if err == nil {
			mac = l.Attrs().HardwareAddr
		}
		return err
	})
	r.in("-far", func() error {
		l, err := netlink.LinkByName(p.In)
		if err != nil {
			return err
		}
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		return unix.Sendto(fd, p.Frame(mac, net.HardwareAddr{2, 0, 0, 0, 0, 0xfe}), 0, &unix.SockaddrLinklayer{Ifindex: l.Attrs().Index})
	})
}

const ruleset = `
table inet filter {
	set hosts {
		type ipv4_addr
		flags interval
		elements = { 192.168.7.0/28 }
	}
	chain services {
		tcp dport 22 return
		tcp dport { 80, 443 } accept
		meta mark set 7
	}
	chain never {
		drop
	}
	chain forward {
		type filter hook forward priority filter; policy drop;
		ct state vmap { established : accept, invalid : drop }
		iifname "lan0" ip saddr @hosts jump services
		udp dport 53 meta mark 0 accept
		tcp dport 23 reject with tcp reset
		ip6 daddr 2001:db8:7::2 goto never
	}
	chain input {
		type filter hook input priority filter; policy accept;
		icmp type echo-request accept
		tcp dport 8080 drop
	}
	chain output {
		type filter hook output priority filter; policy accept;
		oifname "wan0" udp dport 123 meta mark set 9
	}
}
table ip nat {
	chain prerouting {
		type nat hook prerouting priority dstnat; policy accept;
		iifname "wan0" tcp dport 8443 dnat to 192.168.7.2:443
	}
	chain postrouting {
		type nat hook postrouting priority srcnat; policy accept;
		oifname "wan0" masquerade
	}
}
`

var packets = []struct {
	text    string
	verdict Verdict
	reason  string
	decided string
	left    string
}{
	{"iif lan0 tcp 192.168.7.2:40000 > 1.1.1.1:443 syn", Forwarded, "", "", "198.51.7.1:40000 > 1.1.1.1:443"},
	{"iif lan0 tcp 192.168.7.2:40000 > 1.1.1.1:22 syn", Dropped, "drop_policy", "policy drop", ""},
	{"iif lan0 tcp 192.168.7.2:40000 > 1.1.1.1:25 syn", Dropped, "drop_policy", "policy drop", ""},
	{"iif lan0 tcp 192.168.7.99:40000 > 1.1.1.1:443 syn", Dropped, "drop_policy", "policy drop", ""},
	{"iif lan0 udp 192.168.7.99:40000 > 1.1.1.1:53 length 20", Forwarded, "", "", "198.51.7.1:40000 > 1.1.1.1:53"},
	{"iif wan0 tcp 198.51.7.9:1234 > 198.51.7.1:8443 syn", Dropped, "drop_policy", "policy drop", ""},
	{"iif lan0 tcp 192.168.7.99:40000 > 1.1.1.1:23 syn", Rejected, "drop_policy", "tcp dport 23 reject with tcp reset", ""},
	{"iif lan0 icmp 192.168.7.2 > 192.168.7.1", Delivered, "", "", ""},
	{"iif lan0 tcp 192.168.7.2:1 > 192.168.7.1:8080 syn", Dropped, "drop_policy", "tcp dport 8080 drop", ""},
	{"iif lan0 tcp [fd07::2]:1 > [2001:db8:7::2]:8080 syn", Dropped, "drop_policy", "drop", ""},
	{"iif lan0 tcp [fd07::2]:1 > [2001:db8:7::2]:8080 fin", Dropped, "drop_policy", "ct state vmap { invalid : drop, established : accept }", ""},
}

// TestAgainstKernel compares verdicts and rules with what the kernel's own trace says
// of the same packets with the same ruleset.
func TestAgainstKernel(t *testing.T) {
	r := newRouter(t)
	target := r.target(ruleset)
	lines := r.trace()
	for _, p := range packets {
		t.Run(p.text, func(t *testing.T) {
			e := r.explain(target, p.text)
			if e.Verdict != p.verdict || e.Reason != p.reason {
				t.Errorf("%s %s, want %s %s", e.Verdict, e.Reason, p.verdict, p.reason)
			}
			if p.decided != "" && (e.Decided == nil || !sameRule(e.Decided.Text, p.decided)) {
				t.Errorf("decided by %+v, want %q", e.Decided, p.decided)
			}
			if p.left != "" && e.Left != p.left {
				t.Errorf("leaves as %s, want %s", e.Left, p.left)
			}
			var ours []string
			for _, m := range e.Rules {
				if m.Matched {
					ours = append(ours, normal(fmt.Sprintf("%s %s %s: %s", m.Family, m.Table, m.Chain, m.Text)))
				}
			}
			r.send(p.text)
			kernels := lines(t, len(ours))
			if !slices.Equal(ours, kernels) {
				t.Errorf("rules:\n%s\nthe kernel's trace:\n%s", strings.Join(ours, "\n"), strings.Join(kernels, "\n"))
			}
		})
	}
}

func sameRule(a, b string) bool { return normal(a) == normal(b) }

var vmap = regexp.MustCompile(`\{ (.*) \}`)

// normal is a rule with the elements of its set in an order, as nft gives them in any.
func normal(rule string) string {
	return vmap.ReplaceAllStringFunc(rule, func(s string) string {
		list := strings.Split(strings.Trim(s, "{ }"), ", ")
		slices.Sort(list)
		return "{ " + strings.Join(list, ", ") + " }"
	})
}

var traced = regexp.MustCompile(`^trace id \S+ (\S+ \S+ \S+) (?:rule (.*) \(verdict .*\)|(policy \S+))`)

// trace loads the ruleset into the router's nftables, and returns what gives the rules
// of the next packet that its kernel says have matched.
func (r *router) trace() func(t *testing.T, want int) []string {
	r.t.Helper()
	nft := exec.Command("ip", "netns", "exec", r.name, "nft", "-f", "-")
	nft.Stdin = strings.NewReader(ruleset + "table inet trace {\n\tchain prerouting {\n\t\ttype filter hook prerouting priority -400;\n\t\tether saddr 02:00:00:00:00:fe meta nftrace set 1\n\t}\n}\n")
	if out, err := nft.CombinedOutput(); err != nil {
		r.t.Fatalf("nft: %v\n%s", err, out)
	}
	monitor := exec.Command("ip", "netns", "exec", r.name, "nft", "monitor", "trace")
	out, err := monitor.StdoutPipe()
	if err == nil {
		err = monitor.Start()
	}
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() {
		_ = monitor.Process.Kill()
		_ = monitor.Wait()
	})
	found := make(chan string, 1000)
	go func() {
		for s := bufio.NewScanner(out); s.Scan(); {
			m := traced.FindStringSubmatch(s.Text())
			if m != nil && !strings.HasPrefix(m[1], "inet trace ") {
				found <- normal(m[1] + ": " + m[2] + m[3])
			}
		}
	}()
	// The monitor listens when it has seen one.
	r.awaitTrace(found)
	return func(t *testing.T, want int) []string {
		t.Helper()
		var list []string
		timeout := time.After(20 * time.Second)
		for quiet := (<-chan time.Time)(nil); ; {
			if len(list) >= want && quiet == nil {
				quiet = time.After(500 * time.Millisecond) // for more than there should be
			}
			select {
			case l := <-found:
				list = append(list, l)
			case <-quiet:
				return list
			case <-timeout:
				return list
			}
		}
	}
}

func (r *router) awaitTrace(found chan string) {
	r.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); {
		r.send("iif lan0 icmp 192.168.7.77 > 192.168.7.1")
		select {
		case <-found:
		case <-time.After(time.Second):
			continue
		}
		for {
			select {
			case <-found:
				continue
			case <-time.After(2 * time.Second):
			}
			return
		}
	}
	r.t.Fatal("nft monitor trace says nothing")
}

// TestFlows: a packet of a flow that there is is explained as one, and the running
// dataplane does not notice.
func TestFlows(t *testing.T) {
	r := newRouter(t)
	target := r.target(ruleset)
	r.in("", func() (err error) {
		// The router is to say nothing of its own.
		if err := os.WriteFile("/proc/sys/net/ipv6/conf/all/disable_ipv6", []byte("1"), 0); err != nil {
			return err
		}
		target.Running, err = loader.Apply(target.Config)
		return err
	})
	defer target.Running.Close()
	const ack = "iif lan0 tcp 192.168.7.2:40000 > 1.1.1.1:443 seq 101 ack 501"
	if e := r.explain(target, ack); e.Flow != nil && !e.Begun {
		t.Fatalf("of flow %v before there is one", e.Flow)
	}
	r.send("iif lan0 tcp 192.168.7.2:40000 > 1.1.1.1:443 syn seq 100")
	r.await(target, "syn_sent")
	r.send("iif wan0 tcp 1.1.1.1:443 > 198.51.7.1:40000 syn ack 101 seq 500")
	r.await(target, "syn_recv")
	r.send(ack)
	r.await(target, "established")

	flows, counters, stats := r.state(target)
	e := r.explain(target, "iif lan0 tcp 192.168.7.2:40000 > 1.1.1.1:443 seq 101 ack 501 psh payload 00ff")
	if e.Begun || e.Flow == nil || e.Flow.State != "ESTABLISHED" || !slices.Contains(e.States, "established") {
		t.Errorf("flow %v, states %v: want the established one", e.Flow, e.States)
	}
	if e.Verdict != Forwarded || e.Left != "198.51.7.1:40000 > 1.1.1.1:443" {
		t.Errorf("%s as %s", e.Verdict, e.Left)
	}
	back := r.explain(target, "iif wan0 tcp 1.1.1.1:443 > 198.51.7.1:40000 ack 101 seq 501")
	if back.Verdict != Forwarded || back.Left != "1.1.1.1:443 > 192.168.7.2:40000" || back.Out != "lan0" {
		t.Errorf("the answer is %s as %s by %s", back.Verdict, back.Left, back.Out)
	}
	// The port is taken, towards the same server.
	other := r.explain(target, "iif lan0 tcp 192.168.7.3:40000 > 1.1.1.1:443 syn")
	if other.Left == "198.51.7.1:40000 > 1.1.1.1:443" || other.Verdict != Forwarded {
		t.Errorf("another client is %s as %s: that is taken", other.Verdict, other.Left)
	}
	flows2, counters2, stats2 := r.state(target)
	if !reflect.DeepEqual(flows, flows2) || !reflect.DeepEqual(counters, counters2) || !reflect.DeepEqual(stats, stats2) {
		t.Errorf("the running dataplane has changed:\n%v\n%v\n%v\n%v\n%v\n%v", flows, flows2, counters, counters2, stats, stats2)
	}
}

// await waits for the one flow to have a state.
func (r *router) await(target Target, state string) {
	r.t.Helper()
	var flows []string
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		flows, _, _ = r.state(target)
		if slices.ContainsFunc(flows, func(f string) bool { return strings.Contains(f, strings.ToUpper(state)) }) {
			return
		}
	}
	r.t.Fatalf("no flow is %s: %v", state, flows)
}

// state is what a packet would change.
func (r *router) state(target Target) (flows []string, counters []loader.Counter, stats map[string]uint64) {
	r.t.Helper()
	err := target.Running.Maps(func(maps map[string]*ebpf.Map) error {
		table, err := flow.NewTable(maps["l2_flows"], maps["l2_half_open"])
		if err != nil {
			return err
		}
		list, err := table.List(r.t.Context(), flow.Filter{Prefix: netip.MustParsePrefix("1.1.1.1/32")})
		for _, f := range list {
			f.Expires, f.Age = 0, 0
			flows = append(flows, f.String())
		}
		return err
	})
	if err != nil {
		r.t.Fatal(err)
	}
	if counters, err = target.Running.Counters(); err != nil {
		r.t.Fatal(err)
	}
	status, err := target.Running.Status()
	if err != nil {
		r.t.Fatal(err)
	}
	return flows, counters, status.Stats
}
