// SPDX-License-Identifier: GPL-2.0-only

package nft

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Attributes of NAT expressions that golang.org/x/sys/unix does not name.
const (
	attrMasqRegMin = 2
	attrMasqRegMax = 3

	attrRedirRegMin = 1
	attrRedirRegMax = 2
	attrRedirFlags  = 3
)

func decodeNAT(b []byte) (Expr, error) {
	e := new(ExprNAT)
	err := scan(b, func(a attr) error {
		switch a.typ {
		case unix.NFTA_NAT_TYPE:
			return into(&e.Destination, a.u32, func(v uint32) bool { return v == unix.NFT_NAT_DNAT })
		case unix.NFTA_NAT_FAMILY:
			return into(&e.Family, a.u32, func(v uint32) Family { return Family(v) })
		case unix.NFTA_NAT_REG_ADDR_MIN:
			return u32to(&e.AddrMin, a)
		case unix.NFTA_NAT_REG_ADDR_MAX:
			return u32to(&e.AddrMax, a)
		case unix.NFTA_NAT_REG_PROTO_MIN:
			return u32to(&e.PortMin, a)
		case unix.NFTA_NAT_REG_PROTO_MAX:
			return u32to(&e.PortMax, a)
		case unix.NFTA_NAT_FLAGS:
			return u32to(&e.Flags, a)
		}
		return errAttr(a)
	})
	// The kernel derives these from the registers.
	if e.AddrMin != 0 {
		e.Flags |= NATAddress
	}
	if e.PortMin != 0 {
		e.Flags |= NATPorts
	}
	return e, e.complete(err)
}

func decodeMasq(b []byte) (Expr, error) {
	e := new(ExprMasq)
	err := scan(b, func(a attr) error {
		switch a.typ {
		case unix.NFTA_MASQ_FLAGS:
			return u32to(&e.Flags, a)
		case attrMasqRegMin:
			return u32to(&e.PortMin, a)
		case attrMasqRegMax:
			return u32to(&e.PortMax, a)
		}
		return errAttr(a)
	})
	return e, e.complete(err)
}

func decodeRedir(b []byte) (Expr, error) {
	e := new(ExprRedir)
	err := scan(b, func(a attr) error {
		switch a.typ {
		case attrRedirRegMin:
			return u32to(&e.PortMin, a)
		case attrRedirRegMax:
			return u32to(&e.PortMax, a)
		case attrRedirFlags:
			return u32to(&e.Flags, a)
		}
		return errAttr(a)
	})
	if e.PortMin != 0 {
		e.Flags |= NATPorts
	}
	return e, e.complete(err)
}

const knownNATFlags = NATAddress | NATPorts | NATRandom | NATPersistent | NATFullyRandom | NATPrefix

// complete makes a range of one value of what has no maximum.
func (r *NATRange) complete(err error) error {
	if err != nil {
		return err
	}
	if r.AddrMax == 0 {
		r.AddrMax = r.AddrMin
	}
	if r.PortMax == 0 {
		r.PortMax = r.PortMin
	}
	if r.Flags&^knownNATFlags != 0 {
		return fmt.Errorf("flags %#x are not known", r.Flags)
	}
	return nil
}
