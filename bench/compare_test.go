// SPDX-License-Identifier: GPL-2.0-only

package bench

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestCompare(t *testing.T) {
	steady := func(device string, n uint64) []Sample { return rounds(device, n-1, n, n+1, n, n) }
	for _, c := range []struct {
		name     string
		was, is  []Sample
		relative string
		verdict  Verdict
		code     int
	}{
		{"slower", steady("d", 1000), steady("d", 900), "", Slower, ExitSlower},
		{"faster", steady("d", 900), steady("d", 1000), "", Faster, 0},
		{"the same", steady("d", 1000), steady("d", 1000), "", Same, 0},
		{"within the tolerance", steady("d", 1000), steady("d", 985), "", Same, 0},
		{"within the noise", rounds("d", 950, 1000, 1050, 1040), rounds("d", 900, 990, 1010, 1000), "", Same, 0},
		{"noisy", rounds("d", 500, 1000, 1500, 900, 1100), steady("d", 100), "", Inconclusive, ExitInconclusive},
		{"few rounds", rounds("d", 1000, 1000, 1000), steady("d", 900), "", Inconclusive, ExitInconclusive},
		{"nothing", rounds("d", 0, 0, 0, 0), steady("d", 900), "", Inconclusive, ExitInconclusive},
		{"gone", steady("d", 1000), nil, "", Gone, ExitInconclusive},
		{"new", nil, steady("d", 1000), "", Added, 0},
		{"slower, on a faster machine", append(steady("d", 1000), steady("limit", 2000)...),
			append(steady("d", 2000), steady("limit", 8000)...), "limit", Slower, ExitSlower},
		{"the same, on a slower machine", append(steady("d", 2000), steady("limit", 4000)...),
			append(steady("d", 1000), steady("limit", 2000)...), "limit", Same, 0},
	} {
		all, err := Compare(&Report{Samples: c.was}, &Report{Samples: c.is}, 0.02, c.relative)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if len(all) != 1 || all[0].Name != "d" || all[0].Verdict != c.verdict {
			t.Errorf("%s: got %+v, want %s", c.name, all, c.verdict)
		}
		code := 0
		if r := (Regression{}); errors.As(regression(all), &r) {
			code = r.ExitCode()
		}
		if code != c.code {
			t.Errorf("%s: exit code %d, want %d", c.name, code, c.code)
		}
	}
}

// TestCompareTimes: less is better, and what is of another unit is not relative.
func TestCompareTimes(t *testing.T) {
	was := &Report{Micros: append(micros("XDP", 100, 101, 100, 99), micros("limit", 50, 50, 50, 50)...), Samples: rounds("d", 9, 9, 9, 9)}
	is := &Report{Micros: append(micros("XDP", 120, 121, 120, 119), micros("limit", 50, 50, 50, 50)...), Samples: rounds("d", 9, 9, 9, 9)}
	for _, relative := range []string{"", "limit"} {
		for _, c := range []struct {
			was, is *Report
			want    Verdict
		}{{was, is, Slower}, {is, was, Faster}, {was, was, Same}} {
			all, err := Compare(c.was, c.is, 0.02, relative)
			if err != nil {
				t.Fatal(err)
			}
			i := slices.IndexFunc(all, func(c Comparison) bool { return c.Name == "XDP" })
			if i < 0 || all[i].Verdict != c.want {
				t.Errorf("relative to %q: got %+v, want %s", relative, all, c.want)
			}
			if _, ok := find(c.was.series(relative), "d"); ok == (relative != "") {
				t.Errorf("relative to %q: rates are there: %t", relative, ok)
			}
		}
	}
}

func TestCompareKeepsApart(t *testing.T) {
	few, many := rounds("d", 10, 10, 10, 10), rounds("d", 10, 10, 10, 10)
	for i := range many {
		many[i].Flows = 1 << 20
	}
	all, err := Compare(&Report{Samples: few}, &Report{Samples: many}, 0.02, "")
	if err != nil || all[0].Verdict != Inconclusive {
		t.Errorf("other numbers of flows: %+v, %v", all, err)
	}
	mixed := rounds("d", 10, 10, 10, 10)
	for i := range mixed {
		mixed[i].Mix = Mix{Lengths: imix, Zipf: 1.1}.String()
	}
	all, err = Compare(&Report{Samples: few}, &Report{Samples: mixed}, 0.02, "")
	if err != nil || all[0].Verdict != Inconclusive {
		t.Errorf("another mix: %+v, %v", all, err)
	}
	if _, err := Compare(&Report{Samples: few}, &Report{Samples: few}, 0.02, "limit"); err == nil {
		t.Error("relative to a device that is in no run")
	}
	if err := regression(nil); err == nil {
		t.Error("two empty runs are as fast as each other")
	}
}

func TestComparison(t *testing.T) {
	was := &Report{Environment: Environment{Kernel: "6.12", Commit: "a"}, Samples: rounds("d", 10, 10, 10, 10)}
	is := &Report{Environment: Environment{Kernel: "6.18", Commit: "b"}, Samples: rounds("d", 5, 5, 5, 5)}
	all, err := Compare(was, is, 0, "")
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := WriteComparison(&b, was, is, all); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"NOT THE SAME: kernel: 6.12, then 6.18", "0.500 (0.500 to 0.500)", "SLOWER"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, &b)
		}
	}
	if strings.Contains(b.String(), "commit: ") {
		t.Errorf("that the commits differ is the point:\n%s", &b)
	}
}

// TestCompareFiles runs the command.
func TestCompareFiles(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, samples []Sample) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(strings.Join(results(t, samples...), "\n")), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	fast, slow := write("fast", rounds("d", 10, 10, 10, 10)), write("slow", rounds("d", 5, 5, 5, 5))
	if err := (&CompareCmd{Old: slow, New: fast, Tolerance: 0.02}).Run(); err != nil {
		t.Error(err)
	}
	if err := (&CompareCmd{Old: fast, New: slow, Tolerance: 0.02}).Run(); err != (Regression{Slower: 1}) {
		t.Errorf("got %v", err)
	}
	if err := os.Truncate(slow, 300); err != nil {
		t.Fatal(err)
	}
	err := (&CompareCmd{Old: fast, New: slow, Tolerance: 0.02}).Run()
	if err == nil || !strings.Contains(err.Error(), slow+": line ") {
		t.Errorf("error %v does not name the file and the line", err)
	}
}

func TestBenchstat(t *testing.T) {
	r := &Report{
		Environment: Environment{CPU: "a CPU", Arch: "amd64"},
		Samples:     append(rounds("l2d-tc new", 4, 5), rounds("idle", 0)...),
		Micros:      micros("TC new", 7),
	}
	var b bytes.Buffer
	if err := WriteBenchstat(&b, r); err != nil {
		t.Fatal(err)
	}
	want := `goos: linux
goarch: amd64
pkg: github.com/randomizedcoder/l2d/bench
cpu: a CPU
Unit packets/core-s better=higher
BenchmarkForward/device=l2d_tc_new	4	2.5e+08 ns/packet	4 packets/core-s
BenchmarkForward/device=l2d_tc_new	5	2e+08 ns/packet	5 packets/core-s
BenchmarkMicro/path=TC_new	1	7 ns/run
`
	if b.String() != want {
		t.Errorf("got\n%s", &b)
	}
}

func TestObserve(t *testing.T) {
	e := observe(t.Context(), Options{Command: "quick"})
	if e.Kernel == "" || e.CPUs == 0 || e.Started == "" || e.Load == "" || e.Command != "quick" {
		t.Errorf("got %+v", e)
	}
	if err := e.check(); err != nil {
		t.Error(err)
	}
	if d := e.differences(e); len(d) > 0 {
		t.Errorf("differs from itself: %q", d)
	}
}
