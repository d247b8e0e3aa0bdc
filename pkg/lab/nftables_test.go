// SPDX-License-Identifier: GPL-2.0-only

package lab

import "testing"

// The checks themselves are checked against the kernel.
func TestNftables(t *testing.T) {
	ruleset := example(t, "l2/firewall.nft")
	l := upLab(t, "")
	dp := NewNftables(l, ruleset)
	if err := dp.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	runChecks(t, l, dp, L2Checks(ruleset))
}
