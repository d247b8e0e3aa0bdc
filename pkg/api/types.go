// SPDX-License-Identifier: GPL-2.0-only

package api

import (
	"slices"
	"time"

	"github.com/randomizedcoder/l2d/loader"
	"github.com/randomizedcoder/l2d/pkg/bbr3"
	"github.com/randomizedcoder/l2d/pkg/reconcile"
)

// Status is the daemon and its dataplane at a glance.
type Status struct {
	Version string    `json:"version"`
	PID     int       `json:"pid"`
	Started time.Time `json:"started"`
	// Config and Ruleset are the files in force.
	Config  string `json:"config"`
	Ruleset string `json:"ruleset"`
	// Applied is when the configuration in force was put there.
	Applied time.Time `json:"applied"`
	// Attached is false after a detach; the dataplane's status is then empty.
	Attached bool `json:"attached"`
	// ReloadError is why the last reload was refused; empty when it was not.
	ReloadError string `json:"reload_error,omitempty"`
	// Waiting are interfaces of the configuration that the host does not have.
	Waiting []string `json:"waiting,omitempty"`
	// TCOnly are the rules because of which XDP leaves all packets to TC.
	TCOnly    []string      `json:"tc_only,omitempty"`
	Rules     int           `json:"rules"`
	Dataplane loader.Status `json:"dataplane"`
	// CPUs are those that are to handle packets; empty if that is not said.
	CPUs []int `json:"cpus,omitempty"`
	// Sync is how a ruleset that changes in the kernel's nftables is followed;
	// nil if none is.
	Sync *Sync `json:"sync,omitempty"`
	// Followed are the sets that follow interfaces.
	Followed []FollowedSet `json:"followed,omitempty"`
	// Host is the state of the host, and which of its configurations is in force.
	Host *Host `json:"host,omitempty"`
	// BBR3 is the congestion control that l2d has registered; nil if it has none.
	BBR3 *bbr3.Status `json:"bbr3,omitempty"`
}

// FollowedSet is a set that has the networks, or the addresses, of an interface.
type FollowedSet struct {
	// Set is its name as nft says it, such as "inet filter lan6".
	Set       string `json:"set"`
	Interface string `json:"interface"`
	// Elements are how many it has, those of the ruleset included.
	Elements int `json:"elements"`
	// Error is why it may not have what the interface has; empty when it has.
	Error string `json:"error,omitempty"`
}

// Elsewhere counts the packets that came in on other CPUs than those that are to handle
// them, and lists these CPUs.
func (s *Status) Elsewhere() (packets uint64, list []int) {
	for _, c := range s.Dataplane.CPUs {
		if n := c.Received(); n > 0 && len(s.CPUs) > 0 && !slices.Contains(s.CPUs, c.CPU) {
			packets, list = packets+n, append(list, c.CPU)
		}
	}
	return packets, list
}

// Host is the state of the host around the dataplane.
type Host struct {
	// Resources is how many are declared.
	Resources int `json:"resources"`
	// Drift is what is not as declared.
	Drift []reconcile.Change `json:"drift,omitempty"`
	// Pending is a change that is not final; nil if there is none.
	Pending *reconcile.Pending `json:"pending,omitempty"`
	// Progress is how far a change is that is being made; nil if none is.
	Progress *reconcile.Progress `json:"progress,omitempty"`
	// Error is why the host is not as declared; empty when it is.
	Error string `json:"error,omitempty"`
	// Applies counts what became of configurations since the daemon started, by
	// what is in ApplyResults.
	Applies map[string]uint64 `json:"applies,omitempty"`
	// Notice is why a revision is in force and not the files; empty when they are.
	Notice string `json:"notice,omitempty"`
}

// What becomes of a configuration that is to be applied.
const (
	ApplyDone    = "applied" // it may wait for a confirmation
	ApplyRefused = "refused" // nothing was changed
	ApplyFailed  = "failed"  // what was changed is as it was
	ApplyUndone  = "undone"  // later: nobody confirmed it, or it was rolled back
)

// ApplyResults are all of these.
var ApplyResults = []string{ApplyDone, ApplyRefused, ApplyFailed, ApplyUndone}

// HostOptions say how the state of the host is applied.
type HostOptions struct {
	// Confirm is how long to wait for a confirmation before it is undone; 0: none is
	// needed.
	Confirm time.Duration
	// Revision is the number of one that is applied in place of the file; 0: the file.
	Revision int
	// Runtime has it last until the next reboot, which starts with what was in force
	// before.
	Runtime bool
	// Comment is kept with the revision.
	Comment string
}

// HostApplied is the outcome of an apply.
type HostApplied struct {
	Plan *reconcile.Plan `json:"plan"`
	// Pending is what waits for a confirmation; nil if nothing does.
	Pending *reconcile.Pending `json:"pending,omitempty"`
	// Revision is the number that it has, or that of the one that was the same.
	Revision int `json:"revision"`
}

// Sync is how the changes of the kernel's nftables are followed.
type Sync struct {
	// Generation of the kernel's ruleset that the dataplane enforces, as in
	// "nft monitor".
	Generation uint32 `json:"generation"`
	// Tables that are enforced in the kernel's place, each "family name".
	Tables []string `json:"tables"`
	// Changed is when the last change took effect, Took how long after the
	// kernel had reported it.
	Changed time.Time     `json:"changed"`
	Took    time.Duration `json:"took_ns"`
	// ElementChanges counts changes of elements alone, RulesetChanges those for
	// which the ruleset was read and compiled anew.
	ElementChanges uint64 `json:"element_changes"`
	RulesetChanges uint64 `json:"ruleset_changes"`
	// Errors counts what went wrong: rulesets that were refused, changes that
	// were missed and read again.
	Errors uint64 `json:"errors"`
	// Error is why the ruleset in force is not the kernel's; empty when it is.
	Error string `json:"error,omitempty"`
}

// Rule is a rule of the ruleset, or the policy of a base chain, with what it has
// counted since the policy was put in force.
type Rule struct {
	Family string `json:"family"`
	Table  string `json:"table"`
	Chain  string `json:"chain"`
	// Handle as in nft -a; 0 for a policy.
	Handle uint64 `json:"handle"`
	// Text as nft prints it.
	Text string `json:"text"`
	// Line of the ruleset file; 0 when it is not known.
	Line    int    `json:"line"`
	Packets uint64 `json:"packets"`
	Bytes   uint64 `json:"bytes"`
	// Policy tells that this is a base chain's policy and not a rule.
	Policy bool `json:"policy"`
}

// Rules is the ruleset in force.
type Rules struct {
	// Text is the ruleset as nft -a prints it, with the counts.
	Text  string `json:"text"`
	Rules []Rule `json:"rules"`
}

// Element is an element of a set.
type Element struct {
	// Value as nft prints it.
	Value string `json:"value"`
	// Expires is what is left of its life, in seconds; 0 for an element that
	// stays.
	Expires float64 `json:"expires,omitempty"`
	// State of its statements as nft lists it, such as "counter packets 1 bytes
	// 60".
	State string `json:"state,omitempty"`
}

// Count is a number of flows.
type Count struct {
	Flows int `json:"flows"`
}

// DeletedFlows is the outcome of a deletion of flows.
type DeletedFlows struct {
	// Deleted flows were living until then.
	Deleted int `json:"deleted"`
}

// Reloaded is the outcome of a reload.
type Reloaded struct {
	// Changed is false when the files say what was in force already.
	Changed bool `json:"changed"`
	Rules   int  `json:"rules"`
	// Took is the time from reading the files to the last interface.
	Took time.Duration `json:"took_ns"`
}

// Detached is the outcome of a detach.
type Detached struct {
	// Fallback tells that the ruleset was loaded into the kernel's nftables.
	Fallback bool `json:"fallback"`
}
