// SPDX-License-Identifier: GPL-2.0-only

package llama

import (
	"testing"
	"unicode/utf8"
)

// Answers of llama-server: with a model, as a router without one, while it loads, and to a wrong key.
var answers = []string{
	`{"default_generation_settings":{"n_ctx":128},"total_slots":1,"model_path":"/m/tiny.gguf","build_info":"b5318-15e03282"}`,
	`{"role":"router","max_instances":4,"model_path":"","build_info":"b8064-e9cbf2c2"}`,
	`{"error":{"code":503,"message":"Loading model","type":"unavailable_error"}}`,
	`{"error":{"code":401,"message":"Invalid API Key","type":"authentication_error"}}`,
	`{"choices":[{"finish_reason":"length","index":0,"message":{"role":"assistant","content":"abc"}}],"usage":{"completion_tokens":3}}`,
	`{"choices":[],"usage":null}`, `{"status":"ok"}`, `{"model_path":"/"}`, `[]`, "\xff{",
}

func FuzzProps(f *testing.F) {
	for _, s := range answers {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := readProps(b)
		if (err == nil) != (h.Detail != "") || !utf8.ValidString(h.Detail) {
			t.Fatalf("%+v, %v", h, err)
		}
	})
}

func FuzzReason(f *testing.F) {
	for _, s := range answers {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		const replaced = 3 // bytes of what is in the place of one that is not UTF-8
		if s := reason(b); !utf8.ValidString(s) || len(s) > replaced*maxReason {
			t.Fatalf("%q", s)
		}
	})
}

func FuzzAnswer(f *testing.F) {
	for _, s := range answers {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if a, err := readAnswer(b); err != nil && a != (Answer{}) || !utf8.ValidString(a.Text) {
			t.Fatalf("%+v, %v", a, err)
		}
	})
}

// TestReason: what the server says is wrong is told, and not more than a line or two.
func TestReason(t *testing.T) {
	for text, want := range map[string]string{answers[2]: "Loading model", answers[6]: answers[6], "\xff{": "\uFFFD{"} {
		if got := reason([]byte(text)); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}
