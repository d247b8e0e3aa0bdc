// SPDX-License-Identifier: GPL-2.0-only

package policy

import (
	"fmt"

	"github.com/cilium/ebpf/asm"

	"github.com/randomizedcoder/l2d/pkg/nft"
)

// function is generated code. It calls the others by their names.
type function struct {
	name  string
	insns asm.Instructions
}

// module generates all functions of a program.
type module struct {
	p         *Program
	layout    *layout
	functions []function
}

// generate returns the policy functions and the functions of chains, in an
// order that depends on nothing but the ruleset.
func (p *Program) generate(l *layout) ([]function, error) {
	m := &module{p: p, layout: l}
	for _, ph := range p.phases {
		if err := m.phase(ph); err != nil {
			return nil, err
		}
	}
	for _, ch := range p.sortedChains() {
		if ch.function != "" {
			if err := m.chain(ch); err != nil {
				return nil, err
			}
		}
	}
	return m.functions, nil
}

func (m *module) gen() *gen {
	return &gen{builder: newBuilder(), p: m.p, layout: m.layout}
}

func (m *module) add(name string, g *gen) error {
	insns, err := g.finish()
	if err != nil {
		return fmt.Errorf("function %s: %w", name, err)
	}
	m.functions = append(m.functions, function{name, insns})
	return nil
}

// phase generates a policy function.
func (m *module) phase(ph *phase) error {
	g := m.gen()
	g.source = ph.function[len("policy_"):]
	g.prologue()
	if m.p.hooks {
		g.emit(asm.StoreImm(regPkt, int16(m.layout.offsets[fieldHook]), int64(ph.hook), asm.Byte))
	}
	for i, ch := range ph.chains {
		next := g.newLabel()
		sc := &scope{
			end:    g.newLabel(),
			accept: func() { g.goTo(next) },
			drop:   func() { g.ret(codeDrop) },
			done:   func() { g.ret(codeAccept) },
		}
		if i == len(ph.chains)-1 {
			sc.accept = func() { g.ret(codeAccept) }
		}
		m.family(g, ch.src.Table.Family, next)
		if err := m.body(g, ch, fmt.Sprintf("%s_%d", ph.function, i), sc); err != nil {
			return err
		}
		g.bind(sc.end)
		g.source = fmt.Sprintf("table %v chain %s policy %v", ch.src.Table, ch.src.Name, ch.src.Base.Policy)
		g.call("nft_count", int(ch.policy))
		if ch.src.Base.Policy == nft.VerdictDrop {
			g.ret(codeDrop)
		}
		g.bind(next)
	}
	g.ret(codeAccept)
	return m.add(ph.function, g)
}

// family passes by a chain whose table sees only one protocol.
func (m *module) family(g *gen, f nft.Family, next label) {
	if f != nft.FamilyIPv4 && f != nft.FamilyIPv6 {
		return
	}
	g.emit(asm.LoadMem(regHigh, regPkt, int16(m.layout.offsets[fieldNfproto]), asm.Byte))
	g.jump(asm.JNE.Imm32(regHigh, int32(f), ""), next)
}

// chain generates the function of a regular chain.
func (m *module) chain(ch *chain) error {
	g := m.gen()
	g.source = fmt.Sprintf("table %v chain %s", ch.src.Table, ch.src.Name)
	sc := g.inFunction()
	g.prologue()
	if err := m.body(g, ch, ch.function, sc); err != nil {
		return err
	}
	g.bind(sc.end)
	g.ret(codeNext)
	return m.add(ch.function, g)
}

// inFunction is the scope of a function whose caller acts on its result.
func (g *gen) inFunction() *scope {
	return &scope{
		end:    g.newLabel(),
		accept: func() { g.ret(codeAccept) },
		drop:   func() { g.ret(codeDrop) },
		done:   func() { g.ret(codeDone) },
	}
}

// body generates the rules of a chain, in functions of their own if there are
// too many for one.
func (m *module) body(g *gen, ch *chain, name string, sc *scope) error {
	parts := m.divide(ch.rules)
	if len(parts) <= 1 {
		g.rules(ch.rules, sc)
		return nil
	}
	for i, rules := range parts {
		part := m.gen()
		part.source = fmt.Sprintf("table %v chain %s, part %d", ch.src.Table, ch.src.Name, i)
		inner := part.inFunction()
		part.prologue()
		part.rules(rules, inner)
		part.ret(codeNext)
		part.bind(inner.end)
		part.ret(codeReturn)
		function := fmt.Sprintf("%s_part%d", name, i)
		if err := m.add(function, part); err != nil {
			return err
		}
		next := g.newLabel()
		g.callChain(function, next, sc)
		g.bind(next)
	}
	return nil
}

// divide divides rules so that each part is small enough for a function.
func (m *module) divide(rules []*rule) [][]*rule {
	var parts [][]*rule
	var part []*rule
	size := 0
	for _, r := range rules {
		g := m.gen()
		g.rule(r, g.inFunction())
		if size+g.size > maxFunction && len(part) > 0 {
			parts, part, size = append(parts, part), nil, 0
		}
		part = append(part, r)
		size += g.size
	}
	return append(parts, part)
}
