// SPDX-License-Identifier: GPL-2.0-only

package policy

import (
	"fmt"
	"slices"

	"github.com/randomizedcoder/l2d/pkg/nft"
)

// opVerdictMap ends the rule with the verdict of the element that holds the
// keys; without one the rule does not match.
type opVerdictMap struct {
	// cases in the order they are tried: a constant map.
	cases []verdictCase
	// keys are looked up in set, a map of the program, when there are no cases.
	keys [][]sym
	set  int
	// verdicts are what the cases, or the elements of the set, refer to.
	verdicts []opVerdict
	// otherwise is the verdict of the catch-all element of the cases; -1: none.
	otherwise int
	// count is the counter of the rule; -1: it counts elsewhere.
	count int
}

// verdictCase is an element of a constant map.
type verdictCase struct {
	match   *opMatch
	verdict int
}

func (*opVerdictMap) isOp() {}

const supportedVerdicts = "accept, drop, jump, goto, return, continue"

// verdict lowers a verdict.
func (l *lowerer) verdict(v *nft.Verdict) (opVerdict, error) {
	out := opVerdict{code: v.Code}
	switch v.Code {
	case nft.VerdictAccept, nft.VerdictDrop, nft.VerdictReturn, nft.VerdictContinue:
	case nft.VerdictJump, nft.VerdictGoto:
		if out.chain = l.rule.Chain.Table.Chain(v.Chain); out.chain == nil {
			return out, l.errorf("no chain %q", v.Chain)
		}
	default:
		return out, refuse(supportedVerdicts, "verdict %v", v.Code)
	}
	return out, nil
}

// verdictMap lowers a lookup whose result is a verdict.
func (l *lowerer) verdictMap(s *nft.Set, keys [][]sym) error {
	m := &opVerdictMap{set: -1, otherwise: -1, count: -1}
	index := func(e nft.Element) (int, error) {
		var v opVerdict
		var err error
		switch {
		case s.Has(nft.SetObject):
			v, err = l.objectOf(s, e)
		case e.Verdict == nil:
			err = l.errorf("map %s: an element without a verdict", s.Name)
		default:
			v, err = l.verdict(e.Verdict)
		}
		if err != nil {
			return 0, err
		}
		i := slices.Index(m.verdicts, v)
		if i < 0 {
			i = len(m.verdicts)
			m.verdicts = append(m.verdicts, v)
		}
		return i, nil
	}
	code := isCode(s)
	if !code {
		if err := checkMap(s); err != nil {
			return err
		}
		if !s.Has(nft.SetObject) {
			m.verdicts = slices.Clone(plainVerdicts)
		}
	}
	for _, r := range s.Ranges() {
		v, err := index(r.Element)
		if err != nil {
			return err
		}
		if !code {
			continue
		}
		match, err := l.resolveNames(&opMatch{keys: keys, elems: [][]span{fieldSpans(s, r)}})
		if err != nil {
			return err
		}
		m.cases = append(m.cases, verdictCase{match, v})
	}
	if e := catchAll(s); e != nil {
		v, err := index(*e)
		if err != nil {
			return err
		}
		if code {
			m.otherwise = v
		}
	}
	if !code {
		var err error
		if m.keys, err = mapKeys(keys); err != nil {
			return err
		}
		m.set = l.setMap(s)
		l.p.Sets[m.set].verdicts = m.verdicts
	}
	l.ops = append(l.ops, m)
	return nil
}

// plainVerdicts can be given to any element of a map.
var plainVerdicts = []opVerdict{
	{code: nft.VerdictAccept}, {code: nft.VerdictDrop}, {code: nft.VerdictReturn}, {code: nft.VerdictContinue},
}

// String returns the verdict, or the name of the object, as nft writes it.
func (v opVerdict) String() string {
	if v.object != nil {
		return fmt.Sprintf("%q", v.object.Name)
	}
	if v.chain != nil {
		return v.code.String() + " " + v.chain.Name
	}
	return v.code.String()
}

// isOf tells whether it is the verdict, or the object, of an element.
func (v opVerdict) isOf(e nft.Element) bool {
	if v.object != nil {
		return v.object.Name == e.Object
	}
	w := e.Verdict
	return w != nil && v.code == w.Code && (v.chain == nil || v.chain.Name == w.Chain)
}

// fieldSpans divides a range of a set into the spans of its fields.
func fieldSpans(s *nft.Set, r nft.Range) []span {
	spans := make([]span, len(s.Fields))
	for i, f := range s.Fields {
		spans[i] = span{r.From[f.Offset : f.Offset+f.Len], r.To[f.Offset : f.Offset+f.Len]}
	}
	return spans
}
