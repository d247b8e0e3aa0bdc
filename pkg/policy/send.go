// SPDX-License-Identifier: GPL-2.0-only

package policy

import (
	"encoding/binary"

	"github.com/cilium/ebpf/asm"

	"github.com/randomizedcoder/l2d/pkg/nft"
)

// opDup sends a copy of the frame by an interface.
type opDup struct{ ifindex int32 }

// opFwd has the dataplane send the frame by an interface, and ends its way.
type opFwd struct{ ifindex int32 }

func (opDup) isOp() {}
func (opFwd) isOp() {}

const supportedSend = "dup to and fwd to a device, at the hook ingress of the family netdev"

func (l *lowerer) dup(e *nft.ExprDup) error {
	if e.Addr != 0 || !l.anyFrame() {
		return refuse(supportedSend, "a copy to an address")
	}
	index, err := l.target(e.Dev)
	if err == nil {
		l.ops = append(l.ops, opDup{index})
	}
	return err
}

func (l *lowerer) fwd(e *nft.ExprFwd) error {
	if e.Addr != 0 {
		return refuse(supportedSend, "forwarding to an address")
	}
	index, err := l.target(e.Dev)
	if err == nil {
		l.ops = append(l.ops, opFwd{index})
	}
	return err
}

// target is the index of the interface in a register.
func (l *lowerer) target(reg nft.Register) (int32, error) {
	v, err := l.load(reg, 4)
	if err != nil {
		return 0, err
	}
	var b []byte
	for _, s := range v {
		if s.field != fieldNone {
			return 0, refuse(supportedSend, "a device from a map")
		}
		b = append(b, s.xor)
	}
	return int32(binary.NativeEndian.Uint32(b)), nil
}

// fwd generates what ends the frame's way; where it goes is in the packet.
func (g *gen) fwd(o opFwd, sc *scope) {
	g.emit(asm.StoreImm(regPkt, int16(g.layout.offsets[fieldSendBy]), int64(o.ifindex), asm.Word))
	sc.drop()
}

func (g *gen) dup(o opDup) {
	g.emit(
		asm.Mov.Reg(asm.R1, regCtx),
		asm.Mov.Reg(asm.R2, regPkt),
		asm.Mov.Imm(asm.R3, o.ifindex),
		asm.Call.Label("nft_dup"),
	)
}
