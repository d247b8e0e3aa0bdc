// SPDX-License-Identifier: GPL-2.0-only

package bench

import "context"

// Forward is the kernel's forwarding without a firewall.
type Forward struct{}

// ForwardName is its name.
const ForwardName = "forward"

func init() { register(ForwardName, func(DeviceOptions) Device { return Forward{} }) }

// Name implements [Device].
func (Forward) Name() string { return ForwardName }

// Stateful implements [Device].
func (Forward) Stateful() bool { return false }

// Promise implements [Device].
func (Forward) Promise() Promise {
	return Promise{TTL: startTTL - 1}
}

// Setup implements [Device]: a topology forwards as it is.
func (Forward) Setup(context.Context, *Topology) error { return nil }

// Teardown implements [Device].
func (Forward) Teardown() error { return nil }
