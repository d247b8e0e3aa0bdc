// SPDX-License-Identifier: GPL-2.0-only

package main

import (
	"context"
	"log/slog"
	"time"
)

// clockInterval is how often the daemon looks whether leap seconds have been
// announced or the kernel's time zone was set, both mostly once after boot.
const clockInterval = 10 * time.Second

// followClock keeps what the programs know of the clock until ctx ends.
func (d *daemon) followClock(ctx context.Context) {
	tick := time.NewTicker(clockInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if err := d.refreshClock(); err != nil {
				slog.Warn("clock not read", "err", err)
			}
		}
	}
}

func (d *daemon) refreshClock() error {
	d.change.Lock()
	defer d.change.Unlock()
	_, dp := d.state()
	if dp == nil {
		return nil
	}
	return dp.RefreshClock()
}
