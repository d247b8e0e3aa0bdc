// SPDX-License-Identifier: GPL-2.0-only

package ethioctl

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"
)

// Flow types of a [Spec], and the bit that says that its VLAN matters.
const (
	TCPv4  = 1
	UDPv4  = 2
	SCTPv4 = 3
	TCPv6  = 5
	UDPv6  = 6
	SCTPv6 = 7
	IPv4   = 13 // IP_USER_FLOW
	IPv6   = 14 // IPV6_USER_FLOW
	Ether  = 18

	FlowExt = 1 << 31
)

// Drop as the cookie of a [Spec] drops, other numbers are receive queues.
const Drop = 1<<64 - 1

// AnyLocation has the driver choose the location.
const AnyLocation = 1<<32 - 1

// SpecLen is the size of struct ethtool_rx_flow_spec.
const SpecLen = 168

// Spec is struct ethtool_rx_flow_spec: what a rule of the interface matches, and
// what becomes of those packets. Numbers in headers are big endian; of a mask, bits
// that are 1 have to be equal.
type Spec [SpecLen]byte

// Offsets within a Spec.
const (
	specHeader   = 4
	specExt      = 56
	specMask     = 76
	specMaskExt  = 128
	specCookie   = 152
	specLocation = 160
)

// Type is the flow type, with its bits.
func (s *Spec) Type() uint32 { return binary.NativeEndian.Uint32(s[:]) }

// SetType sets the flow type.
func (s *Spec) SetType(t uint32) { binary.NativeEndian.PutUint32(s[:], t) }

// Header are the values of headers, Mask which of their bits matter: 52 bytes, of
// which the flow type says what they are.
func (s *Spec) Header() []byte { return s[specHeader:specExt] }

// Mask is described at [Spec.Header].
func (s *Spec) Mask() []byte { return s[specMask:specMaskExt] }

// Ext is struct ethtool_flow_ext, 20 bytes, and ExtMask which bits of it matter.
func (s *Spec) Ext() []byte { return s[specExt:specMask] }

// ExtMask is described at [Spec.Ext].
func (s *Spec) ExtMask() []byte { return s[specMaskExt : specMaskExt+20] }

// VLANTag is where a tag control information is within [Spec.Ext].
const VLANTag = 10

// Cookie is a receive queue, or [Drop].
func (s *Spec) Cookie() uint64 { return binary.NativeEndian.Uint64(s[specCookie:]) }

// SetCookie sets the queue.
func (s *Spec) SetCookie(c uint64) { binary.NativeEndian.PutUint64(s[specCookie:], c) }

// Location is the rule's place in the table: what identifies it.
func (s *Spec) Location() uint32 { return binary.NativeEndian.Uint32(s[specLocation:]) }

// SetLocation sets the place.
func (s *Spec) SetLocation(l uint32) { binary.NativeEndian.PutUint32(s[specLocation:], l) }

// struct ethtool_rxnfc.
const (
	rxnfcData  = 8
	rxnfcSpec  = 16
	rxnfcCount = 184
	rxnfcRules = 188
	rxnfcLen   = 192

	locationSpecial = 1 << 31 // RX_CLS_LOC_SPECIAL
)

func rxnfc(command uint32) []byte {
	b := make([]byte, rxnfcLen)
	binary.NativeEndian.PutUint32(b, command)
	return b
}

// Table is what an interface has of rules.
type Table struct {
	// Rules by location.
	Rules []Spec
	// AnyLocation says that the driver chooses locations.
	AnyLocation bool
}

// Rules reads the rules of an interface. The error is errors.ErrUnsupported if
// its driver has none.
func Rules(d Device, link string) (Table, error) {
	var t Table
	count := rxnfc(unix.ETHTOOL_GRXCLSRLCNT)
	if err := d.Do(link, count); err != nil {
		return t, fmt.Errorf("rules of %s: %w", link, err)
	}
	t.AnyLocation = binary.NativeEndian.Uint64(count[rxnfcData:])&locationSpecial != 0
	n := binary.NativeEndian.Uint32(count[rxnfcCount:])
	if n == 0 {
		return t, nil
	}
	all := append(rxnfc(unix.ETHTOOL_GRXCLSRLALL), make([]byte, 4*n)...)
	binary.NativeEndian.PutUint32(all[rxnfcCount:], n)
	if err := d.Do(link, all); err != nil {
		return t, fmt.Errorf("rules of %s: %w", link, err)
	}
	for i := range min(n, binary.NativeEndian.Uint32(all[rxnfcCount:])) {
		rule := rxnfc(unix.ETHTOOL_GRXCLSRULE)
		copy(rule[rxnfcSpec+specLocation:], all[rxnfcRules+4*i:][:4])
		if err := d.Do(link, rule); err != nil {
			return t, fmt.Errorf("rules of %s: %w", link, err)
		}
		t.Rules = append(t.Rules, Spec(rule[rxnfcSpec:rxnfcSpec+SpecLen]))
	}
	slices.SortFunc(t.Rules, func(a, b Spec) int { return int(int64(a.Location()) - int64(b.Location())) })
	return t, nil
}

// Insert adds a rule, and returns the location that it has got.
func Insert(d Device, link string, s Spec) (uint32, error) {
	b := rxnfc(unix.ETHTOOL_SRXCLSRLINS)
	copy(b[rxnfcSpec:], s[:])
	if err := d.Do(link, b); err != nil {
		return 0, fmt.Errorf("rule of %s: %w", link, err)
	}
	added := Spec(b[rxnfcSpec : rxnfcSpec+SpecLen])
	return added.Location(), nil
}

// Delete removes the rule at a location. One that is not there is no error.
func Delete(d Device, link string, location uint32) error {
	b := rxnfc(unix.ETHTOOL_SRXCLSRLDEL)
	binary.NativeEndian.PutUint32(b[rxnfcSpec+specLocation:], location)
	if err := d.Do(link, b); err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("rule %d of %s: %w", location, link, err)
	}
	return nil
}
