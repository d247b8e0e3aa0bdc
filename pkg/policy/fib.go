// SPDX-License-Identifier: GPL-2.0-only

package policy

import "github.com/randomizedcoder/l2d/pkg/nft"

// fibName is FIB_NAME of bpf/lib/fib.h, beside the kernel's flags.
const fibName = 1 << 6

// fib looks an address up when the packet comes: routes change at any time.
func (l *lowerer) fib(e *nft.ExprFib) error {
	const all = nft.FibSaddr | nft.FibDaddr | nft.FibMark | nft.FibIif | nft.FibOifFlag | nft.FibPresent
	const supported = "type, oif, oifname of saddr or daddr, with iif, oif, mark"
	if e.Flags&^all != 0 {
		return refuse(supported, "fib with flags %#x", uint32(e.Flags))
	}
	o := opAsk{expr: "fib", function: "nft_fib_oif", question: uint32(e.Flags)}
	n := 4
	switch {
	case e.Result != nft.FibOif && e.Result != nft.FibOifname && e.Result != nft.FibType:
		return refuse(supported, "fib result %d", e.Result)
	case e.Result == nft.FibType:
		o.function = "nft_fib_type"
	case e.Flags&nft.FibPresent != 0:
		n = 1
	case e.Result == nft.FibOifname:
		o.question |= fibName
		n = ifnameLen
	}
	return l.ask(e.Reg, n, o)
}
