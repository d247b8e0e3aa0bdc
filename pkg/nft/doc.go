// SPDX-License-Identifier: GPL-2.0-only

// Package nft reads nftables rulesets into a typed model.
//
// A ruleset file is loaded by nft itself, in a network namespace of its own, so
// that every syntax, include and definition nft knows is understood and the
// tables of the host are not touched. What the kernel then holds is read back
// over netlink, attribute by attribute, because an expression or attribute that is
// not understood must be visible as [Unknown] and never disappear.
package nft
