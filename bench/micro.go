// SPDX-License-Identifier: GPL-2.0-only

package bench

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// Micro is how long a program takes for a packet on one of its paths, in one
// round.
type Micro struct {
	Path  string `json:"path"`
	Round int    `json:"round"`
	Runs  int    `json:"runs"` // of which these are, in nanoseconds: midmean and quartiles
	// One look at the clock is part of each.
	Nanoseconds float64 `json:"ns"`
	Low         float64 `json:"ns_low"`
	High        float64 `json:"ns_high"`
}

// check refuses what no run can have measured.
func (m Micro) check() error {
	if err := checkName(m.Path); err != nil {
		return err
	}
	if m.Round < 0 || m.Runs < 1 {
		return errors.New("a number that cannot be")
	}
	for _, ns := range []float64{m.Nanoseconds, m.Low, m.High} {
		if ns < 0 || ns > 1e10 {
			return fmt.Errorf("%g ns", ns)
		}
	}
	return nil
}

// microPath is what is measured: a program with a ruleset and a kind of packet.
type microPath struct {
	name    string
	ruleset string // "": not l2d, but the limit of what it does
	limit   limit
	xdp     bool // or TC
	ipv6    bool
	fresh   bool // each packet is the first of its flow
	crowded bool // another CPU runs the program for another flow all the time
	outTC   bool // to an interface that XDP does not send by
	verdict uint32
}

// microPaths are all of them.
func microPaths() []microPath {
	paths := []microPath{{name: "XDP redirect only", limit: &Redirect{}, xdp: true, verdict: xdpRedirect}}
	plain := ruleLoad{}.filter()
	for _, rules := range []struct{ name, text string }{
		{"", plain},
		{" NAT", plain + masquerade("ip") + masquerade("ip6")},
	} {
		for _, ipv6 := range []bool{false, true} {
			what := " IPv4" + rules.name
			if ipv6 {
				what = " IPv6" + rules.name
			}
			paths = append(paths,
				microPath{name: "XDP" + what + " established", ruleset: rules.text, xdp: true, ipv6: ipv6, verdict: xdpRedirect},
				microPath{name: "XDP" + what + " established, on two CPUs", ruleset: rules.text, xdp: true, ipv6: ipv6, crowded: true, verdict: xdpRedirect},
				microPath{name: "XDP" + what + " established, left to TC", ruleset: rules.text, xdp: true, ipv6: ipv6, outTC: true, verdict: xdpPass},
				microPath{name: "TC" + what + " established", ruleset: rules.text, ipv6: ipv6, verdict: tcxRedirect},
				microPath{name: "TC" + what + " new", ruleset: rules.text, ipv6: ipv6, fresh: true, verdict: tcxRedirect})
		}
	}
	for _, n := range []int{1, 100, 1000} {
		l := ruleLoad{rules: plainRule(n-1) + fmt.Sprintf("udp dport %d drop\n", targetPort)}
		paths = append(paths, microPath{name: fmt.Sprintf("TC IPv4 drop at rule %d", n), ruleset: l.filter(), fresh: true, verdict: tcxDrop})
	}
	blocked := append(addresses(100_000), GenAddr.Addr().String())
	paths = append(paths, microPath{name: "XDP IPv4 drop, one lookup only", limit: &Drop{Blocked: blocked}, xdp: true, verdict: xdpDrop})
	for _, c := range blockingChains[:2] {
		paths = append(paths, microPath{name: "XDP IPv4 drop," + c.label, ruleset: c.ruleset(blocked), xdp: true, fresh: true, verdict: xdpDrop})
	}
	for _, n := range []int{10, 1000, 100_000} {
		l := ruleLoad{sets: set("s", "type ipv4_addr;", addresses(n)), rules: "ip saddr @s drop\n"}
		paths = append(paths, microPath{name: fmt.Sprintf("XDP IPv4 established, set of %d", n), ruleset: l.filter(), xdp: true, verdict: xdpRedirect})
	}
	return paths
}

// microLane is a path that is set up.
type microLane struct {
	microPath
	router *microRouter
	test   *tester
	next   int // flow
	began  time.Time
}

// newMicroLane begins the flow of a path whose flow is established.
func newMicroLane(p microPath, r *microRouter) (*microLane, error) {
	l := &microLane{microPath: p, router: r, test: r.forward}
	if p.xdp {
		l.test = r.xdp
	}
	if p.fresh {
		l.next = 1 // flow 0 is the one that is established
	}
	for _, frame := range l.established() {
		if err := r.establish(frame); err != nil {
			return nil, fmt.Errorf("%s: %w", p.name, err)
		}
		l.began = time.Now()
	}
	return l, nil
}

// established are frames of the flows that there are before anything is measured.
func (l *microLane) established() [][]byte {
	switch {
	case !l.hasFlow():
		return nil
	case l.crowded:
		return [][]byte{l.frameOf(0), l.frameOf(1)}
	}
	return [][]byte{l.frameOf(0)}
}

// hasFlow says that all packets are of one flow.
func (l *microLane) hasFlow() bool { return l.ruleset != "" && !l.fresh }

// frame is the next packet: of the next flow, if they are to be fresh.
func (l *microLane) frame() []byte {
	flow := l.next
	if l.fresh {
		l.next++
	}
	return l.frameOf(flow)
}

func (l *microLane) frameOf(flow int) []byte {
	t := l.router.topology
	from, to := GenAddr.Addr(), SinkAddr.Addr()
	if l.ipv6 {
		from, to = genAddr6.Addr(), sinkAddr6.Addr()
	}
	const ports = 1 << 15
	source := netip.AddrPortFrom(from, uint16(firstPort+flow%ports))
	target := netip.AddrPortFrom(to, uint16(targetPort+flow/ports))
	if l.verdict == tcxDrop {
		target = netip.AddrPortFrom(to, targetPort)
	}
	return udpFrame(t.Gen.MAC, t.Ingress.MAC, source, target)
}

// measure runs the path's program for so many packets.
func (l *microLane) measure(ctx context.Context, o Options, runs int) (Micro, error) {
	took := make([]float64, 0, runs)
	packets := func() error {
		for range runs {
			t, err := l.packet(l.test, l.frame())
			if err != nil {
				return err
			}
			took = append(took, float64(t.Nanoseconds()))
		}
		return nil
	}
	var err error
	if l.crowded {
		err = l.crowd(ctx, o, packets)
	} else {
		err = l.router.topology.InRouter(packets)
	}
	if err != nil {
		return Micro{}, fmt.Errorf("%s: %w", l.name, err)
	}
	slices.Sort(took)
	return Micro{
		Path: l.name, Runs: runs,
		Nanoseconds: midmean(took), Low: quantile(took, 0.25), High: quantile(took, 0.75),
	}, nil
}

// packet runs a program for one packet, which has to come to the path's verdict.
func (l *microLane) packet(t *tester, frame []byte) (time.Duration, error) {
	verdict, _, took, err := t.run(frame)
	if err == nil && verdict != l.verdict {
		err = fmt.Errorf("returns %d, not %d", verdict, l.verdict)
	}
	return took, err
}

// crowd does something on the router's CPU while the generator's runs the program for
// flow 1.
func (l *microLane) crowd(ctx context.Context, o Options, fn func() error) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	begun := make(chan struct{})
	router := l.router.topology.dut
	beside := router.run(func() error {
		if err := pin(0, o.GenCPU); err != nil {
			return err
		}
		frame, test := l.frameOf(1), newTester(l.test.program, l.router.topology.Ingress.Index)
		if _, err := l.packet(test, frame); err != nil {
			return err
		}
		close(begun)
		for ctx.Err() == nil {
			if _, err := l.packet(test, frame); err != nil {
				return err
			}
		}
		return nil
	})
	select {
	case err := <-beside:
		return fmt.Errorf("on the other CPU: %w", err)
	case <-begun:
	}
	err := <-router.run(func() error {
		if err := pin(0, o.RouterCPU); err != nil {
			return err
		}
		return fn()
	})
	stop()
	return errors.Join(err, <-beside)
}

// microRun sets all paths up and measures them in turns. With an error, the report has
// what was measured before.
func microRun(ctx context.Context, paths []microPath, binary string, o Options, runs int, progress func(string)) (r *Report, err error) {
	routers := map[string]*microRouter{}
	defer func() {
		for _, m := range routers {
			err = errors.Join(err, m.close())
		}
	}()
	r = &Report{Environment: observe(ctx, o)}
	var lanes []*microLane
	for _, p := range paths {
		progress("set up " + p.name)
		key := fmt.Sprint(p.outTC, p.ruleset)
		if p.limit != nil {
			key = p.limit.Name()
		}
		m, ok := routers[key]
		if !ok {
			if m, err = newMicroRouter(ctx, p, binary); err != nil {
				return r, fmt.Errorf("%s: %w", p.name, err)
			}
			routers[key] = m
			if err := r.Environment.observeOffloads(m.topology); err != nil {
				return r, err
			}
		}
		l, err := newMicroLane(p, m)
		if err != nil {
			return r, err
		}
		lanes = append(lanes, l)
	}
	for _, l := range lanes {
		for _, frame := range l.established() {
			if err := l.router.settle(ctx, frame, l.began, l.outTC); err != nil {
				return r, fmt.Errorf("%s: %w", l.name, err)
			}
		}
	}
	for i := range o.Repetitions {
		for _, l := range lanes {
			if err := ctx.Err(); err != nil {
				return r, err
			}
			m, err := l.measure(ctx, o, runs)
			if err != nil {
				return r, err
			}
			m.Round = i
			r.Micros = append(r.Micros, m)
		}
		progress(fmt.Sprintf("round %d of %d", i+1, o.Repetitions))
	}
	return r, nil
}
