// SPDX-License-Identifier: GPL-2.0-only

package nft

func setLines(rs *Ruleset, path string) {}
