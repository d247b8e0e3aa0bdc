// SPDX-License-Identifier: GPL-2.0-only

package main

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/cilium/ebpf/ringbuf"
	"golang.org/x/sys/unix"

	"github.com/randomizedcoder/l2d/loader"
	"github.com/randomizedcoder/l2d/pkg/api"
	"github.com/randomizedcoder/l2d/pkg/enforce"
	"github.com/randomizedcoder/l2d/pkg/nft"
	"github.com/randomizedcoder/l2d/pkg/ntuple"
)

// maxMonitors is how many may watch at the same time: each is code that packets meet.
const maxMonitors = 4

// monitorCheck is how often is looked whether the programs are still those that are
// watched.
const monitorCheck = time.Second

// Watch implements api.Service. Of a replacement, the packets of a second may be missed.
func (d *daemon) Watch(ctx context.Context, o api.WatchOptions, ready func(), yield func(api.Watched) error) error {
	if d.monitors.Add(1) > maxMonitors {
		d.monitors.Add(-1)
		return &api.Error{Status: http.StatusServiceUnavailable, Message: "too many watch the dataplane"}
	}
	defer d.monitors.Add(-1)
	if _, dp := d.state(); dp == nil {
		return errDetached
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(d.ending, cancel)()
	m := merger{ctx: ctx, events: make(chan api.Watched), ended: make(chan error, 1)}
	if err := d.watchKinds(&m, &o); err != nil {
		return err
	}
	ready()
	err := m.each(yield)
	cancel()
	m.sources.Wait()
	return err
}

// watchKinds begins to watch all that is asked for.
func (d *daemon) watchKinds(m *merger, o *api.WatchOptions) error {
	if o.Has(api.WatchDrops) || o.Has(api.WatchPassed) || o.Has(api.WatchNAT) {
		begun := make(chan error, 1)
		m.run(func() error {
			begin := func(mon *loader.Monitor) error {
				begun <- nil
				return m.unseen(o, mon)
			}
			for m.ctx.Err() == nil {
				if err := d.watchPackets(m, o, begin); err != nil {
					begun <- err
					return err
				}
				begin = func(*loader.Monitor) error { return nil }
			}
			return nil
		})
		if err := <-begun; err != nil {
			return err
		}
	}
	if o.Has(api.WatchFlows) {
		if err := d.watchFlows(m); err != nil {
			return err
		}
	}
	if o.Has(api.WatchNAT) {
		m.run(func() error { return d.watchMappings(m) })
	}
	if o.Has(api.WatchServices) {
		d.watchServices(m)
	}
	if o.Has(api.WatchLog) || o.Has(api.WatchSets) {
		l := d.told.listen()
		m.run(func() error {
			defer d.told.leave(l)
			return l.each(m.ctx, func(w api.Watched) error {
				if !o.Has(w.Kind) {
					return nil
				}
				return m.put(w)
			})
		})
	}
	return nil
}

// unseen tells of drops that are not told.
func (m *merger) unseen(o *api.WatchOptions, mon *loader.Monitor) error {
	if mon.XDPUnseen == nil || !o.Has(api.WatchDrops) {
		return nil
	}
	return m.put(api.Watched{Kind: api.WatchDrops, Time: time.Now(), Text: "what XDP drops is not shown: " + mon.XDPUnseen.Error()})
}

// watchPackets watches one set of programs, until there are others. It calls ready when
// it does.
func (d *daemon) watchPackets(m *merger, o *api.WatchOptions, ready func(*loader.Monitor) error) (err error) {
	_, dp := d.state()
	if dp == nil {
		return errDetached
	}
	mon, err := dp.Monitor(loader.MonitorOptions{
		PerSecond: o.Rate, Drops: o.Has(api.WatchDrops) || o.Has(api.WatchNAT), Passed: o.Has(api.WatchPassed), Filter: o.Filter,
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(m.ctx)
	defer cancel()
	closed := make(chan error, 1)
	go func() {
		for ctx.Err() == nil && mon.Current() {
			sleep(ctx, monitorCheck)
		}
		closed <- mon.Close()
	}()
	defer func() {
		cancel()
		err = errors.Join(err, <-closed)
	}()
	if err := ready(mon); err != nil {
		return err
	}
	var lost lostCount
	for {
		e, err := mon.Read()
		if errors.Is(err, ringbuf.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		w, ok, err := d.watched(&e)
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		switch {
		case w.Kind == api.WatchDrops && o.Has(api.WatchNAT) && isNATReason(w.Packet.Reason):
			w.Kind = api.WatchNAT
		case !o.Has(w.Kind):
			continue
		}
		w.Lost = lost.since(e.Lost)
		if err := m.put(w); err != nil {
			return err
		}
	}
}

// isNATReason tells whether a packet was dropped for want of a translation.
func isNATReason(reason string) bool {
	return strings.HasPrefix(reason, "drop_nat_") || reason == "drop_flow_clash"
}

// lostCount tells how many events were lost. CPUs count by themselves: what is more
// than any has said before is new at least.
type lostCount uint64

func (l *lostCount) since(n uint64) uint64 {
	was := uint64(*l)
	if n <= was {
		return 0
	}
	*l = lostCount(n)
	return n - was
}

// Values of include/uapi/linux/if_arp.h.
const (
	arphrdEther    = 1
	arphrdLoopback = 772
)

// fates are the words for what becomes of packets.
var fates = map[uint8]string{
	loader.FateDropped: api.PacketDropped, loader.FateForwarded: api.PacketForwarded,
	loader.FateAccepted: api.PacketAccepted, loader.FateSent: api.PacketSent,
}

// watched puts an event into words, if it is of a packet that was dropped or passed.
func (d *daemon) watched(e *loader.MonitorEvent) (w api.Watched, ok bool, err error) {
	plan, _ := d.state()
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return w, false, err
	}
	p := &api.Packet{
		Fate: fates[e.Fate], Interface: plan.Links.Name(int(e.Index)), Egress: e.Egress != 0,
		Ethernet: e.Type == arphrdEther || e.Type == arphrdLoopback, Length: int(e.Len), Data: e.Data[:e.DataLen],
	}
	w = api.Watched{Kind: api.WatchDrops, Time: time.Now().Add(time.Duration(int64(e.Now) - now.Nano())), Packet: p}
	if after := e.Passed; after != nil {
		w.Kind = api.WatchPassed
		if after.Len != e.Len || !bytes.Equal(after.Data[:after.DataLen], p.Data) {
			p.Rewritten, p.RewrittenLength = after.Data[:after.DataLen], int(after.Len)
		}
		if after.Out != 0 {
			p.Out = plan.Links.Name(int(after.Out))
		}
		return w, true, nil
	}
	if p.Reason, ok = e.Reason(); p.Reason == "drop_steer" {
		p.NTuple = steeredBy(plan, e)
	}
	if p.Reason != "drop_policy" {
		return w, ok, nil
	}
	if e.Reject != 0 {
		p.Fate = api.PacketRejected
	}
	// A chain of the interface itself, at egress, has other memory; and what XDP has
	// rejected has met its rule there.
	unknown := p.Egress && hasEgress(plan.Ruleset) || e.Rule == 0 && e.Reject != 0
	if rules := plan.Program.Rules; !unknown && int(e.Rule) < len(rules) {
		r := apiRule(rules[e.Rule])
		p.Rule = &r
	}
	return w, true, nil
}

// steeredBy is the rule of ntuple that has decided about a packet.
func steeredBy(plan *enforce.Plan, e *loader.MonitorEvent) string {
	for _, i := range plan.Loader.Interfaces {
		if i.Index != int(e.Index) {
			continue
		}
		p := ntuple.ReadFrame(e.Data[:e.DataLen])
		if r := ntuple.First(i.Rules, &p); r != nil {
			return r.String()
		}
	}
	return ""
}

// hasEgress tells whether interfaces have chains for what leaves by them.
func hasEgress(rs *nft.Ruleset) bool {
	for _, t := range rs.Tables {
		for _, ch := range t.Chains {
			if ch.Base != nil && ch.Base.Hook == nft.HookEgress {
				return true
			}
		}
	}
	return false
}
