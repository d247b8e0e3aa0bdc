// SPDX-License-Identifier: GPL-2.0-only

package loader

import (
	"reflect"
	"testing"
)

// TestCPUStats: a statistic that is renamed is not left out in silence.
func TestCPUStats(t *testing.T) {
	names, err := statNames()
	if err != nil {
		t.Fatal(err)
	}
	s := statistics{names: names}
	for i := range names {
		s.perCPU = append(s.perCPU, []uint64{uint64(i), 0, 1})
	}
	index := func(name string) uint64 {
		t.Helper()
		for i, n := range names {
			if n == name {
				return uint64(i)
			}
		}
		t.Fatalf("no statistic %s", name)
		return 0
	}
	drops, sum := uint64(0), uint64(0)
	for i, n := range names {
		if len(n) > 5 && n[:5] == "drop_" && n != "drop_fragment_timeout" {
			drops, sum = drops+1, sum+uint64(i)
		}
	}
	want := []CPUStatus{
		{0, index("xdp_forwarded"), index("tc_forwarded"), index("local_in") + index("to_kernel"), sum, index("local_out")},
		{2, 1, 1, 2, drops, 1},
	}
	if got := s.cpus(); !reflect.DeepEqual(got, want) || drops < 10 {
		t.Errorf("%+v, not %+v", got, want)
	}
	if got := s.sums()["local_out"]; got != index("local_out")+1 {
		t.Errorf("%d packets of the router's own", got)
	}
	flows := s.flowCPUs()
	if len(flows) != 2 || flows[0].CPU != 0 || flows[1].CPU != 2 {
		t.Fatalf("%+v", flows)
	}
	for _, name := range []string{"flow_new", "flow_invalid", "nat_collision", "drop_nat_exhausted", "drop_flow_clash", "drop_ct_count_full", "source_table_full", "drop_source_limit"} {
		if n, ok := flows[0].Stats[name]; n != index(name) || !ok || flows[1].Stats[name] != 1 {
			t.Errorf("%s: %+v", name, flows)
		}
	}
	if _, ok := flows[0].Stats["xdp_forwarded"]; ok || len(flows[0].Stats) > 20 {
		t.Errorf("%+v", flows[0])
	}
	if n := want[1].Received(); n != 4 {
		t.Errorf("received %d", n)
	}
}
