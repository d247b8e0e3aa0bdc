// SPDX-License-Identifier: GPL-2.0-only

package fakenic

import (
	"errors"
	"slices"

	"github.com/mdlayher/genetlink"
	"github.com/mdlayher/genetlink/genltest"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/randomizedcoder/l2d/pkg/ethioctl"
	"github.com/randomizedcoder/l2d/pkg/ethnl"
)

// Attributes, include/uapi/linux/ethtool_netlink.h.
const (
	eeeEnabled = unix.ETHTOOL_A_EEE_ENABLED
	eeeLPI     = unix.ETHTOOL_A_EEE_TX_LPI_ENABLED
	eeeTimer   = unix.ETHTOOL_A_EEE_TX_LPI_TIMER
	ringsRXMax = unix.ETHTOOL_A_RINGS_RX_MAX
	ringsTXMax = unix.ETHTOOL_A_RINGS_TX_MAX
	ringsRX    = unix.ETHTOOL_A_RINGS_RX
	ringsTX    = unix.ETHTOOL_A_RINGS_TX
	fecModes   = 2
	fecAuto    = 3

	pauseAutoneg = unix.ETHTOOL_A_PAUSE_AUTONEG
	pauseRX      = unix.ETHTOOL_A_PAUSE_RX
	pauseTX      = unix.ETHTOOL_A_PAUSE_TX
)

// Client talks to the interface as to the kernel.
func (n *NIC) Client() (*ethnl.Client, error) {
	family := genetlink.Family{ID: 20, Version: unix.ETHTOOL_GENL_VERSION, Name: unix.ETHTOOL_GENL_NAME}
	return ethnl.New(genltest.Dial(genltest.ServeFamily(family, n.serve)))
}

// errno are errors as the kernel gives them.
func errno(e unix.Errno) error { return genltest.Error(int(e)) }

func (n *NIC) serve(m genetlink.Message, _ netlink.Message) ([]genetlink.Message, error) {
	attrs, link, err := attributes(m.Data)
	if err != nil {
		return nil, err
	}
	if link != n.Link {
		return nil, errno(unix.ENODEV)
	}
	var answer []byte
	if isSet(m.Header.Command) {
		if err := n.before(); err != nil {
			return nil, errno(unix.EIO)
		}
	}
	err = n.Change(func(s *State) (err error) {
		answer, err = s.serve(m.Header.Command, attrs)
		return err
	})
	if errors.Is(err, unix.EIO) { // of the file that it is in
		return nil, errno(unix.EIO)
	}
	if err != nil {
		return nil, err
	}
	if answer == nil {
		return nil, errno(0) // an acknowledgement
	}
	return []genetlink.Message{{Header: genetlink.Header{Command: m.Header.Command}, Data: answer}}, nil
}

// attributes are those of a request but the header, and the interface it names.
func attributes(b []byte) (map[uint16][]byte, string, error) {
	ad, err := netlink.NewAttributeDecoder(b)
	if err != nil {
		return nil, "", err
	}
	out, link := map[uint16][]byte{}, ""
	for ad.Next() {
		if ad.Type() != 1 {
			out[ad.Type()] = ad.Bytes()
			continue
		}
		ad.Nested(func(h *netlink.AttributeDecoder) error {
			for h.Next() {
				if h.Type() == unix.ETHTOOL_A_HEADER_DEV_NAME {
					link = h.String()
				}
			}
			return h.Err()
		})
	}
	return out, link, ad.Err()
}

func (s *State) serve(command uint8, attrs map[uint16][]byte) ([]byte, error) {
	ae := netlink.NewAttributeEncoder()
	switch command {
	case unix.ETHTOOL_MSG_CHANNELS_GET:
		ae.Uint32(unix.ETHTOOL_A_CHANNELS_COMBINED_MAX, mostQueues)
		ae.Uint32(unix.ETHTOOL_A_CHANNELS_COMBINED_COUNT, s.Queues)
	case unix.ETHTOOL_MSG_CHANNELS_SET:
		return nil, s.setQueues(attrs[unix.ETHTOOL_A_CHANNELS_COMBINED_COUNT])
	case unix.ETHTOOL_MSG_PRIVFLAGS_GET:
		putMasked(ae, unix.ETHTOOL_A_PRIVFLAGS_FLAGS, s.Private)
	case unix.ETHTOOL_MSG_WOL_GET:
		putMasked(ae, unix.ETHTOOL_A_WOL_MODES, s.Wake)
	case unix.ETHTOOL_MSG_FEC_GET:
		ae.Nested(fecModes, func(set *netlink.AttributeEncoder) error {
			set.Flag(unix.ETHTOOL_A_BITSET_NOMASK, true)
			putBits(set, s.FEC, nil)
			return nil
		})
		ae.Uint8(fecAuto, number(s.FECAuto))
	case unix.ETHTOOL_MSG_EEE_GET:
		ae.Uint8(eeeEnabled, uint8(s.EEE[eeeEnabled]))
		ae.Uint8(eeeLPI, uint8(s.EEE[eeeLPI]))
		ae.Uint32(eeeTimer, s.EEE[eeeTimer])
	case unix.ETHTOOL_MSG_PRIVFLAGS_SET:
		return nil, change(s.Private, attrs[unix.ETHTOOL_A_PRIVFLAGS_FLAGS])
	case unix.ETHTOOL_MSG_WOL_SET:
		return nil, change(s.Wake, attrs[unix.ETHTOOL_A_WOL_MODES])
	case unix.ETHTOOL_MSG_FEC_SET:
		return nil, s.setFEC(attrs)
	case unix.ETHTOOL_MSG_EEE_SET:
		setNumbers(s.EEE, attrs)
	case unix.ETHTOOL_MSG_RINGS_GET:
		ae.Uint32(ringsRXMax, mostSlots)
		ae.Uint32(ringsTXMax, mostSlots)
		for a, v := range s.Rings {
			ae.Uint32(a, v)
		}
	case unix.ETHTOOL_MSG_RINGS_SET:
		for _, a := range []uint16{ringsRX, ringsTX} {
			if v, ok := attrs[a]; ok && order.Uint32(v) > mostSlots {
				return nil, errno(unix.EINVAL)
			}
		}
		setNumbers(s.Rings, attrs)
	case unix.ETHTOOL_MSG_PAUSE_GET:
		for a, v := range s.Pause {
			ae.Uint8(a, uint8(v))
		}
	case unix.ETHTOOL_MSG_PAUSE_SET:
		setNumbers(s.Pause, attrs)
	default:
		return nil, errno(unix.EOPNOTSUPP)
	}
	if isSet(command) {
		return nil, nil
	}
	return ae.Encode()
}

// mostSlots is how long a ring of the 82599 can be: IXGBE_MAX_RXD.
const mostSlots = 8192

// setNumbers has those that a request names, of one byte or four.
func setNumbers(numbers map[uint16]uint32, attrs map[uint16][]byte) {
	for a := range numbers {
		switch v := attrs[a]; len(v) {
		case 1:
			numbers[a] = uint32(v[0])
		case 4:
			numbers[a] = order.Uint32(v)
		}
	}
}

func number(on bool) uint8 {
	if on {
		return 1
	}
	return 0
}

// putMasked adds a bitset with a mask: all that there are, and those that are set.
func putMasked(ae *netlink.AttributeEncoder, attr uint16, flags map[string]bool) {
	ae.Nested(attr, func(set *netlink.AttributeEncoder) error {
		var names []string
		for name := range flags {
			names = append(names, name)
		}
		set.Uint32(unix.ETHTOOL_A_BITSET_SIZE, uint32(len(names)))
		putBits(set, names, flags)
		return nil
	})
}

func putBits(set *netlink.AttributeEncoder, names []string, values map[string]bool) {
	slices.Sort(names)
	set.Nested(unix.ETHTOOL_A_BITSET_BITS, func(bits *netlink.AttributeEncoder) error {
		for i, name := range names {
			bits.Nested(unix.ETHTOOL_A_BITSET_BITS_BIT, func(b *netlink.AttributeEncoder) error {
				b.Uint32(unix.ETHTOOL_A_BITSET_BIT_INDEX, uint32(i))
				b.String(unix.ETHTOOL_A_BITSET_BIT_NAME, name)
				b.Flag(unix.ETHTOOL_A_BITSET_BIT_VALUE, values[name])
				return nil
			})
		}
		return nil
	})
}

// bits reads a bitset of a request: those that it names, and whether there is
// no mask.
func bits(b []byte) (named map[string]bool, whole bool, err error) {
	ad, err := netlink.NewAttributeDecoder(b)
	if err != nil {
		return nil, false, err
	}
	named = map[string]bool{}
	for ad.Next() {
		switch ad.Type() {
		case unix.ETHTOOL_A_BITSET_NOMASK:
			whole = true
		case unix.ETHTOOL_A_BITSET_BITS:
			ad.Nested(func(list *netlink.AttributeDecoder) error {
				for list.Next() {
					list.Nested(func(bit *netlink.AttributeDecoder) error {
						name, on := "", false
						for bit.Next() {
							switch bit.Type() {
							case unix.ETHTOOL_A_BITSET_BIT_NAME:
								name = bit.String()
							case unix.ETHTOOL_A_BITSET_BIT_VALUE:
								on = true
							}
						}
						named[name] = on
						return bit.Err()
					})
				}
				return list.Err()
			})
		}
	}
	return named, whole, ad.Err()
}

// change changes the flags that a bitset with a mask names.
func change(flags map[string]bool, b []byte) error {
	named, _, err := bits(b)
	if err != nil {
		return err
	}
	for name, on := range named {
		if _, there := flags[name]; !there {
			return errno(unix.EOPNOTSUPP)
		}
		flags[name] = on
	}
	return nil
}

func (s *State) setFEC(attrs map[uint16][]byte) error {
	named, whole, err := bits(attrs[fecModes])
	if err != nil {
		return err
	}
	if !whole {
		return errno(unix.EINVAL)
	}
	s.FECAuto = len(attrs[fecAuto]) == 1 && attrs[fecAuto][0] != 0
	s.FEC = nil
	for name := range named {
		s.FEC = append(s.FEC, name)
	}
	slices.Sort(s.FEC)
	if len(s.FEC) == 0 && !s.FECAuto {
		return errno(unix.EINVAL) // "no FEC modes set"
	}
	return nil
}

// mostQueues is how many queues the interface can have.
const mostQueues = 16

// setQueues is ethnl_set_channels: it refuses what a table or a rule that was set uses.
// A table that was not follows.
func (s *State) setQueues(b []byte) error {
	if len(b) != 4 {
		return nil
	}
	n := order.Uint32(b)
	if n == 0 || n > mostQueues {
		return errno(unix.EINVAL)
	}
	if s.TableSet && slices.Max(s.Table) >= n {
		return errno(unix.EINVAL)
	}
	for _, r := range s.Rules {
		if r.Cookie() != ethioctl.Drop && r.Cookie() >= uint64(n) {
			return errno(unix.EINVAL)
		}
	}
	s.Queues = n
	if !s.TableSet {
		s.inTurn()
	}
	return nil
}

func (s *State) inTurn() {
	for i := range s.Table {
		s.Table[i] = uint32(i) % s.Queues
	}
}

// isSet tells the requests that change something.
func isSet(command uint8) bool {
	switch command {
	case unix.ETHTOOL_MSG_CHANNELS_SET, unix.ETHTOOL_MSG_PRIVFLAGS_SET, unix.ETHTOOL_MSG_WOL_SET, unix.ETHTOOL_MSG_FEC_SET, unix.ETHTOOL_MSG_EEE_SET,
		unix.ETHTOOL_MSG_RINGS_SET, unix.ETHTOOL_MSG_PAUSE_SET:
		return true
	}
	return false
}
