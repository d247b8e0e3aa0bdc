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
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Rig is a pair of routers, for one ruleset after another.
type Rig struct {
	ports   []port
	routers [2]*router // the kernel's, l2d's
	bpffs   *os.File
	applied int
	// datagrams are those that were sent in fragments, also in other runs.
	datagrams uint32
	cpu       int                 // runs on the nth processor
	added     map[netip.Addr]bool // neighbours, besides the ports' hosts
	moved     map[netip.Addr]int  // hosts with a route of their own, by a port: move.go
	loaded    *loaded             // what ran last
}

var rigs atomic.Int32

// New builds a rig with the named interfaces, the LAN first and the WAN second;
// none means [DefaultInterfaces]. It needs root.
func New(interfaces ...string) (_ *Rig, err error) {
	if len(interfaces) == 0 {
		interfaces = DefaultInterfaces
	}
	r := &Rig{cpu: int(rigs.Add(1) - 1), added: map[netip.Addr]bool{}, moved: map[netip.Addr]int{}}
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
	return r, r.routers[0].self.do(loadConntrack)
}

// Close removes the rig.
func (r *Rig) Close() error {
	errs := []error{r.unload()}
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
	// Expiry gives flows timeouts of which some are short, and traffic pauses in
	// which they end. A run then may fail with [ErrStalled].
	Expiry bool
	// Moves changes routes while flows go on.
	Moves bool
	// Tracking sends what connection tracking treats in a way of its own, and gives
	// it settings that differ from the usual ones.
	Tracking bool
	// Replay is a file with the packets to send instead: see replay.go.
	Replay string
	// Minimise is how long to look for a small ruleset and few packets on which
	// the routers differ, once they do.
	Minimise time.Duration

	replay []shot
	// given are settings of connection tracking that a replay file has.
	given *ctSettings
	// change makes l2d's ruleset another one, for a mismatch that has to be found.
	change func(ruleset string) string
	// marksECT1 has l2d's policers mark L4S.
	marksECT1 bool
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
	// Flake is a difference that was not there again when the same packets were
	// sent once more: the stacks behind the routers have clocks of their own.
	Flake *Mismatch `json:"flake,omitempty"`

	// Text of the ruleset, as it was loaded.
	Text string `json:"-"`
}

// String describes a result but for its mismatch on one line.
func (r *Result) String() string {
	how := "TC"
	if r.XDP {
		how = "XDP"
	}
	flake := ""
	if r.Flake != nil {
		flake = "; at first there was a difference: " + r.Flake.What
	}
	return fmt.Sprintf("%s: %d packets of seed %d by %s, %d sent on, %d delivered, %d of %d rules counted%s",
		r.Ruleset, r.Packets, r.Seed, how, r.Out, r.Local, r.Hit, r.Rules, flake)
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
	// Ruleset and Replay are a small ruleset, and the lines of a replay file, on
	// which the routers differ.
	Ruleset string   `json:",omitempty"`
	Replay  []string `json:",omitempty"`

	shots []shot // all, up to the packet
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
	if m.Ruleset != "" {
		section("a small ruleset that shows it", strings.Split(strings.TrimSpace(m.Ruleset), "\n"))
	}
	section("packets that show it", m.Replay)
	return b.String()
}

// Run sends packets through both routers with a ruleset file. A mismatch is
// part of the result, and one that is not there when all is done once more is a
// flake; an error is that the comparison could not be made.
func (r *Rig) Run(ctx context.Context, file string, opt Options) (*Result, error) {
	if opt.Replay != "" {
		text, err := os.ReadFile(opt.Replay)
		if err != nil {
			return nil, fmt.Errorf("replay: %w", err)
		}
		if opt.replay, opt.given, err = r.parseReplay(string(text)); err != nil {
			return nil, fmt.Errorf("replay %s: %w", opt.Replay, err)
		}
	}
	res, err := r.run(ctx, file, opt, pass{})
	if err != nil || res.Mismatch == nil {
		return res, err
	}
	again, err := r.locate(ctx, file, opt)
	if err != nil {
		return res, err
	}
	if again.Mismatch == nil {
		again.Flake = res.Mismatch
		return again, nil
	}
	if opt.Minimise > 0 {
		if err := r.smallest(ctx, again, opt); err != nil {
			return nil, err
		}
	}
	return again, nil
}

// locate runs once more what differed, and finds the packet that moved the
// counters apart, or was decided differently.
func (r *Rig) locate(ctx context.Context, file string, opt Options) (*Result, error) {
	coarse, err := r.run(ctx, file, opt, pass{look: func(n int) bool { return n%50 == 0 }})
	if err != nil || coarse.Mismatch == nil {
		return coarse, err
	}
	from := coarse.Mismatch.Packet - 60
	fine, err := r.run(ctx, file, opt, pass{look: func(n int) bool { return n > from }, detail: true})
	if err != nil || fine.Mismatch == nil {
		return coarse, err
	}
	return fine, nil
}

// smallest puts a small ruleset and few packets into a mismatch, on which the
// routers differ too.
func (r *Rig) smallest(ctx context.Context, res *Result, opt Options) error {
	dir, err := os.MkdirTemp("", "l2d-diff-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	m := res.Mismatch
	c := r.minimise(ctx, mismatchCase{res.Text, m.shots}, opt, dir, time.Now().Add(opt.Minimise))
	m.Ruleset = c.text
	if opt.Tracking {
		m.Replay = []string{opt.settings().line()}
	}
	for _, s := range c.shots {
		m.Replay = append(m.Replay, r.line(s))
	}
	file := filepath.Join(dir, "smallest.nft")
	if err := os.WriteFile(file, []byte(c.text), 0o600); err != nil {
		return err
	}
	opt.replay = c.shots
	again, err := r.run(ctx, file, opt, pass{look: func(int) bool { return true }, detail: true})
	if err != nil || again.Mismatch == nil {
		return err // it needs the packets that were there
	}
	again.Mismatch.Ruleset, again.Mismatch.Replay = m.Ruleset, m.Replay
	res.Mismatch = again.Mismatch
	return nil
}

// errMismatch ends a run.
var errMismatch = errors.New("mismatch")

// pass says how closely a run looks.
type pass struct {
	// look says after which packets the counters are compared; nil: at the end.
	look func(n int) bool
	// detail looks at l2d's statistics, too.
	detail bool
}

// run is one pass.
func (r *Rig) run(ctx context.Context, file string, opt Options, p pass) (_ *Result, err error) {
	defer pinThread(r.cpu)()
	xdp := opt.Seed%2 == 0
	res := &Result{Ruleset: file, Seed: opt.Seed, XDP: xdp}
	for _, router := range r.routers {
		if err := router.giveUp(); err != nil {
			return nil, err
		}
	}
	if err := r.moveBack(); err != nil {
		return nil, err
	}
	l, err := r.load(ctx, file, opt)
	if err != nil {
		return nil, err
	}
	text, e := l.text, l.e
	res.Text = text

	random := randomPorts.MatchString(text)
	t := &trial{
		Rig: r, Rand: rand.New(rand.NewPCG(opt.Seed, 0)), e: e, res: res, pass: p,
		chosen: [2]*choices{newChoices(random), newChoices(random)}, tuples: map[tcpTuple]bool{}, exchanges: exchanges{}, others: map[netip.Addr]bool{},
		portsShow: portsShow(text) || copiesTo.MatchString(text), partsShow: partsShow(text), rejects: strings.Contains(text, "reject"), rejectsOwn: rejectsOwn.MatchString(text),
		asksProtocol: asksProtocol.MatchString(text), asksSCTP: strings.Contains(text, "sctp"), copies: copiesTo.MatchString(text), numbers: numbersOf(text), expiry: opt.Expiry, moves: opt.Moves,
		countsConns: strings.Contains(text, "ct count"), tracking: opt.Tracking,
	}
	if t.near, err = r.nearHosts(text); err != nil {
		return nil, err
	}
	for _, router := range r.routers {
		router.local.byLo = toSelf.MatchString(text)
		if err := router.settle(-1); err != nil {
			return nil, err
		}
		router.collect()
	}
	t.burst = time.Now()
	if opt.replay != nil {
		err = t.replay(ctx, opt.replay)
	} else {
		err = t.traffic(ctx, opt.Packets)
	}
	if err == nil {
		err = t.compareCounters()
	}
	if errors.Is(err, errMismatch) {
		err = nil
	}
	res.Packets = t.sent
	return res, err
}

// loaded is a ruleset that both routers have.
type loaded struct {
	source, text string // of the file, and as it was loaded
	xdp, changed bool
	marksECT1    bool
	tracking     ctSettings
	e            *enforcement
}

// load gives the routers a ruleset, without a flow and with nothing counted. One
// that they have is rewound.
func (r *Rig) load(ctx context.Context, file string, opt Options) (*loaded, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	next := loaded{source: string(b), xdp: opt.Seed%2 == 0, changed: opt.change != nil, marksECT1: opt.marksECT1, tracking: opt.settings()}
	if l := r.loaded; l != nil && l.isLike(&next) {
		if _, err := r.routers[0].kernelRules(l.text, filepath.Dir(file)); err != nil {
			return nil, err
		}
		return l, l.e.rewind()
	}
	if err := r.unload(); err != nil {
		return nil, err
	}
	l := &next
	if err := r.routers[0].self.do(func() error { return l.tracking.set() }); err != nil {
		return nil, err
	}
	if l.text, err = r.routers[0].kernelRules(l.source, filepath.Dir(file)); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	text := l.text
	if opt.change != nil {
		text = opt.change(text)
	}
	r.applied++
	pin := filepath.Join(fmt.Sprintf("/proc/self/fd/%d", r.bpffs.Fd()), fmt.Sprint(r.applied))
	if l.e, err = r.routers[1].enforce(ctx, text, pin, l); err != nil {
		return nil, err
	}
	r.loaded = l
	counts, err := r.routers[0].kernelCounts()
	if err != nil {
		return nil, err
	}
	l.e.rules = slices.DeleteFunc(l.e.rules, func(r rule) bool { _, ok := counts[r.key]; return !ok })
	return l, nil
}

// isLike tells whether a ruleset that is loaded is the one that is wanted.
func (l *loaded) isLike(next *loaded) bool {
	return l.source == next.source && l.xdp == next.xdp && l.changed == next.changed && l.marksECT1 == next.marksECT1 && l.tracking == next.tracking
}

// unload takes the last ruleset from the router with l2d.
func (r *Rig) unload() error {
	if r.loaded == nil {
		return nil
	}
	e := r.loaded.e
	r.loaded = nil
	return e.close()
}

// pinThread keeps the caller on the nth processor: what a packet sets off then
// mostly happens before the call that sends it returns.
func pinThread(n int) (undo func()) {
	runtime.LockOSThread()
	var all, one unix.CPUSet
	if unix.SchedGetaffinity(0, &all) != nil || all.Count() == 0 {
		return runtime.UnlockOSThread
	}
	n %= all.Count()
	for cpu := range 1024 {
		if !all.IsSet(cpu) {
			continue
		}
		if n == 0 {
			one.Set(cpu)
			break
		}
		n--
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
	e   *enforcement
	res *Result
	pass
	chosen    [2]*choices
	next      uint16 // last name given
	sent      int
	history   []event
	tuples    map[tcpTuple]bool // that sessions have had
	exchanges exchanges
	numbers   []uint16          // near the ruleset's own
	near      [][2][]netip.Addr // hosts near the ruleset's own, by port and family
	// others have a flow of a protocol without ports.
	others map[netip.Addr]bool
	// portsShow: rules can match on the routers' free choice of a port, or copy
	// packets with it, so that
	// clients do without the same ports.
	portsShow bool
	// countsConns: rules count connections.
	countsConns bool
	rejects     bool // rules answer
	// partsShow: rules can match on what fragments begin with.
	partsShow bool
	copies    bool // rules copy packets to an address
	// rejectsOwn: also to what the router sends itself.
	rejectsOwn   bool
	asksProtocol bool   // rules ask about the protocol of flows
	asksSCTP     bool   // rules are about it
	client       uint16 // the last client's port
	// apart: answers to the last packet are of another flow at one router only.
	apart   bool
	expiry  bool // flows end in pauses
	moves   bool // routes change, the last one after so many packets
	movedAt int
	// tracking: it is about connection tracking.
	tracking bool
	// burst is when the last pause ended, burstSent how many packets there were
	// until then.
	burst     time.Time
	burstSent int
	before    [2]map[ruleKey]count
	stats     map[string]uint64
}

// shot is a packet, or the fragments of one: the same for both routers but for
// the ports that each of them chose.
type shot struct {
	pause bool  // and no packet
	move  *move // likewise
	port  int   // negative: the router itself sends
	to    []byte
	ip    [2][][]byte
}

// connCountAge is some ticks of the kernel's clock. Within one, it looks for dead
// connections once only, and what a packet on another CPU has begun it believes in
// for two.
const connCountAge = 12 * time.Millisecond

// passTicks waits for the kernel's ticks, which may be late: by the clock that
// they move.
func passTicks(d time.Duration) error {
	now := func() (time.Duration, error) {
		var ts unix.Timespec
		err := unix.ClockGettime(unix.CLOCK_MONOTONIC_COARSE, &ts)
		return time.Duration(ts.Nano()), err
	}
	begin, err := now()
	for at := begin; err == nil && at-begin < d; at, err = now() {
		time.Sleep(d / 4)
	}
	return err
}

// firstOf is the packet, or the first fragment in whatever order they are sent.
func firstOf(ip [][]byte) []byte {
	for _, b := range ip {
		if p, ok := parse(b); ok && p.offset == 0 {
			return b
		}
	}
	return ip[0]
}

// fire sends, waits, and compares.
func (t *trial) fire(s shot) (saw [2]seen, err error) {
	if s.pause {
		t.pause()
		return saw, nil
	}
	if s.move != nil {
		t.history = append(t.history, event{shot: s})
		return saw, t.reroute(s.move)
	}
	t.sent++
	if t.avoided(s) {
		return saw, nil
	}
	if t.countsConns {
		if err := passTicks(connCountAge); err != nil {
			return saw, err
		}
	}
	t.awaitStream(s)
	at := time.Now()
	for i, r := range t.routers {
		var frames [][]byte
		for _, ip := range s.ip[i] {
			if s.port >= 0 {
				to := s.to
				if to == nil {
					to = routerMAC(s.port)
				}
				frames = append(frames, frameOf(to, hostMAC(s.port), ip))
			} else if err := r.local.originate(ip); err != nil {
				return saw, err
			}
		}
		if err := r.settle(s.port, frames...); err != nil {
			return saw, err
		}
		saw[i] = r.collect()
		if s.port < 0 {
			saw[i].toSelf()
		}
		if err := t.meet(saw[i]); err != nil {
			return saw, err
		}
	}
	t.noteExchange(s, at, saw[0])
	if t.stalled() {
		return saw, ErrStalled
	}
	t.apart = learn(t.chosen, firstOf(s.ip[0]), t.routers, saw, &t.next)
	learnTarget(t.chosen, [2][]byte{firstOf(s.ip[0]), firstOf(s.ip[1])}, t.routers, saw, &t.next)
	t.res.Out += len(saw[0].frames)
	t.res.Local += len(saw[0].local)

	images, errs := t.images(s, saw, t.chosen)
	what := ""
	switch {
	case errs[0] != nil && errs[1] != nil && errs[0].Error() == errs[1].Error():
		// A frame that came wrong, and is passed on as it is.
	case errs[0] != nil:
		what = fmt.Sprintf("the kernel's router: %v", errs[0])
	case errs[1] != nil:
		what = errs[1].Error()
	case !slices.Equal(images[0], images[1]) && !t.areSame(s, saw):
		what = "the routers do different things with a packet"
	}
	if what != "" {
		t.mismatch(what, s, saw)
	}
	if t.look != nil && t.look(t.sent) {
		if err := t.counters(what == "", s, saw); err != nil {
			return saw, err
		}
	}
	if what != "" {
		return saw, errMismatch
	}
	t.history = append(t.history, event{s, saw})
	return saw, nil
}

// images are what the routers did, with names for what they chose.
func (t *trial) images(s shot, saw [2]seen, names [2]*choices) (images [2][]string, errs [2]error) {
	for i, r := range t.routers {
		images[i], errs[i] = names[i].image(r, saw[i], firstOf(s.ip[i]))
	}
	return images, errs
}

// areSame tells that the routers did the same without a name being given: an address may be
// inside and outside at once, so that only one of them has chosen what is a client's own there.
func (t *trial) areSame(s shot, saw [2]seen) bool {
	images, _ := t.images(s, saw, [2]*choices{newChoices(false), newChoices(false)})
	return slices.Equal(images[0], images[1])
}

// event is a packet that has been sent, and what the routers made of it.
type event struct {
	shot shot
	saw  [2]seen
}

// shots are all packets up to one that is not in the history yet.
func (t *trial) shots(last shot) []shot {
	var list []shot
	for _, e := range t.history {
		list = append(list, e.shot)
	}
	return append(list, last)
}

// describe says what was sent.
func (t *trial) describe(s shot) []string {
	from := "the router"
	if s.port >= 0 {
		from = t.ports[s.port].name
	}
	var lines []string
	for i, ip := range s.ip[0] {
		line := fmt.Sprintf("from %s: %s", from, describe(ip))
		if other := s.ip[1][i]; string(other) != string(ip) {
			line += "\n\t  to l2d: " + describe(other)
		}
		lines = append(lines, line)
	}
	return lines
}

func (t *trial) mismatch(what string, s shot, saw [2]seen) {
	t.res.Mismatch = &Mismatch{
		Packet: t.sent, What: what, Sent: t.describe(s), History: t.relevant(s),
		Kernel: saw[0].describe(t.routers[0]), L2D: saw[1].describe(t.routers[1]),
		shots: t.shots(s),
	}
}

// relevant are the packets of the same two hosts before one, oldest first.
func (t *trial) relevant(s shot) []string {
	p, ok := parse(s.ip[0][0])
	if !ok {
		return nil
	}
	var list []string
	for _, e := range t.history {
		if e.shot.pause {
			if n := len(list); n > 0 && list[n-1] != pauseWord {
				list = append(list, pauseWord)
			}
			continue
		}
		if m := e.shot.move; m != nil {
			if m.host == p.src || m.host == p.dst {
				list = append(list, t.moveLine(m))
			}
			continue
		}
		h, ok := parse(e.shot.ip[0][0])
		if ok && (h.src == p.src && h.dst == p.dst || h.src == p.dst && h.dst == p.src) {
			list = append(list, strings.Join(t.describeEvent(e), "\n\t  "))
		}
	}
	return list[max(0, len(list)-20):]
}

// describeEvent says what was sent, and what came of it.
func (t *trial) describeEvent(e event) []string {
	kernel, l2d := e.saw[0].describe(t.routers[0]), e.saw[1].describe(t.routers[1])
	lines := append(t.describe(e.shot), kernel...)
	if !slices.Equal(kernel, l2d) {
		lines = append(lines, "of l2d: "+strings.Join(l2d, "\n\t          "))
	}
	return lines
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
	m := &Mismatch{Packet: t.sent, What: "rules have counted differently:\n\t" + strings.Join(lines, "\n\t")}
	for _, e := range t.history {
		m.shots = append(m.shots, e.shot)
	}
	t.res.Mismatch = m
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
func (t *trial) counters(compare bool, s shot, saw [2]seen) error {
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
		t.mismatch("the rules count a packet differently", s, saw)
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
