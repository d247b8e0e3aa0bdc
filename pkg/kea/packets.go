// SPDX-License-Identifier: GPL-2.0-only

package kea

import (
	"fmt"

	"github.com/randomizedcoder/l2d/pkg/prefixes"
	"github.com/randomizedcoder/l2d/pkg/service"
)

// A client of DHCPv6 has a link-local address, neighbour one of these, and asks all servers (RFC 8415).
const (
	neighbour = "fe80::fffe:2"
	servers6  = "ff02::1:2"
)

// Packets implements [service.Firewalled]: what clients of DHCPv6 ask by, and are told. A server of DHCPv4 hears them before the
// ruleset does, or has relays ask it, of which nothing is known here.
func (d *Daemon) Packets(u *service.Unit) ([]service.Packet, error) {
	name := u.Params[linkParam]
	if d.family == 4 || name == "" {
		return nil, nil
	}
	_, own, err := prefixes.LinkLocals(name)
	if err != nil {
		return nil, err
	}
	return []service.Packet{
		{Name: "clients' requests", Text: fmt.Sprintf("iif %s udp [%s]:546 > [%s]:547", name, neighbour, servers6)},
		{Name: "answers to clients", Text: fmt.Sprintf("oif %s udp [%v]:547 > [%s]:546", name, own[0], neighbour)},
	}, nil
}
