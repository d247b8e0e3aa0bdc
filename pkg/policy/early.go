// SPDX-License-Identifier: GPL-2.0-only

package policy

import "slices"

// Bits of policy_early of bpf/lib/early.h, by policy function, and the functions that
// XDP runs in their place.
var (
	earlyBits      = map[string]uint32{"policy_ingress": 1 << 0, "policy_prerouting_raw": 1 << 1}
	earlyFunctions = map[string]string{"policy_ingress": "policy_early_ingress", "policy_prerouting_raw": "policy_early_raw"}
)

// functionOf returns the name of the function of a phase.
func (m *module) functionOf(ph *phase) string {
	if m.early {
		return earlyFunctions[ph.function]
	}
	return ph.function
}

// findEarly decides which chains XDP runs for all packets, as far as it has them: the
// first ones, up to one that does more than to look at the packet.
func (c *compiler) findEarly() {
	for _, function := range []string{"policy_ingress", "policy_prerouting_raw"} {
		there := slices.ContainsFunc(c.p.phases, func(ph *phase) bool { return ph.function == function })
		if !there {
			continue
		}
		pure := true
		c.visit([]string{function}, func(_ *rule, o op) { pure = pure && c.isPure(o) })
		if !pure {
			return
		}
		c.p.early |= earlyBits[function]
	}
}

// pureQuestions are those whose answers are the same at XDP and at TC, and change nothing.
var pureQuestions = []string{"nft_device", "nft_clock", "nft_fib_type", "nft_fib_oif"}

// isPure tells whether a step can be taken twice, but for what it counts at its rule,
// and with the same result at XDP and at TC.
func (c *compiler) isPure(o op) bool {
	if _, ok := o.(tcOnly); ok {
		return false
	}
	switch o := o.(type) {
	case *opMatch:
		return !ofBuffer(o.keys)
	case *opLookup:
		return !ofBuffer(o.keys) && len(c.p.Sets[o.set].states) == 0
	case *opVerdictMap:
		stateful := o.set >= 0 && len(c.p.Sets[o.set].states) > 0
		objects := slices.ContainsFunc(o.verdicts, func(v opVerdict) bool { return v.object != nil })
		cases := slices.ContainsFunc(o.cases, func(v verdictCase) bool { return ofBuffer(v.match.keys) })
		return !stateful && !objects && !cases && !ofBuffer(o.keys)
	case opVerdict:
		return o.object == nil
	case *opAsk:
		return slices.Contains(pureQuestions, o.function)
	case *opFind:
		return !o.readsTag() // XDP does not know of a tag that the interface has taken off
	case opTransport, opCount:
		return true
	}
	return false
}

// ofBuffer tells whether keys have what the socket buffer may have brought along.
func ofBuffer(keys [][]sym) bool {
	for _, k := range keys {
		if slices.ContainsFunc(k, func(s sym) bool { return s.field == fieldMark || s.field == fieldPriority }) {
			return true
		}
	}
	return false
}
