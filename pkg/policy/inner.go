// SPDX-License-Identifier: GPL-2.0-only

package policy

import "github.com/randomizedcoder/l2d/pkg/nft"

// What of a packet inside of a tunnel is loaded, beside the bases of payload: bpf/lib/inner.h.
const (
	innerProtocol = 8
	innerL4proto  = 9
)

// Places in the argument that says what is loaded from where: INNER_FLAGS and INNER_SIZE of
// bpf/lib/inner.h.
const (
	innerFlagsShift = 8
	innerSizeShift  = 16
	innerGeneve     = 1 << 4 // a flag there, a type here
)

// innerMeta are the keys that a packet inside of a tunnel has, with their lengths in bytes.
var innerMeta = map[nft.MetaKey]struct{ wanted, length int }{
	nft.MetaProtocol: {innerProtocol, 2},
	nft.MetaL4proto:  {innerL4proto, 1},
}

func (l *lowerer) inner(e *nft.ExprInner) error {
	flags := int(e.Flags)
	if e.Type == nft.InnerGeneve {
		flags |= innerGeneve
	}
	what := flags<<innerFlagsShift | int(e.HeaderSize)<<innerSizeShift
	switch inside := e.Expr.(type) {
	case *nft.ExprPayload:
		return l.find(inside.Reg, "nft_inner", what|int(inside.Base), inside.Offset, inside.Len, false)
	case *nft.ExprMeta:
		key := innerMeta[inside.Key]
		return l.find(inside.Reg, "nft_inner", what|key.wanted, 0, uint32(key.length), false)
	}
	return refuse("payload, meta", "%s of a packet inside of a tunnel", e.Expr.ExprName())
}
