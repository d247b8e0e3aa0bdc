// SPDX-License-Identifier: GPL-2.0-only

package host

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/randomizedcoder/l2d/internal/fakenic"
	"github.com/randomizedcoder/l2d/internal/mapdiff"
	"github.com/randomizedcoder/l2d/pkg/bbr3"
	"github.com/randomizedcoder/l2d/pkg/config"
	"github.com/randomizedcoder/l2d/pkg/cpus"
	"github.com/randomizedcoder/l2d/pkg/ethnl"
	"github.com/randomizedcoder/l2d/pkg/reconcile"
	"github.com/randomizedcoder/l2d/pkg/tcnl"
)

var errInjected = errors.New("injected")

// faulty is a kind of which one write fails, or ends the process, before or after it
// has had its effect.
type faulty struct {
	reconcile.Kind
	left         *int // writes until then
	after, crash bool
}

func (k faulty) Set(ctx context.Context, name string, to reconcile.State) error {
	*k.left--
	if *k.left != 0 {
		return k.Kind.Set(ctx, name, to)
	}
	if k.after {
		if err := k.Kind.Set(ctx, name, to); err != nil {
			return err
		}
	}
	if k.crash {
		panic(errInjected)
	}
	return errInjected
}

// resetting is a faulty kind that resets resources of others.
type resetting struct {
	faulty
	reconcile.Resetter
}

// whole is a faulty kind that sets the attributes of a resource together.
type whole struct{ faulty }

func (whole) Whole() {}

// spoil wraps kinds, so that their write number n of all fails.
func spoil(kinds []reconcile.Kind, n int, after, crash bool) []reconcile.Kind {
	out := make([]reconcile.Kind, len(kinds))
	for i, k := range kinds {
		f := faulty{k, &n, after, crash}
		out[i] = f
		if r, ok := k.(reconcile.Resetter); ok {
			out[i] = resetting{f, r}
		}
		if _, ok := k.(reconcile.Whole); ok {
			out[i] = whole{f}
		}
	}
	return out
}

// rig is a namespace, and what of a host is no namespace's own in files, a directory of BPF and an interface that is
// none; and what can be set of all that.
type rig struct {
	kinds     []reconcile.Kind
	base      string
	nic       *fakenic.NIC
	algorithm *Algorithm
}

// newRig makes one. Those of a process at the same time have numbers.
func newRig(t *testing.T, number int) *rig {
	t.Helper()
	nicHost(t)
	run(t, "ip", "link", "set", "lo", "up")
	run(t, "ip", "link", "delete", "tap0") // of 256 queues, which take long to look at
	run(t, "ip", "tuntap", "add", "tap0", "mode", "tap")
	for _, link := range []string{"veth0", "tap0"} { // what has been up keeps a qdisc
		run(t, "ip", "link", "set", link, "up")
		run(t, "ip", "link", "set", link, "down")
	}
	run(t, "ip", "route", "add", "10.77.0.0/16", "dev", "lo", "mtu", "1400")
	base := tree(t, rigTree())
	bpf := filepath.Join(base, rigBPF)
	if err := os.Mkdir(bpf, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("bpf", bpf, "bpf", 0, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(bpf, unix.MNT_DETACH) })
	r, err := openRig(base, fmt.Sprintf("b3r%d_%d", os.Getpid(), number))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.algorithm.registration.Unregister(true) })
	return r
}

// rigTree is that of NICs, with a radio.
func rigTree() map[string]string {
	files := nicTree()
	files["sys/class/net/"+rigRadio+"/phy80211/name"] = "phy3\n"
	files["sys/kernel/debug/ieee80211/phy3/"+aqlThresholdKey] = "24000\n"
	files[fmt.Sprintf("proc/%d/comm", rigThread)] = "napi/phy3-8193\n"
	files[fmt.Sprintf("proc/%d/status", rigThread)] = "Cpus_allowed_list:\t0-7\n"
	return files
}

// rigRadio is an interface of which mac80211 has queues, and rigThread the process that polls those of its device.
const (
	rigRadio  = "wlan0"
	rigThread = 70
)

// place writes where a process runs, in one step and in the room of what was there, as the kernel does.
func (r *rig) place(pid int, list []int) error {
	f, err := os.OpenFile(filepath.Join(r.base, "proc", strconv.Itoa(pid), "status"), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString("Cpus_allowed_list:\t" + cpus.Format(list) + "\n")
	return errors.Join(err, f.Close())
}

// Names in the directory of a rig.
const (
	rigNIC = "fake0"
	rigBPF = "bpf"
)

// openRig is what [newRig] has made, for a process of the same namespaces.
func openRig(base, algorithm string) (*rig, error) {
	n, err := fakenic.Open(rigNIC, filepath.Join(base, rigNIC))
	if err != nil {
		return nil, err
	}
	own := &trials{takes: map[string]bool{}, provided: map[string]bool{}}
	r := &rig{Kinds(), base, n, &Algorithm{bbr3.Registration{Dir: filepath.Join(base, rigBPF, "bbr3"), Name: algorithm}, own}}
	for i, k := range r.kinds {
		if own := r.own(k); own != nil {
			r.kinds[i] = own
		}
	}
	return r, nil
}

// own is the kind in the place of one of which no virtual device has anything, or which is not of a namespace.
func (r *rig) own(k reconcile.Kind) reconcile.Kind {
	switch k := k.(type) {
	case *IRQ:
		return &IRQ{r.base}
	case *Governor:
		return &Governor{r.base}
	case *AQM:
		return &AQM{r.base}
	case *Threads:
		return &Threads{r.base, func(string) ([]int, error) { return nil, errors.New("only the radio has threads") }, r.place}
	case *Algorithm:
		return r.algorithm
	case *RSS:
		return &RSS{r.nic}
	case *NTuple:
		return &NTuple{r.nic}
	case *PrivateFlags:
		return &PrivateFlags{r.nic.Client}
	case *Modes:
		if k.Name() == FECKind {
			return newFEC(r.nic.Client)
		}
		return newWoL(r.nic.Client)
	case *Settings:
		if slices.Contains([]*ethnl.Group{ethnl.Rings, ethnl.Pause, ethnl.EEE}, k.group) {
			return &Settings{k.group, r.nic.Client}
		}
	}
	return nil
}

// state is all that the resources of a random plan can change, and what goes with it.
func (r *rig) state(t *testing.T) map[string]string {
	t.Helper()
	out := contents(t, filepath.Join(r.base, "proc"))
	maps.Copy(out, contents(t, filepath.Join(r.base, "sys")))
	maps.Copy(out, allSysctls(t))
	for _, pattern := range []string{"veth[02]/threaded", "*/mtu", "*/queues/*/[rx]ps_*"} {
		files, _ := filepath.Glob("/sys/class/net/" + pattern)
		for _, path := range files {
			b, err := os.ReadFile(path)
			out[path] = fmt.Sprintf("%s %v", b, err)
		}
	}
	c, err := dialOnce()()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	for _, link := range []string{"veth0", "veth2", "tap0"} {
		features, err := c.Features(link)
		out["features "+link] = fmt.Sprint(features, err)
		for _, g := range nicGroups {
			s, err := c.Get(g, link)
			out[g.Name+" "+link] = fmt.Sprint(s, err)
		}
	}
	for _, args := range []string{"-o -d link", "-o address", "-d -4 route"} {
		b, err := exec.Command("ip", strings.Fields(args)...).Output()
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(carriers.ReplaceAllString(numbers.ReplaceAllString(string(b), ""), ""), "\n")
		slices.Sort(lines) // an address that was made again is the last of its network
		for _, line := range lines {
			about, _, _ := strings.Cut(strings.TrimSpace(line), " ")
			key := "ip " + args + " " + about
			switch {
			case strings.Contains(line, lostAddress):
				key = lostKey
			case strings.Contains(line, "inet6") && strings.Contains(line, "scope link"): // the kernel's
				continue
			}
			out[key] += line
		}
	}
	for _, name := range []string{"veth2", strangeLink} {
		out["qdisc "+name] = qdiscHandles.ReplaceAllString(rawQdiscs(t, name), "")
	}
	if l, err := link(config.Shaper("veth0")); err == nil {
		out["shaper qdisc"] = qdiscHandles.ReplaceAllString(rawQdiscs(t, l.Attrs().Name), "")
		b, err := os.ReadFile("/proc/sys/net/ipv6/conf/" + config.ShaperEnd("veth0") + "/disable_ipv6")
		out["shaper end"] = fmt.Sprintf("%s %v", b, err)
	}
	nic, err := fakenic.Open(rigNIC, filepath.Join(r.base, rigNIC))
	if err != nil {
		t.Fatal(err)
	}
	out[rigNIC] = visible(nic)
	source, status, err := r.algorithm.source()
	out["algorithm"] = fmt.Sprint(source, status.Settings, err)
	return out
}

// What of a rig cannot be put back once it is gone: an address that goes with IPv6, and a qdisc of a kind that is not
// known.
const (
	lostAddress = "2001:db8:2::1/64"
	lostKey     = "address " + lostAddress
	lostLink    = "veth2"
	strangeLink = "veth3"
)

// mend has it there.
func (r *rig) mend(t *testing.T) {
	t.Helper()
	if err := write("/proc/sys/net/ipv6/conf/"+lostLink+"/disable_ipv6", "0"); err != nil {
		t.Fatal(err)
	}
	run(t, "ip", "address", "replace", lostAddress, "dev", lostLink, "nodad")
	if !strings.Contains(rawQdiscs(t, strangeLink), "tbf") {
		run(t, "tc", "qdisc", "replace", "dev", strangeLink, "root", "handle", "7:", "tbf", "rate", "1mbit", "burst", "10k", "latency", "50ms")
	}
}

// mayDiffer are the keys of a state that is not as it was when a plan has been undone, as the plan has said.
func mayDiffer(p *reconcile.Plan) (keys []string) {
	for _, c := range p.Changes {
		switch {
		case c.Effect.Impact != reconcile.NotRevertable:
		case c.Kind == QdiscKind:
			keys = append(keys, "qdisc "+c.Name, "ip -o -d link "+strangeLink+"@"+lostLink+":") // its peer
		case c.Kind == SysctlKind:
			keys = append(keys, lostKey)
		}
	}
	return keys
}

// carriers are the peer's and the driver's: a veth that is up has one when it has got other channels, whether or
// not its peer is up.
var carriers = regexp.MustCompile(`NO-CARRIER,|,LOWER_UP|,M-DOWN|state [A-Z]+ | linkdown`)

// numbers are those that count up or down, or are made by chance.
var numbers = regexp.MustCompile(`(?m)^[0-9]+:|[a-z_]*timer +[0-9.]+|(valid|preferred)_lft [0-9a-z]+|(id|root_id|designated_root) [0-9a-f.:]+|@if[0-9]+| tentative| dadfailed`)

// seedWants are the resources of the plan with a seed. The first ones have all kinds, and
// the second of them what cannot be put back.
func seedWants(seed uint64, h *rig) []reconcile.Resource {
	out := randomWants(rand.New(rand.NewPCG(seed, 9)), h)
	if seed%50 > 1 {
		return out
	}
	named := func(o reconcile.Resource) bool { return o.Name == strangeLink }
	if seed%50 == 1 && !slices.ContainsFunc(out, named) {
		out = append(out, wantQdisc(strangeLink, map[string]string{kindKey: "pfifo"}))
	}
	for _, r := range oneOfEach(h) {
		same := func(o reconcile.Resource) bool { return o.Kind == r.Kind && (o.Name == r.Name || r.Kind != LinkKind) }
		if !slices.ContainsFunc(out, same) {
			out = append(out, r)
		}
	}
	return out
}

// oneOfEach are resources of all kinds, which the rig is not like at first.
func oneOfEach(h *rig) []reconcile.Resource {
	bridge := &config.Link{Name: "br7", Kind: config.LinkBridge}
	out := []reconcile.Resource{
		nic("channels", "veth0", 0, reconcile.State{"rx": "3"}), nic("rings", rigNIC, 1, reconcile.State{"rx": "4096"}),
		nic("coalesce", "tap0", 2, reconcile.State{"rx-frames": "10"}), nic("pause", rigNIC, 3, reconcile.State{"rx": "1"}),
		nic("eee", rigNIC, 4, reconcile.State{"enabled": "0"}), nic(FECKind, rigNIC, 5, reconcile.State{valueKey: "off"}),
		nic(WoLKind, rigNIC, 6, reconcile.State{valueKey: "ucast"}), nic(PrivateFlagsKind, rigNIC, 7, reconcile.State{"legacy-rx": "on"}),
		nic(RSSKind, rigNIC, 8, reconcile.State{rssQueues: "0 2"}), nic(NTupleKind, rigNIC, 9, reconcile.State{valueKey: "tcp4 dport 136 drop"}),
		nic(FeaturesKind, "veth0", 10, reconcile.State{"tx-scatter-gather": "off"}), nic(MTUKind, "veth0", 11, reconcile.State{valueKey: "1300"}),
		nic(AQMKind, rigRadio, 12, reconcile.State{aqlThresholdKey: "9000"}), nic(IRQKind, "enp1s0", 40, reconcile.State{cpusKey: "3"}),
		nic(ThreadedKind, "veth2", 41, reconcile.State{valueKey: "on"}), nic(RPSKind, "veth2", 42, reconcile.State{cpusKey: "1"}),
		nic(XPSKind, "veth2", 43, reconcile.State{cpusKey: "1"}), nic(GovernorKind, "cpu2", 44, reconcile.State{valueKey: "performance"}),
		nic(ThreadsKind, rigRadio, 45, reconcile.State{cpusKey: "4-7"}),
		{Kind: RouteKind, Name: "10.77.0.0/16", Rank: routeRank, Want: reconcile.State{algorithmKey: "reno"}},
		wantQdisc("veth2", map[string]string{kindKey: "pfifo", "limit": "5"}),
		sysctl("net.ipv4.tcp_fin_timeout", "31"),
		{Kind: LinkKind, Name: bridge.Name, Want: wantedLink(bridge), Rank: linkRank},
		{Kind: PortKind, Name: "veth2", Want: reconcile.State{bridgeKey: bridge.Name, upKey: onOff(true)}, Rank: portRank},
	}
	if bbr3.Supported() == nil {
		out = append(out, reconcile.Resource{Kind: AlgorithmKind, Name: h.algorithm.name(), Want: stateOf(bbr3.DefaultSettings), Rank: algorithmRank})
	}
	return out
}

// randomWants are resources of all kinds, each of them or not; many of them or few.
func randomWants(r *rand.Rand, h *rig) (out []reconcile.Resource) {
	oneIn := 2 + r.IntN(5)
	pick := func(values ...string) string { return values[r.IntN(len(values))] }
	add := func(kind, name string, rank int, want reconcile.State) {
		for key := range maps.Clone(want) {
			if len(want) > 1 && r.IntN(3) == 0 {
				delete(want, key)
			}
		}
		if r.IntN(oneIn) == 0 {
			out = append(out, reconcile.Resource{Kind: kind, Name: name, Want: want, Rank: rank})
		}
	}
	number := func(n int) string { return strconv.Itoa(1 + r.IntN(n)) }
	add("channels", "veth0", nicRank, reconcile.State{"rx": number(4), "tx": number(4)})
	add("coalesce", "tap0", nicRank+2, reconcile.State{"rx-frames": number(9)})
	add(FeaturesKind, "veth0", nicRank+4, reconcile.State{"tx-scatter-gather": pick("on", "off"), "rx-gro": pick("on", "off"), "rx-udp-gro-forwarding": pick("on", "off")})
	add(MTUKind, "veth0", nicRank+5, reconcile.State{valueKey: pick("1400", "1500", "9000")})
	add(ThreadedKind, "veth2", threadedRank, reconcile.State{valueKey: pick("on", "off")})
	for _, link := range []string{"veth0", "veth2", "tap0"} {
		add(RPSKind, link, rpsRank, reconcile.State{cpusKey: pick("0", "1", "0-1", "none", "0 1", "none 0-1 1"), flowsKey: pick("0", "1000", "4096", "64")})
		add(XPSKind, link, xpsRank, reconcile.State{cpusKey: pick("0", "none", "0 1", "0-1", "1 0 none")})
	}
	for _, link := range []string{"enp1s0", "enp35s0", "wlan_2g", "eth0"} {
		add(IRQKind, link, irqRank, reconcile.State{cpusKey: pick("0", "0 1 2", "4-7", "7 6 5 4 3 2")})
	}
	for _, cpu := range []string{"cpu0", "cpu1", "cpu7"} {
		add(GovernorKind, cpu, governorRank, reconcile.State{valueKey: pick("performance", "powersave", "schedutil")})
	}
	for _, fake := range randomFake(r) {
		if fake.Kind != "channels" && r.IntN(oneIn) == 0 { // of which there are real ones
			out = append(out, fake)
		}
	}
	add("rings", rigNIC, nicRank+1, reconcile.State{"rx": pick("512", "8192"), "tx": pick("256", "512")})
	add("pause", rigNIC, nicRank+3, reconcile.State{"autoneg": pick("0", "1"), "rx": pick("0", "1"), "tx": pick("0", "1")})
	add(AQMKind, rigRadio, nicRank+6, reconcile.State{aqlThresholdKey: pick("24000", "20000", "8000")})
	out = append(out, randomAlgorithm(r, h)...)
	out = append(out, randomLinks(r)...)
	out = append(out, randomShaper(r)...)
	if r.IntN(2) == 0 {
		out = append(out, wantQdisc("veth2", randomQdisc(r, h.qdiscs(), "")))
	}
	if r.IntN(8) == 0 { // for good
		out = append(out, wantQdisc(strangeLink, map[string]string{kindKey: "pfifo"}))
	}
	if r.IntN(8) == 0 {
		add(SysctlKind, "net.ipv6.conf."+lostLink+".disable_ipv6", 1, reconcile.State{valueKey: "1"})
	}
	add(RouteKind, "10.77.0.0/16", routeRank, reconcile.State{algorithmKey: pick("reno", "bbr", noAlgorithm)})
	add(SysctlKind, "net.ipv4.ip_forward", 0, reconcile.State{valueKey: pick("0", "1")})
	add(SysctlKind, "net.ipv4.conf.veth0.forwarding", 1, reconcile.State{valueKey: pick("0", "1")})
	add(SysctlKind, "net.ipv4.tcp_ecn", 1, reconcile.State{valueKey: pick("0", "1", "2")})
	add(SysctlKind, "net.ipv6.conf.all.forwarding", 0, reconcile.State{valueKey: pick("0", "1")})
	add(SysctlKind, "net.ipv6.conf.veth1/7.forwarding", 1, reconcile.State{valueKey: pick("0", "1")})
	add(ThreadsKind, rigRadio, threadsRank, reconcile.State{cpusKey: pick("0-3", "2-5", "4-7")})
	return out
}

// randomAlgorithm is bbr3 by the rig's name for it, and the default congestion control.
func randomAlgorithm(r *rand.Rand, h *rig) (out []reconcile.Resource) {
	if r.IntN(3) == 0 && bbr3.Supported() == nil {
		want := reconcile.State{sourceKey: config.BBR3Drain}
		if r.IntN(3) > 0 {
			s := bbr3.DefaultSettings
			s.LossThreshold, s.ECN = 10+r.IntN(3), r.IntN(2) == 0
			want = stateOf(s)
		}
		out = append(out, reconcile.Resource{Kind: AlgorithmKind, Name: h.algorithm.name(), Want: want, Rank: algorithmRank})
	}
	// Others are for the first namespace alone.
	if b, err := os.ReadFile("/proc/sys/net/ipv4/tcp_allowed_congestion_control"); err == nil && r.IntN(2) == 0 {
		allowed := strings.Fields(string(b))
		value := []string{"reno", "bbr", "cubic"}[r.IntN(3)]
		if slices.Contains(allowed, value) {
			out = append(out, reconcile.Resource{Kind: SysctlKind, Name: congestionControl, Want: reconcile.State{valueKey: value}})
		}
	}
	return out
}

// qdiscs are the kinds of them that the kernel has.
func (h *rig) qdiscs() []string {
	kinds := []string{AnyDefault}
	for i := range tcnl.Kinds {
		kinds = append(kinds, tcnl.Kinds[i].Name)
	}
	lacks := LacksQdiscs(kinds[1:]...)
	return slices.DeleteFunc(kinds, func(kind string) bool { return slices.Contains(lacks, kind) })
}

// randomLinks are links that are there or have to be made, and what is of them.
func randomLinks(r *rand.Rand) (out []reconcile.Resource) {
	for _, l := range []config.Link{
		{Name: "br7", Kind: config.LinkBridge, Options: map[string]bool{"stp": r.IntN(2) == 0, "multicast_snooping": r.IntN(2) == 0}},
		{Name: "d7", Kind: config.LinkDummy},
		{Name: "v7", Kind: config.LinkVLAN, Parent: "veth2", ID: 7, Protocol: config.VLAN8021Q},
		{Name: "veth0"},
	} {
		if r.IntN(2) == 0 || l.Kind != "" && tryLink(kindOf(wantedIs(&l))).err != nil {
			continue
		}
		l.Addresses = []netip.Prefix{}
		for _, a := range []string{"192.0.2.1/24", "192.0.2.2/24", "198.51.100.1/24", "2001:db8::1/64"} {
			if r.IntN(2) == 0 {
				l.Addresses = append(l.Addresses, netip.MustParsePrefix(a))
			}
		}
		of := LinkKind + " " + l.Name
		out = append(out, reconcile.Resource{Kind: LinkKind, Name: l.Name, Want: wantedLink(&l), Rank: linkRank})
		if l.Kind == "" {
			continue
		}
		out = append(out,
			reconcile.Resource{Kind: SysctlKind, Name: "net.ipv4.conf." + l.Name + ".rp_filter", Want: reconcile.State{valueKey: "2"}, Of: of})
		if l.Kind == config.LinkBridge {
			out = append(out, reconcile.Resource{Kind: PortKind, Name: "veth2", Want: reconcile.State{bridgeKey: "br7", upKey: onOff(true)}, Rank: portRank})
		}
	}
	return out
}

// randomShaper is that of an interface, or the end of one from a plan before.
func randomShaper(r *rand.Rand) []reconcile.Resource {
	name := config.Shaper("veth0")
	l, err := link(name)
	switch n := r.IntN(3); {
	case n == 0:
		return nil
	case n == 1 && err == nil && linkIs(l) != isDevice:
		return []reconcile.Resource{{Kind: LinkKind, Name: name, Rank: shaperRank, Want: reconcile.State{isKey: isAbsent}}}
	}
	rate := []string{"1mbit", "20mbit"}[r.IntN(2)]
	return []reconcile.Resource{
		{Kind: LinkKind, Name: name, Rank: shaperRank, Want: reconcile.State{isKey: config.ShaperAlias("veth0"), upKey: onOff(true)}},
		{Kind: QdiscKind, Name: name, Rank: qdiscRank, Of: LinkKind + " " + name, Want: reconcile.State{
			kindKey: "htb", handleKey: "1:", classesKey: "1:1", "htb default": "1", "class 1:1 rate": rate, "leaf 1:1 kind": "pfifo", "leaf 1:1 pfifo limit": strconv.Itoa(1 + r.IntN(99)),
		}},
	}
}

// TestRandomPlans: whichever write of whichever plan fails, or is the process's last, before or
// after it has had its effect: the host is as it was, to the byte.
func TestRandomPlans(t *testing.T) {
	h := newRig(t, 0)
	changes, kinds := 0, map[string]int{}
	const plans = 200
	t.Logf("-host.seed %d", *stepSeed)
	for n := range uint64(plans) {
		seed := *stepSeed + n
		r := rand.New(rand.NewPCG(seed, 7))
		list, way := randomWants(r, h), int(seed%4)
		// Half of the plans fail at one write of theirs, the others are made and are what
		// the next one begins with.
		failAt := 0
		if seed%2 == 0 {
			failAt = 1 + r.IntN(6)
			way = r.IntN(4)
		}
		h.mend(t)
		before, dir := h.state(t), t.TempDir()
		e := engine(t, dir, spoil(h.kinds, failAt, way&1 != 0, way&2 != 0)...)
		plan, err := e.Plan(t.Context(), list)
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		changes += len(plan.Changes)
		for _, c := range plan.Changes {
			kinds[c.Kind]++
		}
		err = applyOrDie(t.Context(), e, plan)
		if err == nil {
			if again, err := e.Plan(t.Context(), list); err != nil || len(again.Changes) != 0 {
				t.Fatalf("seed %d: not all is as declared: %v, %+v", seed, err, again)
			}
			continue
		}
		if !errors.Is(err, errInjected) {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if err := engine(t, dir, h.kinds...).Recover(t.Context()); err != nil && !isSaid(plan, err) {
			t.Fatalf("seed %d: %v", seed, err)
		}
		said := func(line string) bool {
			return slices.ContainsFunc(mayDiffer(plan), func(key string) bool { return strings.HasPrefix(line, key+": ") })
		}
		if d := slices.DeleteFunc(mapdiff.Of(before, h.state(t)), said); len(d) > 0 {
			t.Fatalf("seed %d: write %d of %+v failed, and not undone: %v", seed, failAt, plan.Changes, d)
		}
	}
	if changes < 2*plans || len(kinds) < 10 {
		t.Errorf("only %d changes, of %v", changes, kinds)
	}
}

// isSaid tells whether what could not be undone are changes that the plan has said so of.
func isSaid(plan *reconcile.Plan, err error) bool {
	for line := range strings.Lines(err.Error()) {
		if !slices.ContainsFunc(plan.Changes, func(c reconcile.Change) bool {
			return c.Effect.Impact == reconcile.NotRevertable && strings.HasPrefix(line, "undo: "+c.ID()+": ")
		}) {
			return false
		}
	}
	return true
}

// applyOrDie applies a plan, until a panic which stands for the end of the process.
func applyOrDie(ctx context.Context, e *reconcile.Engine, p *reconcile.Plan) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("died: %w", r.(error))
		}
	}()
	_, err = e.Apply(ctx, p, reconcile.Options{})
	return err
}
