// SPDX-License-Identifier: GPL-2.0-only

package policy

import (
	"slices"
	"strings"

	"github.com/randomizedcoder/l2d/pkg/nft"
)

// Questions of bpf/lib/device.h, socket.h, clock.h and secpath.h.
const (
	deviceOut       = 1 << 0
	deviceGroup     = 1 << 1
	deviceType      = 2 << 1
	deviceKind      = 3 << 1
	deviceBelow     = 4 << 1
	deviceBelowName = 5 << 1

	socketUID     = 0
	socketGID     = 1
	socketClassID = 2

	clockTime = 0
	clockDay  = 1
	clockHour = 2
)

// hostMeta are the keys that are no property of the packet.
var hostMeta = map[nft.MetaKey]struct {
	ask opAsk
	n   int // bytes
}{
	nft.MetaIifgroup:  {opAsk{function: "nft_device", question: deviceGroup}, 4},
	nft.MetaOifgroup:  {opAsk{function: "nft_device", question: deviceGroup | deviceOut}, 4},
	nft.MetaIiftype:   {opAsk{function: "nft_device", question: deviceType}, 2},
	nft.MetaOiftype:   {opAsk{function: "nft_device", question: deviceType | deviceOut}, 2},
	nft.MetaIifkind:   {opAsk{function: "nft_device", question: deviceKind}, ifnameLen},
	nft.MetaOifkind:   {opAsk{function: "nft_device", question: deviceKind | deviceOut}, ifnameLen},
	nft.MetaSdif:      {opAsk{function: "nft_device", question: deviceBelow}, 4},
	nft.MetaSdifname:  {opAsk{function: "nft_device", question: deviceBelowName}, ifnameLen},
	nft.MetaRtclassid: {opAsk{function: "nft_realms", at: notOfDevices}, 4},
	nft.MetaSkuid:     {opAsk{function: "nft_socket", question: socketUID, at: notAtInput}, 4},
	nft.MetaSkgid:     {opAsk{function: "nft_socket", question: socketGID, at: notAtInput}, 4},
	nft.MetaCgroup:    {opAsk{function: "nft_socket", question: socketClassID, at: notAtInput}, 4},
	nft.MetaTime:      {opAsk{function: "nft_clock", question: clockTime}, 8},
	nft.MetaDay:       {opAsk{function: "nft_clock", question: clockDay}, 1},
	nft.MetaHour:      {opAsk{function: "nft_clock", question: clockHour}, 4},
	nft.MetaSecpath:   {opAsk{function: "nft_secpath"}, 1},
}

// notAtInput: there the kernel has found the socket of some packets already.
func notAtInput(h nft.Hook) error {
	if h == nft.HookInput {
		return refuse("output, postrouting", "the socket of a packet that arrives")
	}
	return nil
}

// notOfDevices: there a packet of the host's own has a route, and one that is
// forwarded has one in the kernel alone.
func notOfDevices(h nft.Hook) error {
	if isDeviceHook(h) {
		return refuse("prerouting, input, forward, output, postrouting", "the realm of a route")
	}
	return nil
}

// foreignMeta says why the other keys have no meaning here.
var foreignMeta = map[nft.MetaKey]string{
	nft.MetaSecmark:    "a label of a security module, which reads and writes it in the stack",
	nft.MetaBriIifname: "a bridge's port, in bridge tables",
	nft.MetaBriOifname: "a bridge's port, in bridge tables",
	nft.MetaBriIifpvid: "a bridge's VLAN, in bridge tables",
	nft.MetaBriVproto:  "a bridge's VLAN, in bridge tables",
	nft.MetaBroute:     "a bridge's",
}

// hostMetaKey lowers a key that is no field of the packet; ok is false for others.
func (l *lowerer) hostMetaKey(e *nft.ExprMeta) (ok bool, err error) {
	if why := foreignMeta[e.Key]; why != "" {
		return true, refuse(metaNames(), "meta %v, %s", e.Key, why)
	}
	h, ok := hostMeta[e.Key]
	if !ok {
		return false, nil
	}
	h.ask.expr = "meta"
	return true, l.ask(e.Reg, h.n, h.ask)
}

// metaNames lists the keys that are supported.
func metaNames() string {
	keys := []string{nft.MetaCPU.String(), nft.MetaRandom.String()}
	for k := range metaKeys {
		keys = append(keys, k.String())
	}
	for k := range hostMeta {
		keys = append(keys, k.String())
	}
	slices.Sort(keys)
	return strings.Join(keys, ", ")
}
