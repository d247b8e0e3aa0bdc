// SPDX-License-Identifier: GPL-2.0-only

package host

import (
	"github.com/randomizedcoder/l2d/pkg/ethnl"
	"github.com/randomizedcoder/l2d/pkg/reconcile"
)

// newQueues is what was said of an interface's queues and their interrupts, which those
// that are made anew have lost.
func newQueues(link string) []reconcile.Ref {
	return []reconcile.Ref{
		{Kind: IRQKind, Name: link, Keys: []string{cpusKey}},
		{Kind: RPSKind, Name: link, Keys: []string{cpusKey, flowsKey}},
		{Kind: XPSKind, Name: link, Keys: []string{cpusKey}},
	}
}

// Resets implements [reconcile.Resetter].
func (s *Settings) Resets(name string, _ reconcile.State) []reconcile.Ref {
	if s.group != ethnl.Channels && s.group != ethnl.Rings {
		return nil
	}
	return newQueues(name)
}

// Resets implements [reconcile.Resetter]: some drivers close the interface.
func (MTU) Resets(name string, _ reconcile.State) []reconcile.Ref {
	if hintOf(driver(name), MTUKind, "").why == "" {
		return nil
	}
	return newQueues(name)
}
