// SPDX-License-Identifier: GPL-2.0-only

package metrics

import (
	"errors"
	"log/slog"
	"maps"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/randomizedcoder/l2d/pkg/bbr3"
)

func TestBBR3(t *testing.T) {
	status, failure := bbr3.Status{Registered: true, Connections: 2, Begun: 5, WithoutState: 1}, error(nil)
	reg := prometheus.NewRegistry()
	reg.MustRegister(NewBBR3Collector(func() (bbr3.Status, error) { return status, failure }, slog.New(slog.DiscardHandler)))
	gather := func() (map[string]float64, error) {
		families, err := reg.Gather()
		got := map[string]float64{}
		for _, f := range families {
			for _, m := range f.GetMetric() {
				got[f.GetName()] = m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
		return got, err
	}
	want := map[string]float64{"l2d_bbr3_connections": 2, "l2d_bbr3_connections_total": 5, "l2d_bbr3_without_state_total": 1}
	if got, err := gather(); err != nil || !maps.Equal(got, want) {
		t.Errorf("%v, %v", got, err)
	}
	status = bbr3.Status{}
	if got, err := gather(); err != nil || len(got) != 0 {
		t.Errorf("of what is not registered: %v, %v", got, err)
	}
	failure = errors.New("no")
	if _, err := gather(); err == nil {
		t.Error("an error is no failure")
	}
}
