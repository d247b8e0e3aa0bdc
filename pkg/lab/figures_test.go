// SPDX-License-Identifier: GPL-2.0-only

package lab

import (
	"os/exec"
	"testing"
)

// TestServiceFigures: they are measured, whatever they are.
func TestServiceFigures(t *testing.T) {
	if _, err := exec.LookPath("perfdhcp"); err != nil {
		t.Skip("perfdhcp is not installed: scripts/setup.sh bench")
	}
	l, dp := startL2D(t, "l2")
	f, err := MeasureServices(t.Context(), l, dp, 100, 2)
	if err != nil {
		t.Fatal(err)
	}
	if f.Applied <= 0 || f.Download < f.Applied || f.Leases <= 0 {
		t.Errorf("%+v", f)
	}
	t.Logf("%+v", f)
}
