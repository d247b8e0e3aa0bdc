// SPDX-License-Identifier: GPL-2.0-only

package policy

import (
	"github.com/cilium/ebpf/asm"

	"github.com/randomizedcoder/l2d/pkg/nft"
)

// opWrite has a function of the dataplane write to the packet. The rule does not
// go on where it cannot.
type opWrite struct {
	function string
	// what is written to: a base and checksums, or the type of an option.
	what int
	// at is where in its header: see opFind.
	at int
	// value is what is written; it goes to slot.
	value []sym
	slot  int
	// csumOffset is where the checksum is, from the base on.
	csumOffset int
	// frames is how deep the function calls others.
	frames int
}

func (*opWrite) isOp() {}

func (*opWrite) why() string {
	return "XDP leaves packets that it does not finish as they came, so that it cannot write to them"
}

// sctpFrames are nft_sctp_change(), crc32c_skip() and crc32c_multiply().
const sctpFrames = 3

// sctpCsumOffset is where SCTP's header has its checksum, in bytes.
const sctpCsumOffset = 8

// drops is what a function returns to have the packet dropped.
const drops = 2

func (l *lowerer) payloadSet(e *nft.ExprPayload) error {
	switch {
	case e.Offset > maxOffset || e.Len == 0 || e.Len > maxLoad || e.CsumOffset > maxOffset:
		return refuse("", "%d bytes at %d", e.Len, e.Offset)
	case e.CsumType > nft.CsumSCTP, e.CsumType == nft.CsumSCTP && (e.Base != nft.PayloadTransport || e.CsumOffset != sctpCsumOffset):
		return refuse("checksums of TCP, UDP, ICMP, IPv4 and SCTP", "checksum type %d", e.CsumType)
	case e.CsumFlags > nft.CsumPseudoHeader || e.CsumFlags != 0 && e.Base == nft.PayloadLink,
		e.CsumType != nft.CsumNone && e.Base != nft.PayloadNetwork && e.Base != nft.PayloadTransport:
		return refuse("what nft writes", "checksum flags %#x", e.CsumFlags)
	}
	v, err := l.load(e.Reg, int(e.Len))
	if err != nil {
		return err
	}
	if err := l.checkWrite(e, v); err != nil {
		return err
	}
	what := int(e.Base) | int(e.CsumType)<<8 | int(e.CsumFlags)<<16
	o := opWrite{function: "nft_payload_set", what: what, at: int(e.Offset<<8 | e.Len), value: v, csumOffset: int(e.CsumOffset)}
	if e.CsumType == nft.CsumSCTP {
		o.function, o.frames = "nft_sctp_set", sctpFrames
	}
	if err := l.write(o); err != nil {
		return err
	}
	l.regs.forget(fieldNH)
	l.regs.forget(fieldTH)
	return nil
}

// Bits of the headers by which a packet is parsed, by byte. They are not written
// to: what a rule makes of them the kernel would see at the next hook.
var (
	parsedIPv4 = map[int]byte{0: 0xff, 2: 0xff, 3: 0xff, 6: 0xff, 7: 0xff, 9: 0xff}
	parsedIPv6 = map[int]byte{0: 0xf0, 4: 0xff, 5: 0xff, 6: 0xff}
)

// checkWrite refuses to write what decides how the packet is parsed, unless it
// stays as it is.
func (l *lowerer) checkWrite(e *nft.ExprPayload, v []sym) error {
	const others = "other bytes of the network and transport headers, addresses of the link layer"
	end := int(e.Offset + e.Len)
	switch {
	case e.Base == nft.PayloadLink && end > addressesLen:
		return refuse(others, "writing behind the addresses of the link layer")
	case e.Base == nft.PayloadNetwork && !l.v4 && end > ipv6HeaderLen:
		return refuse(others, "writing behind the IPv6 header")
	case e.Base != nft.PayloadNetwork:
		return nil
	}
	for i, s := range v {
		at := int(e.Offset) + i
		var mask byte
		if !l.v6 {
			mask |= parsedIPv4[at]
		}
		if !l.v4 {
			mask |= parsedIPv6[at]
		}
		same := s.field == fieldNH && int(s.index) == at && !s.name && s.and&mask == mask && s.xor&mask == 0
		if mask != 0 && !same {
			return refuse(others, "writing the version, a length, the protocol or the fragment of a packet")
		}
	}
	return nil
}

// addressesLen is the length of what an Ethernet header begins with, in bytes: a
// VLAN tag behind it the kernel has somewhere else.
const addressesLen = 12

func (l *lowerer) exthdrSet(e *nft.ExprExthdr) error {
	switch {
	case e.Op != nft.ExthdrTCP:
		return refuse("options of TCP", "writing other headers than options of TCP")
	case e.Action == nft.ExthdrReset:
		return l.write(opWrite{function: "nft_tcp_reset", what: int(e.Type)})
	case e.Offset > maxOffset || e.Len != 2 && e.Len != 4:
		return refuse("2 or 4 bytes", "%d bytes at %d", e.Len, e.Offset)
	}
	v, err := l.load(e.Reg, int(e.Len))
	if err != nil {
		return err
	}
	return l.write(opWrite{function: "nft_tcp_set", what: int(e.Type), at: int(e.Offset<<8 | e.Len), value: v})
}

func (l *lowerer) write(o opWrite) (err error) {
	for _, s := range o.value {
		if s.name {
			return refuse("comparisons and sets", "writing the name of an interface")
		}
	}
	if err := l.checkStatus([][]sym{o.value}); err != nil {
		return err
	}
	if o.slot, err = l.reserve(len(o.value)); err != nil {
		return err
	}
	l.p.writes = true
	l.ops = append(l.ops, &o)
	return nil
}

// write puts the value into its slot and calls the function.
func (g *gen) write(o *opWrite, fail label, sc *scope) {
	g.spill(o.value, int(g.slot(o.slot)))
	g.emit(
		asm.Mov.Reg(asm.R1, regCtx),
		asm.Mov.Reg(asm.R2, regPkt),
		asm.Mov.Imm(asm.R3, int32(o.what)),
		asm.Mov.Imm(asm.R4, int32(o.at)),
		asm.Mov.Imm(asm.R5, int32(o.slot|o.csumOffset<<8)),
		asm.Call.Label(o.function),
	)
	g.jump(asm.JEq.Imm32(asm.R0, 0, ""), fail)
	if o.function == "nft_tcp_reset" {
		on := g.newLabel()
		g.jump(asm.JNE.Imm32(asm.R0, drops, ""), on)
		sc.drop()
		g.bind(on)
	}
}
