// SPDX-License-Identifier: GPL-2.0-only

package bench

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// round makes a sample of one second: a router that took received packets out
// of twice as many, and was busy all the time.
func round(device string, i int, received uint64) Sample {
	return Sample{
		Device: device, Round: i, Seconds: 1, Busy: 1,
		Offered: 2 * received, Accepted: received, Received: received,
	}
}

func rounds(device string, received ...uint64) (s []Sample) {
	for i, n := range received {
		s = append(s, round(device, i, n))
	}
	return s
}

func TestSummarize(t *testing.T) {
	r := &Report{Samples: append(
		rounds("slow", 100, 102, 98),
		rounds("fast", 400, 408, 392)...)}
	got := r.Summarize("fast", "absent")
	if len(got) != 2 || got[0].Device != "slow" || got[1].Device != "fast" {
		t.Fatalf("got %+v", got)
	}
	slow, fast := got[0], got[1]
	near(t, "rate", slow.Rate, 100)
	near(t, "spread", slow.Spread, 0.02)
	near(t, "nanoseconds", slow.Nanoseconds, 1e7)
	if len(slow.Ratios) != 1 || slow.Ratios[0].To != "fast" {
		t.Fatalf("ratios %+v", slow.Ratios)
	}
	near(t, "ratio", slow.Ratios[0].Mid, 0.25)
	if len(fast.Ratios) != 0 {
		t.Errorf("fast is compared with itself: %+v", fast.Ratios)
	}
	if !slow.Conclusive() || !fast.Conclusive() {
		t.Errorf("doubts: %v, %v", slow.Doubts, fast.Doubts)
	}
}

func TestDoubts(t *testing.T) {
	idle := rounds("d", 100, 100, 100)
	for i := range idle {
		idle[i].Offered = idle[i].Accepted
	}
	shared := rounds("d", 100, 100, 100)
	for i := range shared {
		shared[i].Busy = 0.25
	}
	for _, c := range []struct {
		name    string
		samples []Sample
		doubt   string
	}{
		{"noisy", rounds("d", 100, 130, 70), "spread 30 %"},
		{"starved", idle, "generator too slow"},
		{"shared", shared, "packet core busy only 25 %"},
	} {
		got := (&Report{Samples: c.samples}).Summarize()[0]
		if !reflect.DeepEqual(got.Doubts, []string{c.doubt}) {
			t.Errorf("%s: doubts %q, want %q", c.name, got.Doubts, c.doubt)
		}
	}
}

func TestSampleFigures(t *testing.T) {
	start := time.Now()
	s := newSample(Case{Device: &Redirect{}},
		reading{at: start, sent: 10, accepted: 5, received: 5, busy: time.Second},
		reading{at: start.Add(2 * time.Second), sent: 810, accepted: 205, received: 155, busy: 2 * time.Second})
	near(t, "wall", s.Wall(), 75)
	near(t, "rate", s.Rate(), 150)
	near(t, "lost", s.Lost(), 0.25)
	near(t, "load", s.Load(), 4)
	near(t, "busy", s.Busy, 0.5)

	s.Busy = 0
	near(t, "rate of an idle router", s.Rate(), 0)

	// Counters are not read at the very same moment.
	s.Received = s.Accepted + 1
	near(t, "nothing lost", s.Lost(), 0)
}

func TestJSON(t *testing.T) {
	r := &Report{
		Environment: Environment{
			Kernel: "6.18", Commit: "abc", FrameLen: FrameLen,
			Mitigations: map[string]string{"a": "b"},
			Tools:       map[string]string{"nft": "1"},
			Options:     Options{Duration: time.Second},
		},
		Samples: rounds("d", 3, 4),
		Micros:  []Micro{{Path: "p", Runs: 1, Nanoseconds: 2}},
		Figures: []Figure{{"d", "load time", 1.5, "ms"}},
	}
	var b bytes.Buffer
	if err := r.WriteJSON(&b, r.Summarize()); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(b.String(), "\n"); n != 7 {
		t.Errorf("%d lines instead of 7:\n%s", n, &b)
	}
	got, err := ReadJSON(&b)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, r) {
		t.Errorf("read %+v\nwrote %+v", got, r)
	}
}

// results is a file of a run, as lines.
func results(t *testing.T, samples ...Sample) []string {
	t.Helper()
	r := &Report{Environment: Environment{Kernel: "6.18"}, Samples: samples}
	var b bytes.Buffer
	if err := r.WriteJSON(&b, nil); err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
}

func TestReadJSONRefuses(t *testing.T) {
	good := results(t, rounds("d", 3, 4)...)
	sample := good[1]
	with := func(i int, text ...string) []string { return slices.Replace(slices.Clone(good), i, i+1, text...) }
	for _, c := range []struct {
		name  string
		lines []string
		line  int
	}{
		{"nothing", nil, 1},
		{"torn between lines", good[:3], 4},
		{"torn within a line", append(good[:2:2], good[2][:20]), 3},
		{"a line is missing", with(2), 3},
		{"a line too many", append(slices.Clone(good), sample), 5},
		{"no environment", good[1:], 1},
		{"two environments", with(1, good[0]), 2},
		{"control characters", with(0, `{"environment":{"kernel":"6\u001b[2J"}}`), 1},
		{"unknown record", with(1, `{"weather":{}}`), 2},
		{"unknown field", with(1, `{"sample":{"device":"d","seconds":1,"colour":1}}`), 2},
		{"empty record", with(2, "{}"), 3},
		{"empty line", with(2, ""), 3},
		{"two in a record", with(1, `{"sample":{"device":"d","seconds":1},"end":{"lines":1}}`), 2},
		{"two records", with(1, sample+sample), 2},
		{"not an object", with(1, `[]`), 2},
		{"null", with(1, `null`), 2},
		{"no name", with(1, strings.Replace(sample, `"d"`, `""`, 1)), 2},
		{"lines in a name", with(1, strings.Replace(sample, `"d"`, `"d\n"`, 1)), 2},
		{"a long name", with(1, strings.Replace(sample, `"d"`, `"`+strings.Repeat("d", 200)+`"`, 1)), 2},
		{"no time", with(1, strings.Replace(sample, `"seconds":1`, `"seconds":0`, 1)), 2},
		{"endless time", with(1, strings.Replace(sample, `"seconds":1`, `"seconds":1e400`, 1)), 2},
		{"negative packets", with(1, strings.Replace(sample, `"received":3`, `"received":-3`, 1)), 2},
		{"negative work", with(1, strings.Replace(sample, `"busy":1`, `"busy":-1`, 1)), 2},
		{"a round twice", with(2, sample), 3},
		{"a path without runs", with(1, `{"micro":{"path":"p","round":0,"runs":0,"ns":1}}`), 2},
		{"a path of no time", with(1, `{"micro":{"path":"p","round":0,"runs":1,"ns":-1}}`), 2},
		{"a path like a device", with(2, `{"micro":{"path":"d","round":0,"runs":1,"ns":1}}`), 3},
		{"deep", with(1, strings.Repeat("[", 100000)), 2},
		{"too long", with(1, `{"sample":{"device":"`+strings.Repeat("d", maxLine)+`"}}`), 2},
	} {
		_, err := ReadJSON(strings.NewReader(strings.Join(c.lines, "\n")))
		if err == nil || !strings.HasPrefix(err.Error(), fmt.Sprintf("line %d: ", c.line)) {
			t.Errorf("%s: error %.200v does not name line %d", c.name, err, c.line)
		}
	}
	if _, err := ReadJSON(strings.NewReader(strings.Join(good, "\n"))); err != nil {
		t.Errorf("a good file: %v", err)
	}
}

// TestSaveFailed: what was measured before a failure is kept, and no result.
func TestSaveFailed(t *testing.T) {
	name := filepath.Join(t.TempDir(), "run.json")
	failure := errors.New("the generator is out of frames")
	if err := (*Report)(nil).saveFailed(name, failure); err != failure {
		t.Errorf("without a report: %v", err)
	}
	if err := (&Report{}).saveFailed(name, failure); err != failure {
		t.Errorf("without a sample: %v", err)
	}
	if _, err := os.Stat(name); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("nothing was measured, and there is a file: %v", err)
	}
	if err := (&Report{Samples: rounds("d", 3, 4)}).saveFailed(name, failure); !errors.Is(err, failure) {
		t.Error(err)
	}
	text, err := os.ReadFile(name)
	if err != nil || !bytes.Contains(text, []byte(`"received":4`)) {
		t.Errorf("%v: the samples are not in\n%s", err, text)
	}
	if _, err := ReadFile(name); err == nil || !strings.Contains(err.Error(), "line 4: the run failed") {
		t.Errorf("a failed run passes for a whole one: %v", err)
	}
}

// FuzzReadJSON: what is read can be summed up, compared, exported and written.
func FuzzReadJSON(f *testing.F) {
	var b bytes.Buffer
	r := &Report{Samples: rounds("d", 3, 4), Micros: []Micro{{Path: "p", Runs: 1, Nanoseconds: 2}}, Figures: []Figure{{"d", "load time", 1.5, "ms"}}}
	if err := r.WriteJSON(&b, r.Summarize()); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Fuzz(func(t *testing.T, file []byte) {
		r, err := ReadJSON(bytes.NewReader(file))
		if err != nil {
			return
		}
		all, err := Compare(r, r, 0, "")
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range all {
			if c.Verdict != Same && c.Verdict != Inconclusive {
				t.Errorf("compared with itself: %+v", c)
			}
		}
		if err := WriteBenchstat(io.Discard, r); err != nil {
			t.Error(err)
		}
		var b bytes.Buffer
		if err := r.WriteJSON(&b, r.Summarize()); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadJSON(&b); err != nil {
			t.Errorf("what was read and written is refused: %v", err)
		}
	})
}

func TestTable(t *testing.T) {
	r := &Report{Samples: append(rounds("redirect", 4e6, 4e6, 4e6, 4e6), rounds("d", 1e6, 2e6, 1e6, 2e6)...)}
	var b bytes.Buffer
	if err := WriteTable(&b, r, r.Summarize("redirect"), "redirect"); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"1.500", "0.38 (0.25 to 0.50)", "inconclusive: d: spread 67 %"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, &b)
		}
	}
}
