// SPDX-License-Identifier: GPL-2.0-only

package policy

import (
	"slices"

	"github.com/randomizedcoder/l2d/pkg/nft"
)

// view is a rule as the linter sees it.
type view struct {
	info RuleInfo
	// conds all hold where the rule takes effect, apart from its limit.
	conds []condition
	// opaque are conditions that are only compared with their like.
	opaque []op
	// transport is how many bytes of transport header it needs.
	transport int
	limit     *LimitInfo
	// verdict that ends the chain, and whether there is one.
	verdict  nft.VerdictCode
	terminal bool
	// jumps tells that what happens depends on another chain.
	jumps bool
	never bool
	// chance tells that the rule has conditions that are not in conds: on
	// values that are not the packet's, and can be other ones a rule later, or
	// of kinds that are not compared.
	chance bool
	// writes tells that the packet, or a set, may be another one behind the
	// rule, whether it matched or not.
	writes bool
	// effects tells that the rule does something besides its verdict.
	effects bool
}

// views returns the rules of a chain, and behind them the policy.
func (ch *chain) views(p *Program) []view {
	var out []view
	for _, r := range ch.rules {
		out = append(out, newView(p, r))
	}
	if b := ch.src.Base; b != nil {
		out = append(out, view{info: p.Rules[ch.policy], verdict: b.Policy, terminal: true})
	}
	return out
}

func newView(p *Program, r *rule) view {
	v := view{info: p.Rules[r.index]}
	for _, o := range r.ops {
		v.add(p, o)
	}
	v.effects = v.effects || hasStatements(r.src)
	for _, t := range r.targets() {
		v.writes = v.writes || p.chains[t].writes(p)
	}
	return v
}

// add takes in an operation. Conditions behind one that writes are not those
// of the packet that the rule began with: they are left out.
func (v *view) add(p *Program, o op) {
	switch o := o.(type) {
	case *opMatch:
		v.addMatch(o)
	case *opLookup:
		if s := p.Sets[o.set]; onRegs(o.keys) || v.writes || len(s.states) > 0 {
			v.chance, v.effects = true, v.effects || len(s.states) > 0
			return
		}
		v.opaque = append(v.opaque, o)
	case *opFact, *opFind, *opAsk, opQuota, *opCompute, *opHash, *opData:
		v.chance = true
	case opConnlimit:
		v.chance, v.effects = true, true
	case opTransport:
		v.transport = max(v.transport, o.end)
	case opCount:
	case opLog, opNamedCount:
		v.effects = true
	case opLimit:
		if o.shared {
			v.chance = true
		} else {
			v.limit = &p.Limits[o.index]
		}
	case *opVerdictMap:
		// What is behind it in the rule is for some packets only.
		v.jumps, v.chance = true, true
	case *opNAT:
		// What is behind the chain is not the same as behind an accept.
		v.verdict, v.terminal, v.jumps = nft.VerdictAccept, true, true
	case opReject:
		v.verdict, v.terminal = rejected(o), true
	case opVerdict:
		v.verdict = o.code
		v.terminal = o.code != nft.VerdictJump
		v.jumps = v.jumps || o.chain != nil
	default:
		// Nothing is said of what is not known.
		v.chance, v.writes, v.effects = true, true, true
	}
}

// rejected is a verdict of its own for each way to reject.
func rejected(o opReject) nft.VerdictCode { return nft.VerdictCode(-1<<30 + int32(o.value)) }

func (v *view) addMatch(o *opMatch) {
	if o.named != nil {
		// What is wrong with the rules does not depend on which interfaces
		// exist.
		o = o.named
	}
	switch {
	case len(o.elems) == 0 && !o.invert:
		v.never = true
	case len(o.elems) == 0:
	case onRegs(o.keys) || v.writes:
		v.chance = true
	case len(o.keys) == 1:
		v.addCondition(newCondition(o))
	default:
		v.opaque = append(v.opaque, o)
	}
}

// addCondition joins what is said of one key: ranges come as two comparisons.
func (v *view) addCondition(c condition) {
	for i, d := range v.conds {
		if slices.Equal(c.key, d.key) {
			v.conds[i].spans = intersect(c.spans, d.spans)
			v.never = v.never || len(v.conds[i].spans) == 0
			return
		}
	}
	v.conds = append(v.conds, c)
}

// onRegs tells whether a key has computed values.
func onRegs(keys [][]sym) bool {
	return slices.ContainsFunc(keys, func(key []sym) bool {
		return slices.ContainsFunc(key, func(s sym) bool { return s.field == fieldRegs })
	})
}

// hasStatements tells whether the rule counts because its author says so.
func hasStatements(r *nft.Rule) bool {
	return slices.ContainsFunc(r.Exprs, func(e nft.Expr) bool { return e.ExprName() == "counter" })
}

// writes tells whether a rule of the chain, or of one that it jumps to, writes.
func (ch *chain) writes(p *Program) bool {
	if ch.lintWrites == nil {
		w := slices.ContainsFunc(ch.rules, func(r *rule) bool { v := newView(p, r); return v.writes })
		ch.lintWrites = &w
	}
	return *ch.lintWrites
}

// within tells whether every packet that v matches is one that r matches.
func (v *view) within(r *view) bool {
	return v.withinBut(r, func(condition) bool { return false })
}

// withinBut is within, apart from conditions of r that do not count.
func (v *view) withinBut(r *view, but func(condition) bool) bool {
	if r.transport > v.transport || r.chance {
		return false
	}
	for _, c := range r.conds {
		if !but(c) && !slices.ContainsFunc(v.conds, func(d condition) bool { return d.implies(c) }) {
			return false
		}
	}
	for _, o := range r.opaque {
		if !slices.ContainsFunc(v.opaque, func(d op) bool { return sameOp(d, o) }) {
			return false
		}
	}
	return true
}

// apart tells whether no packet matches both.
func (v *view) apart(r *view) bool {
	if v.never || r.never {
		return true
	}
	for _, c := range r.conds {
		if slices.ContainsFunc(v.conds, func(d condition) bool { return d.excludes(c) }) {
			return true
		}
	}
	return false
}

// decides tells whether a packet that matches r goes no further in the chain.
func (v *view) decides() bool { return v.terminal && v.limit == nil && !v.never && !v.chance }

// loopback tells whether the rule is about the loopback interface only.
func (v *view) loopback() bool {
	index, name := ifindexBytes(1), paddedName("lo", ifnameLen)
	byIndex := newCondition(&opMatch{keys: [][]sym{fieldBytes(fieldIif, 0, 4)}, elems: [][]span{{{index, index}}}})
	byName := newCondition(&opMatch{keys: [][]sym{ifname(fieldIif)}, elems: [][]span{{{name, name}}}})
	return slices.ContainsFunc(v.conds, func(c condition) bool { return c.implies(byIndex) || c.implies(byName) })
}
