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

	netdevDevGet  = 1  // NETDEV_CMD_DEV_GET
	netdevNAPIGet = 11 // NETDEV_CMD_NAPI_GET

	netdevIfindex     = 1 // NETDEV_A_DEV_IFINDEX, NETDEV_A_NAPI_IFINDEX
	netdevNAPIID      = 2 // NETDEV_A_NAPI_ID
	netdevNAPIPID     = 4 // NETDEV_A_NAPI_PID
	netdevXDPFeatures = 3 // NETDEV_A_DEV_XDP_FEATURES
)

// What a driver can do for XDP: enum netdev_xdp_act.
const (
	XDPBasic   = 1 << 0 // run programs that pass, drop, and send back
	XDPSendsBy = 1 << 2 // send what was redirected to it
)

// netdevDump asks for all of a kind in the calling thread's network namespace.
func netdevDump(command uint8, add func(*netlink.AttributeEncoder)) (answer []genetlink.Message, err error) {
	conn, err := genetlink.Dial(nil)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	family, err := conn.GetFamily(netdevFamily)
	if err != nil {
		return nil, err
	}
	ae := netlink.NewAttributeEncoder()
	add(ae)
	data, err := ae.Encode()
	if err != nil {
		return nil, err
	}
	m := genetlink.Message{Header: genetlink.Header{Command: command, Version: netdevVersion}, Data: data}
	return conn.Execute(m, family.ID, netlink.Request|netlink.Dump)
}

// countNAPIs counts the NAPI instances that an interface has now. Before Linux 6.8
// the kernel does not tell.
func countNAPIs(name string) (int, error) {
	l, err := link(name)
	if err != nil {
		return 0, err
	}
	answer, err := netdevDump(netdevNAPIGet, func(ae *netlink.AttributeEncoder) { ae.Uint32(netdevIfindex, uint32(l.Attrs().Index)) })
	return len(answer), err
}

// XDPFeatures are what drivers can do for XDP, by the interfaces' indexes.
func XDPFeatures() (map[int]uint64, error) {
	answer, err := netdevDump(netdevDevGet, func(*netlink.AttributeEncoder) {})
	if err != nil {
		return nil, err
	}
	out := map[int]uint64{}
	for _, m := range answer {
		ad, err := netlink.NewAttributeDecoder(m.Data)
		if err != nil {
			return nil, err
		}
		index, features := 0, uint64(0)
		for ad.Next() {
			switch ad.Type() {
			case netdevIfindex:
				index = int(ad.Uint32())
			case netdevXDPFeatures:
				features = ad.Uint64()
			}
		}
		if err := ad.Err(); err != nil {
			return nil, err
		}
		out[index] = features
	}
	return out, nil
}
