// SPDX-License-Identifier: GPL-2.0-only

package ethnl

import (
	"fmt"
	"slices"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Attributes of forward error correction, include/uapi/linux/ethtool_netlink.h.
const (
	fecModes = 2
	fecAuto  = 3
)

// FECAuto lets the driver choose a code, by the module and the other end.
const FECAuto = "auto"

// fecNames are the kernel's names of codes, those of link modes, by ethtool's words.
var fecNames = map[string]string{"off": "None", "rs": "RS", "baser": "BASER", "llrs": "LLRS"}

// FECModes are the words of [Client.FEC], in order.
func FECModes() []string { return []string{FECAuto, "baser", "llrs", "off", "rs"} }

// FEC are the codes for forward error correction that an interface may use, in
// order: words of [FECModes].
func (c *Client) FEC(link string) ([]string, error) {
	data, err := one(c.call(unix.ETHTOOL_MSG_FEC_GET, link, 0, nil))
	if err != nil {
		return nil, fmt.Errorf("fec of %s: %w", link, err)
	}
	ad, err := netlink.NewAttributeDecoder(data)
	if err != nil {
		return nil, fmt.Errorf("fec of %s: %w", link, err)
	}
	modes := map[string]bool{}
	auto := false
	for ad.Next() {
		switch ad.Type() {
		case fecModes:
			ad.Nested(func(n *netlink.AttributeDecoder) error { return bitset(n, modes) })
		case fecAuto:
			auto = ad.Uint8() != 0
		}
	}
	if err := ad.Err(); err != nil {
		return nil, fmt.Errorf("fec of %s: %w", link, err)
	}
	var out []string
	for _, word := range FECModes() {
		if word == FECAuto && auto || modes[fecNames[word]] {
			out = append(out, word)
		}
	}
	return out, nil
}

// SetFEC sets the codes for forward error correction that an interface may use.
func (c *Client) SetFEC(link string, modes []string) error {
	to := map[string]bool{}
	for _, word := range modes {
		name, ok := fecNames[word]
		switch {
		case ok:
			to[name] = true
		case word != FECAuto:
			return fmt.Errorf("fec of %s: no code %q", link, word)
		}
	}
	_, err := c.call(unix.ETHTOOL_MSG_FEC_SET, link, netlink.Acknowledge, func(ae *netlink.AttributeEncoder) {
		ae.Nested(fecModes, func(n *netlink.AttributeEncoder) error {
			n.Flag(unix.ETHTOOL_A_BITSET_NOMASK, true) // these and no others
			putBits(n, to)
			return nil
		})
		var auto uint8
		if slices.Contains(modes, FECAuto) {
			auto = 1
		}
		ae.Uint8(fecAuto, auto)
	})
	if err != nil {
		return fmt.Errorf("fec of %s: %w", link, err)
	}
	return nil
}
