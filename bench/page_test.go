// SPDX-License-Identifier: GPL-2.0-only

package bench

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func exampleReport() *Report {
	r := &Report{
		Environment: Environment{Kernel: "6.18", Command: "quick", Tools: map[string]string{"nft": "v1"}},
		Samples:     append(rounds(RedirectName, 4e6, 5e6, 4e6, 5e6), rounds(NFTablesName, 1e6, 1e6, 1e6, 1e6)...),
		Figures:     []Figure{{L2dName, "load time", 1.5, "ms"}},
	}
	r.Samples = append(r.Samples, rounds(L2dName+" <b>&x", 2e6, 2e6)...)
	r.Samples = append(r.Samples, rounds(L2dName, 3e6, 3e6, 3e6, 3e6)...)
	r.Samples = append(r.Samples, rounds("idle", 0, 0)...)
	r.Micros = micros("XDP", 100, 110)
	return r
}

// wellFormed fails for text that is no XML, and returns the names of its elements.
func wellFormed(t *testing.T, text string) (elements []string) {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(text))
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return elements
		}
		if err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
		if e, ok := token.(xml.StartElement); ok {
			elements = append(elements, e.Name.Local)
		}
	}
}

func TestHTML(t *testing.T) {
	var b bytes.Buffer
	if err := WriteHTML(&b, []NamedReport{{"a<i>.json", exampleReport()}, {"b.json", exampleReport()}}); err != nil {
		t.Fatal(err)
	}
	text := b.String()
	for _, want := range []string{"<h2>a&lt;i&gt;.json</h2>", "6.18", "load time", "prefers-color-scheme:dark", "l2d &lt;b&gt;&amp;x", "0.68 (0.60 to 0.75)", "3.00 (3.00 to 3.00)"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in the page", want)
		}
	}
	if strings.Contains(text, "<b>") || strings.Contains(text, "ZgotmplZ") {
		t.Error("a name is markup, or the page is cut by its template")
	}
	// The namespace of SVG is a name, and nothing is fetched from there.
	rest := strings.ReplaceAll(text, `xmlns="http://www.w3.org/2000/svg"`, "")
	if found := regexp.MustCompile(`https?:|url\(|@import|\bsrc=|\bhref=|<script|<link`).FindString(rest); found != "" {
		t.Errorf("the page is not by itself: %s", found)
	}
	for _, svg := range regexp.MustCompile(`(?s)<svg.*?</svg>`).FindAllString(text, -1) {
		wellFormed(t, svg)
	}
	// All but the void elements of HTML's head.
	body := regexp.MustCompile(`(?s)<body>.*</body>`).FindString(text)
	count := map[string]int{}
	for _, e := range wellFormed(t, body) {
		count[e]++
	}
	if count["svg"] != 10 || count["section"] != 3 {
		t.Errorf("%d charts in %d sections, not 10 in 3", count["svg"], count["section"])
	}
}

func TestHTMLOfNothing(t *testing.T) {
	if err := WriteHTML(io.Discard, []NamedReport{{"empty", &Report{}}}); err != nil {
		t.Error(err)
	}
}

func TestChart(t *testing.T) {
	c := chart{title: "a & b", bars: true, rows: []chartRow{
		{label: "whole", mid: 100, dots: []float64{100}},
		{label: "half", mid: 50, low: 25, high: 75, doubtful: true},
	}}
	text := c.svg(true)
	wellFormed(t, text)
	for _, want := range []string{
		`class="bar" x="240" y="29" width="420.0"`, `class="doubt" x="240" y="55" width="210.0"`,
		`class="range" x1="345.0" y1="63" x2="555.0"`, "<style>", "a &amp; b",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	for _, odd := range []float64{0, math.NaN(), math.Inf(1), -1, 1e-300, 1e300} {
		c := chart{rows: []chartRow{{label: "odd", mid: odd, dots: []float64{odd, 1}}}, mark: 1}
		if text := c.svg(false); strings.Contains(text, "NaN") || strings.Contains(text, "Inf") {
			t.Errorf("%g is drawn as\n%s", odd, text)
		}
	}
}

func TestTicks(t *testing.T) {
	for _, greatest := range []float64{1e-9, 0.99, 1, 1.01, 1.5, 2, 3.3, 5, 7, 9.99, 10, 7e6, 4.2e12} {
		got := ticks(greatest)
		if len(got) < 3 || len(got) > 8 || got[0] != 0 || got[len(got)-1] > greatest*(1+1e-9) {
			t.Errorf("%g: ticks %v", greatest, got)
		}
	}
}

func TestReportCmd(t *testing.T) {
	dir := t.TempDir()
	var b bytes.Buffer
	if err := exampleReport().WriteJSON(&b, nil); err != nil {
		t.Fatal(err)
	}
	file, out, svg := filepath.Join(dir, "run.json"), filepath.Join(dir, "out.html"), filepath.Join(dir, "svg")
	if err := os.WriteFile(file, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := (&ReportCmd{Files: []string{file}, Output: out, SVG: svg}).Run(); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(out); err != nil || !bytes.Contains(text, []byte("run.json")) {
		t.Errorf("page: %v", err)
	}
	charts, err := filepath.Glob(filepath.Join(svg, "run-*.svg"))
	if err != nil || len(charts) != 5 {
		t.Errorf("charts %v, %v", charts, err)
	}
	for _, name := range charts {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		wellFormed(t, string(text))
	}
}
