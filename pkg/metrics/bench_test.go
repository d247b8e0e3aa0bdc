// SPDX-License-Identifier: GPL-2.0-only

package metrics

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/randomizedcoder/l2d/loader"
	"github.com/randomizedcoder/l2d/pkg/api"
)

// BenchmarkScrape is a scrape of 10,000 rules and a full table of flows, but for the
// reading of the kernel's maps: BenchmarkCounters of the loader has the largest.
func BenchmarkScrape(b *testing.B) {
	f := &fixed{status: api.Status{Attached: true, Dataplane: loader.Status{
		Flows: loader.FlowStatus{Confirmed: 262144, MaxConfirmed: 262144}, Stats: map[string]uint64{"drop_policy": 1},
	}}}
	for i := range 10000 {
		f.rules = append(f.rules, api.Rule{
			Family: "inet", Table: "filter", Chain: "forward", Handle: uint64(i + 1), Packets: uint64(i), Bytes: uint64(100 * i),
			Text: fmt.Sprintf("ip saddr 10.0.%d.%d tcp dport 443 counter accept", i>>8, i&255),
		})
	}
	for _, rules := range []bool{false, true} {
		b.Run(fmt.Sprintf("rules=%v", rules), func(b *testing.B) {
			h, err := Handler(f, Options{Rules: rules}, slog.New(slog.DiscardHandler))
			if err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				w := httptest.NewRecorder()
				h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
				if w.Code != http.StatusOK {
					b.Fatal(w.Code)
				}
			}
		})
	}
}
