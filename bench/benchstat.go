// SPDX-License-Identifier: GPL-2.0-only

package bench

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode"
)

// ExportCmd is the command that converts results. Its tags are kong's.
type ExportCmd struct {
	File   string `arg:"" help:"Results of a run." type:"existingfile"`
	Format string `help:"Format: ${enum}." enum:"benchstat" default:"benchstat"`
}

// Run writes to standard output.
func (c *ExportCmd) Run() error {
	r, err := ReadFile(c.File)
	if err != nil {
		return err
	}
	return WriteBenchstat(os.Stdout, r)
}

// WriteBenchstat writes each repetition in the format of Go's benchmarks, which
// golang.org/x/perf reads: https://go.dev/design/14313-benchmark-format. It pairs
// no rounds, so that only figures of a core are in it.
func WriteBenchstat(w io.Writer, r *Report) error {
	b := bufio.NewWriter(w)
	e := r.Environment
	for _, s := range [][2]string{
		{"goos", "linux"}, {"goarch", e.Arch}, {"pkg", "github.com/randomizedcoder/l2d/bench"},
		{"cpu", e.CPU}, {"kernel", e.Kernel}, {"commit", e.Commit},
	} {
		if s[1] != "" {
			fmt.Fprintf(b, "%s: %s\n", s[0], s[1])
		}
	}
	fmt.Fprintf(b, "Unit %s better=higher\n", unitRate)
	for _, s := range r.Samples {
		if s.Rate() > 0 {
			fmt.Fprintf(b, "Benchmark%s\t%d\t%.6g ns/packet\t%.6g %s\n",
				benchmarkName("Forward/device=", s.Device), max(s.Received, 1), 1e9/s.Rate(), s.Rate(), unitRate)
		}
	}
	for _, m := range r.Micros {
		fmt.Fprintf(b, "Benchmark%s\t%d\t%.6g %s\n", benchmarkName("Micro/path=", m.Path), m.Runs, m.Nanoseconds, unitMicro)
	}
	return b.Flush()
}

// benchmarkName makes a name without spaces, which does not end in what looks like
// a number of processors.
func benchmarkName(prefix, name string) string {
	return prefix + strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) || r == '-' || r == '/' {
			return '_'
		}
		return r
	}, name)
}
