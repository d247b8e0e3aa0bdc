// SPDX-License-Identifier: GPL-2.0-only

package nft

import "time"

// Element is an element of a set as the kernel holds it.
type Element struct {
	// Key as it lies in the registers.
	Key []byte
	// KeyEnd is the last key of the range, field by field; nil for one key.
	KeyEnd []byte
	// IntervalEnd marks the first key after a range.
	IntervalEnd bool
	// CatchAll matches what no other element does.
	CatchAll bool
	// Timeout is the element's life; 0: the set's, or none.
	Timeout time.Duration
	// Expires is what is left of the element's life.
	Expires time.Duration
	// Verdict of a verdict map.
	Verdict *Verdict
	// Data of a map.
	Data []byte
	// Object a map refers to.
	Object string
	// Exprs are evaluated when the element matches.
	Exprs []Expr
}
