// SPDX-License-Identifier: GPL-2.0-only

package host

import (
	"errors"

	"github.com/mdlayher/genetlink"
	"github.com/mdlayher/netlink"
)

// Of uapi/linux/netdev.h.
const (
	netdevFamily  = "netdev"
	netdevVersion = 1
	napiGet       = 11 // NETDEV_CMD_NAPI_GET
	napiIfindex   = 1  // NETDEV_A_NAPI_IFINDEX
)

// countNAPIs counts the NAPI instances that an interface has now. Before Linux 6.8
// the kernel does not tell.
func countNAPIs(name string) (n int, err error) {
	l, err := link(name)
	if err != nil {
		return 0, err
	}
	conn, err := genetlink.Dial(nil)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	family, err := conn.GetFamily(netdevFamily)
	if err != nil {
		return 0, err
	}
	ae := netlink.NewAttributeEncoder()
	ae.Uint32(napiIfindex, uint32(l.Attrs().Index))
	data, err := ae.Encode()
	if err != nil {
		return 0, err
	}
	m := genetlink.Message{Header: genetlink.Header{Command: napiGet, Version: netdevVersion}, Data: data}
	answer, err := conn.Execute(m, family.ID, netlink.Request|netlink.Dump)
	return len(answer), err
}
