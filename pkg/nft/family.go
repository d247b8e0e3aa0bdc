// SPDX-License-Identifier: GPL-2.0-only

package nft

import "fmt"

// Family is an address family of nftables: NFPROTO_* of linux/netfilter.h.
type Family uint8

// The families a table can have.
const (
	FamilyInet   Family = 1
	FamilyIPv4   Family = 2
	FamilyARP    Family = 3
	FamilyNetdev Family = 5
	FamilyBridge Family = 7
	FamilyIPv6   Family = 10
)

var familyNames = map[Family]string{
	FamilyInet:   "inet",
	FamilyIPv4:   "ip",
	FamilyARP:    "arp",
	FamilyNetdev: "netdev",
	FamilyBridge: "bridge",
	FamilyIPv6:   "ip6",
}

// String returns the family as nft writes it.
func (f Family) String() string {
	if s, ok := familyNames[f]; ok {
		return s
	}
	return fmt.Sprintf("family %d", uint8(f))
}

// ParseFamily is the reverse of [Family.String].
func ParseFamily(s string) (Family, error) {
	for f, name := range familyNames {
		if name == s {
			return f, nil
		}
	}
	return 0, fmt.Errorf("address family %q: want inet, ip, ip6, arp, bridge or netdev", s)
}
