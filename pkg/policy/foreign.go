// SPDX-License-Identifier: GPL-2.0-only

package policy

// foreignObjects says of named objects that are not compiled why. Those that no
// rule uses have no effect.
var foreignObjects = map[string]string{
	"ct helper":      "what a helper expects of a connection it reads in the connection's data, which the programs do not look at",
	"ct expectation": "flows are not expected before they begin",
	"ct timeout":     "the timeouts of flows are those of the configuration",
	"secmark":        "a label of a security module, which reads and writes it in the stack",
	"synproxy":       foreignExprs["synproxy"],
	"tunnel":         foreignExprs["tunnel"],
}

// foreignExprs says of expressions that are not compiled why: what they need is
// the stack's, and it has not seen the packet yet.
var foreignExprs = map[string]string{
	"socket":   "the socket that a packet is going to: the stack looks for it behind the programs",
	"tproxy":   "giving a packet to a local socket: packets that are forwarded do not go through the stack",
	"osf":      "the fingerprints of operating systems are loaded into the kernel, not the ruleset",
	"synproxy": "answering in the place of a server: the sequence numbers of its connections would have to be changed",
	"xfrm":     "the states of IPsec that a packet went through, or is going to",
	"tunnel":   "the metadata of tunnels",
	"queue":    "waiting for user space",
}
