// SPDX-License-Identifier: GPL-2.0-only

package metrics

import (
	"context"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/randomizedcoder/l2d/pkg/service"
)

var (
	descServiceUp = prometheus.NewDesc("l2d_service_up",
		"1 while a service runs and is well.", []string{"service"}, nil)
	descServiceRunning = prometheus.NewDesc("l2d_service_running",
		"1 while a service has a process; not of those that somebody else runs.", []string{"service"}, nil)
	descServiceRestarts = prometheus.NewDesc("l2d_service_restarts_total",
		"How often a service was started again because it had ended.", []string{"service"}, nil)
	descServiceStarted = prometheus.NewDesc("l2d_service_start_time_seconds",
		"When the process of a service started.", []string{"service"}, nil)
)

// Services are what is measured of services: part of api.Service.
type Services interface {
	Services(ctx context.Context) ([]service.Status, error)
}

// ServiceCollector asks services how they are, for Prometheus.
type ServiceCollector struct {
	source Services
	log    *slog.Logger
}

// NewServiceCollector returns a collector.
func NewServiceCollector(s Services, log *slog.Logger) *ServiceCollector {
	return &ServiceCollector{s, log}
}

// Describe implements prometheus.Collector.
func (*ServiceCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descServiceUp, descServiceRunning, descServiceRestarts, descServiceStarted} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *ServiceCollector) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTimeout)
	defer cancel()
	list, err := c.source.Services(ctx)
	if err != nil {
		c.log.Error("metrics: services cannot be asked", "err", err)
		ch <- prometheus.NewInvalidMetric(descServiceUp, err)
		return
	}
	for _, s := range list {
		ch <- prometheus.MustNewConstMetric(descServiceUp, prometheus.GaugeValue, truth(s.Error == ""), s.Name)
		if s.Mode == "watch" {
			continue
		}
		ch <- prometheus.MustNewConstMetric(descServiceRunning, prometheus.GaugeValue, truth(s.Running), s.Name)
		ch <- prometheus.MustNewConstMetric(descServiceRestarts, prometheus.CounterValue, float64(s.Restarts), s.Name)
		if s.Running {
			ch <- prometheus.MustNewConstMetric(descServiceStarted, prometheus.GaugeValue, float64(s.Started.UnixNano())/1e9, s.Name)
		}
	}
}
