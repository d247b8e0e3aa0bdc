// SPDX-License-Identifier: GPL-2.0-only

package policy

import (
	"github.com/cilium/ebpf/asm"

	"github.com/randomizedcoder/l2d/pkg/nft"
)

// What a statement asks for besides nft.NATFlags: NAT_* of bpf/lib/types.h.
const (
	natOutput     = 1 << 26
	natChains4    = 1 << 27
	natChains6    = 1 << 28
	natRedirect   = 1 << 29
	natMasquerade = 1 << 30
	natStatement  = 1 << 31
)

// struct nat_range of bpf/lib/types.h: two addresses, two ports, and padding.
const (
	natAddrLen  = 16
	natRangeLen = 40
)

// natChains are the flags of the families that a NAT chain of a table is for.
func natChains(f nft.Family) uint32 {
	switch f {
	case nft.FamilyIPv4:
		return natChains4
	case nft.FamilyIPv6:
		return natChains6
	}
	return natChains4 | natChains6
}

// opNAT asks for a translation and ends the NAT chains of the hook.
type opNAT struct {
	flags uint32
	// rng is a struct nat_range, nil where no address and no port is given.
	rng []sym
	// family of the packets that it is for, the others go on; 0: of any.
	family nft.Family
}

func (*opNAT) isOp() {}

func (l *lowerer) nat(e *nft.ExprNAT) error {
	o, err := l.natRange(&e.NATRange, e.Family)
	if err != nil {
		return err
	}
	if e.Family != nft.FamilyInet && !l.onlyOf(e.Family) {
		o.family = e.Family
	}
	l.ops = append(l.ops, o)
	return nil
}

func (l *lowerer) masq(e *nft.ExprMasq) error {
	return l.natOwn(&e.NATRange, natMasquerade)
}

func (l *lowerer) redir(e *nft.ExprRedir) error {
	return l.natOwn(&e.NATRange, natRedirect)
}

// natOwn is a translation to an address of the router's.
func (l *lowerer) natOwn(r *nft.NATRange, flag uint32) error {
	o, err := l.natRange(r, nft.FamilyInet)
	if err != nil {
		return err
	}
	o.flags |= flag
	l.p.nat |= flag
	l.ops = append(l.ops, o)
	return nil
}

// onlyOf tells whether only packets of a family come this far.
func (l *lowerer) onlyOf(f nft.Family) bool {
	return f == nft.FamilyIPv4 && l.v4 || f == nft.FamilyIPv6 && l.v6
}

// natRange loads the addresses and ports that a statement gives.
func (l *lowerer) natRange(r *nft.NATRange, f nft.Family) (*opNAT, error) {
	o := &opNAT{flags: natStatement | uint32(r.Flags)}
	l.p.nat |= o.flags
	if r.AddrMin == 0 && r.PortMin == 0 {
		return o, nil
	}
	if r.PortMin != 0 && !l.ports {
		// Of others the kernel translates identifiers, and keys of GRE.
		return nil, refuse("ports behind a match on tcp, udp, udplite or sctp", "ports of any protocol")
	}
	o.rng = constants(make([]byte, natRangeLen))
	addrLen := natAddrLen
	if f == nft.FamilyIPv4 {
		addrLen = 4
	}
	for _, part := range []struct {
		reg   nft.Register
		at, n int
	}{
		{r.AddrMin, 0, addrLen}, {r.AddrMax, natAddrLen, addrLen},
		{r.PortMin, 2 * natAddrLen, 2}, {r.PortMax, 2*natAddrLen + 2, 2},
	} {
		if part.reg == 0 {
			continue
		}
		v, err := l.load(part.reg, part.n)
		if err != nil {
			return nil, err
		}
		copy(o.rng[part.at:], v)
	}
	return o, l.checkStatus([][]sym{o.rng})
}

// findNATOfOutput finds translations of what the router itself sends. They may be to the router.
func (c *compiler) findNATOfOutput() {
	c.visit([]string{"policy_output_nat"}, func(_ *rule, o op) {
		if _, ok := o.(*opNAT); ok {
			c.p.nat |= natOutput
		}
	})
}

// nat generates the request. What it is not for goes on behind the rule.
func (g *gen) nat(o *opNAT, next label, sc *scope) {
	if o.family != 0 {
		g.emit(asm.LoadMem(regHigh, regPkt, int16(g.layout.offsets[fieldNfproto]), asm.Byte))
		g.jump(asm.JNE.Imm32(regHigh, int32(o.family), ""), next)
	}
	if o.rng != nil {
		g.spill(o.rng, g.layout.offsets[fieldNatRange])
	}
	g.emit(
		asm.Mov.Imm32(regHigh, int32(o.flags)),
		asm.StoreMem(regPkt, int16(g.layout.offsets[fieldNat]), regHigh, asm.Word),
	)
	sc.done()
}
