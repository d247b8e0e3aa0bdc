// SPDX-License-Identifier: GPL-2.0-only

package ntuple_test

import (
	"slices"
	"testing"

	"github.com/randomizedcoder/l2d/internal/fakenic"
	"github.com/randomizedcoder/l2d/pkg/ethioctl"
	"github.com/randomizedcoder/l2d/pkg/ntuple"
)

// TestCounted: of each driver that tells, what its rules have matched, and no more.
func TestCounted(t *testing.T) {
	for driver, c := range map[string]struct{ all, want []ethioctl.Statistic }{
		"ixgbe": {[]ethioctl.Statistic{{Name: "rx_packets", Value: 9}, {Name: "fdir_match", Value: 5}, {Name: "fdir_miss", Value: 7}, {Name: "fdir_overflow", Value: 0}},
			[]ethioctl.Statistic{{Name: "fdir_match", Value: 5}}},
		"i40e": {[]ethioctl.Statistic{{Name: "port.fdir_flush_cnt"}, {Name: "port.fdir_atr_match", Value: 3}, {Name: "port.fdir_atr_tunnel_match", Value: 2}, {Name: "port.fdir_sb_match", Value: 1}},
			[]ethioctl.Statistic{{Name: "port.fdir_sb_match", Value: 1}}},
		"igb":  {[]ethioctl.Statistic{{Name: "rx_packets", Value: 9}}, nil},
		"none": {nil, nil},
	} {
		n := fakenic.New("nic0")
		if err := n.Change(func(s *fakenic.State) error { s.Statistics = c.all; return nil }); err != nil {
			t.Fatal(err)
		}
		if got, err := ntuple.Counted(n, "nic0"); err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%s: %+v, %v, not %+v", driver, got, err, c.want)
		}
	}
}
