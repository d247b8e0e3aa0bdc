// SPDX-License-Identifier: GPL-2.0-only

package diff

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Rig is a pair of routers, for one ruleset after another.
type Rig struct {
	ports   []port
	routers [2]*router // the kernel's, l2d's
	bpffs   *os.File
	applied int
}

// New builds a rig with the named interfaces, the LAN first and the WAN second;
// none means [DefaultInterfaces]. It needs root.
func New(interfaces ...string) (_ *Rig, err error) {
	if len(interfaces) == 0 {
		interfaces = DefaultInterfaces
	}
	r := &Rig{}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.Close())
		}
	}()
	if r.ports, err = newPorts(interfaces); err != nil {
		return nil, err
	}
	if r.bpffs, err = bpfFS(); err != nil {
		return nil, err
	}
	for i, name := range []string{"nftables", "l2d"} {
		if r.routers[i], err = newRouter(name, r.ports); err != nil {
			return nil, err
		}
	}
	return r, r.routers[0].self.do(func() error {
		return setSysctls("netfilter/nf_conntrack_tcp_be_liberal=1")
	})
}

// Close removes the rig.
func (r *Rig) Close() error {
	var errs []error
	for _, router := range r.routers {
		if router != nil {
			errs = append(errs, router.close())
		}
	}
	if r.bpffs != nil {
		errs = append(errs, r.bpffs.Close())
	}
	return errors.Join(errs...)
}

// Options say what a run does.
type Options struct {
	// Packets to send; the run ends soon after.
	Packets int
	// Seed of all that is random.
	Seed uint64
	// Fragments adds fragmented datagrams, after the counters were compared. Rules
	// about lengths, and limits, may see them differently.
	Fragments bool
}

// Result is the outcome of a run.
type Result struct {
	Ruleset  string    `json:"ruleset"`
	Seed     uint64    `json:"seed"`
	XDP      bool      `json:"xdp"`
	Packets  int       `json:"packets"`
	Rules    int       `json:"rules"`
	Hit      int       `json:"rules_hit"`
	Out      int       `json:"packets_out"`
	Local    int       `json:"packets_delivered"`
	Mismatch *Mismatch `json:"mismatch,omitempty"`
}

// String describes a result but for its mismatch on one line.
func (r *Result) String() string {
	how := "TC"
	if r.XDP {
		how = "XDP"
	}
	return fmt.Sprintf("%s: %d packets of seed %d by %s, %d sent on, %d delivered, %d of %d rules counted",
		r.Ruleset, r.Packets, r.Seed, how, r.Out, r.Local, r.Hit, r.Rules)
}

// Mismatch is the first packet, or rule, that the routers disagree on.
type Mismatch struct {
	// Packet is its number in the run, from 1; History are those before it.
	Packet  int      `json:"packet"`
	Sent    []string `json:"sent"`
	History []string `json:"history,omitempty"`
	What    string   `json:"what"`
	// What each router did, and which rules counted it.
	Kernel, L2D           []string
	KernelRules, L2DRules []string
	// L2DStats are l2d's own statistics that moved.
	L2DStats []string
}

// String describes a mismatch on several lines.
func (m *Mismatch) String() string {
	var b strings.Builder
	section := func(title string, lines []string) {
		if len(lines) > 0 {
			fmt.Fprintf(&b, "%s:\n\t%s\n", title, strings.Join(lines, "\n\t"))
		}
	}
	fmt.Fprintf(&b, "%s\n", m.What)
	section("before", m.History)
	section(fmt.Sprintf("packet %d", m.Packet), m.Sent)
	section("nftables", m.Kernel)
	section("l2d", m.L2D)
	section("rules of nftables that counted", m.KernelRules)
	section("rules of l2d that counted", m.L2DRules)
	section("statistics of l2d", m.L2DStats)
	return b.String()
}

// Run sends packets through both routers with a ruleset file. A mismatch is
// part of the result; an error is that the comparison could not be made.
func (r *Rig) Run(ctx context.Context, file string, opt Options) (*Result, error) {
	res, err := r.run(ctx, file, opt, nil, false)
	if err != nil || res.Mismatch == nil {
		return res, err
	}
	// Which packet moved the counters apart, or was decided differently?
	coarse, err := r.run(ctx, file, opt, func(n int) bool { return n%50 == 0 }, false)
	if err != nil || coarse.Mismatch == nil {
		return res, err
	}
	from := coarse.Mismatch.Packet - 60
	fine, err := r.run(ctx, file, opt, func(n int) bool { return n > from }, true)
	if err != nil || fine.Mismatch == nil {
		return coarse, err
	}
	return fine, nil
}

// errMismatch ends a run.
var errMismatch = errors.New("mismatch")

// run is one pass. look says after which packets the counters are compared;
// detail looks at l2d's statistics then, too.
func (r *Rig) run(ctx context.Context, file string, opt Options, look func(n int) bool, detail bool) (_ *Result, err error) {
	defer pinThread()()
	xdp := opt.Seed%2 == 0
	res := &Result{Ruleset: file, Seed: opt.Seed, XDP: xdp}
	text, err := r.routers[0].kernelRules(file)
	if err != nil {
		return nil, err
	}
	r.applied++
	pin := filepath.Join(fmt.Sprintf("/proc/self/fd/%d", r.bpffs.Fd()), fmt.Sprint(r.applied))
	e, err := r.routers[1].enforce(ctx, text, pin, xdp)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, e.close()) }()

	t := &trial{
		Rig: r, Rand: rand.New(rand.NewPCG(opt.Seed, 0)), e: e, res: res, look: look, detail: detail,
		chosen: [2]*choices{newChoices(), newChoices()}, tuples: map[tcpTuple]bool{}, others: map[netip.Addr]bool{}, portsShow: portsShow(text), rejects: strings.Contains(text, "reject"), numbers: constants(text),
	}
	for _, router := range r.routers {
		if err := router.settle(-1); err != nil {
			return nil, err
		}
		if _, err := router.collect(); err != nil {
			return nil, err
		}
	}
	err = t.traffic(ctx, opt.Packets)
	if err == nil {
		err = t.compareCounters()
	}
	if err == nil && opt.Fragments {
		t.look = nil
		err = t.fragments(ctx, opt.Packets/20)
	}
	if errors.Is(err, errMismatch) {
		err = nil
	}
	res.Packets = t.sent
	return res, err
}

// pinThread keeps the caller on one processor: what a packet sets off then
// mostly happens before the call that sends it returns.
func pinThread() (undo func()) {
	runtime.LockOSThread()
	var all, one unix.CPUSet
	if unix.SchedGetaffinity(0, &all) != nil {
		return runtime.UnlockOSThread
	}
	for cpu := range 1024 {
		if all.IsSet(cpu) {
			one.Set(cpu)
		}
		if one.Count() > 0 {
			break
		}
	}
	if unix.SchedSetaffinity(0, &one) != nil {
		return runtime.UnlockOSThread
	}
	return func() {
		if unix.SchedSetaffinity(0, &all) == nil {
			runtime.UnlockOSThread()
		}
	}
}

// trial is a run while it lasts.
type trial struct {
	*Rig
	*rand.Rand
	e       *enforcement
	res     *Result
	look    func(n int) bool
	chosen  [2]*choices
	next    uint16 // last name given
	sent    int
	history []string
	tuples  map[tcpTuple]bool // that sessions have had
	numbers []uint16          // ports near the ruleset's own
	// others have a flow of a protocol without ports.
	others map[netip.Addr]bool
	// portsShow: rules can match on the routers' free choice of a port, so that
	// clients do without the same ports.
	portsShow bool
	rejects   bool   // rules answer
	client    uint16 // the last client's port
	detail    bool   // look at statistics, too
	before    [2]map[ruleKey]count
	stats     map[string]uint64
}

// shot is a packet, or the fragments of one: the same for both routers but for
// the ports that each of them chose.
type shot struct {
	port int // negative: the router itself sends
	to   []byte
	ip   [2][][]byte
}

// fire sends, waits, and compares.
func (t *trial) fire(s shot) (saw [2]seen, err error) {
	t.sent++
	for i, r := range t.routers {
		for _, ip := range s.ip[i] {
			if s.port < 0 {
				err = r.local.originate(ip)
			} else {
				to := s.to
				if to == nil {
					to = routerMAC(s.port)
				}
				err = r.wire.inject(s.port, frameOf(to, hostMAC(s.port), ip))
			}
			if err != nil {
				return saw, err
			}
		}
		if err := r.settle(s.port); err != nil {
			return saw, err
		}
		if saw[i], err = r.collect(); err != nil {
			return saw, err
		}
	}
	from := "the router"
	if s.port >= 0 {
		from = t.ports[s.port].name
	}
	var sent []string
	for i, ip := range s.ip[0] {
		line := fmt.Sprintf("from %s: %s", from, describe(ip))
		if other := s.ip[1][i]; string(other) != string(ip) {
			line += "\n\t  to l2d: " + describe(other)
		}
		sent = append(sent, line)
	}
	learn(t.chosen, s.ip[0][0], t.routers, saw, &t.next)
	learnTarget(t.chosen, [2][]byte{s.ip[0][0], s.ip[1][0]}, t.routers, saw, &t.next)
	t.res.Out += len(saw[0].frames)
	t.res.Local += len(saw[0].local)

	var ids []uint32
	for i := range s.ip {
		for _, ip := range s.ip[i] {
			if p, ok := parse(ip); ok {
				ids = append(ids, p.id)
			}
		}
	}
	var images [2][]string
	var errs [2]error
	for i, r := range t.routers {
		images[i], errs[i] = t.chosen[i].image(r, saw[i], ids)
	}
	what := ""
	switch {
	case errs[0] != nil:
		return saw, fmt.Errorf("the kernel sends what is wrong: %w (%v)", errs[0], sent)
	case errs[1] != nil:
		what = errs[1].Error()
	case !slices.Equal(images[0], images[1]):
		what = "the routers do different things with a packet"
	}
	if what != "" {
		t.mismatch(what, sent, saw)
	}
	if t.look != nil && t.look(t.sent) {
		if err := t.counters(what == "", sent, saw); err != nil {
			return saw, err
		}
	}
	if what != "" {
		return saw, errMismatch
	}
	t.history = append(t.history, strings.Join(append(sent, saw[0].describe(t.routers[0])...), "\n\t  "))
	return saw, nil
}

func (t *trial) mismatch(what string, sent []string, saw [2]seen) {
	t.res.Mismatch = &Mismatch{
		Packet: t.sent, What: what, Sent: sent, History: t.relevant(sent),
		Kernel: saw[0].describe(t.routers[0]), L2D: saw[1].describe(t.routers[1]),
	}
}

// relevant are the packets of the same two hosts before one, oldest first.
func (t *trial) relevant(sent []string) []string {
	words := strings.Fields(sent[0])
	i := slices.Index(words, ">")
	if i < 1 || i+1 >= len(words) {
		return nil
	}
	src, dst := words[i-1], strings.TrimSuffix(words[i+1], ",")
	var list []string
	for _, h := range t.history {
		if strings.Contains(h, " "+src+" > "+dst+",") || strings.Contains(h, " "+dst+" > "+src+",") {
			list = append(list, h)
		}
	}
	return list[max(0, len(list)-20):]
}

// compareCounters compares all rules at the end.
func (t *trial) compareCounters() error {
	now, err := t.readCounters()
	if err != nil {
		return err
	}
	var lines []string
	for _, r := range t.e.rules {
		t.res.Rules++
		if now[0][r.key].Packets > 0 {
			t.res.Hit++
		}
		if a, b := now[0][r.key], now[1][r.key]; a != b {
			lines = append(lines, fmt.Sprintf("%s %s: %s: nftables %d packets %d bytes, l2d %d packets %d bytes", r.key.table, r.key.chain, r.text, a.Packets, a.Bytes, b.Packets, b.Bytes))
		}
	}
	if len(lines) == 0 {
		return nil
	}
	t.res.Mismatch = &Mismatch{What: "rules have counted differently:\n\t" + strings.Join(lines, "\n\t")}
	return errMismatch
}

func (t *trial) readCounters() (now [2]map[ruleKey]count, err error) {
	if now[0], err = t.routers[0].kernelCounts(); err != nil {
		return now, err
	}
	now[1], err = t.e.counts()
	return now, err
}

// counters compares the rules that moved since the last look.
func (t *trial) counters(compare bool, sent []string, saw [2]seen) error {
	now, err := t.readCounters()
	if err != nil {
		return err
	}
	var stats map[string]uint64
	if t.detail {
		if stats, err = t.e.stats(); err != nil {
			return err
		}
	}
	before, oldStats := t.before, t.stats
	t.before, t.stats = now, stats
	differ := false
	var moved [2][]string
	for _, r := range t.e.rules {
		for i := range now {
			n, old := now[i][r.key], before[i][r.key]
			if n != old {
				moved[i] = append(moved[i], fmt.Sprintf("%s %s: %s (+%d, %d bytes)", r.key.table, r.key.chain, r.text, n.Packets-old.Packets, n.Bytes-old.Bytes))
			}
		}
		differ = differ || now[0][r.key] != now[1][r.key]
	}
	if compare && differ {
		t.mismatch("the rules count a packet differently", sent, saw)
	}
	if m := t.res.Mismatch; m != nil {
		m.KernelRules, m.L2DRules = moved[0], moved[1]
		for name, n := range stats {
			if n != oldStats[name] && oldStats != nil {
				m.L2DStats = append(m.L2DStats, fmt.Sprintf("%s +%d", name, n-oldStats[name]))
			}
		}
		slices.Sort(m.L2DStats)
		return errMismatch
	}
	return nil
}
