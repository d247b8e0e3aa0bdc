// SPDX-License-Identifier: GPL-2.0-only

package fakenic

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io/fs"
	"maps"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/randomizedcoder/l2d/pkg/ethioctl"
)

// Do implements [ethioctl.Device].
func (n *NIC) Do(link string, data []byte) error {
	if link != n.Link {
		return fmt.Errorf("%s: %w", link, fs.ErrNotExist)
	}
	switch order.Uint32(data) {
	case unix.ETHTOOL_SRSSH, unix.ETHTOOL_SRXCLSRLINS, unix.ETHTOOL_SRXCLSRLDEL:
		if err := n.before(); err != nil {
			return err
		}
	}
	return n.Change(func(s *State) error { return s.do(data) })
}

var order = binary.NativeEndian

// Offsets of struct ethtool_rxfh and ethtool_rxnfc.
const (
	rxfhTable, rxfhKey, rxfhData        = 8, 12, 24
	rxnfcData, rxnfcSpec                = 8, 16
	rxnfcCount, rxnfcRules              = 184, 188
	specLocation                        = 160
	locations                           = 2046 // of 64 KiB for perfect filters
	rxfhNoTable                  uint32 = 1<<32 - 1
)

func (s *State) do(b []byte) error {
	switch order.Uint32(b) {
	case unix.ETHTOOL_GRXRINGS:
		order.PutUint64(b[rxnfcData:], uint64(s.Queues))
	case unix.ETHTOOL_GRSSH:
		return s.getRSS(b)
	case unix.ETHTOOL_SRSSH:
		return s.setRSS(b)
	case unix.ETHTOOL_GRXCLSRLCNT:
		order.PutUint32(b[rxnfcCount:], uint32(len(s.Rules)))
		order.PutUint64(b[rxnfcData:], locations)
	case unix.ETHTOOL_GRXCLSRLALL:
		if int(order.Uint32(b[rxnfcCount:])) < len(s.Rules) {
			return unix.EMSGSIZE
		}
		for i, l := range slices.Sorted(maps.Keys(s.Rules)) {
			order.PutUint32(b[rxnfcRules+4*i:], l)
		}
		order.PutUint32(b[rxnfcCount:], uint32(len(s.Rules)))
	case unix.ETHTOOL_GRXCLSRULE:
		rule, ok := s.Rules[order.Uint32(b[rxnfcSpec+specLocation:])]
		if !ok {
			return unix.EINVAL
		}
		copy(b[rxnfcSpec:], rule[:])
	case unix.ETHTOOL_SRXCLSRLINS:
		return s.insert(ethioctl.Spec(b[rxnfcSpec : rxnfcSpec+ethioctl.SpecLen]))
	case unix.ETHTOOL_SRXCLSRLDEL:
		l := order.Uint32(b[rxnfcSpec+specLocation:])
		if _, ok := s.Rules[l]; !ok {
			return unix.EINVAL // ixgbe_update_ethtool_fdir_entry
		}
		delete(s.Rules, l)
	case unix.ETHTOOL_GSSET_INFO, unix.ETHTOOL_GSTRINGS, unix.ETHTOOL_GSTATS:
		return s.statistics(b)
	default:
		return unix.EOPNOTSUPP
	}
	return nil
}

// getRSS is ethtool_get_rxfh.
func (s *State) getRSS(b []byte) error {
	entries, key := int(order.Uint32(b[rxfhTable:])), int(order.Uint32(b[rxfhKey:]))
	if entries != 0 && entries != len(s.Table) || key != 0 && key != len(s.Key) {
		return unix.EINVAL
	}
	order.PutUint32(b[rxfhTable:], uint32(len(s.Table)))
	order.PutUint32(b[rxfhKey:], uint32(len(s.Key)))
	b[16] = 1 // Toeplitz
	if entries != 0 {
		for i, q := range s.Table {
			order.PutUint32(b[rxfhData+4*i:], q)
		}
	}
	if key != 0 {
		copy(b[rxfhData+4*entries:], s.Key)
	}
	return nil
}

// setRSS is ethtool_set_rxfh.
func (s *State) setRSS(b []byte) error {
	entries, key := order.Uint32(b[rxfhTable:]), int(order.Uint32(b[rxfhKey:]))
	if key != 0 && key != len(s.Key) || entries == rxfhNoTable && key == 0 {
		return unix.EINVAL
	}
	switch entries {
	case rxfhNoTable:
		entries = 0
	case 0:
		s.inTurn()
		s.TableSet = false
	case uint32(len(s.Table)):
		for i := range s.Table {
			if s.Table[i] = order.Uint32(b[rxfhData+4*i:]); s.Table[i] >= s.Queues {
				return unix.EINVAL
			}
		}
		s.TableSet = true
	default:
		return unix.EINVAL
	}
	if key != 0 {
		copy(s.Key, b[rxfhData+4*entries:])
	}
	return nil
}

// insert is ixgbe_add_ethtool_fdir_entry: IPv4 alone, one mask for all rules, locations
// by number.
func (s *State) insert(r ethioctl.Spec) error {
	switch {
	case !s.NTuple:
		return unix.EOPNOTSUPP
	case r.Cookie() != ethioctl.Drop && r.Cookie() >= uint64(s.Queues), r.Location() >= locations:
		return unix.EINVAL
	}
	switch r.Type() &^ ethioctl.FlowExt {
	case ethioctl.TCPv4, ethioctl.UDPv4, ethioctl.SCTPv4:
	case ethioctl.IPv4:
		// struct ethtool_usrip4_spec: the protocol is behind the addresses, four
		// bytes of payload, TOS and version.
		if r.Header()[14] != 0 || r.Mask()[14] != 0 || !bytes.Equal(r.Mask()[8:12], make([]byte, 4)) {
			return unix.EINVAL
		}
	default:
		return unix.EINVAL
	}
	if vlan := r.ExtMask()[ethioctl.VLANTag:][:2]; r.Type()&ethioctl.FlowExt != 0 &&
		!slices.Contains([]uint16{0, 0x0fff, 0xe000, 0xefff}, binary.BigEndian.Uint16(vlan)&0xefff) {
		return unix.EINVAL
	}
	for l, other := range s.Rules {
		if l != r.Location() && maskOf(&other) != maskOf(&r) {
			return unix.EINVAL // "Only one mask supported per port"
		}
	}
	s.Rules[r.Location()] = r
	return nil
}

// maskOf is what all rules must have in common: the fields, and whether the transport
// protocol is one of them.
func maskOf(r *ethioctl.Spec) string {
	transport := r.Type()&^ethioctl.FlowExt != ethioctl.IPv4
	ext := make([]byte, 20)
	if r.Type()&ethioctl.FlowExt != 0 {
		ext = r.ExtMask()
	}
	return fmt.Sprint(r.Mask()[:12], transport, ext)
}

// statistics is ethtool_get_sset_info, ethtool_get_strings and ethtool_get_stats, for those
// of ETH_SS_STATS.
func (s *State) statistics(b []byte) error {
	const setInfoMask, setInfoData, stringsData, stringLen, statsData = 8, 16, 12, 32, 8
	n := uint32(len(s.Statistics))
	if n == 0 {
		return unix.EOPNOTSUPP
	}
	switch order.Uint32(b) {
	case unix.ETHTOOL_GSSET_INFO:
		if order.Uint64(b[setInfoMask:]) != 1<<1 {
			return unix.EINVAL
		}
		order.PutUint32(b[setInfoData:], n)
	case unix.ETHTOOL_GSTRINGS:
		order.PutUint32(b[8:], n)
		for i, stat := range s.Statistics {
			copy(b[stringsData+i*stringLen:][:stringLen-1], stat.Name)
		}
	case unix.ETHTOOL_GSTATS:
		order.PutUint32(b[4:], n)
		for i, stat := range s.Statistics {
			order.PutUint64(b[statsData+i*8:], stat.Value)
		}
	}
	return nil
}
