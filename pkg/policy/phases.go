// SPDX-License-Identifier: GPL-2.0-only

package policy

import (
	"math"

	"github.com/randomizedcoder/l2d/pkg/nft"
)

// phaseInfo is a policy function of the dataplane and which base chains run in
// it: the table of bpf/lib/policy.h.
type phaseInfo struct {
	bit      uint
	function string
	hook     nft.Hook
	typ      string
	// Priorities from min up to and with max.
	min, max int32
}

var phaseTable = []phaseInfo{
	{0, "policy_prerouting_raw", nft.HookPrerouting, "filter", math.MinInt32, -201},
	{1, "policy_prerouting_early", nft.HookPrerouting, "filter", -200, -101},
	{2, "policy_prerouting", nft.HookPrerouting, "filter", -100, math.MaxInt32},
	{3, "policy_input", nft.HookInput, "filter", math.MinInt32, 99},
	{4, "policy_forward", nft.HookForward, "filter", math.MinInt32, math.MaxInt32},
	{5, "policy_output_raw", nft.HookOutput, "filter", math.MinInt32, -201},
	{6, "policy_output", nft.HookOutput, "filter", -100, math.MaxInt32},
	{7, "policy_postrouting", nft.HookPostrouting, "filter", math.MinInt32, 99},
	// The kernel runs the NAT chains of a hook at one place, whatever their
	// priority; that only orders them among themselves.
	{8, "policy_postrouting_nat", nft.HookPostrouting, "nat", math.MinInt32, math.MaxInt32},
	{9, "policy_postrouting_late", nft.HookPostrouting, "filter", 100, math.MaxInt32},
	{10, "policy_prerouting_nat", nft.HookPrerouting, "nat", math.MinInt32, math.MaxInt32},
	{11, "policy_input_nat", nft.HookInput, "nat", math.MinInt32, math.MaxInt32},
	{12, "policy_input_late", nft.HookInput, "filter", 100, math.MaxInt32},
	{13, "policy_output_early", nft.HookOutput, "filter", -200, -101},
	{14, "policy_output_nat", nft.HookOutput, "nat", math.MinInt32, math.MaxInt32},
	{20, "policy_ingress", nft.HookIngress, "filter", math.MinInt32, math.MaxInt32},
	{21, "policy_egress", nft.HookEgress, "filter", math.MinInt32, math.MaxInt32},
}

// phase is a policy function with its base chains in the order they run.
type phase struct {
	*phaseInfo
	chains []*chain
}

// typeRoute is the type of chains at output that choose the route anew where they
// change what it depends on. Other than that they are filters.
const typeRoute = "route"

func findPhase(b *nft.Base) *phaseInfo {
	typ := b.Type
	if typ == typeRoute {
		typ = "filter"
	}
	for i := range phaseTable {
		p := &phaseTable[i]
		if p.hook == b.Hook && p.typ == typ && p.min <= b.Priority && b.Priority <= p.max {
			return p
		}
	}
	return nil
}

// chain is a lowered chain.
type chain struct {
	src   *nft.Chain
	rules []*rule
	// policy is the counter index of a base chain's policy.
	policy uint32
	// size is how many instructions its rules have, without those of the
	// chains that they jump to.
	size int
	// number is its place among the chains.
	number int
	// calls is how many rules jump or go to it.
	calls int
	// lintWrites is what writes() found out.
	lintWrites *bool
	// function is its name as a BPF function; empty when it is inlined.
	function string
}
