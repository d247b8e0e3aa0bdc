// SPDX-License-Identifier: GPL-2.0-only

package policy

import (
	"fmt"

	"github.com/cilium/ebpf/asm"

	"github.com/randomizedcoder/l2d/pkg/nft"
)

// opAsk has a function of the dataplane put a property of the host, as it is at
// the moment, into slots of p->regs. Without an answer the rule does not match.
type opAsk struct {
	expr     string // for whom, in nft's words
	function string // nft_*
	frames   int    // how deep its own calls are
	question uint32 // what it is asked, without the slot
	slot     int
	// at says what is wrong with asking at a hook; nil: nothing at any.
	at func(nft.Hook) error
}

func (*opAsk) isOp() {}

// answerShift is ANSWER_SHIFT of bpf/lib/kernel.h.
const answerShift = 16

// ask adds a question whose answer has n bytes.
func (l *lowerer) ask(reg nft.Register, n int, o opAsk) error {
	var err error
	if o.slot, err = l.reserve(n); err != nil {
		return err
	}
	l.ops = append(l.ops, &o)
	return l.store(reg, fieldBytes(fieldRegs, regSlot*o.slot, n))
}

func (g *gen) ask(o *opAsk, fail label) {
	g.emit(
		asm.Mov.Reg(asm.R1, regCtx),
		asm.Mov.Reg(asm.R2, regPkt),
		asm.Mov.Imm32(asm.R3, int32(o.question|uint32(o.slot)<<answerShift)),
		asm.Call.Label(o.function),
	)
	g.jump(asm.JEq.Imm32(asm.R0, 0, ""), fail)
}

// checkHooks refuses questions at hooks where there is no exact answer to them.
func (c *compiler) checkHooks() {
	for _, ph := range c.p.phases {
		seen := make(map[*chain]bool)
		for _, ch := range ph.chains {
			c.checkHook(ch, ph.hook, seen)
		}
	}
}

func (c *compiler) checkHook(ch *chain, hook nft.Hook, seen map[*chain]bool) {
	if seen[ch] {
		return
	}
	seen[ch] = true
	for _, r := range ch.rules {
		for _, o := range r.ops {
			if _, ok := o.(opReject); ok && hook == nft.HookEgress {
				c.errs = append(c.errs, unsupportedRule(r.src, "reject", fmt.Sprintf("an answer from the hook %v", hook), "reject at prerouting, input, forward, output; drop"))
			}
			if f, ok := o.(*opFind); ok && hook == nft.HookEgress && f.readsTag() {
				c.errs = append(c.errs, unsupportedRule(r.src, "payload", fmt.Sprintf("the type of a frame, and VLAN tags, at the hook %v", hook), "ether saddr, ether daddr; meta protocol"))
			}
			a, ok := o.(*opAsk)
			if !ok {
				continue
			}
			c.p.hooks = true
			if a.at == nil {
				continue
			}
			if err := a.at(hook); err != nil {
				ref := err.(*refusal)
				c.errs = append(c.errs, unsupportedRule(r.src, a.expr, fmt.Sprintf("%s at the hook %v", ref.why, hook), ref.supported))
			}
		}
		for _, t := range r.targets() {
			c.checkHook(c.p.chains[t], hook, seen)
		}
	}
}
