// SPDX-License-Identifier: GPL-2.0-only

// Package policy compiles an nftables ruleset to eBPF.
//
// [Compile] lowers the rules to a small intermediate form, in which the bytes of
// a register are known to be bytes of the packet, and refuses by name whatever
// it cannot express exactly. [Program.Splice] turns that form into
// instructions that read struct pkt of bpf/lib/types.h and puts them in the
// place of the policy functions of an object.
package policy
