// SPDX-License-Identifier: GPL-2.0-only

package llama

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"

	"github.com/randomizedcoder/l2d/pkg/service"
)

// Statistics are what a server has done, by its own names without their first part: prompt_tokens_total,
// requests_processing. Which there are depends on the build.
type Statistics map[string]float64

// Bounds of what is taken of a server's metrics.
const (
	maxStatistics = 128
	maxNameLen    = 64 // bytes
)

// metricPrefix begins the server's names.
const metricPrefix = "llamacpp:"

// StatisticsOf asks the server of a unit.
func StatisticsOf(ctx context.Context, u *service.Unit) (Statistics, error) {
	b, err := call(ctx, u, http.MethodGet, "/metrics", nil)
	if err != nil {
		return nil, err
	}
	s, err := readStatistics(b)
	if err != nil {
		return nil, fmt.Errorf("/metrics: %w", err)
	}
	return s, nil
}

// readStatistics reads Prometheus' text format, as far as the server uses it: a name and a number a line.
func readStatistics(b []byte) (Statistics, error) {
	out := Statistics{}
	for line := range strings.Lines(string(b)) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		name, own := strings.CutPrefix(line, metricPrefix)
		if !own {
			return nil, fmt.Errorf("%q: want %sNAME NUMBER", clip(line), metricPrefix)
		}
		name, number, _ := strings.Cut(name, " ")
		v, err := strconv.ParseFloat(number, 64)
		switch {
		case !isMetricName(name) || err != nil:
			return nil, fmt.Errorf("%q: want %sNAME NUMBER", clip(line), metricPrefix)
		case math.IsNaN(v) || math.IsInf(v, 0):
			continue // of nothing yet: a rate, a share
		case len(out) == maxStatistics:
			return nil, fmt.Errorf("more than %d numbers", maxStatistics)
		}
		out[name] = v
	}
	if len(out) == 0 {
		return nil, errors.New("has no number")
	}
	return out, nil
}

// clip bounds what is told of a line.
func clip(line string) string {
	const most = 80 // bytes
	return strings.ToValidUTF8(line[:min(len(line), most)], "\uFFFD")
}

func isMetricName(s string) bool {
	for _, r := range s {
		if (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '_' {
			return false
		}
	}
	return s != "" && len(s) <= maxNameLen
}
