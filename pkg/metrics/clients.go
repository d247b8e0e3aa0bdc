// SPDX-License-Identifier: GPL-2.0-only

package metrics

import (
	"context"
	"strconv"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/randomizedcoder/l2d/pkg/kea"
	"github.com/randomizedcoder/l2d/pkg/llama"
)

var (
	familyLabel = []string{"family"}

	descDHCPAddresses = prometheus.NewDesc("l2d_dhcp_addresses",
		"Addresses of the DHCP server's pools.", familyLabel, nil)
	descDHCPLeases = prometheus.NewDesc("l2d_dhcp_leases",
		"Those of them that clients have.", familyLabel, nil)
	descDHCPDeclined = prometheus.NewDesc("l2d_dhcp_declined",
		"Those of them that clients have found to be used by somebody else.", familyLabel, nil)
	descDHCPDelegated = prometheus.NewDesc("l2d_dhcp_delegated_prefixes",
		"Prefixes that clients have.", familyLabel, nil)
	descDHCPPackets = prometheus.NewDesc("l2d_dhcp_packets_total",
		"Packets of the DHCP server as it counts them.", []string{"family", "packet"}, nil)

	descDNSQuestions = prometheus.NewDesc("l2d_dns_questions_total",
		"Questions that the recursor was asked.", nil, nil)
	descDNSAnswers = prometheus.NewDesc("l2d_dns_answers_total",
		"What it answered by the result.", []string{"result"}, nil)
	descDNSTime = prometheus.NewDesc("l2d_dns_answers_within_total",
		"Answers that were not in the packet cache by the time that they took.", []string{"within"}, nil)
	descDNSCache = prometheus.NewDesc("l2d_dns_cache_total",
		"Lookups in the caches of packets and of records.", []string{"cache", "result"}, nil)
	descDNSEntries = prometheus.NewDesc("l2d_dns_cache_entries",
		"Entries of the caches.", []string{"cache"}, nil)
	descDNSLatency = prometheus.NewDesc("l2d_dns_latency_seconds",
		"How long an answer takes, as a moving average.", nil, nil)
	descDNSOut = prometheus.NewDesc("l2d_dns_outgoing_queries_total",
		"Questions that the recursor asked other servers.", nil, nil)
	descDNSTimeouts = prometheus.NewDesc("l2d_dns_outgoing_timeouts_total",
		"Those that were not answered.", nil, nil)
)

var (
	instanceLabel = []string{"instance"}

	descLLMTokens = prometheus.NewDesc("l2d_llm_tokens_total",
		"Tokens that a model has read, of questions, and written.", []string{"instance", "kind"}, nil)
	descLLMSeconds = prometheus.NewDesc("l2d_llm_seconds_total",
		"How long it has read, and written.", []string{"instance", "kind"}, nil)
	descLLMRequests = prometheus.NewDesc("l2d_llm_requests",
		"Requests that are being answered, and that wait for it.", []string{"instance", "state"}, nil)
	descLLMDecodes = prometheus.NewDesc("l2d_llm_decodes_total",
		"How often the model was computed.", instanceLabel, nil)
)

// Clients are numbers of services: part of the daemon. Services that do not answer have none.
type Clients interface {
	// KeaStatistics are by the family, 4 or 6, and Kea's names.
	KeaStatistics(ctx context.Context) map[int]map[string]float64
	// RecursorStatistics are by the recursor's names.
	RecursorStatistics(ctx context.Context) map[string]uint64
	// LlamaStatistics are by the instance.
	LlamaStatistics(ctx context.Context) map[string]llama.Statistics
}

// ClientCollector asks DHCP and DNS servers what they have done, for Prometheus.
type ClientCollector struct{ source Clients }

// NewClientCollector returns a collector.
func NewClientCollector(s Clients) *ClientCollector { return &ClientCollector{s} }

// Describe implements prometheus.Collector.
func (*ClientCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		descDHCPAddresses, descDHCPLeases, descDHCPDeclined, descDHCPDelegated, descDHCPPackets,
		descDNSQuestions, descDNSAnswers, descDNSTime, descDNSCache, descDNSEntries, descDNSLatency, descDNSOut, descDNSTimeouts,
		descLLMTokens, descLLMSeconds, descLLMRequests, descLLMDecodes,
	} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *ClientCollector) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTimeout)
	defer cancel()
	for family, stats := range c.source.KeaStatistics(ctx) {
		collectDHCP(ch, family, stats)
	}
	if stats := c.source.RecursorStatistics(ctx); stats != nil {
		collectDNS(ch, stats)
	}
	for instance, stats := range c.source.LlamaStatistics(ctx) {
		collectLLM(ch, instance, stats)
	}
}

// collectLLM has what the build tells.
func collectLLM(ch chan<- prometheus.Metric, instance string, stats llama.Statistics) {
	for _, m := range []struct {
		name  string
		desc  *prometheus.Desc
		kind  prometheus.ValueType
		label []string
	}{
		{"prompt_tokens_total", descLLMTokens, prometheus.CounterValue, []string{"read"}},
		{"tokens_predicted_total", descLLMTokens, prometheus.CounterValue, []string{"written"}},
		{"prompt_seconds_total", descLLMSeconds, prometheus.CounterValue, []string{"read"}},
		{"tokens_predicted_seconds_total", descLLMSeconds, prometheus.CounterValue, []string{"written"}},
		{"requests_processing", descLLMRequests, prometheus.GaugeValue, []string{"answered"}},
		{"requests_deferred", descLLMRequests, prometheus.GaugeValue, []string{"waiting"}},
		{"n_decode_total", descLLMDecodes, prometheus.CounterValue, nil},
	} {
		if v, ok := stats[m.name]; ok {
			ch <- prometheus.MustNewConstMetric(m.desc, m.kind, v, append([]string{instance}, m.label...)...)
		}
	}
}

func collectDHCP(ch chan<- prometheus.Metric, family int, stats map[string]float64) {
	label := strconv.Itoa(family)
	gauge := func(d *prometheus.Desc, v float64) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, label)
	}
	use := kea.UseOf(family, stats)
	gauge(descDHCPAddresses, use.Total)
	gauge(descDHCPLeases, use.Assigned)
	gauge(descDHCPDeclined, use.Declined)
	if family == 6 {
		gauge(descDHCPDelegated, use.Delegated)
	}
	for name, v := range stats {
		if packet, ok := strings.CutPrefix(name, "pkt"+label+"-"); ok {
			ch <- prometheus.MustNewConstMetric(descDHCPPackets, prometheus.CounterValue, v, label, packet)
		}
	}
}

func collectDNS(ch chan<- prometheus.Metric, stats map[string]uint64) {
	counter := func(d *prometheus.Desc, name string, labels ...string) {
		if n, ok := stats[name]; ok {
			ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
		}
	}
	gauge := func(d *prometheus.Desc, name string, scale float64, labels ...string) {
		if n, ok := stats[name]; ok {
			ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(n)*scale, labels...)
		}
	}
	counter(descDNSQuestions, "questions")
	for result, name := range map[string]string{
		"noerror": "noerror-answers", "nxdomain": "nxdomain-answers", "servfail": "servfail-answers", "bogus": "dnssec-result-bogus", "refused": "unauthorized-udp",
	} {
		counter(descDNSAnswers, name, result)
	}
	for within, name := range map[string]string{"1ms": "answers0-1", "10ms": "answers1-10", "100ms": "answers10-100", "1s": "answers100-1000", "more": "answers-slow"} {
		counter(descDNSTime, name, within)
	}
	counter(descDNSCache, "packetcache-hits", "packet", "hit")
	counter(descDNSCache, "packetcache-misses", "packet", "miss")
	counter(descDNSCache, "cache-hits", "record", "hit")
	counter(descDNSCache, "cache-misses", "record", "miss")
	gauge(descDNSEntries, "packetcache-entries", 1, "packet")
	gauge(descDNSEntries, "cache-entries", 1, "record")
	gauge(descDNSLatency, "qa-latency", 1e-6)
	counter(descDNSOut, "all-outqueries")
	counter(descDNSTimeouts, "outgoing-timeouts")
}
