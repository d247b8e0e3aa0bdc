// SPDX-License-Identifier: GPL-2.0-only

package policy

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strings"

	"github.com/randomizedcoder/l2d/pkg/nft"
)

// interpreter evaluates rules as nf_tables_core.c of the kernel does: with real
// registers, expression by expression. It knows nothing of the compiler.
type interpreter struct {
	rs *nft.Ruleset
	pk *packet
	// without is the handle of a rule that is passed over.
	without uint64
}

// What a chain's evaluation ends with besides accept and drop.
const (
	ended = nft.VerdictContinue
)

// hook runs the base chains of type filter at a hook.
func (in *interpreter) hook(hook nft.Hook) bool {
	var chains []*nft.Chain
	for _, t := range in.rs.Tables {
		for _, c := range t.Chains {
			if c.Base != nil && c.Base.Hook == hook && c.Base.Type == "filter" && in.sees(t.Family) {
				chains = append(chains, c)
			}
		}
	}
	slices.SortStableFunc(chains, func(a, b *nft.Chain) int { return int(a.Base.Priority) - int(b.Base.Priority) })
	for _, c := range chains {
		v := in.chain(c)
		if v == ended {
			v = c.Base.Policy
		}
		if v == nft.VerdictDrop {
			return false
		}
	}
	return true
}

func (in *interpreter) sees(f nft.Family) bool {
	nfproto, _ := in.pk.family()
	return f == nft.FamilyInet || byte(f) == nfproto
}

// chain returns accept, drop, or ended.
func (in *interpreter) chain(c *nft.Chain) nft.VerdictCode {
	for _, r := range c.Rules {
		if r.Handle == in.without {
			continue
		}
		v := in.rule(r)
		switch v.Code {
		case nft.VerdictAccept, nft.VerdictDrop:
			return v.Code
		case nft.VerdictReturn:
			return ended
		case nft.VerdictGoto:
			return in.chain(c.Table.Chain(v.Chain))
		case nft.VerdictJump:
			if code := in.chain(c.Table.Chain(v.Chain)); code != ended {
				return code
			}
		}
	}
	return ended
}

// rule returns its verdict; break counts as continue here.
func (in *interpreter) rule(r *nft.Rule) nft.Verdict {
	var regs [64]byte
	at := func(reg nft.Register) []byte {
		word, _ := reg.Word()
		return regs[4*word:]
	}
	store := func(reg nft.Register, v []byte) {
		copy(at(reg), append(bytes.Clone(v), make([]byte, padding(len(v)))...))
	}
	next := nft.Verdict{Code: nft.VerdictContinue}
	for _, e := range r.Exprs {
		switch e := e.(type) {
		case *nft.ExprMeta:
			store(e.Reg, in.meta(e.Key))
		case *nft.ExprCt:
			store(e.Reg, binary.NativeEndian.AppendUint32(nil, in.pk.ct))
		case *nft.ExprPayload:
			header := in.pk.network()
			if e.Base == nft.PayloadTransport {
				header = in.pk.th
			}
			if int(e.Offset+e.Len) > len(header) {
				return next
			}
			store(e.Reg, header[e.Offset:e.Offset+e.Len])
		case *nft.ExprBitwise:
			v := bytes.Clone(at(e.Src)[:e.Len])
			for i := range v {
				v[i] = v[i]&e.Mask[i] ^ e.Xor[i]
			}
			store(e.Dst, v)
		case *nft.ExprByteorder:
			v := bytes.Clone(at(e.Src)[:e.Len])
			for i := 0; i < len(v); i += int(e.Size) {
				slices.Reverse(v[i : i+int(e.Size)])
			}
			store(e.Dst, v)
		case *nft.ExprCmp:
			c := bytes.Compare(at(e.Reg)[:len(e.Data)], e.Data)
			if !map[nft.CmpOp]bool{
				nft.CmpEq: c == 0, nft.CmpNeq: c != 0, nft.CmpLt: c < 0, nft.CmpLte: c <= 0, nft.CmpGt: c > 0, nft.CmpGte: c >= 0,
			}[e.Op] {
				return next
			}
		case *nft.ExprRange:
			v := at(e.Reg)[:len(e.From)]
			inside := bytes.Compare(v, e.From) >= 0 && bytes.Compare(v, e.To) <= 0
			if inside != (e.Op == nft.CmpEq) {
				return next
			}
		case *nft.ExprLookup:
			s := r.Chain.Table.Set(e.Set)
			if e.Map {
				v := inMap(s, at(e.Reg)[:s.KeyLen])
				if v == nil {
					return next
				}
				if v.Code != nft.VerdictContinue {
					return *v
				}
				continue
			}
			if inSet(s, at(e.Reg)[:s.KeyLen]) == e.Invert {
				return next
			}
		case *nft.ExprImmediate:
			if e.Verdict != nil {
				return *e.Verdict
			}
			store(e.Reg, e.Data)
		case *nft.ExprCounter:
		default:
			panic("no interpretation of " + e.ExprName())
		}
	}
	return next
}

func padding(n int) int { return (4 - n%4) % 4 }

// inMap looks for the verdict of a key.
func inMap(s *nft.Set, key []byte) *nft.Verdict {
	if e := findElement(s, key); e != nil {
		return e.Verdict
	}
	for _, e := range s.Elements {
		if e.CatchAll {
			return e.Verdict
		}
	}
	return nil
}

func inSet(s *nft.Set, key []byte) bool { return findElement(s, key) != nil }

// findElement looks for a key among the elements as the kernel listed them.
func findElement(s *nft.Set, key []byte) *nft.Element {
	for _, r := range s.Ranges() {
		all := true
		for _, f := range s.Fields {
			v := key[f.Offset : f.Offset+f.Len]
			all = all && bytes.Compare(v, r.From[f.Offset:f.Offset+f.Len]) >= 0 && bytes.Compare(v, r.To[f.Offset:f.Offset+f.Len]) <= 0
		}
		if all {
			return &r.Element
		}
	}
	return nil
}

func (in *interpreter) meta(k nft.MetaKey) []byte {
	u32 := func(v uint32) []byte { return binary.NativeEndian.AppendUint32(nil, v) }
	name := func(s string) []byte { return []byte(s + strings.Repeat("\x00", 16-len(s))) }
	nfproto, protocol := in.pk.family()
	switch k {
	case nft.MetaLen:
		return u32(in.pk.len)
	case nft.MetaMark:
		return u32(in.pk.mark)
	case nft.MetaProtocol:
		return binary.BigEndian.AppendUint16(nil, protocol)
	case nft.MetaNfproto:
		return []byte{nfproto}
	case nft.MetaL4proto:
		return []byte{in.pk.proto}
	case nft.MetaPkttype:
		return []byte{in.pk.pkttype}
	case nft.MetaIif:
		return u32(uint32(testLinks[in.pk.iif]))
	case nft.MetaOif:
		return u32(uint32(testLinks[in.pk.oif]))
	case nft.MetaIifname:
		return name(in.pk.iif)
	case nft.MetaOifname:
		return name(in.pk.oif)
	}
	panic("no interpretation of meta " + k.String())
}
