// SPDX-License-Identifier: GPL-2.0-only

package recursor

import (
	"encoding/json"
	"testing"
)

// FuzzREST: whatever a web server answers, there is an error, or numbers.
func FuzzREST(f *testing.F) {
	f.Add([]byte(`[{"name": "questions", "type": "StatisticItem", "value": "12"}, {"name": "response-sizes", "type": "MapStatisticItem", "value": [{"name": "20", "value": "1"}]}]`))
	f.Add([]byte(`[{"name": "x", "value": null}, {"value": "-1"}, {}]`))
	f.Add([]byte(`{"daemon_type": "recursor"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var list []statistic
		if json.Unmarshal(b, &list) != nil {
			return
		}
		if got := readStatistics(list); len(got) > len(list) {
			t.Errorf("%d numbers of %d", len(got), len(list))
		}
	})
}

// TestReadStatistics: lists among the numbers are passed over.
func TestReadStatistics(t *testing.T) {
	var list []statistic
	if err := json.Unmarshal([]byte(`[{"name": "questions", "type": "StatisticItem", "value": "12"}, {"name": "sizes", "type": "MapStatisticItem", "value": [{"name": "20", "value": "1"}]},
		{"name": "big", "type": "StatisticItem", "value": "18446744073709551615"}, {"name": "none", "type": "StatisticItem", "value": "-1"}]`), &list); err != nil {
		t.Fatal(err)
	}
	if got := readStatistics(list); len(got) != 2 || got["questions"] != 12 || got["big"] != 1<<64-1 {
		t.Errorf("%v", got)
	}
}
