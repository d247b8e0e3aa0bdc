// SPDX-License-Identifier: GPL-2.0-only

package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
)

// badLine is a rule that nft does not understand.
const badLine = "this is no rule"

// reloadChecks try what a daemon must refuse.
func reloadChecks(ruleset string) []Check {
	return []Check{{
		"the daemon", "bad ruleset", "refused with its line; what is in force goes on",
		func(ctx context.Context, t *trial) error { return checkBadReload(ctx, t, ruleset) },
	}}
}

func checkBadReload(ctx context.Context, t *trial, ruleset string) error {
	good, err := os.ReadFile(ruleset)
	if err != nil {
		return err
	}
	bad, err := withRule(string(good), ruleName{"forward", badLine})
	if err != nil {
		return err
	}
	line := 1 + strings.Count(bad[:strings.Index(bad, badLine)], "\n")
	switch err := t.dp.Reload(ctx, bad); {
	case err == nil:
		return errors.New("a ruleset with nonsense in it was accepted")
	case !strings.Contains(err.Error(), fmt.Sprintf(":%d", line)):
		return fmt.Errorf("the error does not name line %d: %w", line, err)
	}
	err = t.decidedBy(ctx, func() error {
		return errors.Join(t.ping(ctx, Client1, AddrServer.V4, 1, 56), t.ping(ctx, Client1, AddrServer.V6, 1, 56))
	}, fwOut4, fwOut6, fwReturn)
	return errors.Join(err, t.dp.Reload(ctx, string(good)))
}

// L2DChecks returns what must hold for l2d and has no meaning for the kernel.
// The last one detaches the dataplane and attaches it again.
func L2DChecks() []Check {
	const group = "l2d itself"
	return slices.Concat(
		[]Check{{group, "alone", "the kernel's nftables has no rule and tracks no connection", checkAlone}},
		both(group, "XDP", "one high-speed link to the other without the network stack", checkXDP),
		serviceChecks(),
		[]Check{{group, "detach", "nftables takes over at once, and gives back", checkDetach}},
	)
}

func l2dOf(t *trial) (*L2D, error) {
	d, ok := t.dp.(*L2D)
	if !ok {
		return nil, fmt.Errorf("a check of l2d, not of %s", t.dp.Name())
	}
	return d, nil
}

func checkAlone(ctx context.Context, t *trial) error {
	if err := t.noNftables(ctx); err != nil {
		return err
	}
	kernel, err := NewNftables(t.Lab, "").Status(ctx)
	if err != nil {
		return err
	}
	if kernel.Flows != 0 {
		return fmt.Errorf("the kernel tracks %d connections", kernel.Flows)
	}
	return nil
}

func (t *trial) noNftables(ctx context.Context) error {
	ruleset, err := t.run(ctx, Router, "", "nft", "list", "ruleset")
	if err == nil && ruleset != "" {
		err = fmt.Errorf("the router has nftables rules: %s", ruleset)
	}
	return err
}

// checkXDP compares the packets that XDP has sent with those of a transfer.
func checkXDP(ctx context.Context, t *trial, family int) error {
	before, err := t.dp.Status(ctx)
	if err != nil {
		return err
	}
	const size = 10_000_000
	err = t.decidedBy(ctx, func() error { return t.download(ctx, HS0, AddrHS1.Of(family), size, "") }, fwHighSpeed)
	if err != nil {
		return err
	}
	after, err := t.dp.Status(ctx)
	if err != nil {
		return err
	}
	// A neighbour that has to be resolved takes the first packets elsewhere.
	const least = size / wireMTU
	sent := after.Reasons["xdp_forwarded"] - before.Reasons["xdp_forwarded"]
	t.note("%d packets", sent)
	if sent < least {
		return fmt.Errorf("XDP sent %d packets, want at least %d", sent, least)
	}
	return nil
}

func checkDetach(ctx context.Context, t *trial) error {
	d, err := l2dOf(t)
	if err != nil {
		return err
	}
	kernel := NewNftables(t.Lab, "")
	// The same packets, whoever enforces the ruleset.
	enforced := func(by Dataplane) error {
		sub := &trial{Lab: t.Lab, dp: by, result: &Result{}}
		err := errors.Join(
			t.ping(ctx, Client1, AddrServer.V4, 1, 56), t.ping(ctx, Client1, AddrServer.V6, 1, 56),
			checkSpoofedToRouter(ctx, sub, 6),
		)
		for _, r := range sub.result.Rules {
			t.result.Rules = append(t.result.Rules, by.Name()+": "+r)
		}
		return wrap(err, by.Name())
	}
	if _, err := d.l2ctl(ctx, "detach"); err != nil {
		return err
	}
	err = enforced(kernel)
	if _, again := d.l2ctl(ctx, "reload"); again != nil {
		return errors.Join(err, again)
	}
	return errors.Join(err, enforced(d), t.noNftables(ctx))
}
