// SPDX-License-Identifier: GPL-2.0-only

package main

import (
	"context"
	"time"
)

// clockInterval is how often the daemon looks whether leap seconds have been
// announced or the kernel's time zone was set, both mostly once after boot.
const clockInterval = 10 * time.Second

// followClock keeps what the programs know of the clock until ctx ends.
func (d *daemon) followClock(ctx context.Context) {
	every(ctx, clockInterval, "clock not read", d.refreshClock)
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
