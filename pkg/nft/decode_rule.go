// SPDX-License-Identifier: GPL-2.0-only

package nft

import "golang.org/x/sys/unix"

// decodeRule decodes a rule and returns the names of its table and chain.
func decodeRule(b []byte) (r *Rule, table, chain string, err error) {
	r = new(Rule)
	err = scan(b, func(a attr) (err error) {
		switch a.typ {
		case unix.NFTA_RULE_TABLE:
			table = a.str()
		case unix.NFTA_RULE_CHAIN:
			chain = a.str()
		case unix.NFTA_RULE_HANDLE:
			r.Handle, err = a.u64()
		case unix.NFTA_RULE_EXPRESSIONS:
			r.Exprs, err = decodeExprs(a.data)
		case unix.NFTA_RULE_COMPAT:
			// A rule of iptables-nft: its matches are unknown expressions.
		}
		return err
	})
	return r, table, chain, err
}
