// SPDX-License-Identifier: GPL-2.0-only

package lab

import (
	"os"
	"slices"
	"testing"
)

func startL2D(t *testing.T, name string) (*Lab, *L2D) {
	t.Helper()
	needRoot(t)
	daemon, control := program(t, "l2d"), program(t, "l2ctl")
	l := upLab(t, "")
	dp, err := NewL2D(l, daemon, control, example(t, name+"/l2d.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if err := dp.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return l, dp
}

func TestL2D(t *testing.T) {
	l, dp := startL2D(t, "l2")
	runChecks(t, l, dp, slices.Concat(L2Checks(example(t, "l2/firewall.nft")), L2DChecks()))
	if err := dp.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(l.PinPath()); !os.IsNotExist(err) {
		t.Errorf("pins of a dataplane that was stopped: %v", err)
	}
}

// Limits bite alike in the kernel and in l2d, to the packet.
func TestHardened(t *testing.T) {
	checks := HardenedChecks()
	var kernel, l2d []Result
	t.Run("nftables", func(t *testing.T) {
		l, dp := startNftables(t, example(t, "hardened/firewall.nft"))
		kernel = runChecks(t, l, dp, checks)
	})
	t.Run("l2d", func(t *testing.T) {
		l, dp := startL2D(t, "hardened")
		l2d = runChecks(t, l, dp, checks)
	})
	for i := range min(len(kernel), len(l2d)) {
		if !slices.Equal(kernel[i].Rules, l2d[i].Rules) {
			t.Errorf("%s: the kernel counts %q, l2d %q", kernel[i].Name, kernel[i].Rules, l2d[i].Rules)
		}
	}
}
