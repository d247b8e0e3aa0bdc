// SPDX-License-Identifier: GPL-2.0-only

package main

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"reflect"
	"time"

	"github.com/randomizedcoder/l2d/pkg/config"
	"github.com/randomizedcoder/l2d/pkg/flow"
)

// natLog writes who had which external address and port, from when to when: RFC
// 6888, section 4.
type natLog struct {
	config.NAT
	log *slog.Logger

	second  time.Time // that lines are counted in
	lines   uint32    // in it
	leftOut uint64    // since the last word about it
}

// setNATLog has the NAT log as a configuration says. The caller holds d.change.
func (d *daemon) setNATLog(c config.NAT) {
	if d.stopNATLog != nil {
		if reflect.DeepEqual(c, d.natLog) {
			return
		}
		d.stopNATLog()
		d.stopNATLog = nil
	}
	if !c.Log {
		return
	}
	l, err := d.flows.Listen(flow.Filter{NAT: flow.NATAny}, flow.KindNew|flow.KindDestroy)
	if err != nil {
		slog.Error("translations are not logged", "err", err)
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	d.natLog, d.stopNATLog = c, cancel
	go func() {
		defer l.Close()
		n := natLog{NAT: c, log: slog.Default()}
		n.follow(ctx, l)
	}()
}

// follow logs what a listener hears, until ctx or the listening ends.
func (n *natLog) follow(ctx context.Context, l *flow.Listener) {
	for {
		next, cancel := context.WithTimeout(ctx, time.Second)
		e, err := l.Next(next)
		cancel()
		n.count(time.Now())
		switch {
		case err == nil:
			n.event(&e)
		case ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded):
			return
		}
	}
}

// count begins another second, and says what the last one has left out.
func (n *natLog) count(now time.Time) {
	if now.Sub(n.second) < time.Second {
		return
	}
	if n.leftOut > 0 {
		n.log.Warn("nat log: lines left out, by the limit of nat.log_rate", "lines", n.leftOut)
	}
	n.second, n.lines, n.leftOut = now, 0, 0
}

func (n *natLog) event(e *flow.Event) {
	if e.Kind == flow.KindLost {
		n.log.Warn("nat log: events were lost", "events", e.Lost)
		return
	}
	for _, m := range translations(e.Flow) {
		if n.lines >= n.LogRate {
			n.leftOut++
			continue
		}
		n.lines++
		n.line(e, m)
	}
}

// translation is one that a flow has: of an end inside to one outside.
type translation struct {
	of                      string // the end of the flow that is translated
	inside, outside, remote netip.AddrPort
}

// translations are those of a flow: of its source, of its destination, or both.
func translations(f *flow.Flow) (list []translation) {
	if f.SrcNAT() {
		list = append(list, translation{"source", f.Original.Src, f.Reply.Dst, f.Reply.Src})
	}
	if f.DstNAT() {
		list = append(list, translation{"destination", f.Reply.Src, f.Original.Dst, f.Original.Src})
	}
	return list
}

func (n *natLog) line(e *flow.Event, t translation) {
	attrs := []slog.Attr{
		slog.String("proto", e.Flow.Protocol), slog.String("of", t.of),
		slog.String("inside", t.inside.String()), slog.String("outside", t.outside.String()),
	}
	if n.LogDestinations {
		attrs = append(attrs, slog.String("remote", t.remote.String()))
	}
	if z := e.Flow.Original.Zone; z != 0 {
		attrs = append(attrs, slog.Int("zone", int(z)))
	}
	const format = "2006-01-02T15:04:05.000Z07:00"
	since := e.Time.Add(-e.Flow.Age).Format(format)
	if e.Kind == flow.KindNew {
		n.log.LogAttrs(context.Background(), slog.LevelInfo, "nat begins", append(attrs, slog.String("since", since))...)
		return
	}
	n.log.LogAttrs(context.Background(), slog.LevelInfo, "nat ends", append(attrs,
		slog.String("since", since), slog.String("until", e.Time.Format(format)), slog.String("reason", e.Reason))...)
}
