// SPDX-License-Identifier: GPL-2.0-only

package ethnl

import (
	"fmt"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Feature is an offload of an interface.
type Feature struct {
	// Active is whether it is on; Wanted whether it shall be: what it depends on
	// may be off.
	Active, Wanted bool
	// Fixed says that it cannot be changed.
	Fixed bool
}

// Features reads the features of an interface by the kernel's names, as in
// netdev_features_strings of net/ethtool/common.c.
func (c *Client) Features(link string) (map[string]Feature, error) {
	data, err := one(c.call(unix.ETHTOOL_MSG_FEATURES_GET, link, 0, nil))
	if err != nil {
		return nil, fmt.Errorf("features of %s: %w", link, err)
	}
	out := map[string]Feature{}
	ad, err := netlink.NewAttributeDecoder(data)
	if err != nil {
		return nil, fmt.Errorf("features of %s: %w", link, err)
	}
	sets := map[uint16]map[string]bool{}
	for ad.Next() {
		if t := ad.Type(); t > unix.ETHTOOL_A_FEATURES_HEADER && t <= unix.ETHTOOL_A_FEATURES_NOCHANGE {
			sets[t] = map[string]bool{}
			ad.Nested(func(n *netlink.AttributeDecoder) error { return bitset(n, sets[t]) })
		}
	}
	if err := ad.Err(); err != nil {
		return nil, fmt.Errorf("features of %s: %w", link, err)
	}
	for name, changeable := range sets[unix.ETHTOOL_A_FEATURES_HW] {
		out[name] = Feature{
			Active: sets[unix.ETHTOOL_A_FEATURES_ACTIVE][name],
			Wanted: sets[unix.ETHTOOL_A_FEATURES_WANTED][name],
			Fixed:  !changeable || sets[unix.ETHTOOL_A_FEATURES_NOCHANGE][name],
		}
	}
	return out, nil
}

// bitset adds the bits of a verbose bitset. One with a mask has the bits of that,
// with their values; one without has those that are set.
func bitset(ad *netlink.AttributeDecoder, to map[string]bool) error {
	list := false
	for ad.Next() {
		switch ad.Type() {
		case unix.ETHTOOL_A_BITSET_NOMASK:
			list = true
		case unix.ETHTOOL_A_BITSET_BITS:
			ad.Nested(func(bits *netlink.AttributeDecoder) error {
				for bits.Next() {
					bits.Nested(func(b *netlink.AttributeDecoder) error {
						name, on := "", list
						for b.Next() {
							switch b.Type() {
							case unix.ETHTOOL_A_BITSET_BIT_NAME:
								name = b.String()
							case unix.ETHTOOL_A_BITSET_BIT_VALUE:
								on = true
							}
						}
						to[name] = on
						return b.Err()
					})
				}
				return bits.Err()
			})
		}
	}
	return ad.Err()
}

// SetFeatures turns features on and off. The kernel ignores what it cannot do, and
// changes others along: read them back.
func (c *Client) SetFeatures(link string, to map[string]bool) error {
	// The request has an answer, and no acknowledgement then.
	_, err := c.call(unix.ETHTOOL_MSG_FEATURES_SET, link, 0, func(ae *netlink.AttributeEncoder) {
		ae.Nested(unix.ETHTOOL_A_FEATURES_WANTED, func(set *netlink.AttributeEncoder) error {
			putBits(set, to)
			return nil
		})
	})
	if err != nil {
		return fmt.Errorf("features of %s: %w", link, err)
	}
	return nil
}
