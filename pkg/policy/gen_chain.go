// SPDX-License-Identifier: GPL-2.0-only

package policy

import (
	"fmt"

	"github.com/cilium/ebpf/asm"

	"github.com/randomizedcoder/l2d/pkg/nft"
)

// What the functions of chains return. The first two are also what the policy
// functions return.
const (
	codeDrop   = 0 // NF_DROP
	codeAccept = 1 // NF_ACCEPT: ends the base chain
	codeNext   = 2 // goes on behind the jump, or with the next part of the chain
	codeReturn = 3 // of a part of a chain: the whole chain has ended
	codeDone   = 4 // ends the NAT chains: the flow has its translation
)

// maxFunction is the size in instructions above which a chain is divided into
// several functions; jumps reach twice as far.
const maxFunction = 12000

// scope says how control leaves a chain.
type scope struct {
	// end is where a chain goes on that came to its end, or returned.
	end label
	// accept, drop and done generate what ends the packet's way.
	accept, drop, done func()
}

// ret ends the function.
func (g *gen) ret(code int32) {
	g.emit(asm.Mov.Imm(asm.R0, code), asm.Return())
}

// prologue keeps the arguments, and checks the packet as a global function has
// to. The kernel knows the context by its type.
func (g *gen) prologue() {
	ok := g.newLabel()
	g.jump(asm.JNE.Imm(asm.R2, 0, ""), ok)
	g.ret(codeDrop)
	g.bind(ok)
	g.emit(asm.Mov.Reg(regCtx, asm.R1), asm.Mov.Reg(regPkt, asm.R2))
}

// call calls a helper function of the object with the packet and an index.
func (g *gen) call(function string, index int) {
	g.emit(
		asm.Mov.Reg(asm.R1, regPkt),
		asm.Mov.Imm(asm.R2, int32(index)),
		asm.Call.Label(function),
	)
}

// callChain calls a function of a chain or a part of one, and goes on behind
// it, or where its result says.
func (g *gen) callChain(function string, next label, sc *scope) {
	g.emit(asm.Mov.Reg(asm.R1, regCtx), asm.Mov.Reg(asm.R2, regPkt), asm.Call.Label(function))
	g.jump(asm.JEq.Imm32(asm.R0, codeNext, ""), next)
	for _, r := range []struct {
		code int32
		gen  func()
	}{
		{codeAccept, sc.accept},
		{codeReturn, func() { g.goTo(sc.end) }},
		{codeDone, sc.done},
	} {
		other := g.newLabel()
		g.jump(asm.JNE.Imm32(asm.R0, r.code, ""), other)
		r.gen()
		g.bind(other)
	}
	sc.drop()
}

// rules generates rules; what follows is reached behind the last, if that does
// not end the chain.
func (g *gen) rules(rules []*rule, sc *scope) {
	for r, ops := range g.known.reach(rules, g.p) {
		g.rule(r, ops, sc)
	}
}

// rule generates what is left of a rule.
func (g *gen) rule(r *rule, ops []op, sc *scope) {
	next := g.newLabel()
	g.source = r.src.Text
	g.scope = sc
	if g.p.traced {
		ops = g.known.upTo(r.ops)
	}
	for i, o := range ops {
		g.trace(r.index, i)
		switch o := o.(type) {
		case *opMatch:
			g.match(o, next)
		case *opLookup:
			g.lookup(o, next)
		case opTransport:
			g.emit(asm.LoadMem(regHigh, regPkt, int16(g.layout.offsets[fieldThLen]), asm.Byte))
			g.jump(asm.JLT.Imm32(regHigh, int32(o.end), ""), next)
		case opQuota:
			g.quota(o, next)
		case opConnlimit:
			g.connlimitOfRule(o, next, sc)
		case opNamedCount:
			g.countAt(o.index)
		case *opDynset:
			g.dynset(o, next)
		case *opHash:
			g.hash(o)
		case *opData:
			g.data(o, next)
		case *opFact:
			g.fact(o, next)
		case *opFind:
			g.findValue(o, next)
		case *opCombine:
			g.combine(o)
		case *opWrite:
			g.write(o, next, sc)
		case *opPolice:
			g.police(next)
		case *opAsk:
			g.ask(o, next)
		case *opCompute:
			g.compute(o)
		case *opSet:
			g.set(o)
		case *opSetFact:
			g.setFact(o)
		case *opZone:
			g.zone(o)
		case opNotrack:
			g.notrack()
		case opCount:
			g.count(o.index)
		case opLog:
			g.log(o)
		case opLimit:
			g.limit(o, next)
		case *opNAT:
			g.nat(o, next, sc)
		case *opDup:
			g.dup(o)
		case *opDupTo:
			g.dupTo(o)
		case *opFwd:
			g.fwd(o, next, sc)
		case opReject:
			g.reject(o, sc)
		case opVerdict:
			g.verdict(o, next, next, sc)
		case *opVerdictMap:
			g.verdictMap(o, next, sc)
		default:
			panic(fmt.Sprintf("policy: operation %T", o))
		}
	}
	g.source = ""
	g.bind(next)
}

// limit goes on if the limit lets it.
func (g *gen) limit(o opLimit, fail label) {
	g.call("nft_limit", o.index)
	g.jump(asm.JEq.Imm32(asm.R0, 0, ""), fail)
}

// verdict generates a verdict of a rule behind which next is where its chain
// goes on; follows is the label of the next instruction.
func (g *gen) verdict(v opVerdict, next, follows label, sc *scope) {
	switch v.code {
	case nft.VerdictAccept:
		sc.accept()
	case nft.VerdictDrop:
		sc.drop()
	case nft.VerdictReturn:
		g.goTo(sc.end)
	case nft.VerdictJump, nft.VerdictGoto:
		// A chain that was gone to returns where this one would.
		after := next
		if v.code == nft.VerdictGoto {
			after = sc.end
		}
		target := g.p.chains[v.chain]
		if target.function != "" || g.outline {
			g.callChain(g.functionOf(target), after, sc)
			return
		}
		inner := *sc
		inner.end = after
		g.rules(target.rules, &inner)
		g.fallTo(after, follows)
	default:
		panic(fmt.Sprintf("policy: verdict %v", v.code))
	}
}
