// SPDX-License-Identifier: GPL-2.0-only

package main

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/randomizedcoder/l2d/pkg/doctor"
)

// TestDoctor: it needs no daemon, and its exit code says how bad the worst finding is.
func TestDoctor(t *testing.T) {
	run := func(args ...string) (code int, out, errs string) {
		var stdout, stderr bytes.Buffer
		args = append([]string{"--socket", filepath.Join(t.TempDir(), "none"), "doctor", "--interval", "1ms"}, args...)
		return execute(t.Context(), args, &stdout, &stderr), stdout.String(), stderr.String()
	}
	codes := map[doctor.Severity]int{doctor.Good: 0, doctor.Note: 0, doctor.Warning: exitWarning, doctor.Failure: exitFinding}
	for _, args := range [][]string{nil, {"disk"}, {"l2d", "kernel"}, {"gpu"}} {
		code, out, errs := run(append(args, "--json")...)
		var list []doctor.Finding
		if err := json.Unmarshal([]byte(out), &list); err != nil || len(list) == 0 || errs != "" {
			t.Fatalf("%v: %v, %s, %s", args, err, out, errs)
		}
		if want := codes[doctor.Worst(list)]; code != want {
			t.Errorf("%v: exit code %d, not %d", args, code, want)
		}
		if args == nil {
			continue // counters move: another run may find something else
		}
		again, text, _ := run(args...)
		if again != code || !strings.Contains(text, list[0].Text) || !strings.HasSuffix(text, " well.\n") {
			t.Errorf("%v: exit code %d, %s", args, again, text)
		}
	}
	// Without a daemon that is a warning, and with a configuration that is none, an error.
	if code, out, _ := run("l2d"); code != exitWarning || !strings.Contains(out, "no daemon runs") {
		t.Errorf("exit code %d: %s", code, out)
	}
	if code, out, _ := run("l2d", "-q", "--config", "/proc/version"); code != exitFinding || !strings.Contains(out, "the configuration cannot be used") {
		t.Errorf("exit code %d: %s", code, out)
	}
	if code, out, _ := run("-q", "gpu", "disk"); code != 0 && strings.Contains(out, "NOTE") {
		t.Errorf("exit code %d: %s", code, out)
	}
	if code, out, errs := run("gpu", "--config", "/nosuch.yaml"); code != exitInput || out != "" || !strings.Contains(errs, "/nosuch.yaml: no such file") {
		t.Errorf("exit code %d: %s%s", code, out, errs)
	}
	if code, _, errs := run("weather"); code != exitInput || !strings.Contains(errs, `area "weather": want one of kernel, cpu, irq`) {
		t.Errorf("exit code %d: %s", code, errs)
	}
}
