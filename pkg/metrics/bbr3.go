// SPDX-License-Identifier: GPL-2.0-only

package metrics

import (
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/randomizedcoder/l2d/pkg/bbr3"
)

var (
	descBBR3Connections = prometheus.NewDesc("l2d_bbr3_connections",
		"Connections that use the congestion control bbr3 of l2d now.", nil, nil)
	descBBR3Begun = prometheus.NewDesc("l2d_bbr3_connections_total",
		"Connections that have begun with it since it was registered.", nil, nil)
	descBBR3WithoutState = prometheus.NewDesc("l2d_bbr3_without_state_total",
		"Connections for whose state there was no memory: they do as Reno does.", nil, nil)
)

// BBR3Collector has what there is to say of the congestion control that l2d has
// registered; nothing if it has none.
type BBR3Collector struct {
	read func() (bbr3.Status, error)
	log  *slog.Logger
}

// NewBBR3Collector returns one that reads with a function.
func NewBBR3Collector(read func() (bbr3.Status, error), log *slog.Logger) *BBR3Collector {
	return &BBR3Collector{read, log}
}

// Describe names the metrics.
func (*BBR3Collector) Describe(ch chan<- *prometheus.Desc) {
	ch <- descBBR3Connections
	ch <- descBBR3Begun
	ch <- descBBR3WithoutState
}

// Collect reads once. An error fails the scrape.
func (c *BBR3Collector) Collect(ch chan<- prometheus.Metric) {
	s, err := c.read()
	if err != nil {
		c.log.Error("metrics: the congestion control cannot be read", "err", err)
		ch <- prometheus.NewInvalidMetric(descBBR3Connections, err)
		return
	}
	if !s.Registered {
		return
	}
	ch <- prometheus.MustNewConstMetric(descBBR3Connections, prometheus.GaugeValue, float64(s.Connections))
	ch <- prometheus.MustNewConstMetric(descBBR3Begun, prometheus.CounterValue, float64(s.Begun))
	ch <- prometheus.MustNewConstMetric(descBBR3WithoutState, prometheus.CounterValue, float64(s.WithoutState))
}
