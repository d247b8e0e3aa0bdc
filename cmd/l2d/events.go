// SPDX-License-Identifier: GPL-2.0-only

package main

import (
	"context"
	"log/slog"

	"github.com/randomizedcoder/l2d/loader"
	"github.com/randomizedcoder/l2d/pkg/api"
	"github.com/randomizedcoder/l2d/pkg/pktlog"
)

// followEvents writes what log statements report to the daemon's log, until ctx
// ends.
func (d *daemon) followEvents(ctx context.Context) {
	for ctx.Err() == nil {
		if err := d.readEvents(ctx); err != nil && ctx.Err() == nil {
			slog.Warn("log statements are not followed for a moment", "err", err)
		}
		sleep(ctx, retry)
	}
}

// readEvents follows one dataplane, until it is detached.
func (d *daemon) readEvents(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	d.mu.Lock()
	dp := d.dp
	d.stopEvents = cancel
	d.mu.Unlock()
	if dp == nil {
		return nil
	}
	return dp.Events(ctx, func(e loader.Event) { d.logEvent(ctx, &e) })
}

// logEvent writes one event at the level of its statement.
func (d *daemon) logEvent(ctx context.Context, e *loader.Event) {
	plan, _ := d.state()
	var prefix, text string
	var flags uint32
	level := slog.LevelWarn // the default of nft
	var attrs []slog.Attr
	// An event may be of a policy that was replaced meanwhile.
	if int(e.Log) < len(plan.Program.Logs) {
		l := plan.Program.Logs[e.Log]
		prefix, level, flags = l.Prefix, syslogLevel(l.Level), l.Flags
		if l.Level == levelAudit {
			prefix, text = "", pktlog.Audit(e)
		}
		if int(l.Rule) < len(plan.Program.Rules) {
			r := plan.Program.Rules[l.Rule]
			attrs = append(attrs, slog.String("table", r.Table), slog.String("chain", r.Chain), slog.Uint64("handle", r.Handle))
		}
	}
	if text == "" {
		text = pktlog.Line(e, flags, plan.Links.Name)
	}
	slog.LogAttrs(ctx, level, prefix+text, attrs...)
	d.told.tell(api.WatchLog, prefix+text)
}

// levelAudit is NFT_LOGLEVEL_AUDIT.
const levelAudit = 8

// syslogLevel maps the levels of syslog(3) to those of slog.
func syslogLevel(l uint32) slog.Level {
	switch {
	case l <= 3: // emerg, alert, crit, err
		return slog.LevelError
	case l == 4: // warning
		return slog.LevelWarn
	case l <= 6, l == levelAudit: // notice, info
		return slog.LevelInfo
	}
	return slog.LevelDebug
}
