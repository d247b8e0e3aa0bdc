// SPDX-License-Identifier: GPL-2.0-only

package bench

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
)

// XDPForward is xdp-forward of the xdp-tools: XDP forwards by the kernel's routes, without
// a firewall.
type XDPForward struct{}

const xdpForwardName = "xdp-forward"

func init() { register(xdpForwardName, func(DeviceOptions) Device { return XDPForward{} }) }

// Name implements [Device].
func (XDPForward) Name() string { return xdpForwardName }

// Stateful implements [Device].
func (XDPForward) Stateful() bool { return false }

// Promise implements [Device].
func (XDPForward) Promise() Promise { return Promise{TTL: startTTL - 1} }

// Missing implements [Needer].
func (XDPForward) Missing(context.Context) error {
	if _, err := exec.LookPath(xdpForwardName); err != nil {
		return fmt.Errorf("%s is not there: Debian's package xdp-tools has it, from version 1.5 on", xdpForwardName)
	}
	return nil
}

// Version implements [Versioned].
func (XDPForward) Version(ctx context.Context) (program, version string) {
	return xdpForwardName, firstLine(ctx, xdpForwardName, "load", "--version")
}

// Setup implements [Device].
func (XDPForward) Setup(ctx context.Context, t *Topology) error {
	return t.InRouter(func() error {
		out, err := exec.CommandContext(ctx, xdpForwardName, "load", "--xdp-mode", "native", IngressName, EgressName).CombinedOutput()
		if err != nil {
			return fmt.Errorf("%s: %w\n%s", xdpForwardName, err, bytes.TrimSpace(out))
		}
		return nil
	})
}

// Teardown implements [Device]: its programs and pins go with the namespace.
func (XDPForward) Teardown() error { return nil }
