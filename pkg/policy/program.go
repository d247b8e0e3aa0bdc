// SPDX-License-Identifier: GPL-2.0-only

package policy

import (
	"github.com/cilium/ebpf"

	"github.com/randomizedcoder/l2d/pkg/nft"
)

// Options are what a ruleset's meaning depends on besides its text.
type Options struct {
	// Links are the interfaces by name, with their indexes. The name of an
	// interface that is not here matches no packet.
	Links map[string]int
	// Attached are the names of the interfaces that the dataplane attaches to; nil:
	// not known. Chains of other devices are refused.
	Attached []string
	// SetSize is the greatest number of elements of a set that does not say;
	// 0 means DefaultSetSize.
	SetSize uint32
	// Live tells that the elements of sets that can change are followed where
	// the ruleset comes from: they do not count for the program's identity.
	Live bool
	// MarkECT1 has rules with a "limit over" that drop packets mark those of L4S instead
	// (ECT(1) becomes CE), which then go on behind the rule.
	MarkECT1 bool
}

// DefaultSetSize is the size of a set that does not say its own.
const DefaultSetSize = 65536

// RuleInfo says what a counter counts.
type RuleInfo struct {
	// Index in the map l2_counters.
	Index uint32
	// Table as "family name".
	Table string
	Chain string
	// Handle of the rule; 0: this is the policy of the base chain.
	Handle uint64
	// Text of the rule as nft prints it, or "policy drop".
	Text string
	// Line in the file; 0 when not known.
	Line int
}

// LogInfo is a log statement.
type LogInfo struct {
	// Index in the events of the dataplane.
	Index uint32
	// Rule is the counter index of its rule.
	Rule   uint32
	Prefix string
	// Level is a syslog level.
	Level uint32
	// Flags are NF_LOG_*.
	Flags uint32
	// Netlink tells that the packet goes to Group of nfnetlink_log, with at
	// most Snaplen bytes of it (0: all), and not to the kernel's log.
	Netlink bool
	Group   uint16
	Snaplen uint32
}

// LimitInfo is a limit statement, in the units of struct limit.
type LimitInfo struct {
	// Index in the map l2_limits.
	Index uint32
	// Rule is the counter index of its rule.
	Rule uint32
	// Bytes counts bytes, not packets.
	Bytes bool
	// Over matches what exceeds the rate.
	Over bool
	// Rate is in packets or bytes per Nsecs nanoseconds.
	Rate, Nsecs uint64
	// TokensMax is the size of the bucket in nanoseconds.
	TokensMax uint64
}

// Program is a compiled ruleset.
type Program struct {
	// Rules by counter index, which is dense.
	Rules []RuleInfo
	// Logs by index.
	Logs []LogInfo
	// Limits by index.
	Limits []LimitInfo
	// Sets that are maps. Small constant sets are code and not listed.
	Sets []*Set
	// Phases is the value of policy_phases: a bit for each hook function that
	// is used.
	Phases uint32
	// TCOnly are the rules of which XDP cannot do all, with the reasons. When
	// there are any, it leaves all packets to TC.
	TCOnly []TCOnly
	// Notes say what of the ruleset has no effect, and why that is right.
	Notes []string

	numgens      int      // numbers that count up
	facts        uint32   // value of policy_facts
	writes       bool     // rules write to packets
	quotas       []uint64 // bytes consumed
	rejects      bool     // rules reject packets
	rejectsAtXDP bool     // and some of those that XDP has do
	sends        bool     // rules send frames
	nat          uint32   // value of policy_nat
	early        uint32   // value of policy_early
	turnsZones   bool     // rules choose zones of one direction
	hooks        bool     // rules ask what depends on the hook
	traced       bool     // notes its steps: Traced

	connlimits int // ct count statements of rules

	pools  [][]*ebpf.MapSpec // their maps
	inPool map[string]pooled // maps by name

	options Options
	fixed   []string // named sets that are code
	chains  map[*nft.Chain]*chain
	phases  []*phase
}

// Maps returns new map specs of the sets, with the elements of the ruleset, as
// [Program.Splice] adds them to an object.
func (p *Program) Maps() ([]*ebpf.MapSpec, error) {
	var maps []*ebpf.MapSpec
	now := Now()
	for _, s := range p.Sets {
		specs, err := s.specs(now)
		if err != nil {
			return nil, err
		}
		maps = append(maps, specs...)
	}
	return maps, nil
}
