// SPDX-License-Identifier: GPL-2.0-only

package metrics

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/randomizedcoder/l2d/pkg/api"
)

// Source is what is measured.
type Source interface {
	Status(ctx context.Context) (api.Status, error)
	// RuleCounts returns the rules with what they have counted.
	RuleCounts(ctx context.Context) ([]api.Rule, error)
}

// scrapeTimeout bounds the reading of all maps for one scrape.
const scrapeTimeout = 10 * time.Second

var (
	descUp = prometheus.NewDesc("l2d_attached",
		"1 while the dataplane is attached, 0 after a detach.", nil, nil)
	descBuild = prometheus.NewDesc("l2d_build_info",
		"1, with the version of the daemon.", []string{"version"}, nil)
	descApplied = prometheus.NewDesc("l2d_applied_timestamp_seconds",
		"When the configuration in force was applied.", nil, nil)
	descReload = prometheus.NewDesc("l2d_last_reload_refused",
		"1 when the last reload was refused and the configuration before it goes on.", nil, nil)
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
	descFlowChanges = prometheus.NewDesc("l2d_flow_changes_total",
		"Flows that have begun, that both ends have confirmed, and that have expired.", []string{"change"}, nil)
	descMappingsMax = prometheus.NewDesc("l2d_nat_mappings_max",
		"External ports that clients may have altogether; more flows get a port of their own.", nil, nil)
	descDrops = prometheus.NewDesc("l2d_drops_total",
		"Packets that were dropped, by the reason.", []string{"reason"}, nil)
	descLimits = prometheus.NewDesc("l2d_limits_hit_total",
		"How often something did not fit into a table, a range of ports or a buffer.", []string{"limit"}, nil)
	descEvents = prometheus.NewDesc("l2d_events_total",
		"Other packets and events of the dataplane, by name.", []string{"event"}, nil)
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
	descFollowed = prometheus.NewDesc("l2d_followed_set_elements",
		"Elements of sets that follow an interface, those of the ruleset included.", []string{"set", "interface"}, nil)
	descFollowedFailed = prometheus.NewDesc("l2d_followed_set_failed",
		"1 when such a set may not have what its interface has.", []string{"set", "interface"}, nil)
	descHost = prometheus.NewDesc("l2d_host_resources",
		"Resources of the host that the configuration declares.", nil, nil)
	descDrift = prometheus.NewDesc("l2d_host_drift",
		"Those of them that are not as declared any more.", nil, nil)
	descHostError = prometheus.NewDesc("l2d_host_failed",
		"1 when the host is not as declared because that was refused, failed or undone.", nil, nil)
	descPending = prometheus.NewDesc("l2d_host_change_pending",
		"1 while a change of the host is not final.", nil, nil)
	descApplies = prometheus.NewDesc("l2d_applies_total",
		"Configurations that were to be applied since the daemon started, reloads included, by what became of them.", []string{"result"}, nil)
	descVerified = prometheus.NewDesc("l2d_program_verified_instructions",
		"Instructions that the verifier walked.", []string{"program"}, nil)
	descJITed = prometheus.NewDesc("l2d_program_native_bytes",
		"Size of the program as the processor runs it.", []string{"program"}, nil)
	descRuns = prometheus.NewDesc("l2d_program_runs_total",
		"How often a program has run, while kernel.bpf_stats_enabled was 1.", []string{"program"}, nil)
	descRunTime = prometheus.NewDesc("l2d_program_run_seconds_total",
		"How long it has run.", []string{"program"}, nil)
)

// limits are the statistics that count what did not fit somewhere.
var limits = map[string]string{
	"flows": "flow_table_full", "flows_per_source": "drop_source_limit", "sources": "source_table_full",
	"nat_mappings": "nat_mapping_full", "nat_ports": "drop_nat_exhausted", "fragments": "drop_fragment_limit",
	"ct_count": "drop_ct_count_full", "log": "log_lost",
}

// kindOf tells of which metric a statistic is, and its label.
func kindOf(statistic string) (*prometheus.Desc, string) {
	switch statistic {
	case "flow_new":
		return descFlowChanges, "begun"
	case "flow_confirmed":
		return descFlowChanges, "confirmed"
	case "flow_expired":
		return descFlowChanges, "expired"
	}
	if reason, drop := strings.CutPrefix(statistic, "drop_"); drop {
		return descDrops, reason
	}
	return descEvents, statistic
}

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
		descUp, descBuild, descApplied, descReload, descFlows, descFlowsMax,
		descCollected, descSources, descSourceMax, descMappings, descMappingsMax, descTries, descEvents, descFlowChanges, descDrops, descLimits, descInterface, descWaiting, descVerified, descCPU, descElsewhere,
		descHost, descDrift, descHostError, descPending, descApplies, descJITed, descRuns, descRunTime,
		descInSync, descSyncErrors, descSyncLag, descSyncChanges, descFollowed, descFollowedFailed,
	} {
		ch <- d
	}
	describeLinks(ch)
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
		for _, result := range api.ApplyResults {
			counter(descApplies, h.Applies[result], result)
		}
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
	for _, f := range st.Followed {
		gauge(descFollowed, float64(f.Elements), f.Set, f.Interface)
		gauge(descFollowedFailed, truth(f.Error != ""), f.Set, f.Interface)
	}
	gauge(descApplied, float64(st.Applied.UnixMilli())/1000)
	dp := st.Dataplane
	gauge(descFlows, float64(dp.Flows.Confirmed), "confirmed")
	gauge(descFlows, float64(dp.Flows.HalfOpen), "half_open")
	gauge(descFlowsMax, float64(dp.Flows.MaxConfirmed), "confirmed")
	gauge(descFlowsMax, float64(dp.Flows.MaxHalfOpen), "half_open")
	counter(descCollected, dp.Flows.Collected)
	gauge(descMappings, float64(dp.Flows.Mappings))
	gauge(descMappingsMax, float64(dp.Flows.MaxConfirmed))
	if dp.Flows.MaxPerSource > 0 {
		gauge(descSources, float64(dp.Flows.Sources))
		gauge(descSourceMax, float64(dp.Flows.MaxPerSource))
	}
	ch <- portTries(dp.Stats)
	for name, n := range dp.Stats {
		what, label := kindOf(name)
		counter(what, n, label)
	}
	for limit, name := range limits {
		counter(descLimits, dp.Stats[name], limit)
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
		gauge(descJITed, float64(p.JITedBytes), p.Name)
	}
	for _, r := range dp.Runs {
		counter(descRuns, r.Runs, r.Name)
		ch <- prometheus.MustNewConstMetric(descRunTime, prometheus.CounterValue, r.Time.Seconds(), r.Name)
	}
	collectLinks(ch, dp.Interfaces, c.log)
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
