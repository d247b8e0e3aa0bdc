// SPDX-License-Identifier: GPL-2.0-only

package ethnl

import (
	"fmt"
	"maps"
	"slices"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// FlagSet is a set of named flags of an interface that the driver, or the device,
// has some of.
type FlagSet struct {
	// Name of the set, as a word.
	Name     string
	get, set uint8
	attr     uint16
}

// Sets of flags.
var (
	// PrivateFlags have names of the driver's.
	PrivateFlags = &FlagSet{"private_flags", unix.ETHTOOL_MSG_PRIVFLAGS_GET, unix.ETHTOOL_MSG_PRIVFLAGS_SET, unix.ETHTOOL_A_PRIVFLAGS_FLAGS}
	// WoL is what wakes a host that sleeps.
	WoL = &FlagSet{"wol", unix.ETHTOOL_MSG_WOL_GET, unix.ETHTOOL_MSG_WOL_SET, unix.ETHTOOL_A_WOL_MODES}
)

// Flags are those of a set that the interface has, and whether they are set.
func (c *Client) Flags(s *FlagSet, link string) (map[string]bool, error) {
	out := map[string]bool{}
	data, err := one(c.call(s.get, link, 0, nil))
	if err != nil {
		return nil, fmt.Errorf("%s of %s: %w", s.Name, link, err)
	}
	ad, err := netlink.NewAttributeDecoder(data)
	if err != nil {
		return nil, fmt.Errorf("%s of %s: %w", s.Name, link, err)
	}
	for ad.Next() {
		if ad.Type() == s.attr {
			ad.Nested(func(n *netlink.AttributeDecoder) error { return bitset(n, out) })
		}
	}
	if err := ad.Err(); err != nil {
		return nil, fmt.Errorf("%s of %s: %w", s.Name, link, err)
	}
	return out, nil
}

// SetFlags sets and clears flags of a set, and leaves others alone.
func (c *Client) SetFlags(s *FlagSet, link string, to map[string]bool) error {
	_, err := c.call(s.set, link, netlink.Acknowledge, func(ae *netlink.AttributeEncoder) {
		ae.Nested(s.attr, func(n *netlink.AttributeEncoder) error {
			putBits(n, to)
			return nil
		})
	})
	if err != nil {
		return fmt.Errorf("%s of %s: %w", s.Name, link, err)
	}
	return nil
}

// putBits adds the bits of a verbose bitset that are to change.
func putBits(set *netlink.AttributeEncoder, to map[string]bool) {
	set.Nested(unix.ETHTOOL_A_BITSET_BITS, func(bits *netlink.AttributeEncoder) error {
		for _, name := range slices.Sorted(maps.Keys(to)) {
			bits.Nested(unix.ETHTOOL_A_BITSET_BITS_BIT, func(b *netlink.AttributeEncoder) error {
				b.String(unix.ETHTOOL_A_BITSET_BIT_NAME, name)
				if to[name] {
					b.Flag(unix.ETHTOOL_A_BITSET_BIT_VALUE, true)
				}
				return nil
			})
		}
		return nil
	})
}
