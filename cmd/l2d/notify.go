// SPDX-License-Identifier: GPL-2.0-only

package main

import (
	"log/slog"
	"time"

	sd "github.com/coreos/go-systemd/v22/daemon"
)

// The service manager hears of every change of state, if there is one that
// listens (sd_notify(3)).

func notify(state string) {
	if _, err := sd.SdNotify(false, state); err != nil {
		slog.Warn("service manager not notified", "err", err)
	}
}

func notifyReady()    { notify(sd.SdNotifyReady) }
func notifyStopping() { notify(sd.SdNotifyStopping) }
func notifyAlive()    { notify(sd.SdNotifyWatchdog) }

// notifyReloading also says when, which Type=notify-reload asks for.
func notifyReloading() {
	notify(sd.SdNotifyReloading + "\n" + sd.SdNotifyMonotonicUsec())
}

// watchdog ticks at half the time within which the service manager wants to
// hear of the daemon; never when it does not want to.
func watchdog() (<-chan time.Time, func()) {
	interval, err := sd.SdWatchdogEnabled(false)
	if err != nil {
		slog.Warn("watchdog settings of the service manager not understood", "err", err)
	}
	if interval <= 0 {
		return nil, func() {}
	}
	t := time.NewTicker(interval / 2)
	return t.C, t.Stop
}
