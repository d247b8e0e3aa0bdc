// SPDX-License-Identifier: GPL-2.0-only

package nft

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// FibResult is NFT_FIB_RESULT_*.
type FibResult uint32

// What a lookup in the routing tables is for.
const (
	FibOif     FibResult = 1 // index of the interface, 0 without a route
	FibOifname FibResult = 2
	FibType    FibResult = 3 // RTN_*
)

// FibFlags are NFTA_FIB_F_*.
type FibFlags uint32

// What is looked up, and with what.
const (
	FibSaddr FibFlags = 1 << iota
	FibDaddr
	FibMark
	FibIif
	FibOifFlag
	// FibPresent has a byte tell whether there is an interface.
	FibPresent
)

// ExprFib looks an address of the packet up in the routing tables.
type ExprFib struct {
	Result FibResult
	Flags  FibFlags
	Reg    Register
}

// ExprName implements [Expr].
func (*ExprFib) ExprName() string { return "fib" }

// RtKey is NFT_RT_*.
type RtKey uint32

// Properties of the packet's route.
const (
	RtClassid  RtKey = 0
	RtNexthop4 RtKey = 1
	RtNexthop6 RtKey = 2
	RtTCPMSS   RtKey = 3 // 16 bits in host byte order
	RtXfrm     RtKey = 4
)

var rtNames = []string{"classid", "ip nexthop", "ip6 nexthop", "mtu", "ipsec"}

// String returns the key as nft writes it.
func (k RtKey) String() string {
	if int(k) < len(rtNames) {
		return rtNames[k]
	}
	return fmt.Sprintf("key %d", uint32(k))
}

// ExprRt loads a property of the packet's route.
type ExprRt struct {
	Key RtKey
	Reg Register
}

// ExprName implements [Expr].
func (*ExprRt) ExprName() string { return "rt" }

func decodeFib(b []byte) (Expr, error) {
	e := new(ExprFib)
	return e, scan(b, func(a attr) error {
		switch a.typ {
		case unix.NFTA_FIB_DREG:
			return u32to(&e.Reg, a)
		case unix.NFTA_FIB_RESULT:
			return u32to(&e.Result, a)
		case unix.NFTA_FIB_FLAGS:
			return u32to(&e.Flags, a)
		}
		return errAttr(a)
	})
}

func decodeRt(b []byte) (Expr, error) {
	e := new(ExprRt)
	return e, scan(b, func(a attr) error {
		switch a.typ {
		case unix.NFTA_RT_DREG:
			return u32to(&e.Reg, a)
		case unix.NFTA_RT_KEY:
			return u32to(&e.Key, a)
		}
		return errAttr(a)
	})
}
