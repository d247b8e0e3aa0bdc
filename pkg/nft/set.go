// SPDX-License-Identifier: GPL-2.0-only

package nft

import "time"

// SetFlags are the NFT_SET_* flags of linux/netfilter/nf_tables.h.
type SetFlags uint32

// The flags of a set.
const (
	SetAnonymous SetFlags = 1 << iota
	SetConstant
	SetInterval
	SetMap
	SetTimeout
	SetDynamic
	SetObject
	SetConcat
	SetExpr
)

// Set is a set or a map.
type Set struct {
	Table *Table
	Name  string
	Flags SetFlags
	// KeyType as nft writes it, such as "ipv4_addr . inet_service".
	KeyType string
	// Fields are the parts of the key; one unless the key is a concatenation.
	// Where nothing tells how it is divided it is one of type "opaque".
	Fields []Field
	// KeyHostOrder and DataHostOrder tell that integers are in host byte order.
	KeyHostOrder, DataHostOrder bool
	// KeyLen is the length of the key in bytes, every field of a concatenation
	// padded to four.
	KeyLen int
	// DataType of a map as nft writes it, such as "ipv4_addr . inet_service";
	// empty for a map of verdicts, or of objects.
	DataType string
	// DataFields are the parts of the data, as Fields are those of the key.
	DataFields []Field
	// DataLen is the length of the data in bytes: that of DataFields, or twice
	// that, as the first and the last of a range.
	DataLen int
	// Timeout is what an element gets that does not say otherwise; 0: none.
	Timeout time.Duration
	// Size is the greatest number of elements; 0: no limit.
	Size uint32
	// Elements as the kernel holds them. See [Set.Ranges].
	Elements []Element
	// ObjectType of a map of objects.
	ObjectType ObjectType
	// Exprs are evaluated for each element that matched.
	Exprs []Expr
}

// Has tells whether the set has all of these flags.
func (s *Set) Has(f SetFlags) bool { return s.Flags&f == f }
