// SPDX-License-Identifier: GPL-2.0-only

package main

import (
	"context"
	"log/slog"
	"time"
)

// every does something again and again until ctx ends; failed says in the log
// that it could not.
func every(ctx context.Context, interval time.Duration, failed string, do func() error) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if err := do(); err != nil {
				slog.Warn(failed, "err", err)
			}
		}
	}
}
