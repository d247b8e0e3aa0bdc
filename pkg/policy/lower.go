// SPDX-License-Identifier: GPL-2.0-only

package policy

import (
	"bytes"
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"strings"

	"github.com/randomizedcoder/l2d/pkg/nft"
)

// lowerer turns the expressions of one rule into ops.
type lowerer struct {
	*compiler
	rule  *nft.Rule
	rest  []nft.Expr // of the rule, behind the expression at hand
	index uint32     // counter
	regs  registers
	ops   []op
	// transport is how many bytes of transport header are known to be there.
	transport int
	// v6 tells that only IPv6 packets come this far, v4 that only IPv4 does.
	v4, v6  bool
	counted bool
	// slots is how many slots of p->regs hold computed values.
	slots int
	// status are the slots of ct status.
	status []int
	// ports tells that only TCP and UDP come this far.
	ports bool
}

// The expressions that can be lowered, by the name they have in the kernel.
var lowerings map[string]func(*lowerer, nft.Expr) error

func init() {
	lowerings = map[string]func(*lowerer, nft.Expr) error{
		"meta":      as((*lowerer).meta),
		"payload":   as((*lowerer).payload),
		"exthdr":    as((*lowerer).exthdr),
		"inner":     as((*lowerer).inner),
		"ct":        as((*lowerer).ct),
		"cmp":       as((*lowerer).cmp),
		"range":     as((*lowerer).rng),
		"bitwise":   as((*lowerer).bitwise),
		"byteorder": as((*lowerer).byteorder),
		"lookup":    as((*lowerer).lookup),
		"immediate": as((*lowerer).immediate),
		"counter":   as((*lowerer).counter),
		"limit":     as((*lowerer).limit),
		"log":       as((*lowerer).log),
		"masq":      as((*lowerer).masq),
		"nat":       as((*lowerer).nat),
		"redir":     as((*lowerer).redir),
		"numgen":    as((*lowerer).numgen),
		"quota":     as((*lowerer).quota),
		"connlimit": as((*lowerer).connlimit),
		"hash":      as((*lowerer).hash),
		"objref":    as((*lowerer).objref),
		"dynset":    as((*lowerer).dynset),
		"fib":       as((*lowerer).fib),
		"rt":        as((*lowerer).rt),
		"notrack":   as((*lowerer).notrack),
		"last":      as((*lowerer).last),

		"flow_offload": as((*lowerer).flowOffload),
		"dup":          as((*lowerer).dup),
		"fwd":          as((*lowerer).fwd),
		"reject":       as((*lowerer).reject),
	}
}

// as makes a lowering of a certain type of expression a general one.
func as[T nft.Expr](f func(*lowerer, T) error) func(*lowerer, nft.Expr) error {
	return func(l *lowerer, e nft.Expr) error { return f(l, e.(T)) }
}

func supportedExprs() string {
	var names []string
	for name := range lowerings {
		names = append(names, name)
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

// lower lowers a rule.
func (c *compiler) lower(r *nft.Rule, index uint32) ([]op, error) {
	l := &lowerer{compiler: c, rule: r, index: index}
	switch r.Chain.Table.Family {
	case nft.FamilyIPv4:
		l.v4 = true
	case nft.FamilyIPv6:
		l.v6 = true
	}
	for i, e := range r.Exprs {
		l.rest = r.Exprs[i+1:]
		if u, ok := e.(*nft.Unknown); ok {
			why := u.Why
			if why == "" {
				why = foreignExprs[u.Name]
			}
			return nil, unsupportedRule(r, u.Name, why, supportedExprs())
		}
		f, ok := lowerings[e.ExprName()]
		if !ok {
			return nil, unsupportedRule(r, e.ExprName(), "", supportedExprs())
		}
		if err := f(l, e); err != nil {
			var ref *refusal
			if errors.As(err, &ref) {
				return nil, unsupportedRule(r, e.ExprName(), ref.why, ref.supported)
			}
			return nil, err
		}
	}
	l.count()
	l.police()
	return l.ops, nil
}

// count gives a rule without a counter statement one behind its last match.
func (l *lowerer) count() {
	if l.counted {
		return
	}
	at := 0
	for i, o := range l.ops {
		switch o := o.(type) {
		case *opVerdictMap:
			// The verdict follows the match: it counts in between.
			o.count = int(l.index)
			return
		case *opMatch, *opLookup, *opFact, *opFind, *opWrite, *opAsk, *opDynset, *opData, opTransport, opLimit, opQuota, opConnlimit:
			at = i + 1
		}
	}
	l.ops = slices.Insert(l.ops, at, op(opCount{int(l.index)}))
}

// errorf says what is wrong with a ruleset that no kernel would take.
func (l *lowerer) errorf(format string, args ...any) error {
	return fmt.Errorf("table %v chain %s rule handle %d: %s", l.rule.Chain.Table, l.rule.Chain.Name, l.rule.Handle, fmt.Sprintf(format, args...))
}

func (l *lowerer) store(reg nft.Register, v []sym) error {
	word, ok := reg.Word()
	if !ok || !l.regs.store(word, v) {
		return refuse("", "register %d", reg)
	}
	return nil
}

func (l *lowerer) load(reg nft.Register, n int) ([]sym, error) {
	word, ok := reg.Word()
	if !ok {
		return nil, refuse("", "register %d", reg)
	}
	v := l.regs.load(word, n)
	if v == nil {
		return nil, refuse("", "register %d is read before it is written", reg)
	}
	return v, nil
}

var metaKeys = map[nft.MetaKey][]sym{
	nft.MetaLen:      fieldBytes(fieldLen, 0, 4),
	nft.MetaProtocol: fieldBytes(fieldProtocol, 0, 2),
	nft.MetaMark:     fieldBytes(fieldMark, 0, 4),
	nft.MetaPriority: fieldBytes(fieldPriority, 0, 4),
	// Without an interface the kernel loads 0 and an empty name.
	nft.MetaIif:     fieldBytes(fieldIif, 0, 4),
	nft.MetaOif:     fieldBytes(fieldOif, 0, 4),
	nft.MetaIifname: ifname(fieldIif),
	nft.MetaOifname: ifname(fieldOif),
	nft.MetaNfproto: fieldBytes(fieldNfproto, 0, 1),
	nft.MetaL4proto: fieldBytes(fieldL4proto, 0, 1),
	nft.MetaPkttype: fieldBytes(fieldPktType, 0, 1),
}

func (l *lowerer) meta(e *nft.ExprMeta) error {
	if e.Set {
		return l.setMeta(e)
	}
	switch e.Key {
	case nft.MetaCPU:
		return l.compute(e.Reg, &opCompute{kind: computeCPU})
	case nft.MetaRandom:
		return l.compute(e.Reg, &opCompute{kind: computeRandom})
	}
	if ok, err := l.hostMetaKey(e); ok {
		return err
	}
	v, ok := metaKeys[e.Key]
	switch {
	case !ok:
		return refuse(metaNames(), "meta %v", e.Key)
	case e.Key == nft.MetaNfproto && l.anyFrame():
		v = constants([]byte{byte(nft.FamilyNetdev)})
	case e.Key == nft.MetaL4proto:
		l.needsIP()
	}
	return l.store(e.Reg, v)
}

func (l *lowerer) bitwise(e *nft.ExprBitwise) error {
	if e.Op == nft.BitwiseLshift || e.Op == nft.BitwiseRshift {
		return l.shift(e)
	}
	if e.Op != nft.BitwiseMaskXor {
		return l.combine(e)
	}
	if len(e.Mask) != int(e.Len) || len(e.Xor) != int(e.Len) {
		return l.errorf("a mask of %d bytes for %d", len(e.Mask), e.Len)
	}
	v, err := l.load(e.Src, int(e.Len))
	if err != nil {
		return err
	}
	for i := range v {
		if v[i].name && (e.Mask[i] != 0xff || e.Xor[i] != 0) {
			return refuse("comparisons and sets", "bits of an interface name")
		}
		v[i] = v[i].bitwise(e.Mask[i], e.Xor[i])
	}
	return l.store(e.Dst, v)
}

func (l *lowerer) byteorder(e *nft.ExprByteorder) error {
	n, size := int(e.Len), int(e.Size)
	// The kernel leaves what is no whole unit as it is, and nft has it swap a
	// byte in place as a unit of 2.
	if size == 0 || n%size != 0 && e.Src != e.Dst {
		return refuse("whole numbers", "%d bytes in units of %d", n, size)
	}
	v, err := l.load(e.Src, n)
	if err != nil {
		return err
	}
	for at := 0; at+size <= n; at += size {
		slices.Reverse(v[at : at+size])
	}
	return l.store(e.Dst, v)
}

// match adds a condition on a value.
func (l *lowerer) match(v []sym, spans []span, invert bool) error {
	elems := make([][]span, len(spans))
	for i, s := range spans {
		elems[i] = []span{s}
	}
	return l.matchKeys([][]sym{v}, elems, invert)
}

// never ends the rule for every packet.
func (l *lowerer) never() error {
	return l.match(constants([]byte{0}), []span{{[]byte{1}, []byte{1}}}, false)
}

// matchKeys adds a condition on several values.
func (l *lowerer) matchKeys(keys [][]sym, elems [][]span, invert bool) error {
	if err := l.checkStatus(keys); err != nil {
		return err
	}
	m, err := l.resolveNames(&opMatch{keys: keys, elems: elems, invert: invert})
	if err != nil {
		return err
	}
	l.ops = append(l.ops, m)
	l.learn(m)
	l.learnPorts(m)
	return nil
}

// learn notes the family if the condition tells it.
func (l *lowerer) learn(m *opMatch) {
	if m.invert || len(m.keys) != 1 || len(m.elems) != 1 || !m.elems[0][0].single() {
		return
	}
	k, v := m.keys[0], m.elems[0][0].lo
	for i := range k {
		if k[i].and != 0xff || k[i].xor != 0 || k[i].index != uint8(i) || k[i].name {
			return
		}
	}
	switch {
	case k[0].field == fieldNfproto && nft.Family(v[0]) == nft.FamilyIPv4,
		k[0].field == fieldProtocol && bytes.Equal(v, []byte{0x08, 0x00}):
		l.v4 = true
	case k[0].field == fieldNfproto && nft.Family(v[0]) == nft.FamilyIPv6,
		k[0].field == fieldProtocol && bytes.Equal(v, []byte{0x86, 0xdd}):
		l.v6 = true
	}
}

func (l *lowerer) cmp(e *nft.ExprCmp) error {
	v, err := l.load(e.Reg, len(e.Data))
	if err != nil {
		return err
	}
	zero, ones := make([]byte, len(v)), bytes.Repeat([]byte{0xff}, len(v))
	switch e.Op {
	case nft.CmpEq, nft.CmpNeq:
		return l.match(v, []span{{e.Data, e.Data}}, e.Op == nft.CmpNeq)
	case nft.CmpLte:
		return l.match(v, []span{{zero, e.Data}}, false)
	case nft.CmpGt:
		return l.match(v, []span{{zero, e.Data}}, true)
	case nft.CmpGte:
		return l.match(v, []span{{e.Data, ones}}, false)
	case nft.CmpLt:
		return l.match(v, []span{{e.Data, ones}}, true)
	}
	return refuse("==, !=, <, <=, >, >=", "comparison %d", e.Op)
}

func (l *lowerer) rng(e *nft.ExprRange) error {
	if len(e.From) != len(e.To) || e.Op > nft.CmpNeq {
		return refuse("==, !=", "comparison %d", e.Op)
	}
	v, err := l.load(e.Reg, len(e.From))
	if err != nil {
		return err
	}
	return l.match(v, []span{{e.From, e.To}}, e.Op == nft.CmpNeq)
}

func (l *lowerer) immediate(e *nft.ExprImmediate) error {
	if e.Verdict == nil {
		return l.store(e.Reg, constants(e.Data))
	}
	v, err := l.verdict(e.Verdict)
	if err == nil && v.code != nft.VerdictContinue {
		l.ops = append(l.ops, v)
	}
	return err
}

func (l *lowerer) counter(*nft.ExprCounter) error {
	if !l.counted {
		l.counted = true
		l.ops = append(l.ops, opCount{int(l.index)})
	}
	return nil
}

const nanosecond = 1_000_000_000 // in a second

func (l *lowerer) limit(e *nft.ExprLimit) error {
	o, err := l.newLimit(e)
	if err == nil {
		l.ops = append(l.ops, o)
	}
	return err
}

func (l *lowerer) newLimit(e *nft.ExprLimit) (opLimit, error) {
	info, err := limitInfo(e)
	if err != nil {
		return opLimit{}, err
	}
	info.Index, info.Rule = uint32(len(l.p.Limits)), l.index
	l.p.Limits = append(l.p.Limits, info)
	return opLimit{index: int(info.Index)}, nil
}

// limitInfo computes the bucket as nft_limit_init() of the kernel does.
func limitInfo(e *nft.ExprLimit) (LimitInfo, error) {
	hi, nsecs := bits.Mul64(e.Unit, nanosecond)
	if e.Rate == 0 || e.Unit == 0 || hi != 0 {
		return LimitInfo{}, refuse("", "a rate of %d per %d seconds", e.Rate, e.Unit)
	}
	info := LimitInfo{Bytes: e.Bytes, Over: e.Over, Rate: e.Rate, Nsecs: nsecs}
	if e.Bytes {
		info.TokensMax = nsecs * (e.Rate + uint64(e.Burst)) / e.Rate
	} else {
		burst := uint64(e.Burst)
		if burst == 0 {
			burst = defaultBurst
		}
		info.TokensMax = nsecs / e.Rate * burst
	}
	return info, nil
}

// defaultBurst is NFT_LIMIT_PKT_BURST_DEFAULT.
const defaultBurst = 5
