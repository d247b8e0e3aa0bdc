// SPDX-License-Identifier: GPL-2.0-only

package policy

import (
	"fmt"
	"slices"

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
	// needed are the functions of chains that others call, in the order in
	// which they were first called.
	needed []chainFunction
	// general leaves specialisation out, to measure what it gains.
	general bool
	// early generates what XDP runs early, for other functions and without counting.
	early bool
	kinds []kind
}

// kind is the code of a hook for some kind of packets.
type kind struct {
	phase *phase
	code  asm.Instructions
}

// chainFunction is the function of a chain for the packets of which something is
// known.
type chainFunction struct {
	chain *chain
	known *special
}

func (m *module) nameOf(f chainFunction) string {
	name := f.chain.function + f.known.suffix
	if m.early {
		name += "_early"
	}
	return name
}

// functionOf returns the name of the function of a chain, which is going to be
// generated.
func (g *gen) functionOf(ch *chain) string {
	f := chainFunction{ch, g.known}
	if f.known == nil {
		f.known = new(special)
	}
	same := func(o chainFunction) bool { return g.m.nameOf(o) == g.m.nameOf(f) }
	if !g.outline && !slices.ContainsFunc(g.m.needed, same) {
		g.m.needed = append(g.m.needed, f)
	}
	return g.m.nameOf(f)
}

// generate returns the policy functions and the functions of chains, in an
// order that depends on nothing but the ruleset.
func (p *Program) generate(l *layout) ([]function, error) {
	m := &module{p: p, layout: l, general: p.traced}
	var early []function
	if l.xdp && p.early != 0 {
		e := &module{p: p, layout: l, general: p.traced, early: true}
		if err := e.generate(); err != nil {
			return nil, err
		}
		early = e.functions
	}
	if l.xdp && len(p.TCOnly) > 0 {
		return early, nil // runs nothing else
	}
	if err := m.generate(); err != nil {
		return nil, err
	}
	return append(m.functions, early...), nil
}

func (m *module) generate() error {
	for _, ph := range m.p.phases {
		if m.early && m.p.early&earlyBits[ph.function] == 0 {
			continue
		}
		if err := m.phase(ph); err != nil {
			return err
		}
	}
	for i := 0; i < len(m.needed); i++ {
		if err := m.chain(m.needed[i]); err != nil {
			return err
		}
	}
	return nil
}

func (m *module) gen() *gen {
	return &gen{builder: newBuilder(), m: m, p: m.p, layout: m.layout}
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
	g.source = m.functionOf(ph)[len("policy_"):]
	g.prologue()
	if m.p.hooks {
		g.emit(asm.StoreImm(regPkt, int16(m.layout.offsets[fieldHook]), int64(ph.hook), asm.Byte))
	}
	known := ph.facts(m.layout.xdp && !m.early, m.general)
	var dims []dimension
	if !m.general {
		dims = m.dimensions(ph, known)
	}
	err := m.divided(g, dims, known, func(s *special) error {
		from := len(g.insns)
		g.known = s
		err := m.chains(g, ph)
		m.kinds = append(m.kinds, kind{ph, g.insns[from:]})
		return err
	})
	if err != nil {
		return err
	}
	return m.add(m.functionOf(ph), g)
}

// chains generates the base chains of a policy function, and its end.
func (m *module) chains(g *gen, ph *phase) error {
	for i, ch := range ph.chains {
		next, accepted := g.newLabel(), g.newLabel()
		sc := &scope{
			end:    g.newLabel(),
			accept: func() { g.goTo(accepted) },
			drop:   func() { g.ret(codeDrop) },
			done:   func() { g.ret(codeAccept) },
		}
		routes := ch.src.Base.Type == typeRoute
		if i == len(ph.chains)-1 && !routes {
			sc.accept = func() { g.ret(codeAccept) }
		}
		m.natAt(g, ph, i)
		m.device(g, ch.src, next)
		if !m.family(g, ch.src.Table.Family, next) {
			continue
		}
		if routes {
			g.routeBegin()
		}
		if err := m.body(g, ch, fmt.Sprintf("%s_%d%s", m.functionOf(ph), i, g.known.suffix), sc); err != nil {
			return err
		}
		g.bind(sc.end)
		g.source = fmt.Sprintf("table %v chain %s policy %v", ch.src.Table, ch.src.Name, ch.src.Base.Policy)
		g.count(int(ch.policy))
		if ch.src.Base.Policy == nft.VerdictDrop {
			g.ret(codeDrop)
		}
		g.bind(accepted)
		if routes {
			g.routeEnd()
		}
		g.bind(next)
	}
	g.ret(codeAccept)
	return nil
}

// family passes by a chain whose table sees only one protocol. It returns
// whether there is anything that the chain sees.
func (m *module) family(g *gen, f nft.Family, next label) bool {
	if f != nft.FamilyIPv4 && f != nft.FamilyIPv6 {
		return true
	}
	v := []byte{byte(f)}
	holds, known := g.known.decide(&opMatch{keys: [][]sym{fieldBytes(fieldNfproto, 0, 1)}, elems: [][]span{{{v, v}}}})
	if known {
		return holds
	}
	g.emit(asm.LoadMem(regHigh, regPkt, int16(m.layout.offsets[fieldNfproto]), asm.Byte))
	g.jump(asm.JNE.Imm32(regHigh, int32(f), ""), next)
	return true
}

// chain generates the function of a regular chain.
func (m *module) chain(f chainFunction) error {
	g, ch := m.gen(), f.chain
	g.known = f.known
	g.source = fmt.Sprintf("table %v chain %s", ch.src.Table, ch.src.Name)
	sc := g.inFunction()
	g.prologue()
	if err := m.body(g, ch, m.nameOf(f), sc); err != nil {
		return err
	}
	g.bind(sc.end)
	g.ret(codeNext)
	return m.add(m.nameOf(f), g)
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
	parts := m.divide(ch.rules, g.known)
	if len(parts) <= 1 {
		g.rules(ch.rules, sc)
		return nil
	}
	for i, rules := range parts {
		part := m.gen()
		part.known = g.known
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
func (m *module) divide(rules []*rule, known *special) [][]*rule {
	var parts [][]*rule
	var part []*rule
	size := 0
	for r, ops := range known.reach(rules, m.p) {
		g := m.gen()
		g.known = known
		g.rule(r, ops, g.inFunction())
		if size+g.size > maxFunction && len(part) > 0 {
			parts, part, size = append(parts, part), nil, 0
		}
		part = append(part, r)
		size += g.size
	}
	return append(parts, part)
}
