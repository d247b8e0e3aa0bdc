// SPDX-License-Identifier: GPL-2.0-only

// Package enforce turns a configuration into what the loader puts in force: it
// looks up the interfaces, reads the ruleset file and compiles it. It is what
// the daemon and `l2ctl check` have in common. It also moves a ruleset into the
// kernel's nftables when the dataplane is taken away.
package enforce
