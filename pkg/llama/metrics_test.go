// SPDX-License-Identifier: GPL-2.0-only

package llama

import (
	"fmt"
	"math"
	"strings"
	"testing"
)

const someMetrics = `# HELP llamacpp:prompt_tokens_total Number of prompt tokens processed.
# TYPE llamacpp:prompt_tokens_total counter
llamacpp:prompt_tokens_total 12
# HELP llamacpp:predicted_tokens_seconds Average generation throughput in tokens/s.
# TYPE llamacpp:predicted_tokens_seconds gauge
llamacpp:predicted_tokens_seconds nan
llamacpp:tokens_predicted_seconds_total 0.25
llamacpp:requests_processing 1e+00
`

func TestReadStatistics(t *testing.T) {
	s, err := readStatistics([]byte(someMetrics))
	if err != nil || len(s) != 3 || s["prompt_tokens_total"] != 12 || s["tokens_predicted_seconds_total"] != 0.25 || s["requests_processing"] != 1 {
		t.Errorf("%v, %v", s, err)
	}
	var many strings.Builder
	for i := range maxStatistics + 1 {
		fmt.Fprintf(&many, "llamacpp:n%d 1\n", i)
	}
	for text, want := range map[string]string{
		"":                         "has no number",
		"llamacpp:a nan":           "has no number",
		"other:a 1":                "want llamacpp:NAME NUMBER",
		"llamacpp:a":               "want llamacpp:NAME NUMBER",
		"llamacpp:a{slot=\"1\"} 1": "want llamacpp:NAME NUMBER",
		"llamacpp:a 1 2":           "want llamacpp:NAME NUMBER",
		"llamacpp:" + strings.Repeat("a", maxNameLen+1) + " 1": "want llamacpp:NAME NUMBER",
		many.String(): "more than 128 numbers",
	} {
		if s, err := readStatistics([]byte(text)); err == nil || !strings.Contains(err.Error(), want) || s != nil {
			t.Errorf("%q: %v, %v, want %q", text, s, err, want)
		}
	}
}

func FuzzStatistics(f *testing.F) {
	for _, s := range append(answers, someMetrics, "llamacpp:a -1", "llamacpp:a 1e999\nllamacpp:b 0x1p-2\n") {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := readStatistics(b)
		if (err == nil) != (len(s) > 0) || len(s) > maxStatistics {
			t.Fatalf("%v, %v", s, err)
		}
		for name, v := range s {
			if !isMetricName(name) || math.IsNaN(v) || math.IsInf(v, 0) {
				t.Fatalf("%q: %v", name, v)
			}
		}
	})
}
