// SPDX-License-Identifier: GPL-2.0-only

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/cilium/ebpf"

	"github.com/randomizedcoder/l2d/loader"
	"github.com/randomizedcoder/l2d/pkg/api"
	"github.com/randomizedcoder/l2d/pkg/enforce"
	"github.com/randomizedcoder/l2d/pkg/nft"
	"github.com/randomizedcoder/l2d/pkg/policy"
)

const (
	// adoptTries is how often a ruleset is read that changes before its tables
	// are adopted.
	adoptTries = 10
	// resyncRetry is the wait after a ruleset could not be put in force for
	// another reason than what it says.
	resyncRetry = 5 * time.Second
)

// live is the kernel's ruleset as far as the dataplane has it.
type live struct {
	// generation of the last transaction that is in the dataplane.
	generation uint32
	tables     map[nft.TableName]bool
	sets       map[setName]*liveSet
	// again tells that reading it has to be tried again without a change.
	again bool
}

type setName struct {
	table nft.TableName
	set   string
}

// liveSet is a set that is a map, and follows the kernel's of the same name.
type liveSet struct {
	*policy.Set
	elements *nft.LiveSet
	// known are the keys that the kernel has of a dynamic set; the others are
	// those that rules added.
	known map[string]bool
}

// newLive is of a ruleset of the kernel's that the sets of a program follow.
func newLive(p *policy.Program, rs *nft.Ruleset, read time.Time) live {
	l := live{generation: rs.Generation, tables: map[nft.TableName]bool{}, sets: map[setName]*liveSet{}}
	for _, t := range rs.Tables {
		l.tables[nft.TableName{Family: t.Family, Name: t.Name}] = true
	}
	for _, s := range p.Sets {
		t := rs.Table(s.Family, s.Table)
		if t == nil || t.Set(s.Name) == nil || s.Constant {
			continue
		}
		src := t.Set(s.Name)
		ls := &liveSet{Set: s, elements: nft.NewLiveSet(src, read)}
		if s.Dynamic() {
			ls.known = map[string]bool{}
			ls.note(nil, src.Ranges())
		}
		l.sets[setName{nft.TableName{Family: s.Family, Name: s.Table}, s.Name}] = ls
	}
	return l
}

// note keeps track of which keys are the kernel's.
func (s *liveSet) note(gone, come []nft.Range) {
	if s.known == nil {
		return
	}
	for _, r := range gone {
		for _, k := range s.Keys(r) {
			delete(s.known, string(k))
		}
	}
	for _, r := range come {
		for _, k := range s.Keys(r) {
			s.known[string(k)] = true
		}
	}
}

// adopt puts a plan in force that was made from the kernel's ruleset, and then
// has the kernel leave it to the dataplane. When others change the ruleset in
// between, it begins anew with what they made of it. Programs that are those of
// the plan already are only replaced if that is forced. The caller holds change.
func (d *daemon) adopt(ctx context.Context, p *enforce.Plan, force bool) error {
	for range adoptTries {
		if err := d.enforce(ctx, p, force); err != nil {
			return err
		}
		generation, err := p.Adopt()
		if err == nil {
			p.Ruleset.Generation = generation
			d.live = newLive(p.Program, p.Ruleset, p.Read)
			d.synced(p.Ruleset)
			return nil
		}
		if !errors.Is(err, nft.ErrChanged) {
			// Both filter: that is safe.
			return err
		}
		if p, err = prepare(ctx, p, p.Links); err != nil {
			return err
		}
	}
	return nft.ErrChanged
}

// enforce has the dataplane run a plan made from the kernel's ruleset.
func (d *daemon) enforce(ctx context.Context, p *enforce.Plan, force bool) error {
	before, dp := d.state()
	p.Loader.Carry = d.carries(p)
	if dp != nil {
		p.Loader.Counted = counted(before, p)
	}
	if dp == nil || force || !sameLoader(before.Loader, p.Loader) {
		if err := d.replace(ctx, p); err != nil {
			return err
		}
		if _, dp = d.state(); !dp.Kept() {
			return nil
		}
	}
	for _, s := range p.Program.Sets {
		ranges := p.Ruleset.Table(s.Family, s.Table).Set(s.Name).Ranges()
		err := dp.Maps(func(m map[string]*ebpf.Map) error { return s.Sync(m, ranges) })
		if err != nil {
			return err
		}
	}
	d.mu.Lock()
	d.plan = p
	d.mu.Unlock()
	return nil
}

// counted returns which counters of a plan are of the same rules as those of the
// plan before. A table that was made anew counts anew.
func counted(before, after *enforce.Plan) map[uint32]uint32 {
	handles := map[string]uint64{}
	for _, t := range before.Ruleset.Tables {
		handles[t.String()] = t.Handle
	}
	kept := map[string]bool{}
	for _, t := range after.Ruleset.Tables {
		kept[t.String()] = handles[t.String()] == t.Handle
	}
	old := make(map[policy.RuleInfo]uint32, len(before.Program.Rules))
	for _, r := range before.Program.Rules {
		index := r.Index
		r.Index = 0
		old[r] = index
	}
	same := make(map[uint32]uint32, len(after.Program.Rules))
	for _, r := range after.Program.Rules {
		to := r.Index
		r.Index = 0
		if from, ok := old[r]; ok && kept[r.Table] {
			same[to] = from
		}
	}
	return same
}

// relinkRefused has the ruleset in force, compiled for other links, on them: the
// kernel's is one that is refused. The sets go on as they are. The caller holds
// change.
func (d *daemon) relinkRefused(ctx context.Context, links enforce.Links) error {
	before, _ := d.state()
	next, err := before.Relink(links)
	if err != nil {
		return err
	}
	next.KeepRenamed(before.Loader.Interfaces)
	next.Loader.Counted = counted(before, next)
	next.Loader.Carry = func(_ string, to, from *ebpf.Map) error { return policy.ReplaceEntries(to, from) }
	if err := d.replace(ctx, next); err != nil {
		return err
	}
	_, dp := d.state()
	for _, s := range next.Program.Sets {
		if err := dp.Maps(func(m map[string]*ebpf.Map) error { return s.Relink(m) }); err != nil {
			return err
		}
		if ls := d.live.sets[setName{nft.TableName{Family: s.Family, Name: s.Table}, s.Name}]; ls != nil {
			ls.Set = s
		}
	}
	return nil
}

// carries gives the policy of a plan those elements of the running one that rules
// have added to its dynamic sets. All others the kernel has.
func (d *daemon) carries(p *enforce.Plan) func(set string, to, from *ebpf.Map) error {
	dynamic := map[string]bool{}
	for _, s := range p.Program.Sets {
		dynamic[s.MapName] = s.Dynamic()
	}
	known := map[string]map[string]bool{}
	for _, s := range d.live.sets {
		known[s.MapName] = s.known
	}
	return func(set string, to, from *ebpf.Map) error {
		if !dynamic[set] {
			return nil
		}
		return policy.CarryEntries(to, from, func(key []byte) bool { return !known[set][string(key)] })
	}
}

// mirror has a file's sets in the kernel's nftables, and what the kernel has of
// them in the dataplane. It returns false when that has to be tried again. The
// caller holds change.
func (d *daemon) mirror(ctx context.Context) bool {
	plan, dp := d.state()
	read := time.Now()
	rs, err := plan.Mirror(ctx, dp.Maps)
	if err != nil {
		d.live.again = true
		if ctx.Err() == nil {
			d.unsynced(err)
		}
		return false
	}
	d.live = newLive(plan.Program, rs, read)
	d.synced(rs)
	return true
}

// synced notes that the kernel's ruleset is in force.
func (d *daemon) synced(rs *nft.Ruleset) {
	names := make([]string, len(rs.Tables))
	for i, t := range rs.Tables {
		names[i] = t.String()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.sync.Error != "" {
		slog.Info("nftables is followed again")
	}
	d.sync.Generation, d.sync.Tables, d.sync.Error = d.live.generation, names, ""
}

// unsynced notes why the kernel's ruleset is not in force, and logs it once.
func (d *daemon) unsynced(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.sync.Errors++
	if text := err.Error(); text != d.sync.Error {
		d.sync.Error = text
		slog.Error("nftables is not followed, what is in force goes on", "err", err)
	}
}

// changed notes that a change is in force that was reported at a time.
func (d *daemon) changed(reported time.Time, counter *uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.sync.Generation = d.live.generation
	d.sync.Changed = time.Now()
	d.sync.Took = d.sync.Changed.Sub(reported)
	*counter++
}

// followRuleset has the dataplane follow the kernel's ruleset until ctx ends.
func (d *daemon) followRuleset(ctx context.Context) {
	for first := true; ctx.Err() == nil; first = false {
		err := d.followOnce(ctx, first)
		if ctx.Err() != nil {
			return
		}
		d.mu.Lock()
		d.sync.Errors++
		d.mu.Unlock()
		slog.Warn("changes of nftables were missed, the ruleset is read again", "err", err)
	}
}

// followOnce follows one subscription until it fails. What happened before is
// found by reading the ruleset.
func (d *daemon) followOnce(ctx context.Context, first bool) error {
	f, err := nft.Follow()
	if err != nil {
		sleep(ctx, retry)
		return err
	}
	defer f.Close()
	generation, err := f.Generation()
	if err != nil {
		sleep(ctx, retry)
		return err
	}
	d.change.Lock()
	if !first || generation != d.live.generation {
		d.resync(ctx, time.Now())
	}
	d.change.Unlock()
	for {
		t, err := d.nextTransaction(ctx, f)
		if err != nil {
			return err
		}
		d.change.Lock()
		d.follow(ctx, t, time.Now())
		d.change.Unlock()
	}
}

// nextTransaction waits for the next transaction; nil when it is time to try
// again what failed.
func (d *daemon) nextTransaction(ctx context.Context, f *nft.Follower) (*nft.Transaction, error) {
	d.change.Lock()
	again := d.live.again
	d.change.Unlock()
	if !again {
		return f.Next(ctx)
	}
	wait, cancel := context.WithTimeout(ctx, resyncRetry)
	defer cancel()
	t, err := f.Next(wait)
	if errors.Is(err, context.DeadlineExceeded) {
		return nil, nil
	}
	return t, err
}

// follow takes a transaction in. The caller holds change.
func (d *daemon) follow(ctx context.Context, t *nft.Transaction, reported time.Time) {
	plan, dp := d.state()
	switch {
	case dp == nil:
		return // detached
	case t == nil:
		d.resync(ctx, reported)
		return
	case int32(t.Generation-d.live.generation) <= 0:
		return // has been read, or is the dataplane's own
	}
	kernel := plan.Config.Dataplane.Kernel()
	for name := range t.Tables {
		if kernel && name.Family != nft.FamilyARP && name.Family != nft.FamilyBridge || d.live.tables[name] {
			d.resync(ctx, reported)
			return
		}
	}
	if !slices.ContainsFunc(t.Elements, func(c nft.ElementChange) bool { return d.live.tables[c.Table] }) {
		d.live.generation = t.Generation
		return
	}
	switch err := d.updateSets(dp, t.Elements, reported); {
	case kernel && errors.Is(err, policy.ErrRecompile):
		d.resync(ctx, reported)
	case err != nil:
		d.live.generation, d.live.again = t.Generation, true
		d.unsynced(err)
	default:
		d.live.generation = t.Generation
		d.changed(reported, &d.sync.ElementChanges)
	}
}

// updateSets changes the elements of sets in place.
func (d *daemon) updateSets(dp *loader.Dataplane, changes []nft.ElementChange, now time.Time) error {
	bySet := map[setName][]nft.ElementChange{}
	for _, c := range changes {
		name := setName{c.Table, c.Set}
		switch {
		case !d.live.tables[c.Table]:
			continue // not adopted
		case d.live.sets[name] == nil || c.Element.CatchAll:
			// It is in the code.
			return fmt.Errorf("set %v %s %s: %w", c.Table.Family, c.Table.Name, c.Set, policy.ErrRecompile)
		}
		bySet[name] = append(bySet[name], c)
	}
	for name, changes := range bySet {
		s := d.live.sets[name]
		gone, come := s.elements.Apply(changes, now)
		s.note(gone, come)
		err := dp.Maps(func(m map[string]*ebpf.Map) error { return s.Update(m, gone, come) })
		if err != nil {
			return err
		}
		of := api.SetName{Family: s.Family.String(), Table: s.Table, Set: s.Name}
		for _, r := range gone {
			d.tellSet("delete", of, s.RangeText(r))
		}
		for _, r := range come {
			d.tellSet("add", of, s.RangeText(r))
		}
	}
	return nil
}

// resync reads the ruleset and puts it in force. When it cannot be, the one in
// force goes on, and what the kernel has awake it enforces itself. The caller
// holds change.
func (d *daemon) resync(ctx context.Context, reported time.Time) {
	plan, dp := d.state()
	if dp == nil {
		return
	}
	if plan.Config.Dataplane.Mirror {
		if d.mirror(ctx) {
			d.changed(reported, &d.sync.RulesetChanges)
		}
		return
	}
	links, err := enforce.ReadLinks()
	if err == nil {
		var next *enforce.Plan
		if next, err = prepare(ctx, plan, links); err == nil {
			err = d.adopt(ctx, next, false)
		}
	}
	if err == nil {
		d.changed(reported, &d.sync.RulesetChanges)
		return
	}
	if ctx.Err() != nil {
		return
	}
	// A ruleset that is refused is refused until it changes.
	var refused *enforce.RulesetError
	d.live.again = !errors.As(err, &refused)
	d.unsynced(err)
}
