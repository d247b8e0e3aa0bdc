// SPDX-License-Identifier: GPL-2.0-only

package loader

import (
	"fmt"

	"github.com/cilium/ebpf"
)

// loopback is lo, which has that index in every namespace. It has programs of its own, and is none of the
// configuration's interfaces.
var loopback = Interface{Name: "lo", Index: 1}

// hooksLoopback are at lo where a policy may send the router's own packets another way than the kernel does.
var hooksLoopback = []hook{
	{hookIngress.name, "l2_lo_ingress", hookIngress.attach},
	{hookEgress.name, "l2_lo_egress", hookEgress.attach},
}

const (
	natOutput = 1 << 26       // NAT_OUTPUT of bpf/lib/types.h
	rerouting = 1<<19 | 1<<11 // PHASE_ROUTE and PHASE_INPUT_NAT of bpf/lib/policy.h
)

// withoutLoopback leaves the programs of lo out of an object whose policy has no use for them.
func withoutLoopback(spec *ebpf.CollectionSpec) error {
	if spec.Programs[hooksLoopback[0].program] == nil {
		return nil // the object of XDP
	}
	var nat, phases uint32
	if err := spec.Variables["policy_nat"].Get(&nat); err != nil {
		return fmt.Errorf("policy_nat: %w", err)
	}
	if err := spec.Variables["policy_phases"].Get(&phases); err != nil {
		return fmt.Errorf("policy_phases: %w", err)
	}
	if nat&natOutput != 0 || phases&rerouting != 0 {
		return nil
	}
	for _, h := range hooksLoopback {
		delete(spec.Programs, h.program)
	}
	return nil
}

// attachLoopback puts the programs of lo there, if the policy has them. They are there before those that
// send by it.
func (r *replacement) attachLoopback() error {
	for _, h := range hooksLoopback {
		program := r.loaded.programs[h.program]
		if program == nil {
			continue
		}
		c, err := h.set(r.cfg.PinPath, loopback, program)
		if err != nil {
			return err
		}
		r.changed(c)
	}
	return nil
}

// keepLoopback adds the names of the links at lo to those that stay.
func (r *replacement) keepLoopback(keep map[string]bool) {
	for _, h := range hooksLoopback {
		keep[loopback.Name+"_"+h.name] = r.loaded.programs[h.program] != nil
	}
}
