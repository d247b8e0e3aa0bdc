// SPDX-License-Identifier: GPL-2.0-only

package policy

import (
	"slices"

	"github.com/cilium/ebpf/asm"

	"github.com/randomizedcoder/l2d/pkg/nft"
)

// opPolice ends the rule if the packet is L4S's: it is marked, and goes on behind the
// rule. It comes before the drop of a policer.
type opPolice struct{}

func (*opPolice) isOp() {}

func (*opPolice) why() string {
	return "XDP leaves packets that it does not finish as they came, so that it cannot mark them"
}

// police makes a rule that drops what is over a limit mark L4S's packets instead, if
// that is asked for. A limit of the elements of a set is not one of the rule.
func (l *lowerer) police() {
	last := len(l.ops) - 1
	if !l.p.options.MarkECT1 || last < 0 {
		return
	}
	v, ok := l.ops[last].(opVerdict)
	over := slices.ContainsFunc(l.ops, func(o op) bool {
		limit, ok := o.(opLimit)
		return ok && l.p.Limits[limit.index].Over
	})
	if !ok || v.code != nft.VerdictDrop || !over {
		return
	}
	l.p.writes = true
	l.ops = slices.Insert(l.ops, last, op(&opPolice{}))
}

// police leaves the rule for next if the packet goes on.
func (g *gen) police(next label) {
	g.emit(asm.Mov.Reg(asm.R1, regCtx), asm.Mov.Reg(asm.R2, regPkt), asm.Call.Label("nft_police"))
	g.jump(asm.JNE.Imm32(asm.R0, 0, ""), next)
}
