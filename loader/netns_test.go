// SPDX-License-Identifier: GPL-2.0-only

package loader

import (
	"flag"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/randomizedcoder/l2d/pkg/flow"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// TestMain lets more tests run at once than there are processors: most of
// their time they wait.
func TestMain(m *testing.M) {
	flag.Parse()
	parallel := false
	flag.Visit(func(f *flag.Flag) { parallel = parallel || f.Name == "test.parallel" })
	if !parallel {
		if err := flag.Set("test.parallel", "6"); err != nil {
			panic(err)
		}
	}
	// Of runs that were killed; and of this one, when it is.
	sweep(func(pid int) bool {
		_, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid)) // a zombie has none
		return err != nil
	})
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, unix.SIGTERM)
	go func() {
		<-signals
		for range 3 { // while the tests go on making them
			sweep(func(pid int) bool { return pid == os.Getpid() })
		}
		os.Exit(1)
	}()
	os.Exit(m.Run())
}

// sweep removes the routers of processes.
func sweep(of func(pid int) bool) {
	for _, pattern := range []string{"/run/netns/l2d-t*", "/sys/fs/bpf/l2d-t*"} {
		paths, _ := filepath.Glob(pattern) // the pattern is right
		for _, path := range paths {
			var pid int
			if _, err := fmt.Sscanf(filepath.Base(path), "l2d-t%d-", &pid); err != nil || !of(pid) {
				continue
			}
			if filepath.Dir(path) == "/sys/fs/bpf" {
				os.RemoveAll(path)
			} else {
				exec.Command("ip", "netns", "del", filepath.Base(path)).Run()
			}
		}
	}
}

// router is a router in a namespace of its own between two hosts in theirs:
//
//	lan 192.168.7.2, fd07::2 -- lan0 [router] wan0 -- wan 198.51.7.2, 2001:db8:7::2
type router struct {
	t    *testing.T
	name string
	pin  string
	mac  map[string]net.HardwareAddr // by namespace and interface: "r/lan0"
}

// family is an address family's addresses of the fixture.
type family struct {
	name             string
	lan, lan2        netip.Addr // of the LAN host
	rlan, rwan, wan  netip.Addr // of the router, of the WAN host
	lanless, wanless netip.Addr // on the links, and nobody's: the router has a neighbour entry
}

var families = []family{{
	name: "ipv4", lan: netip.MustParseAddr("192.168.7.2"), lan2: netip.MustParseAddr("192.168.7.3"),
	rlan: netip.MustParseAddr("192.168.7.1"), rwan: netip.MustParseAddr("198.51.7.1"), wan: netip.MustParseAddr("198.51.7.2"),
	lanless: netip.MustParseAddr("192.168.7.50"), wanless: netip.MustParseAddr("198.51.7.50"),
}, {
	name: "ipv6", lan: netip.MustParseAddr("fd07::2"), lan2: netip.MustParseAddr("fd07::3"),
	rlan: netip.MustParseAddr("fd07::1"), rwan: netip.MustParseAddr("2001:db8:7::1"), wan: netip.MustParseAddr("2001:db8:7::2"),
	lanless: netip.MustParseAddr("fd07::50"), wanless: netip.MustParseAddr("2001:db8:7::50"),
}}

// pick returns the value of an address family.
func pick[T any](f family, v4, v6 T) T {
	if f.lan.Is4() {
		return v4
	}
	return v6
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: network namespaces and BPF")
	}
	if err := checkBPFFS("/sys/fs/bpf"); err != nil {
		if err := unix.Mount("bpf", "/sys/fs/bpf", "bpf", 0, ""); err != nil {
			t.Fatal(err)
		}
	}
}

var routers atomic.Int32

func newRouter(t *testing.T) *router {
	t.Helper()
	needRoot(t)
	r := &router{t: t, name: fmt.Sprintf("l2d-t%d-%d", os.Getpid(), routers.Add(1)), mac: map[string]net.HardwareAddr{}}
	r.pin = "/sys/fs/bpf/" + r.name
	t.Cleanup(func() {
		os.RemoveAll(r.pin)
		for _, ns := range []string{"r", "l", "w"} {
			exec.Command("ip", "netns", "del", r.name+ns).Run()
		}
	})
	for _, ns := range []string{"r", "l", "w"} {
		r.must("ip", "netns", "add", r.name+ns)
		r.in(ns, func() error {
			return sysctls("ipv6/conf/default/accept_dad=0", "ipv6/conf/all/accept_dad=0", "ipv6/conf/default/router_solicitations=0",
				"ipv4/conf/all/rp_filter=0", "ipv4/conf/default/rp_filter=0", "ipv4/icmp_ratelimit=0", "ipv6/icmp/ratelimit=0",
				"ipv4/icmp_msgs_per_sec=100000", "ipv4/icmp_msgs_burst=100000")
		})
	}
	r.in("r", func() error { return sysctls("ipv4/ip_forward=1", "ipv6/conf/all/forwarding=1") })
	r.batch("r",
		"link set lo up",
		"link add lan0 type veth peer name eth0 netns "+r.name+"l",
		"link add wan0 type veth peer name eth0 netns "+r.name+"w",
		"addr add 192.168.7.1/24 dev lan0", "addr add fd07::1/64 dev lan0 nodad",
		"addr add 198.51.7.1/24 dev wan0", "addr add 2001:db8:7::1/64 dev wan0 nodad",
		"link set lan0 up", "link set wan0 up")
	r.batch("l", "link set lo up",
		"addr add 192.168.7.2/24 dev eth0", "addr add fd07::2/64 dev eth0 nodad",
		"addr add 192.168.7.3/24 dev eth0", "addr add fd07::3/64 dev eth0 nodad",
		"link set eth0 up", "route add default via 192.168.7.1", "route add default via fd07::1")
	r.batch("w", "link set lo up",
		"addr add 198.51.7.2/24 dev eth0", "addr add 2001:db8:7::2/64 dev eth0 nodad", "link set eth0 up")
	for _, ns := range []string{"l", "w"} {
		// XDP cannot finish a checksum that the peer has left to hardware.
		r.must("ip", "netns", "exec", r.name+ns, "ethtool", "-K", "eth0", "tx", "off", "gro", "on")
	}
	for ns, devs := range map[string][]string{"r": {"lan0", "wan0"}, "l": {"eth0"}, "w": {"eth0"}} {
		for _, dev := range devs {
			r.in(ns, func() error {
				l, err := netlink.LinkByName(dev)
				if err == nil {
					r.mac[ns+"/"+dev] = l.Attrs().HardwareAddr
				}
				return err
			})
		}
	}
	for _, f := range families {
		r.batch("r", fmt.Sprintf("neigh add %s lladdr %s dev lan0", f.lanless, r.mac["l/eth0"]),
			fmt.Sprintf("neigh add %s lladdr %s dev wan0", f.wanless, r.mac["w/eth0"]))
	}
	return r
}

// sysctls sets values below /proc/sys/net of the thread's namespace.
func sysctls(settings ...string) error {
	for _, s := range settings {
		name, value, _ := strings.Cut(s, "=")
		if err := os.WriteFile("/proc/sys/net/"+name, []byte(value), 0); err != nil {
			return err
		}
	}
	return nil
}

// offload has the hosts leave checksums and segmentation to their interfaces,
// or not.
func (r *router) offload(on bool) {
	r.t.Helper()
	value := "off"
	if on {
		value = "on"
	}
	for _, ns := range []string{"l", "w"} {
		r.must("ip", "netns", "exec", r.name+ns, "ethtool", "-K", "eth0", "tx", value, "tso", value)
	}
}

func (r *router) must(args ...string) string {
	r.t.Helper()
	out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
	if err != nil {
		r.t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// batch runs commands of ip in a namespace.
func (r *router) batch(ns string, lines ...string) {
	r.t.Helper()
	cmd := exec.Command("ip", "-n", r.name+ns, "-batch", "-")
	cmd.Stdin = strings.NewReader(strings.Join(lines, "\n"))
	if out, err := cmd.CombinedOutput(); err != nil {
		r.t.Fatalf("ip: %v\n%s\n%s", err, strings.Join(lines, "\n"), out)
	}
}

// host returns a command that runs in one of the namespaces: l, r or w.
func (r *router) host(ns string, args ...string) *exec.Cmd {
	return exec.Command("ip", append([]string{"netns", "exec", r.name + ns}, args...)...)
}

// do runs f in a namespace, without the new mount of /sys that `ip netns exec`
// makes. Sockets that f opens stay in the namespace.
func (r *router) do(ns string, f func() error) error {
	errs := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with it
		fd, err := unix.Open("/run/netns/"+r.name+ns, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err == nil {
			defer unix.Close(fd)
			err = unix.Setns(fd, unix.CLONE_NEWNET)
		}
		if err == nil {
			err = f()
		}
		errs <- err
	}()
	return <-errs
}

func (r *router) in(ns string, f func() error) {
	r.t.Helper()
	if err := r.do(ns, f); err != nil {
		r.t.Fatal(err)
	}
}

// config is a dataplane on both interfaces of the router.
func (r *router) config(p Policy) Config {
	r.t.Helper()
	cfg := Config{PinPath: r.pin, MaxFlows: 1024, MaxHalfOpen: 512, Timeouts: flow.DefaultTimeouts(), TCP: flow.DefaultTCP(), NAT: flow.DefaultNAT(), Policy: p}
	for _, name := range []string{"lan0", "wan0"} {
		cfg.Interfaces = append(cfg.Interfaces, Interface{Name: name, Index: r.index(name), XDP: XDPAuto})
	}
	return cfg
}

// index is an interface's of the router.
func (r *router) index(name string) int {
	r.t.Helper()
	var index int
	r.in("r", func() error {
		l, err := netlink.LinkByName(name)
		if err == nil {
			index = l.Attrs().Index
		}
		return err
	})
	return index
}

// apply runs Apply in the router and lets go of the result after the test.
func (r *router) apply(cfg Config) (*Dataplane, error) {
	var d *Dataplane
	err := r.do("r", func() (err error) {
		d, err = Apply(cfg)
		return err
	})
	if err == nil {
		r.t.Cleanup(func() { d.Close() })
	}
	return d, err
}

func (r *router) mustApply(cfg Config) *Dataplane {
	r.t.Helper()
	d, err := r.apply(cfg)
	if err != nil {
		r.t.Fatal(err)
	}
	return d
}

// mode is a way to attach the dataplane.
type mode struct {
	name, xdp string
}

var modes = []mode{{"xdp", XDPAuto}, {"tc", XDPOff}}

// inModes runs a test with a router of its own in each mode.
func inModes(t *testing.T, p Policy, test func(t *testing.T, r *router, d *Dataplane, m mode)) {
	t.Parallel()
	for _, m := range modes {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			r := newRouter(t)
			cfg := r.config(p)
			for i := range cfg.Interfaces {
				cfg.Interfaces[i].XDP = m.xdp
			}
			d := r.mustApply(cfg)
			test(t, r, d, m)
		})
	}
}

// inFamilies runs a test for each address family, one after the other.
func inFamilies(t *testing.T, test func(t *testing.T, f family)) {
	for _, f := range families {
		t.Run(f.name, func(t *testing.T) { test(t, f) })
	}
}

// stat is a statistic's value.
func stat(t *testing.T, d *Dataplane, name string) uint64 {
	t.Helper()
	s, err := d.Status()
	if err != nil {
		t.Fatal(err)
	}
	n, ok := s.Stats[name]
	if !ok {
		t.Fatalf("no statistic %s in %v", name, s.Stats)
	}
	return n
}

// flows lists the dataplane's flows.
func flows(t *testing.T, d *Dataplane, filter flow.Filter) []flow.Flow {
	t.Helper()
	var list []flow.Flow
	err := d.Map("l2_flows", func(confirmed *ebpf.Map) error {
		return d.Map("l2_half_open", func(half *ebpf.Map) error {
			table, err := flow.NewTable(confirmed, half)
			if err == nil {
				list, err = table.List(t.Context(), filter)
			}
			return err
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// deleteFlows ends the flows that a filter selects and returns how many.
func deleteFlows(t *testing.T, d *Dataplane, filter flow.Filter) (n int) {
	t.Helper()
	err := d.Map("l2_flows", func(confirmed *ebpf.Map) error {
		return d.Map("l2_half_open", func(half *ebpf.Map) error {
			table, err := flow.NewTable(confirmed, half)
			if err != nil {
				return err
			}
			n, err = table.Delete(filter)
			return err
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// eventually waits until ok, for a packet that is on its way.
func eventually(t *testing.T, limit time.Duration, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(limit); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", limit, what)
		}
	}
}

// xdpPrograms adds the XDP programs of the thread's namespace.
func (r *router) xdpPrograms(running map[string]ebpf.ProgramID) error {
	links, err := netlink.LinkList()
	if err != nil {
		return err
	}
	for _, l := range links {
		if xdp := l.Attrs().Xdp; xdp != nil && xdp.Attached {
			running[l.Attrs().Name+" xdp"] = ebpf.ProgramID(xdp.ProgId)
		}
	}
	return nil
}
