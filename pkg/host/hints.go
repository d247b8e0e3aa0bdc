// SPDX-License-Identifier: GPL-2.0-only

package host

import "github.com/randomizedcoder/l2d/pkg/reconcile"

// hint is what is known of a driver that the kernel does not tell. What it does tell,
// such as the limits of rings, is not here. Linux 7.3.
type hint struct {
	driver, kind string // without a driver it is of all
	key          string // empty: for the whole kind
	most         uint32 // that the driver takes; 0: no limit known
	never        bool   // the driver refuses all values
	why          string
	unwise       string // what comes of it; empty: nothing that is not meant
}

// xdpKind stands for an XDP program that comes or goes.
const xdpKind = "xdp"

var hints = []hint{
	// drivers/net/ethernet/aquantia/atlantic: aq_ethtool.c, aq_cfg.h, aq_main.c
	{driver: "atlantic", kind: "coalesce", key: "rx-usecs", most: 1022, why: "its timer has 9 bits of 2 µs"},
	{driver: "atlantic", kind: "coalesce", key: "tx-usecs", most: 1022, why: "its timer has 9 bits of 2 µs"},
	{driver: "atlantic", kind: "coalesce", key: "rx-frames", never: true, why: "it counts microseconds only"},
	{driver: "atlantic", kind: "coalesce", key: "tx-frames", never: true, why: "it counts microseconds only"},
	{driver: "atlantic", kind: "channels", never: true, why: "it has as many as there are CPUs and vectors, at most 8, and keeps them"},
	{driver: "atlantic", kind: "rings", why: "the interface is closed and opened again"},
	{driver: "atlantic", kind: xdpKind, why: "the interface is closed and opened again"},
	{driver: "atlantic", kind: "mtu", why: "the interface is closed and opened again"},
	{driver: "atlantic", kind: PrivateFlagsKind, why: "they are loopbacks for tests, and the interface is closed and opened again"},
	{driver: "atlantic", kind: "eee", why: "the link is negotiated anew"},
	// drivers/net/ethernet/intel/i40e: i40e_ethtool.c, i40e_main.c
	{driver: "i40e", kind: PrivateFlagsKind, why: "most of its flags reset the port, the link goes down for seconds"},
	{driver: "i40e", kind: "rings", why: "the rings are made anew"},
	{driver: "i40e", kind: "channels", why: "the whole port is reset, the link goes down for seconds"},
	{driver: "i40e", kind: xdpKind, why: "the whole port is reset, the link goes down for seconds"},
	// drivers/net/ethernet/intel/ixgbe: ixgbe_ethtool.c, ixgbe_main.c
	{driver: "ixgbe", kind: "rings", why: "the interface is closed and opened again"},
	{driver: "ixgbe", kind: "channels", why: "the interface is closed and opened again"},
	{driver: "ixgbe", kind: xdpKind, why: "the interface is closed and opened again"},
	{driver: "ixgbe", kind: FeaturesKind, key: "rx-ntuple-filter", why: "the port is reset, and Flow Director no longer follows flows by itself"},
	{driver: "ixgbe", kind: PrivateFlagsKind, why: "the interface is closed and opened again"},
	{driver: "ixgbe", kind: "eee", why: "the interface is closed and opened again"},
	{driver: "ixgbe", kind: FeaturesKind, key: "rx-lro", why: "the port is reset"},
	// drivers/net/ethernet/broadcom/bnxt: bnxt_ethtool.c, bnxt_xdp.c
	{driver: "bnxt_en", kind: "rings", why: "the interface is closed and opened again"},
	{driver: "bnxt_en", kind: "channels", why: "the interface is closed and opened again"},
	{driver: "bnxt_en", kind: "channels", key: "rx", unwise: notCombined},
	{driver: "bnxt_en", kind: "channels", key: "tx", unwise: notCombined},
	{driver: "bnxt_en", kind: xdpKind, why: "the interface is closed and opened again, and its LRO and rx-gro-hw are off while XDP is on"},
	// net/ipv4/devinet.c: inet_forward_change
	{kind: FeaturesKind, key: "rx-lro", unwise: "merged packets cannot be taken apart as they were when they are forwarded, so the kernel turns it off when forwarding is turned on; rx-gro is the form that can"},
}

const notCombined = "the driver has XDP with combined channels alone: with these, TC handles all packets"

// hintOf is what is known of a driver; zero if nothing is.
func hintOf(driver, kind, key string) hint {
	for _, h := range hints {
		if h.driver == driver && h.kind == kind && h.key == key {
			return h
		}
	}
	return hint{}
}

// unwise warns of a value that a driver takes.
func unwise(driver string, r *reconcile.Resource, key string) (out []reconcile.Problem) {
	if off := r.Want[key] == "0" || r.Want[key] == "off"; off {
		return nil
	}
	for _, h := range hints {
		if h.unwise != "" && (h.driver == driver || h.driver == "") && h.kind == r.Kind && h.key == key {
			out = append(out, reconcile.Problem{Resource: r, Key: key, Problem: h.unwise, Warn: true})
		}
	}
	return out
}

// XDPEffect is what happens when an XDP program comes to an interface, or goes.
func XDPEffect(name string) reconcile.Effect { return effectOf(driver(name), xdpKind) }

// effectOf is the effect of a change of a kind that disturbs nothing unless a
// driver is known to.
func effectOf(driver, kind string) reconcile.Effect {
	if h := hintOf(driver, kind, ""); h.why != "" {
		return reconcile.Effect{Impact: reconcile.Disruptive, Why: h.why}
	}
	return reconcile.Effect{Impact: reconcile.InPlace}
}
