// SPDX-License-Identifier: GPL-2.0-only

package metrics

import (
	"fmt"
	"log/slog"
	"net"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/randomizedcoder/l2d/pkg/tcnl"
)

// qdiscLabels tell qdiscs apart. The parent is a class, or root.
var qdiscLabels = []string{"interface", "parent", "kind"}

var (
	descQdiscPackets = prometheus.NewDesc("l2d_qdisc_packets_total",
		"Packets that a qdisc has sent.", qdiscLabels, nil)
	descQdiscBytes = prometheus.NewDesc("l2d_qdisc_bytes_total",
		"Bytes that a qdisc has sent.", qdiscLabels, nil)
	descQdiscDrops = prometheus.NewDesc("l2d_qdisc_drops_total",
		"Packets that a qdisc has dropped.", qdiscLabels, nil)
	descQdiscRequeues = prometheus.NewDesc("l2d_qdisc_requeues_total",
		"Packets that the driver did not take at once.", qdiscLabels, nil)
	descQdiscOverlimits = prometheus.NewDesc("l2d_qdisc_overlimits_total",
		"How often a qdisc held a packet back.", qdiscLabels, nil)
	descQdiscQueued = prometheus.NewDesc("l2d_qdisc_queued_packets",
		"Packets that wait in a qdisc.", qdiscLabels, nil)
	descQdiscBacklog = prometheus.NewDesc("l2d_qdisc_backlog_bytes",
		"Bytes that wait in a qdisc.", qdiscLabels, nil)
	// descQdiscDetails are what kinds count by themselves.
	descQdiscDetails = qdiscDetails()
)

// qdiscDetails are the descriptions of all that kinds count by themselves: by the
// kind, or "cake tin", and the name.
func qdiscDetails() map[string]*prometheus.Desc {
	out := map[string]*prometheus.Desc{}
	for key, counter := range tcnl.DetailNames() {
		name := "l2d_qdisc_" + strings.ReplaceAll(key, " ", "_")
		labels := qdiscLabels
		if strings.HasPrefix(key, "cake tin ") {
			labels = append(append([]string{}, qdiscLabels...), "tin")
		}
		if counter {
			name += "_total"
		}
		out[key] = prometheus.NewDesc(name, "As the qdisc reports it: "+key+".", labels, nil)
	}
	return out
}

// QdiscCollector reads the qdiscs of all interfaces for Prometheus.
type QdiscCollector struct{ log *slog.Logger }

// NewQdiscCollector returns a collector.
func NewQdiscCollector(log *slog.Logger) *QdiscCollector { return &QdiscCollector{log} }

// Describe names the metrics.
func (c *QdiscCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		descQdiscPackets, descQdiscBytes, descQdiscDrops, descQdiscRequeues, descQdiscOverlimits, descQdiscQueued, descQdiscBacklog,
	} {
		ch <- d
	}
	for _, d := range descQdiscDetails {
		ch <- d
	}
}

// Collect asks the kernel once. An error fails the scrape.
func (c *QdiscCollector) Collect(ch chan<- prometheus.Metric) {
	names, reports, err := readQdiscs()
	if err != nil {
		c.log.Error("metrics: the qdiscs cannot be read", "err", err)
		ch <- prometheus.NewInvalidMetric(descQdiscPackets, err)
		return
	}
	for i := range reports {
		r := &reports[i]
		name := names[r.Interface]
		// What the kernel puts below another one by itself has no identity.
		if name == "" || r.Handle == "0:" && r.Parent != "root" {
			continue
		}
		collectQdisc(ch, r, name)
	}
}

func readQdiscs() (map[int]string, []tcnl.Report, error) {
	client, err := tcnl.Dial()
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = client.Close() }()
	reports, err := client.Reports(0)
	if err != nil {
		return nil, nil, err
	}
	links, err := net.Interfaces()
	if err != nil {
		return nil, nil, fmt.Errorf("interfaces: %w", err)
	}
	names := map[int]string{}
	for _, l := range links {
		names[l.Index] = l.Name
	}
	return names, reports, nil
}

func collectQdisc(ch chan<- prometheus.Metric, r *tcnl.Report, name string) {
	labels := []string{name, r.Parent, r.Kind}
	for d, n := range map[*prometheus.Desc]uint64{
		descQdiscPackets: r.Packets, descQdiscBytes: r.Bytes, descQdiscDrops: uint64(r.Drops), descQdiscRequeues: uint64(r.Requeues), descQdiscOverlimits: uint64(r.Overlimits),
	} {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
	}
	ch <- prometheus.MustNewConstMetric(descQdiscQueued, prometheus.GaugeValue, float64(r.Queued), labels...)
	ch <- prometheus.MustNewConstMetric(descQdiscBacklog, prometheus.GaugeValue, float64(r.Backlog), labels...)
	collectDetails(ch, r.Kind+" ", r.Details, labels)
	for _, t := range r.Tins {
		collectDetails(ch, "cake tin ", t.Values, append(labels[:len(labels):len(labels)], t.Name))
	}
}

func collectDetails(ch chan<- prometheus.Metric, prefix string, values []tcnl.Value, labels []string) {
	for _, v := range values {
		kind := prometheus.GaugeValue
		if v.Counter {
			kind = prometheus.CounterValue
		}
		ch <- prometheus.MustNewConstMetric(descQdiscDetails[prefix+v.Name], kind, v.Value, labels...)
	}
}
