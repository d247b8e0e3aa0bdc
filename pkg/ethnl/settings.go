// SPDX-License-Identifier: GPL-2.0-only

package ethnl

import (
	"fmt"
	"maps"
	"slices"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Group is a group of settings that the kernel reads and sets together. The names
// are ethtool's.
type Group struct {
	// Name of the group, as a word.
	Name     string
	get, set uint8
	fields   []field
}

// field is a setting of a group.
type field struct {
	name string
	attr uint16
	max  uint16 // the attribute of the device's limit; 0: none
	flag bool   // one byte, 0 or 1
}

// Groups of settings.
var (
	Rings = &Group{"rings", unix.ETHTOOL_MSG_RINGS_GET, unix.ETHTOOL_MSG_RINGS_SET, []field{
		{name: "rx", attr: unix.ETHTOOL_A_RINGS_RX, max: unix.ETHTOOL_A_RINGS_RX_MAX},
		{name: "rx-mini", attr: unix.ETHTOOL_A_RINGS_RX_MINI, max: unix.ETHTOOL_A_RINGS_RX_MINI_MAX},
		{name: "rx-jumbo", attr: unix.ETHTOOL_A_RINGS_RX_JUMBO, max: unix.ETHTOOL_A_RINGS_RX_JUMBO_MAX},
		{name: "tx", attr: unix.ETHTOOL_A_RINGS_TX, max: unix.ETHTOOL_A_RINGS_TX_MAX},
		{name: "rx-buf-len", attr: unix.ETHTOOL_A_RINGS_RX_BUF_LEN},
		{name: "cqe-size", attr: unix.ETHTOOL_A_RINGS_CQE_SIZE},
		{name: "tx-push", attr: unix.ETHTOOL_A_RINGS_TX_PUSH, flag: true},
		{name: "rx-push", attr: unix.ETHTOOL_A_RINGS_RX_PUSH, flag: true},
		{name: "tx-push-buf-len", attr: unix.ETHTOOL_A_RINGS_TX_PUSH_BUF_LEN, max: unix.ETHTOOL_A_RINGS_TX_PUSH_BUF_LEN_MAX},
		{name: "hds-thresh", attr: unix.ETHTOOL_A_RINGS_HDS_THRESH, max: unix.ETHTOOL_A_RINGS_HDS_THRESH_MAX},
	}}
	Channels = &Group{"channels", unix.ETHTOOL_MSG_CHANNELS_GET, unix.ETHTOOL_MSG_CHANNELS_SET, []field{
		{name: "rx", attr: unix.ETHTOOL_A_CHANNELS_RX_COUNT, max: unix.ETHTOOL_A_CHANNELS_RX_MAX},
		{name: "tx", attr: unix.ETHTOOL_A_CHANNELS_TX_COUNT, max: unix.ETHTOOL_A_CHANNELS_TX_MAX},
		{name: "other", attr: unix.ETHTOOL_A_CHANNELS_OTHER_COUNT, max: unix.ETHTOOL_A_CHANNELS_OTHER_MAX},
		{name: "combined", attr: unix.ETHTOOL_A_CHANNELS_COMBINED_COUNT, max: unix.ETHTOOL_A_CHANNELS_COMBINED_MAX},
	}}
	Coalesce = &Group{"coalesce", unix.ETHTOOL_MSG_COALESCE_GET, unix.ETHTOOL_MSG_COALESCE_SET, []field{
		{name: "adaptive-rx", attr: unix.ETHTOOL_A_COALESCE_USE_ADAPTIVE_RX, flag: true},
		{name: "adaptive-tx", attr: unix.ETHTOOL_A_COALESCE_USE_ADAPTIVE_TX, flag: true},
		{name: "rx-usecs", attr: unix.ETHTOOL_A_COALESCE_RX_USECS},
		{name: "rx-frames", attr: unix.ETHTOOL_A_COALESCE_RX_MAX_FRAMES},
		{name: "rx-usecs-irq", attr: unix.ETHTOOL_A_COALESCE_RX_USECS_IRQ},
		{name: "rx-frames-irq", attr: unix.ETHTOOL_A_COALESCE_RX_MAX_FRAMES_IRQ},
		{name: "tx-usecs", attr: unix.ETHTOOL_A_COALESCE_TX_USECS},
		{name: "tx-frames", attr: unix.ETHTOOL_A_COALESCE_TX_MAX_FRAMES},
		{name: "tx-usecs-irq", attr: unix.ETHTOOL_A_COALESCE_TX_USECS_IRQ},
		{name: "tx-frames-irq", attr: unix.ETHTOOL_A_COALESCE_TX_MAX_FRAMES_IRQ},
		{name: "stats-block-usecs", attr: unix.ETHTOOL_A_COALESCE_STATS_BLOCK_USECS},
		{name: "pkt-rate-low", attr: unix.ETHTOOL_A_COALESCE_PKT_RATE_LOW},
		{name: "rx-usecs-low", attr: unix.ETHTOOL_A_COALESCE_RX_USECS_LOW},
		{name: "rx-frames-low", attr: unix.ETHTOOL_A_COALESCE_RX_MAX_FRAMES_LOW},
		{name: "tx-usecs-low", attr: unix.ETHTOOL_A_COALESCE_TX_USECS_LOW},
		{name: "tx-frames-low", attr: unix.ETHTOOL_A_COALESCE_TX_MAX_FRAMES_LOW},
		{name: "pkt-rate-high", attr: unix.ETHTOOL_A_COALESCE_PKT_RATE_HIGH},
		{name: "rx-usecs-high", attr: unix.ETHTOOL_A_COALESCE_RX_USECS_HIGH},
		{name: "rx-frames-high", attr: unix.ETHTOOL_A_COALESCE_RX_MAX_FRAMES_HIGH},
		{name: "tx-usecs-high", attr: unix.ETHTOOL_A_COALESCE_TX_USECS_HIGH},
		{name: "tx-frames-high", attr: unix.ETHTOOL_A_COALESCE_TX_MAX_FRAMES_HIGH},
		{name: "sample-interval", attr: unix.ETHTOOL_A_COALESCE_RATE_SAMPLE_INTERVAL},
		{name: "cqe-mode-tx", attr: unix.ETHTOOL_A_COALESCE_USE_CQE_MODE_TX, flag: true},
		{name: "cqe-mode-rx", attr: unix.ETHTOOL_A_COALESCE_USE_CQE_MODE_RX, flag: true},
	}}
	Pause = &Group{"pause", unix.ETHTOOL_MSG_PAUSE_GET, unix.ETHTOOL_MSG_PAUSE_SET, []field{
		{name: "autoneg", attr: unix.ETHTOOL_A_PAUSE_AUTONEG, flag: true},
		{name: "rx", attr: unix.ETHTOOL_A_PAUSE_RX, flag: true},
		{name: "tx", attr: unix.ETHTOOL_A_PAUSE_TX, flag: true},
	}}
	// EEE is Energy-Efficient Ethernet, IEEE 802.3az; the timer is in microseconds.
	EEE = &Group{"eee", unix.ETHTOOL_MSG_EEE_GET, unix.ETHTOOL_MSG_EEE_SET, []field{
		{name: "enabled", attr: unix.ETHTOOL_A_EEE_ENABLED, flag: true},
		{name: "tx-lpi", attr: unix.ETHTOOL_A_EEE_TX_LPI_ENABLED, flag: true},
		{name: "tx-timer", attr: unix.ETHTOOL_A_EEE_TX_LPI_TIMER},
	}}
)

// Names are the settings that a group can have, whether or not a device does.
func (g *Group) Names() []string {
	names := make([]string, len(g.fields))
	for i, f := range g.fields {
		names[i] = f.name
	}
	return names
}

// IsFlag tells whether a setting is either 0 or 1.
func (g *Group) IsFlag(name string) bool {
	f := g.field(name)
	return f != nil && f.flag
}

func (g *Group) field(name string) *field {
	i := slices.IndexFunc(g.fields, func(f field) bool { return f.name == name })
	if i < 0 {
		return nil
	}
	return &g.fields[i]
}

// Settings are the values of a group. What the driver does not have is missing.
type Settings struct {
	// Now has the values, Max the device's limits for those that have one.
	Now, Max map[string]uint32
}

// Get reads a group of an interface. The error is errors.ErrUnsupported if its
// driver has nothing of it, fs.ErrNotExist if there is no such interface.
func (c *Client) Get(g *Group, link string) (Settings, error) {
	s := Settings{map[string]uint32{}, map[string]uint32{}}
	data, err := one(c.call(g.get, link, 0, nil))
	if err != nil {
		return s, fmt.Errorf("%s of %s: %w", g.Name, link, err)
	}
	ad, err := netlink.NewAttributeDecoder(data)
	if err != nil {
		return s, fmt.Errorf("%s of %s: %w", g.Name, link, err)
	}
	for ad.Next() {
		for _, f := range g.fields {
			switch ad.Type() {
			case f.attr:
				s.Now[f.name] = value(ad)
			case f.max:
				s.Max[f.name] = value(ad)
			}
		}
	}
	if err := ad.Err(); err != nil {
		return s, fmt.Errorf("%s of %s: %w", g.Name, link, err)
	}
	return s, nil
}

// value is an attribute of one or four bytes.
func value(ad *netlink.AttributeDecoder) uint32 {
	if len(ad.Bytes()) == 1 {
		return uint32(ad.Uint8())
	}
	return ad.Uint32()
}

// Set changes settings of a group, and leaves others alone.
func (c *Client) Set(g *Group, link string, to map[string]uint32) error {
	for name := range to {
		if g.field(name) == nil {
			return fmt.Errorf("%s of %s: no setting %q", g.Name, link, name)
		}
	}
	_, err := c.call(g.set, link, netlink.Acknowledge, func(ae *netlink.AttributeEncoder) {
		for _, name := range slices.Sorted(maps.Keys(to)) {
			if f := g.field(name); f.flag {
				ae.Uint8(f.attr, uint8(to[name]))
			} else {
				ae.Uint32(f.attr, to[name])
			}
		}
	})
	if err != nil {
		return fmt.Errorf("%s of %s: %w", g.Name, link, err)
	}
	return nil
}
