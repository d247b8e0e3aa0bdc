// SPDX-License-Identifier: GPL-2.0-only

package api

import (
	"context"
	"time"

	"github.com/randomizedcoder/l2d/pkg/explain"
	"github.com/randomizedcoder/l2d/pkg/flow"
	"github.com/randomizedcoder/l2d/pkg/observe"
	"github.com/randomizedcoder/l2d/pkg/reconcile"
	"github.com/randomizedcoder/l2d/pkg/revision"
)

// SetName names a set of the ruleset.
type SetName struct {
	Family string // as nft has it: ip, ip6, inet
	Table  string
	Set    string
}

// Service is what the daemon does for its callers. Methods may be called
// concurrently. Errors of input are marked with BadInput; what does not exist
// is fs.ErrNotExist.
type Service interface {
	Services
	Stations
	Clients

	Status(ctx context.Context) (Status, error)
	Rules(ctx context.Context) (Rules, error)
	// Sample returns what there is to see at this moment.
	Sample(ctx context.Context) (*observe.Sample, error)
	// NTuples returns the rules that sort packets before all else, and where they are.
	NTuples(ctx context.Context) ([]NTuple, error)
	// Explain says what becomes of a packet, and changes nothing.
	Explain(ctx context.Context, r explain.Request) (*explain.Explanation, error)
	// Watch calls yield with what happens, until it returns an error, or ctx or the daemon
	// ends; ready before the first. Yield is not called concurrently.
	Watch(ctx context.Context, o WatchOptions, ready func(), yield func(Watched) error) error
	Flows(ctx context.Context, f flow.Filter) ([]flow.Flow, error)
	// DeleteFlows ends the flows that pass the filter, and returns how many
	// were living. A zero filter ends all.
	DeleteFlows(ctx context.Context, f flow.Filter) (int, error)

	// FlowEvents listens to events of some kinds, of flows that pass the filter.
	// The caller closes the listener.
	FlowEvents(ctx context.Context, f flow.Filter, kinds flow.Kind) (*flow.Listener, error)

	SetList(ctx context.Context, s SetName) ([]Element, error)
	// SetAdd adds an element, or renews it. A timeout of 0 is the set's own.
	SetAdd(ctx context.Context, s SetName, element string, timeout time.Duration) error
	SetDelete(ctx context.Context, s SetName, element string) error

	// HostPlan compares the host with what the file declares now.
	HostPlan(ctx context.Context) (*reconcile.Plan, error)
	// HostApply brings the host into that state, or into that of an earlier revision;
	// or it returns why not and has it as it was.
	HostApply(ctx context.Context, o HostOptions) (HostApplied, error)
	HostConfirm(ctx context.Context, id string) error
	// HostRollback undoes a change that is not confirmed.
	HostRollback(ctx context.Context, id string) error
	// HostRevisions returns what was applied, the newest first; HostRevision one of
	// these with its files.
	HostRevisions(ctx context.Context) ([]revision.Summary, error)
	HostRevision(ctx context.Context, n int) (*revision.Revision, error)

	// Reload puts the files as they are now in force, or returns why not and
	// leaves what runs alone.
	Reload(ctx context.Context) (Reloaded, error)
	// Detach removes the dataplane; with fallback it loads the ruleset into
	// the kernel's nftables before.
	Detach(ctx context.Context, fallback bool) (Detached, error)
}
