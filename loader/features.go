// SPDX-License-Identifier: GPL-2.0-only

package loader

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/mdlayher/genetlink"
	mdnl "github.com/mdlayher/netlink"
	"github.com/vishvananda/netlink"
)

// The netdev generic netlink family, include/uapi/linux/netdev.h.
const (
	netdevFamily      = "netdev"
	netdevCmdDevGet   = 1
	netdevAttrIfindex = 1
	netdevAttrXDP     = 3
	xdpActNdoXmit     = 4 // NETDEV_XDP_ACT_NDO_XMIT: takes redirected frames
)

// takesXDPFrames asks the kernel whether frames can be redirected to an
// interface's driver.
func takesXDPFrames(ifindex int) (bool, error) {
	conn, err := genetlink.Dial(nil)
	if err != nil {
		return false, err
	}
	defer conn.Close()
	family, err := conn.GetFamily(netdevFamily)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return false, nil
		}
		return false, err
	}
	enc := mdnl.NewAttributeEncoder()
	enc.Uint32(netdevAttrIfindex, uint32(ifindex))
	data, err := enc.Encode()
	if err != nil {
		return false, err
	}
	msgs, err := conn.Execute(genetlink.Message{
		Header: genetlink.Header{Command: netdevCmdDevGet, Version: family.Version},
		Data:   data,
	}, family.ID, mdnl.Request)
	if err != nil {
		return false, fmt.Errorf("netdev features of interface %d: %w", ifindex, err)
	}
	for _, m := range msgs {
		dec, err := mdnl.NewAttributeDecoder(m.Data)
		if err != nil {
			return false, err
		}
		for dec.Next() {
			if dec.Type() == netdevAttrXDP {
				return dec.Uint64()&xdpActNdoXmit != 0, nil
			}
		}
		if err := dec.Err(); err != nil {
			return false, err
		}
	}
	return false, nil
}

// queueManagers are the qdiscs that XDP must not send past.
var queueManagers = map[string]bool{
	"dualpi2": true, "cake": true, "cake_mq": true, "fq_codel": true, "codel": true,
	"fq_pie": true, "pie": true, "sfq": true, "red": true, "tbf": true, "htb": true, "hfsc": true,
}

// QueuesChanged tells whether a queue manager has come to one of the interfaces that the dataplane is attached to, and XDP
// sends past it, or has gone.
func (d *Dataplane) QueuesChanged(as []Interface) (bool, error) {
	d.mu.RLock()
	attached := slices.Clone(d.interfaces)
	d.mu.RUnlock()
	for _, s := range attached {
		managed, err := hasQueueManager(s.Index)
		if err != nil {
			return false, err
		}
		if said := slices.ContainsFunc(as, func(i Interface) bool { return i.Index == s.Index && i.AQM }); s.AQM != (said || managed) {
			return true, nil
		}
	}
	return false, nil
}

// hasQueueManager tells whether a queue manager is at the root of an interface.
func hasQueueManager(ifindex int) (bool, error) {
	l, err := netlink.LinkByIndex(ifindex)
	if err != nil {
		return false, fmt.Errorf("interface %d: %w", ifindex, err)
	}
	qdiscs, err := netlink.QdiscList(l)
	if err != nil {
		return false, fmt.Errorf("qdiscs of %s: %w", l.Attrs().Name, err)
	}
	for _, q := range qdiscs {
		if q.Attrs().Parent == netlink.HANDLE_ROOT && queueManagers[q.Type()] {
			return true, nil
		}
	}
	return false, nil
}
