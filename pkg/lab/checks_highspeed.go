// SPDX-License-Identifier: GPL-2.0-only

package lab

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
)

func highSpeedChecks() []Check {
	const group = "high-speed links"
	return slices.Concat(
		both(group, "host to host", "download and datagrams between the two links", checkHostToHost),
		both(group, "host to Internet", "download and datagrams through NAT", checkHostToInternet),
	)
}

func checkHostToHost(ctx context.Context, t *trial, family int) error {
	return t.highSpeed(ctx, AddrHS1.Of(family), AddrHS0.Of(family))
}

func checkHostToInternet(ctx context.Context, t *trial, family int) error {
	return t.highSpeed(ctx, AddrServer.Of(family), AddrRouterWAN.Of(family))
}

// highSpeed sends from hs0 to a server that must see the packets come from seen.
func (t *trial) highSpeed(ctx context.Context, server, seen netip.Addr) error {
	return t.decidedBy(ctx, func() error {
		conn, err := t.dial(ctx, HS0, "udp", netip.AddrPort{}, netip.AddrPortFrom(server, portEcho))
		if err != nil {
			return err
		}
		defer conn.Close()
		from, err := reflect(conn)
		if err != nil {
			return err
		}
		if from.Addr() != seen {
			return fmt.Errorf("the server sees %s, want %s", from.Addr(), seen)
		}
		return t.download(ctx, HS0, server, 50_000_000, "")
	}, fwHighSpeed)
}
