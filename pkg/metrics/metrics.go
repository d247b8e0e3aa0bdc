// SPDX-License-Identifier: GPL-2.0-only

// Package metrics serves the state of the dataplane to Prometheus. Everything is
// read from the kernel when it is scraped; nothing is sampled in between.
package metrics

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/randomizedcoder/l2d/pkg/api"
)

// Source is what is measured: part of api.Service.
type Source interface {
	Status(ctx context.Context) (api.Status, error)
	Rules(ctx context.Context) (api.Rules, error)
}

// scrapeTimeout bounds the reading of all maps for one scrape.
const scrapeTimeout = 10 * time.Second

var ruleLabels = []string{"family", "table", "chain", "handle", "rule"}

var (
	descUp = prometheus.NewDesc("l2d_attached",
		"1 while the dataplane is attached, 0 after a detach.", nil, nil)
	descBuild = prometheus.NewDesc("l2d_build_info",
		"1, with the version of the daemon.", []string{"version"}, nil)
	descApplied = prometheus.NewDesc("l2d_applied_timestamp_seconds",
		"When the configuration in force was applied.", nil, nil)
	descReload = prometheus.NewDesc("l2d_last_reload_refused",
		"1 when the last reload was refused and the configuration before it goes on.", nil, nil)
	descRulePackets = prometheus.NewDesc("l2d_rule_packets_total",
		"Packets that reached the end of a rule, or a base chain's policy.", ruleLabels, nil)
	descRuleBytes = prometheus.NewDesc("l2d_rule_bytes_total",
		"Bytes of those packets, from the IP header on.", ruleLabels, nil)
	descFlows = prometheus.NewDesc("l2d_flows",
		"Flows in each tier of the flow table, as its collector last counted them.", []string{"tier"}, nil)
	descFlowsMax = prometheus.NewDesc("l2d_flows_max",
		"Size of each tier of the flow table.", []string{"tier"}, nil)
	descCollected = prometheus.NewDesc("l2d_flow_entries_collected_total",
		"Entries of dead flows removed by the collector.", nil, nil)
	descSources = prometheus.NewDesc("l2d_flow_sources",
		"Addresses whose flows are counted, because they are limited.", nil, nil)
	descSourceMax = prometheus.NewDesc("l2d_flows_per_source_max",
		"Flows that one address may have begun.", nil, nil)
	descMappings = prometheus.NewDesc("l2d_nat_mappings",
		"External ports that clients have, as the collector last counted them.", nil, nil)
	descTries = prometheus.NewDesc("l2d_nat_port_tries",
		"Ports that were tried for flows that could not keep theirs; those that got none are in the last bucket.", nil, nil)
	descEvents = prometheus.NewDesc("l2d_events_total",
		"Packets and events of the dataplane by name, drops without a rule among them.", []string{"event"}, nil)
	descCPU = prometheus.NewDesc("l2d_cpu_packets_total",
		"Packets by the CPU that handled them and what became of them. What the router sends itself is own.", []string{"cpu", "fate"}, nil)
	descElsewhere = prometheus.NewDesc("l2d_packets_elsewhere_total",
		"Packets that came in on other CPUs than those of the configuration.", nil, nil)
	descInterface = prometheus.NewDesc("l2d_interface_attached",
		"1 for each hook of an interface that the dataplane is attached to.", []string{"interface", "hook"}, nil)
	descWaiting = prometheus.NewDesc("l2d_interfaces_waiting",
		"Configured interfaces that the host does not have.", nil, nil)
	descInSync = prometheus.NewDesc("l2d_nftables_in_sync",
		"1 while the ruleset in force is that of the kernel's nftables, which is followed.", nil, nil)
	descSyncErrors = prometheus.NewDesc("l2d_nftables_sync_errors_total",
		"Rulesets of nftables that were refused, and changes that were missed and read again.", nil, nil)
	descSyncLag = prometheus.NewDesc("l2d_nftables_sync_lag_seconds",
		"Time from the kernel's report of the last change to its taking effect.", nil, nil)
	descSyncChanges = prometheus.NewDesc("l2d_nftables_changes_total",
		"Changes of nftables that took effect, of elements alone or of the ruleset.", []string{"kind"}, nil)
	descHost = prometheus.NewDesc("l2d_host_resources",
		"Resources of the host that the configuration declares.", nil, nil)
	descDrift = prometheus.NewDesc("l2d_host_drift",
		"Those of them that are not as declared any more.", nil, nil)
	descHostError = prometheus.NewDesc("l2d_host_failed",
		"1 when the host is not as declared because that was refused, failed or undone.", nil, nil)
	descPending = prometheus.NewDesc("l2d_host_change_pending",
		"1 while a change of the host is not final.", nil, nil)
	descVerified = prometheus.NewDesc("l2d_program_verified_instructions",
		"Instructions that the verifier walked.", []string{"program"}, nil)
)

// Collector reads a Source for Prometheus.
type Collector struct {
	source Source
	log    *slog.Logger
}

// NewCollector returns a collector of a source.
func NewCollector(s Source, log *slog.Logger) *Collector { return &Collector{s, log} }

// Describe names the metrics.
func (c *Collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		descUp, descBuild, descApplied, descReload, descRulePackets, descRuleBytes, descFlows, descFlowsMax,
		descCollected, descSources, descSourceMax, descMappings, descTries, descEvents, descInterface, descWaiting, descVerified, descCPU, descElsewhere,
		descHost, descDrift, descHostError, descPending,
		descInSync, descSyncErrors, descSyncLag, descSyncChanges,
	} {
		ch <- d
	}
}

// Collect reads the source once. An error fails the scrape: half the numbers
// would look like a change.
func (c *Collector) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTimeout)
	defer cancel()
	st, err := c.source.Status(ctx)
	if err != nil {
		c.fail(ch, err)
		return
	}
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	counter := func(d *prometheus.Desc, v uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	gauge(descUp, truth(st.Attached))
	gauge(descBuild, 1, st.Version)
	gauge(descReload, truth(st.ReloadError != ""))
	gauge(descWaiting, float64(len(st.Waiting)))
	if h := st.Host; h != nil {
		gauge(descHost, float64(h.Resources))
		gauge(descDrift, float64(len(h.Drift)))
		gauge(descHostError, truth(h.Error != ""))
		gauge(descPending, truth(h.Pending != nil))
	}
	if !st.Attached {
		return
	}
	if sync := st.Sync; sync != nil {
		gauge(descInSync, truth(sync.Error == ""))
		counter(descSyncErrors, sync.Errors)
		gauge(descSyncLag, sync.Took.Seconds())
		counter(descSyncChanges, sync.ElementChanges, "elements")
		counter(descSyncChanges, sync.RulesetChanges, "ruleset")
	}
	gauge(descApplied, float64(st.Applied.UnixMilli())/1000)
	dp := st.Dataplane
	gauge(descFlows, float64(dp.Flows.Confirmed), "confirmed")
	gauge(descFlows, float64(dp.Flows.HalfOpen), "half_open")
	gauge(descFlowsMax, float64(dp.Flows.MaxConfirmed), "confirmed")
	gauge(descFlowsMax, float64(dp.Flows.MaxHalfOpen), "half_open")
	counter(descCollected, dp.Flows.Collected)
	gauge(descMappings, float64(dp.Flows.Mappings))
	if dp.Flows.MaxPerSource > 0 {
		gauge(descSources, float64(dp.Flows.Sources))
		gauge(descSourceMax, float64(dp.Flows.MaxPerSource))
	}
	ch <- portTries(dp.Stats)
	for name, n := range dp.Stats {
		counter(descEvents, n, name)
	}
	for _, c := range dp.CPUs {
		cpu := strconv.Itoa(c.CPU)
		for fate, n := range map[string]uint64{
			"xdp_forwarded": c.XDPForwarded, "tc_forwarded": c.TCForwarded, "local": c.Local, "dropped": c.Dropped, "own": c.Own,
		} {
			counter(descCPU, n, cpu, fate)
		}
	}
	if len(st.CPUs) > 0 {
		n, _ := st.Elsewhere()
		counter(descElsewhere, n)
	}
	for _, i := range dp.Interfaces {
		gauge(descInterface, truth(i.TC), i.Name, "tc")
		gauge(descInterface, truth(i.XDP == "native"), i.Name, "xdp")
	}
	for _, p := range dp.Programs {
		gauge(descVerified, float64(p.VerifiedInstructions), p.Name)
	}
	rules, err := c.source.Rules(ctx)
	if err != nil {
		c.fail(ch, err)
		return
	}
	for _, r := range rules.Rules {
		labels := []string{r.Family, r.Table, r.Chain, strconv.FormatUint(r.Handle, 10), r.Text}
		counter(descRulePackets, r.Packets, labels...)
		counter(descRuleBytes, r.Bytes, labels...)
	}
}

func (c *Collector) fail(ch chan<- prometheus.Metric, err error) {
	c.log.Error("metrics: the dataplane cannot be read", "err", err)
	ch <- prometheus.NewInvalidMetric(descUp, err)
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// Serve answers GET /metrics on listen, an IP address and port, until ctx ends.
// It returns when it listens; a later failure is logged.
func Serve(ctx context.Context, listen string, s Source, log *slog.Logger) error {
	reg := prometheus.NewRegistry()
	reg.MustRegister(NewCollector(s, log), NewQdiscCollector(log), collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return fmt.Errorf("metrics: %w", err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(reg, promhttp.HandlerOpts{MaxRequestsInFlight: 2}))
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	go func() {
		if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			log.Error("metrics: server ended", "err", err)
		}
	}()
	context.AfterFunc(ctx, func() { _ = srv.Close() })
	return nil
}

// portTries is the histogram of the searches for ports: STAT_NAT_TRIES_* of
// bpf/lib/types.h are its buckets.
func portTries(stats map[string]uint64) prometheus.Metric {
	found := uint64(0)
	buckets := map[float64]uint64{}
	for _, most := range []int{8, 64, 248} {
		found += stats[fmt.Sprint("nat_tries_", most)]
		buckets[float64(most)] = found
	}
	return prometheus.MustNewConstHistogram(descTries, found+stats["drop_nat_exhausted"], float64(stats["nat_tries"]), buckets)
}
