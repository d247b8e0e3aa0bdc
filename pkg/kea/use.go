// SPDX-License-Identifier: GPL-2.0-only

package kea

import "strings"

// Use is how much of the pools is in use, all subnets together.
type Use struct {
	Total, Assigned, Declined float64
	// Prefixes and Delegated are those of DHCPv6.
	Prefixes, Delegated float64
}

// UseOf is what statistics say of the pools of a family.
func UseOf(family int, stats map[string]float64) (u Use) {
	total, assigned := ".total-addresses", ".assigned-addresses"
	if family == 6 {
		total, assigned = ".total-nas", ".assigned-nas"
	}
	for name, x := range stats {
		// Pools have numbers of their own, which those of the subnets include.
		if !strings.HasPrefix(name, "subnet[") || strings.Contains(name, "pool[") {
			continue
		}
		_, what, _ := strings.Cut(name, "]")
		switch what {
		case total:
			u.Total += x
		case assigned:
			u.Assigned += x
		case ".declined-addresses":
			u.Declined += x
		case ".total-pds":
			u.Prefixes += x
		case ".assigned-pds":
			u.Delegated += x
		}
	}
	return u
}
