// SPDX-License-Identifier: GPL-2.0-only

package main

import (
	"strings"
	"testing"

	"github.com/randomizedcoder/l2d/pkg/api"
)

// TestNTupleHits: of a rule in a NIC it is said what the driver tells, or that it tells nothing.
func TestNTupleHits(t *testing.T) {
	hits, at := uint64(7), uint32(2045)
	nic := api.NTuple{Interface: "ixgbe0", Rule: "tcp4 dport 135 drop", Place: api.PlaceNIC, Location: &at, Driver: "ixgbe"}
	told := nic
	told.NICHits = map[string]uint64{"fdir_match": 42}
	missing := nic
	missing.Place, missing.Location = api.PlaceMissing, nil
	var b strings.Builder
	if err := writeNTuples(&b, []api.NTuple{{Interface: "eth0", Rule: "tcp4 dport 9 drop", Place: api.PlaceXDP, Hits: &hits, Why: "x"}, nic, told, missing}); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(b.String(), "\n")
	for i, want := range []string{"XDP 7", "NIC, at 2045 not told by ixgbe", "NIC, at 2045 fdir_match 42, of all its rules", "missing -"} {
		if got := strings.Join(strings.Fields(lines[i+1]), " "); !strings.Contains(got, want) {
			t.Errorf("%q is not in %q", want, got)
		}
	}
}
