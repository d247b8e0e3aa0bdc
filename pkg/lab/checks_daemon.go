// SPDX-License-Identifier: GPL-2.0-only

package lab

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

// flowProgress is how many records every flow must exchange at each stage.
const flowProgress = 5

// refuse is the rule that the changed ruleset has first in its forward chain.
var refuse = ruleName{"forward", "ip daddr " + AddrReload.V4.String() + " drop"}

func daemonChecks(ruleset string) []Check {
	return []Check{{
		"the daemon", "200 flows", "none breaks while the daemon is killed, started again and reloaded",
		func(ctx context.Context, t *trial) error { return checkFlows(ctx, t, ruleset) },
	}}
}

// checkFlows keeps connections busy over both families while the daemon goes
// through its life: killed, started again, reloaded with one rule more, and
// reloaded with what it had before.
func checkFlows(ctx context.Context, t *trial, ruleset string) (err error) {
	original, err := os.ReadFile(ruleset)
	if err != nil {
		return err
	}
	changed, err := withRule(string(original), refuse)
	if err != nil {
		return err
	}
	flows, err := t.startFlows(ctx)
	if err != nil {
		return err
	}
	defer flows.process.Stop()

	var before []Rule
	kill := func() (err error) {
		if before, err = t.dp.Rules(ctx); err != nil {
			return err
		}
		return t.dp.Kill(ctx)
	}
	startAgain := func() error {
		if err := t.dp.Start(ctx); err != nil {
			return err
		}
		after, err := t.dp.Rules(ctx)
		if err == nil && t.dp.Name() == "l2d" {
			// It goes on with the counters of the daemon before.
			_, err = counted(before, after, fwOut4)
		}
		return err
	}
	refused := func(want bool) func() error {
		return func() error { return t.isRefused(ctx, want) }
	}
	var stages []string // with the time of their start
	begin := time.Now()
	for _, stage := range []struct {
		name string
		do   func() error
		test func() error
	}{
		{"with the daemon", nil, refused(false)},
		{"daemon killed", kill, func() error { return t.newFlow(ctx) }},
		{"daemon started again", startAgain, func() error { return t.newFlow(ctx) }},
		{"reloaded with a changed ruleset", func() error { return t.dp.Reload(ctx, changed) }, refused(true)},
		{"reloaded with the first ruleset", func() error { return t.dp.Reload(ctx, string(original)) }, refused(false)},
	} {
		stages = append(stages, fmt.Sprintf("%s at %.3f s", stage.name, time.Since(begin).Seconds()))
		if stage.do != nil {
			err = stage.do()
		}
		if err == nil {
			err = flows.progress(ctx)
		}
		if err == nil {
			err = stage.test()
		}
		if err != nil {
			return fmt.Errorf("%s: %w", stage.name, err)
		}
	}
	last, err := flows.finish(ctx)
	if err != nil {
		return err
	}
	t.note("%d records in %d flows, %d segments sent twice, %d datagrams", last.Records, last.Flows, last.Retransmits, last.Probes)
	if last.Flows != flowCount || last.Broken != 0 {
		return fmt.Errorf("%d of %d flows broke: %s", last.Broken, last.Flows, last.Error)
	}
	tolerated := uint64(0)
	if t.dp.Name() == "nftables" {
		// The kernel is the oracle for what a ruleset decides, not for how it is
		// replaced: one run in a few loses a packet or two there.
		tolerated = last.Probes / 100
	}
	if last.Probes == 0 || last.ProbesLost > tolerated {
		return fmt.Errorf("%d of %d datagrams were lost, the first at %.3f s (%s)",
			last.ProbesLost, last.Probes, last.FirstLost.Seconds(), strings.Join(stages, ", "))
	}
	return nil
}

// withRule puts a rule with a counter first into a chain of a ruleset file.
func withRule(ruleset string, rule ruleName) (string, error) {
	head := "chain " + rule.chain + " {"
	before, after, ok := strings.Cut(ruleset, head)
	if !ok {
		return "", fmt.Errorf("the ruleset has no %q", head)
	}
	// The base chain's own line stays the first.
	base, rest, ok := strings.Cut(after, "policy drop;")
	if !ok {
		return "", fmt.Errorf("chain %s has no policy", rule.chain)
	}
	text := verdict.ReplaceAllString(rule.text, "counter $1")
	return before + head + base + "policy drop;\n\t\t" + text + "\n" + rest, nil
}

// isRefused tests whether AddrReload can be reached.
func (t *trial) isRefused(ctx context.Context, want bool) error {
	conn, err := t.dial(ctx, Client1, "udp", netip.AddrPort{}, netip.AddrPortFrom(AddrReload.V4, portEcho))
	if err != nil {
		return err
	}
	defer conn.Close()
	if !want {
		_, err := reflect(conn)
		return err
	}
	// The rule's counter tells that the datagram has been dealt with.
	if _, err := io.WriteString(conn, "refused?"); err != nil {
		return err
	}
	err = poll(ctx, answerTime, func() error {
		rules, err := t.dp.Rules(ctx)
		if err != nil {
			return err
		}
		n, err := refuse.find(rules)
		if err == nil && n != 1 {
			err = fmt.Errorf("the new rule %q counted %d packets, want 1", refuse, n)
		}
		if err == nil {
			t.decided(refuse, n)
		}
		return err
	})
	if err != nil {
		return err
	}
	if err := conn.SetReadDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
		return err
	}
	if n, err := conn.Read(make([]byte, 100)); err == nil {
		return fmt.Errorf("%s answered with %d bytes in spite of the rule %q", AddrReload.V4, n, refuse)
	}
	return nil
}

// newFlow tests that flows are still admitted, in both families.
func (t *trial) newFlow(ctx context.Context) error {
	return errors.Join(
		t.download(ctx, Client2, AddrServer.V4, 100_000, ""),
		t.download(ctx, Client2, AddrServer.V6, 100_000, ""),
	)
}

// flowRun is a sender of parallel flows in client1.
type flowRun struct {
	process *Process
	stdin   io.Closer
	ended   chan struct{}

	mu   sync.Mutex
	last FlowReport
	err  error
}

func (l *Lab) startFlows(ctx context.Context) (*flowRun, error) {
	stdin, hold, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer stdin.Close()
	stdout, reports := io.Pipe()
	argv := append(slices.Clone(l.serve), "flows")
	for _, a := range ports(portEcho, AddrServer.V4, AddrServer.V6) {
		argv = append(argv, a.String())
	}
	p, err := l.start(Client1, "flows", processOptions{stdin: stdin, stdout: reports}, argv...)
	if err != nil {
		return nil, errors.Join(err, hold.Close())
	}
	f := &flowRun{process: p, stdin: hold, ended: make(chan struct{})}
	go func() {
		<-p.done
		reports.Close()
	}()
	go f.follow(stdout)
	err = f.wait(ctx, func(r FlowReport) error {
		if r.Flows == 0 {
			return errors.New("the flows are not open")
		}
		return nil
	})
	if err != nil {
		return nil, errors.Join(err, p.Stop(), hold.Close())
	}
	return f, nil
}

func (f *flowRun) follow(stdout io.Reader) {
	defer close(f.ended)
	lines := bufio.NewScanner(stdout)
	for lines.Scan() {
		if !strings.HasPrefix(lines.Text(), "{") {
			continue // "ready"
		}
		var r FlowReport
		err := json.Unmarshal(lines.Bytes(), &r)
		f.mu.Lock()
		f.last, f.err = r, errors.Join(f.err, err)
		f.mu.Unlock()
	}
}

func (f *flowRun) report() (FlowReport, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.last, f.err
}

// wait waits until fn accepts the latest report.
func (f *flowRun) wait(ctx context.Context, fn func(FlowReport) error) error {
	return poll(ctx, 2*flowPatience, func() error {
		r, err := f.report()
		if err == nil {
			err = fn(r)
		}
		if err != nil {
			err = errors.Join(err, f.process.exited())
		}
		return err
	})
}

// progress waits until each flow has exchanged flowProgress more records.
func (f *flowRun) progress(ctx context.Context) error {
	first, err := f.report()
	if err != nil {
		return err
	}
	return f.wait(ctx, func(r FlowReport) error {
		if r.Broken > 0 {
			return fmt.Errorf("%d of %d flows broke: %s", r.Broken, r.Flows, r.Error)
		}
		if r.Slowest < first.Slowest+flowProgress {
			return fmt.Errorf("the slowest flow has exchanged %d records, want %d", r.Slowest, first.Slowest+flowProgress)
		}
		return nil
	})
}

// finish ends the flows and returns the last report.
func (f *flowRun) finish(ctx context.Context) (FlowReport, error) {
	if err := f.stdin.Close(); err != nil {
		return FlowReport{}, err
	}
	select {
	case <-f.ended:
	case <-ctx.Done():
		return FlowReport{}, errors.Join(ctx.Err(), f.process.Kill())
	}
	r, err := f.report()
	if err == nil && !r.Final {
		err = fmt.Errorf("no final report\n%s", tail(f.process.log))
	}
	return r, err
}
