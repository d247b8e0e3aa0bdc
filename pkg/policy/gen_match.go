// SPDX-License-Identifier: GPL-2.0-only

package policy

import (
	"bytes"
	"slices"

	"github.com/cilium/ebpf/asm"
)

// linearSearch is up to how many ranges are tried one after the other.
const linearSearch = 4

// match generates a condition. What follows it is reached when it holds.
func (g *gen) match(m *opMatch, fail label) {
	ok := g.newLabel()
	yes, no := ok, fail
	if m.invert {
		yes, no = fail, ok
	}
	if len(m.keys) == 1 {
		spans := make([]span, len(m.elems))
		for i, e := range m.elems {
			spans[i] = e[0]
		}
		g.matchKey(m.keys[0], spans, yes, no, ok)
	} else {
		g.matchKeys(m, yes, no, ok)
	}
	g.bind(ok)
}

// matchKeys tries the elements of a concatenation one after the other.
func (g *gen) matchKeys(m *opMatch, yes, no, next label) {
	for _, e := range m.elems {
		another := g.newLabel()
		for i, key := range m.keys {
			same := g.newLabel()
			g.matchKey(key, []span{e[i]}, same, another, same)
			g.bind(same)
		}
		g.goTo(yes)
		g.bind(another)
	}
	g.fallTo(no, next)
}

// fallTo jumps unless the label is the next instruction's.
func (g *gen) fallTo(to, next label) {
	if to != next {
		g.goTo(to)
	}
}

// matchKey goes to yes if one of the spans holds the key, else to no; next is
// the one of them that follows.
func (g *gen) matchKey(key []sym, spans []span, yes, no, next label) {
	key, spans = trim(key, spans)
	switch {
	case len(spans) == 0:
		g.fallTo(no, next)
	case len(key) == 0:
		// Constants only, and trim has compared them.
		g.fallTo(yes, next)
	case len(key) <= 8:
		g.matchNumber(key, spans, yes, no, next)
	default:
		g.matchPair(key, spans, yes, no, next)
	}
}

// trim compares the constant bytes at both ends of a key that is tested for
// equality, and leaves the others.
func trim(key []sym, spans []span) ([]sym, []span) {
	if !singles(spans) {
		return key, spans
	}
	drop := func(i int) {
		var rest []span
		for _, s := range spans {
			if s.lo[i] == key[i].xor {
				v := slices.Delete(bytes.Clone(s.lo), i, i+1)
				rest = append(rest, span{v, v})
			}
		}
		key, spans = slices.Delete(slices.Clone(key), i, i+1), rest
	}
	for len(key) > 0 && key[len(key)-1].field == fieldNone {
		drop(len(key) - 1)
	}
	for len(key) > 0 && key[0].field == fieldNone {
		drop(0)
	}
	return key, spans
}

func singles(spans []span) bool {
	return !slices.ContainsFunc(spans, func(s span) bool { return !s.single() })
}

// masks returns the masks of a key.
func masks(key []sym) (and, xor []byte) {
	for _, s := range key {
		and, xor = append(and, s.and), append(xor, s.xor)
	}
	return and, xor
}

// load puts a key of at most 8 bytes into a register, with its masks applied.
// As a little-endian number, which is tested for equality, it is not xored: the
// constants are.
func (g *gen) load(dst asm.Register, key []sym, o order) {
	extra := g.loadNumber(dst, key, o)
	and, xor := masks(key)
	n := len(key)
	mask := o.toNumber(and)
	if mask != ones(n) || extra != 0 {
		g.and(dst, mask, widest(n, extra))
	}
	if x := o.toNumber(xor); x != 0 && o == bigEndian {
		if n <= 4 {
			g.emit(asm.Xor.Imm32(dst, int32(uint32(x))))
		} else {
			g.emit(asm.LoadImm(regTemp, int64(x), asm.DWord), asm.Xor.Reg(dst, regTemp))
		}
	}
}

// widest is the length in bytes of a number with extra bits above it.
func widest(n int, extra uint64) int {
	if extra > ones(4) {
		return 8
	}
	return n
}

// interval is a span of numbers.
type interval struct{ lo, hi uint64 }

// intervals converts spans of keys, sorted and joined where they touch. Spans
// that no value of the key can be in are left out.
func intervals(key []sym, spans []span, o order) []interval {
	and, xor := masks(key)
	var out []interval
	for _, s := range spans {
		lo, hi := o.toNumber(s.lo), o.toNumber(s.hi)
		if o == littleEndian {
			lo ^= o.toNumber(xor)
			if lo&^o.toNumber(and) != 0 {
				continue
			}
			hi = lo
		}
		if lo <= hi {
			out = append(out, interval{lo, hi})
		}
	}
	slices.SortFunc(out, func(a, b interval) int {
		switch {
		case a.lo < b.lo:
			return -1
		case a.lo > b.lo:
			return 1
		}
		return 0
	})
	joined := out[:0]
	for _, v := range out {
		if n := len(joined); n > 0 && (v.lo <= joined[n-1].hi || v.lo == joined[n-1].hi+1) {
			joined[n-1].hi = max(joined[n-1].hi, v.hi)
			continue
		}
		joined = append(joined, v)
	}
	return joined
}

// matchNumber compares a key of at most 8 bytes.
func (g *gen) matchNumber(key []sym, spans []span, yes, no, next label) {
	o := bigEndian
	if singles(spans) {
		o = littleEndian
	}
	ivs := intervals(key, spans, o)
	n := len(key)
	if len(ivs) == 0 {
		g.fallTo(no, next)
		return
	}
	if n <= 4 && len(ivs) == 1 && ivs[0] == (interval{}) && len(g.runs(key)) == 1 && o == littleEndian {
		// (v & mask) == 0 in one instruction.
		g.loadNumber(regHigh, key, o)
		and, _ := masks(key)
		g.jump(asm.JSet.Imm32(regHigh, int32(uint32(o.toNumber(and))), ""), no)
		g.fallTo(yes, next)
		return
	}
	g.load(regHigh, key, o)
	g.search(ivs, n, yes, no, next)
}

// search finds the number in regHigh among sorted intervals.
func (g *gen) search(ivs []interval, n int, yes, no, next label) {
	if len(ivs) > linearSearch {
		mid := len(ivs) / 2
		right := g.newLabel()
		g.branch(asm.JGE, regHigh, ivs[mid].lo, n, right)
		g.search(ivs[:mid], n, yes, no, right)
		g.bind(right)
		g.search(ivs[mid:], n, yes, no, next)
		return
	}
	for i, v := range ivs {
		last := i == len(ivs)-1
		switch {
		case v.lo == 0 && v.hi == ones(n):
			g.fallTo(yes, next)
			return
		case last && next == yes && v.lo == v.hi:
			g.branch(asm.JNE, regHigh, v.lo, n, no)
			return
		case last && next == yes:
			if v.lo > 0 {
				g.branch(asm.JLT, regHigh, v.lo, n, no)
			}
			if v.hi < ones(n) {
				g.branch(asm.JGT, regHigh, v.hi, n, no)
			}
			return
		case v.lo == v.hi:
			g.branch(asm.JEq, regHigh, v.lo, n, yes)
		default:
			// Ascending: what is below this interval is in none that follows.
			if v.lo > 0 {
				g.branch(asm.JLT, regHigh, v.lo, n, no)
			}
			g.branch(asm.JLE, regHigh, v.hi, n, yes)
		}
	}
	g.fallTo(no, next)
}

// matchPair compares a key of 9 to 16 bytes.
func (g *gen) matchPair(key []sym, spans []span, yes, no, next label) {
	const half = 8
	high, low := key[:half], key[half:]
	if singles(spans) {
		g.load(regHigh, high, littleEndian)
		g.load(regLow, low, littleEndian)
		for _, s := range spans {
			h := intervals(high, []span{{s.lo[:half], s.lo[:half]}}, littleEndian)
			l := intervals(low, []span{{s.lo[half:], s.lo[half:]}}, littleEndian)
			if len(h) == 0 || len(l) == 0 {
				continue
			}
			another := g.newLabel()
			g.branch(asm.JNE, regHigh, h[0].lo, half, another)
			g.branch(asm.JEq, regLow, l[0].lo, len(low), yes)
			g.bind(another)
		}
		g.fallTo(no, next)
		return
	}

	spans = slices.Clone(spans)
	slices.SortFunc(spans, func(a, b span) int { return bytes.Compare(a.lo, b.lo) })
	g.load(regHigh, high, bigEndian)
	for _, s := range spans {
		a, b := bigEndian.toNumber(s.lo[:half]), bigEndian.toNumber(s.lo[half:])
		c, d := bigEndian.toNumber(s.hi[:half]), bigEndian.toNumber(s.hi[half:])
		all := ones(len(low))
		another := g.newLabel()
		if a > 0 {
			g.branch(asm.JLT, regHigh, a, half, no)
		}
		if b == 0 && d == all {
			g.branch(asm.JLE, regHigh, c, half, yes)
			g.bind(another)
			continue
		}
		if c < ones(half) {
			g.branch(asm.JGT, regHigh, c, half, another)
		}
		// Not all ways lead here: it is loaded anew each time.
		g.load(regLow, low, bigEndian)
		if a == c {
			if b > 0 {
				g.branch(asm.JLT, regLow, b, len(low), another)
			}
			g.branch(asm.JLE, regLow, d, len(low), yes)
			g.bind(another)
			continue
		}
		upper := g.newLabel()
		g.branch(asm.JNE, regHigh, a, half, upper)
		g.branch(asm.JLT, regLow, b, len(low), another)
		g.bind(upper)
		g.branch(asm.JNE, regHigh, c, half, yes)
		g.branch(asm.JLE, regLow, d, len(low), yes)
		g.bind(another)
	}
	g.fallTo(no, next)
}
