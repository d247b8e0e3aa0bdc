// SPDX-License-Identifier: GPL-2.0-only

package policy

import (
	"slices"

	"github.com/cilium/ebpf/asm"

	"github.com/randomizedcoder/l2d/pkg/nft"
)

// opSet writes a value to a field of the packet.
type opSet struct {
	field pktField
	value []sym
}

func (*opSet) isOp() {}

const supportedSetMeta = "mark, priority, pkttype host, nftrace"

func (l *lowerer) setMeta(e *nft.ExprMeta) error {
	switch e.Key {
	case nft.MetaMark:
		return l.set(e.Reg, fieldMark, 4)
	case nft.MetaPriority:
		return l.set(e.Reg, fieldPriority, 4)
	case nft.MetaPkttype:
		return l.setPkttype(e)
	case nft.MetaNftrace:
		l.note("packets are not traced")
		return nil
	}
	return refuse(supportedSetMeta, "setting meta %v", e.Key)
}

func (l *lowerer) set(reg nft.Register, f pktField, n int) error {
	v, err := l.valueToSet(reg, n)
	if err != nil {
		return err
	}
	l.ops = append(l.ops, &opSet{f, v})
	l.regs.forget(f)
	return nil
}

// valueToSet loads what a statement writes.
func (l *lowerer) valueToSet(reg nft.Register, n int) ([]sym, error) {
	v, err := l.load(reg, n)
	if err != nil {
		return nil, err
	}
	if slices.ContainsFunc(v, func(s sym) bool { return s.name }) {
		return nil, refuse("numbers", "the name of an interface as a value")
	}
	return v, nil
}

// packetHost is PACKET_HOST of linux/if_packet.h.
const packetHost = 0

// setPkttype makes a packet one for the host. Other types would have to change
// what the kernel does between prerouting and the next hook.
func (l *lowerer) setPkttype(e *nft.ExprMeta) error {
	v, err := l.valueToSet(e.Reg, 1)
	if err != nil {
		return err
	}
	if v[0] != constant(packetHost) {
		return refuse("meta pkttype set host", "setting another pkttype than host")
	}
	l.ops = append(l.ops, &opSet{fieldPktType, v})
	l.regs.forget(fieldPktType)
	return nil
}

// forget takes away the values that are bytes of a field, which is another one
// from here on.
func (r *registers) forget(f pktField) {
	for i := range r.bytes {
		if r.bytes[i].field == f {
			r.set[i] = false
		}
	}
}

func (g *gen) set(o *opSet) {
	g.value(asm.R0, o.value)
	g.emit(asm.StoreMem(regPkt, int16(g.layout.offsets[o.field]), asm.R0, sizes[len(o.value)]))
}

// value puts a value of at most 4 bytes into a register, as it is in memory.
func (g *gen) value(dst asm.Register, v []sym) {
	g.load(dst, v, littleEndian)
	_, xor := masks(v)
	if x := littleEndian.toNumber(xor); x != 0 {
		g.emit(asm.Xor.Imm32(dst, int32(uint32(x))))
	}
}
