// SPDX-License-Identifier: GPL-2.0-only

// Package lab builds a router and its surroundings as network namespaces and
// checks, on real packets, that a dataplane does what its ruleset says.
//
// The router carries the interface names of the reference deployment:
//
//	client1, client2 ── wlan_2g, wlan_5g ── br0 ┐
//	hs0 ─────────────────── enp66s0f0np0 ───────┤ router ── enp1s0 ── isp ── inet
//	hs1 ─────────────────── enp66s0f1np1 ───────┘
//
// isp is the upstream router; inet is "the Internet": one namespace with a few
// well-known global addresses and the servers that the checks talk to. Nothing
// here can reach, or be reached from, the machine's own network.
//
// A lab named ID owns the namespaces l2d-ID-*, the directories /run/l2d-lab/ID and
// /var/lib/l2d-lab/ID, and the pins below /sys/fs/bpf/l2d-ID. All of them follow
// from the name, so that a lab can be removed by a process that did not create it.
package lab
