// SPDX-License-Identifier: GPL-2.0-only

package policy

import (
	"github.com/cilium/ebpf/asm"

	"github.com/randomizedcoder/l2d/pkg/nft"
)

// opFind has a function of the dataplane put bytes of the packet into slots of
// p->regs. The rule does not go on where they are not there.
type opFind struct {
	function string
	// what is the function's argument: a base of payload, or a type of header.
	what int
	// at is where the value is in its header: VALUE_OFFSET and VALUE_LEN of bpf/lib/payload.h.
	at   int
	slot int
}

func (*opFind) isOp() {}

// exthdrPresent is EXTHDR_PRESENT of bpf/lib/exthdr.h.
const exthdrPresent = 1 << 16

// Lengths of the headers that struct pkt holds, in bytes.
const (
	ipv4HeaderLen = 20
	ipv6HeaderLen = 40
	transportLen  = 20
)

// Limits of the kernel, in bytes: nft_payload.c, nft_exthdr.c.
const (
	maxOffset = 255
	maxLoad   = 64
)

func (l *lowerer) payload(e *nft.ExprPayload) error {
	if e.Base > nft.PayloadInner {
		return refuse("link-layer, network, transport and inner header", "payload base %d", e.Base)
	}
	if e.Set {
		return l.payloadSet(e)
	}
	end := int(e.Offset) + int(e.Len)
	switch e.Base {
	case nft.PayloadNetwork:
		limit := ipv6HeaderLen
		if !l.v6 {
			limit = ipv4HeaderLen
		}
		if end <= limit && e.Len > 0 && !l.anyFrame() {
			return l.store(e.Reg, fieldBytes(fieldNH, int(e.Offset), int(e.Len)))
		}
	case nft.PayloadTransport:
		if end <= transportLen && e.Len > 0 {
			if end > l.transport {
				l.ops = append(l.ops, opTransport{end})
				l.transport = end
			}
			return l.store(e.Reg, fieldBytes(fieldTH, int(e.Offset), int(e.Len)))
		}
	}
	return l.find(e.Reg, "nft_payload", int(e.Base), e.Offset, e.Len, false)
}

// exthdrFunctions look for headers: bpf/lib/exthdr.h.
var exthdrFunctions = map[nft.ExthdrOp]string{
	nft.ExthdrIPv6: "nft_exthdr_ipv6",
	nft.ExthdrIPv4: "nft_exthdr_ipv4",
	nft.ExthdrTCP:  "nft_exthdr_tcp",
	nft.ExthdrSCTP: "nft_exthdr_sctp",
	nft.ExthdrDCCP: "nft_exthdr_dccp",
}

func (l *lowerer) exthdr(e *nft.ExprExthdr) error {
	function, ok := exthdrFunctions[e.Op]
	switch {
	case !ok:
		return refuse("IPv6 extension headers, options of IPv4, TCP and DCCP, SCTP chunks", "operation %d", e.Op)
	case e.Op == nft.ExthdrDCCP && !e.Present:
		return refuse("whether there is one", "what is in options of DCCP")
	case e.Action != nft.ExthdrLoad:
		return l.exthdrSet(e)
	}
	return l.find(e.Reg, function, int(e.Type), e.Offset, e.Len, e.Present)
}

// find adds the load of a value that the dataplane has to look for.
func (l *lowerer) find(reg nft.Register, function string, what int, offset, n uint32, present bool) error {
	if offset > maxOffset || n == 0 || n > maxLoad {
		return refuse("", "%d bytes at %d", n, offset)
	}
	slot, err := l.reserve(int(n))
	if err != nil {
		return err
	}
	o := &opFind{function: function, what: what, at: int(offset<<8 | n), slot: slot}
	if present {
		o.at |= exthdrPresent
	}
	l.ops = append(l.ops, o)
	return l.store(reg, fieldBytes(fieldRegs, regSlot*slot, int(n)))
}

// place is where in its header the value is, in bytes: VALUE_OFFSET and VALUE_LEN of
// bpf/lib/payload.h.
func (o *opFind) place() (offset, length int) { return o.at >> 8 & 0xff, o.at & 0xff }

// findValue calls the function, or takes what struct pkt has.
func (g *gen) findValue(o *opFind, fail label) {
	found := g.newLabel()
	g.takeCopied(o, found)
	g.emit(
		asm.Mov.Reg(asm.R1, regCtx),
		asm.Mov.Reg(asm.R2, regPkt),
		asm.Mov.Imm(asm.R3, int32(o.what)),
		asm.Mov.Imm(asm.R4, int32(o.at)),
		asm.Mov.Imm(asm.R5, int32(o.slot)),
		asm.Call.Label(o.function),
	)
	g.jump(asm.JEq.Imm32(asm.R0, 0, ""), fail)
	g.bind(found)
}

// takeCopied takes bytes of a network header, and goes on at found, if the frame has a
// valid one, which is copied: a call is some hundred times as long.
func (g *gen) takeCopied(o *opFind, found label) {
	offset, length := o.place()
	end := offset + length
	if o.function != "nft_payload" || o.what != int(nft.PayloadNetwork) || end > ipv6HeaderLen {
		return
	}
	look := g.newLabel()
	g.emit(asm.LoadMem(regHigh, regPkt, int16(g.layout.offsets[fieldNfproto]), asm.Byte))
	if end <= ipv4HeaderLen {
		g.jump(asm.JEq.Imm32(regHigh, 0, ""), look)
	} else {
		g.jump(asm.JNE.Imm32(regHigh, int32(nft.FamilyIPv6), ""), look)
	}
	g.spill(fieldBytes(fieldNH, offset, length), int(g.slot(o.slot)))
	g.goTo(found)
	g.bind(look)
}
