// SPDX-License-Identifier: GPL-2.0-only

package bench

import (
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// TestLooks: each way of looking has its turn, and the daemon answers scrapes.
func TestLooks(t *testing.T) {
	needRoot(t)
	binary := filepath.Join(t.TempDir(), "l2d")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "../cmd/l2d").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	c := &LooksCmd{Repetitions: 1, Scrapes: 3}
	d := &L2d{Binary: binary, Ruleset: writeRuleset(t), Metrics: metricsPort}
	o := testOptions()
	o.Warmup, o.Duration = 100*time.Millisecond, 300*time.Millisecond
	l, err := newLane(t.Context(), Case{Device: d, Flows: 1024}, o)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := l.close(); err != nil {
			t.Error(err)
		}
	}()
	r := &Report{}
	if err := c.measure(t.Context(), r, l, d); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, s := range r.Samples {
		if names = append(names, s.Device); s.Received == 0 {
			t.Errorf("nothing is forwarded: %s", s)
		}
	}
	if want := []string{"l2d nobody", "l2d scrape, top", "l2d all but packets", "l2d monitor drops"}; !slices.Equal(names, want) {
		t.Errorf("turns of %q", names)
	}
	if len(r.Figures) != 3 || r.Figures[0].Name != "a scrape, median of 3" || slices.ContainsFunc(r.Figures, func(f Figure) bool { return f.Value <= 0 }) {
		t.Errorf("%+v", r.Figures)
	}
	// A way that fails is told.
	look := newLooker(l.topology, d.client)
	look.url += "/nothing"
	stop := look.during(t.Context(), ways[0])
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		look.mu.Lock()
		failed := look.failed
		look.mu.Unlock()
		if failed != nil {
			break
		}
	}
	if err := stop(); err == nil {
		t.Error("a page that is not there is scraped")
	}
}
