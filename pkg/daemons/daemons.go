// SPDX-License-Identifier: GPL-2.0-only

// Package daemons lists the daemons that can be services.
package daemons

import (
	"github.com/randomizedcoder/l2d/pkg/hostapd"
	"github.com/randomizedcoder/l2d/pkg/kea"
	"github.com/randomizedcoder/l2d/pkg/llama"
	"github.com/randomizedcoder/l2d/pkg/radvd"
	"github.com/randomizedcoder/l2d/pkg/recursor"
	"github.com/randomizedcoder/l2d/pkg/service"
)

// All returns them, in the order in which their services start.
func All() []service.Daemon {
	return []service.Daemon{
		hostapd.New(),
		recursor.New(),
		kea.New(4),
		kea.New(6),
		radvd.New(),
		llama.New(),
	}
}
