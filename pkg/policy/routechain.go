// SPDX-License-Identifier: GPL-2.0-only

package policy

import "github.com/cilium/ebpf/asm"

// phaseRoute is PHASE_ROUTE of bpf/lib/policy.h: lo has programs for what such a chain sends another way.
const phaseRoute = 1 << 19

// Steps of nft_route() of bpf/lib/route_chain.h.
const (
	routeBegin = 0
	routeEnd   = 1
)

// routeBegin generates what a chain of the type route begins with.
func (g *gen) routeBegin() { g.route(routeBegin) }

// routeEnd generates what is behind it: the packet that it has changed gets its
// route anew, or is dropped where there is none.
func (g *gen) routeEnd() {
	g.route(routeEnd)
	end := g.newLabel()
	g.jump(asm.JEq.Imm32(asm.R0, 0, ""), end)
	g.ret(codeDrop)
	g.bind(end)
}

func (g *gen) route(step int32) {
	g.emit(
		asm.Mov.Reg(asm.R1, regCtx),
		asm.Mov.Reg(asm.R2, regPkt),
		asm.Mov.Imm32(asm.R3, step),
		asm.Call.Label("nft_route"),
	)
}
