// SPDX-License-Identifier: GPL-2.0-only

// Package kea has Kea's servers for DHCPv4 and DHCPv6 as services, and reads their leases.
//
// It knows the daemons from 2.2 to 3.0: their configuration is what all of these take, and the
// directories that later ones insist on are told by variables of the environment.
package kea
