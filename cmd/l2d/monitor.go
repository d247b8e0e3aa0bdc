// SPDX-License-Identifier: GPL-2.0-only

package main

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/cilium/ebpf/ringbuf"
	"golang.org/x/sys/unix"

	"github.com/randomizedcoder/l2d/loader"
	"github.com/randomizedcoder/l2d/pkg/api"
	"github.com/randomizedcoder/l2d/pkg/nft"
)

// maxMonitors is how many may watch at the same time: each is code that dropped packets meet.
const maxMonitors = 4

// monitorCheck is how often is looked whether the programs are still those that are
// watched.
const monitorCheck = time.Second

// Watch implements api.Service. Of a replacement, the packets of a second may be missed.
func (d *daemon) Watch(ctx context.Context, rate uint32, ready func(), yield func(api.Watched) error) error {
	if d.monitors.Add(1) > maxMonitors {
		d.monitors.Add(-1)
		return &api.Error{Status: http.StatusServiceUnavailable, Message: "too many watch the dataplane"}
	}
	defer d.monitors.Add(-1)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(d.ending, cancel)()
	for ctx.Err() == nil {
		if err := d.watch(ctx, rate, ready, yield); err != nil {
			return err
		}
		ready = func() {}
	}
	return nil
}

// watch watches one set of programs, until there are others.
func (d *daemon) watch(ctx context.Context, rate uint32, ready func(), yield func(api.Watched) error) (err error) {
	_, dp := d.state()
	if dp == nil {
		return errDetached
	}
	m, err := dp.Monitor(rate)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	closed := make(chan error, 1)
	go func() {
		for ctx.Err() == nil && m.Current() {
			sleep(ctx, monitorCheck)
		}
		closed <- m.Close()
	}()
	defer func() {
		cancel()
		err = errors.Join(err, <-closed)
	}()
	ready()
	var lost lostCount
	for {
		e, err := m.Read()
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
		w.Lost = lost.since(e.Lost)
		if err := yield(w); err != nil {
			return err
		}
	}
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

// watched puts an event into words, if it is of a packet that was dropped.
func (d *daemon) watched(e *loader.MonitorEvent) (w api.Watched, ok bool, err error) {
	plan, _ := d.state()
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return w, false, err
	}
	w = api.Watched{
		Time: time.Now().Add(time.Duration(int64(e.Now) - now.Nano())), Interface: plan.Links.Name(int(e.Index)), Egress: e.Egress != 0,
		Ethernet: e.Type == arphrdEther || e.Type == arphrdLoopback, Length: int(e.Len), Data: e.Data[:e.DataLen],
	}
	if w.Reason, ok = e.Reason(); w.Reason != "drop_policy" {
		return w, ok, nil
	}
	w.Rejected = e.Reject != 0
	// A chain of the interface itself, at egress, has other memory; and what XDP has
	// rejected has met its rule there.
	unknown := w.Egress && hasEgress(plan.Ruleset) || e.Rule == 0 && w.Rejected
	if rules := plan.Program.Rules; !unknown && int(e.Rule) < len(rules) {
		r := apiRule(rules[e.Rule])
		w.Rule = &r
	}
	return w, true, nil
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
