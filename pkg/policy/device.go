// SPDX-License-Identifier: GPL-2.0-only

package policy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/cilium/ebpf/asm"

	"github.com/randomizedcoder/l2d/pkg/nft"
)

// Base chains at the hooks ingress and egress are those of some devices. They see
// every frame, and of a packet what is on the wire.

// isDeviceHook tells the hooks of devices.
func isDeviceHook(h nft.Hook) bool { return h == nft.HookIngress || h == nft.HookEgress }

// hasDevices tells whether the dataplane sees what a chain's devices carry, and
// refuses the chain if not. Devices that are not there carry nothing.
func (c *compiler) hasDevices(ch *nft.Chain) bool {
	if c.p.options.Attached == nil {
		return true
	}
	for _, name := range c.devices(ch) {
		if !slices.Contains(c.p.options.Attached, name) {
			c.refuseChain(ch, "device", fmt.Sprintf("device %s: no interface of the dataplane", name),
				"the interfaces of the configuration: "+strings.Join(c.p.options.Attached, ", "))
			return false
		}
	}
	return true
}

// devices are the names of the chain's devices that exist.
func (c *compiler) devices(ch *nft.Chain) []string { return devicesOf(ch, c.links) }

func devicesOf(ch *nft.Chain, links []string) []string {
	var names []string
	for _, link := range links {
		for _, d := range ch.Base.Devices {
			prefix, wild := strings.CutSuffix(d, "*")
			if link == d || wild && strings.HasPrefix(link, prefix) {
				names = append(names, link)
				break
			}
		}
	}
	return names
}

// device passes by a base chain that is not the packet's device's.
func (m *module) device(g *gen, ch *nft.Chain, next label) {
	if !isDeviceHook(ch.Base.Hook) {
		return
	}
	field := fieldIif
	if ch.Base.Hook == nft.HookEgress {
		field = fieldOif
	}
	g.emit(asm.LoadMem(regHigh, regPkt, int16(m.layout.offsets[field]), asm.Word))
	ours := g.newLabel()
	for _, name := range devicesOf(ch, m.p.linkNames()) {
		g.branch(asm.JEq, regHigh, uint64(m.p.options.Links[name]), 4, ours)
	}
	g.goTo(next)
	g.bind(ours)
	if ch.Table.Family == nft.FamilyInet {
		// IP only.
		g.emit(asm.LoadMem(regHigh, regPkt, int16(m.layout.offsets[fieldNfproto]), asm.Byte))
		g.jump(asm.JEq.Imm32(regHigh, 0, ""), next)
	}
}

// anyFrame tells that the rule is of a table whose chains see frames without an
// IP packet, too.
func (l *lowerer) anyFrame() bool { return l.rule.Chain.Table.Family == nft.FamilyNetdev }

// needsIP adds the condition that there is a valid IP packet.
func (l *lowerer) needsIP() {
	if l.anyFrame() {
		zero := []byte{0}
		l.ops = append(l.ops, &opMatch{keys: [][]sym{fieldBytes(fieldNfproto, 0, 1)}, elems: [][]span{{{zero, zero}}}, invert: true})
	}
}

func (p *Program) linkNames() []string {
	var names []string
	for name := range p.options.Links {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// readsTag tells whether a value is from behind the addresses of a frame, where a
// VLAN tag may be that the interface has taken off.
func (o *opFind) readsTag() bool {
	const addresses = 12 // bytes
	offset, length := o.place()
	return o.function == "nft_payload" && o.what == int(nft.PayloadLink) && offset+length > addresses
}
