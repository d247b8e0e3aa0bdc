// SPDX-License-Identifier: GPL-2.0-only

package policy

import (
	"github.com/cilium/ebpf/asm"

	"github.com/randomizedcoder/l2d/pkg/nft"
)

const (
	// maxLogs is how many statements LOG_INDEX of bpf/lib/types.h can tell apart.
	maxLogs      = 1 << 16
	logHasSocket = 1 << 31
	// logUID is NF_LOG_UID.
	logUID = 1 << 3
)

func (l *lowerer) log(e *nft.ExprLog) error {
	o := opLog{index: len(l.p.Logs), socket: -1}
	if o.index >= maxLogs {
		return refuse("", "more than %d log statements", maxLogs)
	}
	if e.Flags&logUID != 0 && !e.Netlink {
		var err error
		if o.socket, err = l.reserve(2 * regSlot); err != nil {
			return err
		}
	}
	l.p.Logs = append(l.p.Logs, LogInfo{
		Index:   uint32(o.index),
		Rule:    l.index,
		Prefix:  e.Prefix,
		Level:   e.Level,
		Flags:   e.Flags,
		Netlink: e.Netlink,
		Group:   e.Group,
		Snaplen: e.Snaplen,
	})
	l.ops = append(l.ops, o)
	return nil
}

// log reports the packet, with the owner of its socket if it has one.
func (g *gen) log(o opLog) {
	call := func(function string, argument uint32) {
		g.emit(
			asm.Mov.Reg(asm.R1, regCtx),
			asm.Mov.Reg(asm.R2, regPkt),
			asm.Mov.Imm32(asm.R3, int32(argument)),
			asm.Call.Label(function),
		)
	}
	done := g.newLabel()
	if o.socket >= 0 {
		none := g.newLabel()
		slot := uint32(o.socket) << answerShift
		call("nft_socket", socketUID|slot)
		g.jump(asm.JEq.Imm32(asm.R0, 0, ""), none)
		call("nft_socket", socketGID|(slot+1<<answerShift))
		g.jump(asm.JEq.Imm32(asm.R0, 0, ""), none)
		call("nft_log", uint32(o.index)|slot|logHasSocket)
		g.goTo(done)
		g.bind(none)
	}
	call("nft_log", uint32(o.index))
	g.bind(done)
}
