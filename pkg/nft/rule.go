// SPDX-License-Identifier: GPL-2.0-only

package nft

// Rule is a rule of a chain.
type Rule struct {
	Chain  *Chain
	Handle uint64
	// Exprs in the order of their evaluation.
	Exprs []Expr
	// Text is the rule as nft prints it, without what its counter has counted.
	Text string
	// Line of the rule in the file it was read from; 0 when not known.
	Line int
}
