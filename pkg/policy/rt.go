// SPDX-License-Identifier: GPL-2.0-only

package policy

import "github.com/randomizedcoder/l2d/pkg/nft"

// rtLens are the lengths in bytes of what the functions of bpf/lib/rt.h load. Before
// the packet has a route, at prerouting, it loads nothing.
var rtLens = map[nft.RtKey]int{nft.RtNexthop4: 4, nft.RtNexthop6: 16, nft.RtTCPMSS: 2, nft.RtXfrm: 1}

// tcpmssFrames are nft_rt_mtu() and nft_rt_route().
const tcpmssFrames = 2

func (l *lowerer) rt(e *nft.ExprRt) error {
	if e.Key == nft.RtClassid {
		return l.ask(e.Reg, 4, opAsk{expr: "rt", function: "nft_realms"})
	}
	n := rtLens[e.Key]
	if n == 0 {
		return refuse("rt nexthop, mtu, ipsec, classid", "rt %v", e.Key)
	}
	if e.Key == nft.RtTCPMSS {
		return l.ask(e.Reg, n, opAsk{expr: "rt", function: "nft_tcpmss", frames: tcpmssFrames})
	}
	return l.ask(e.Reg, n, opAsk{expr: "rt", function: "nft_rt", question: uint32(e.Key)})
}
