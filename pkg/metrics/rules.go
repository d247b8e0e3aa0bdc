// SPDX-License-Identifier: GPL-2.0-only

package metrics

import (
	"context"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/randomizedcoder/l2d/pkg/api"
)

// Names of the families of rules.
const (
	rulePackets = "l2d_rule_packets_total"
	ruleBytes   = "l2d_rule_bytes_total"
)

// withRules adds the counters of rules to what another gatherer has. A registry
// would check, hash and sort each of them at every scrape; a ruleset has thousands,
// whose labels do not change from one to the next.
type withRules struct {
	prometheus.Gatherer
	source Source
	log    *slog.Logger

	mu     sync.Mutex
	rules  []api.Rule // of the last scrape, without their counts
	labels [][]*dto.LabelPair
}

// Gather implements [prometheus.Gatherer].
func (g *withRules) Gather() ([]*dto.MetricFamily, error) {
	families, err := g.Gatherer.Gather()
	if err != nil {
		return families, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTimeout)
	defer cancel()
	st, err := g.source.Status(ctx)
	if err != nil || !st.Attached {
		return families, err
	}
	rules, err := g.source.RuleCounts(ctx)
	if err != nil {
		g.log.Error("metrics: the rules cannot be read", "err", err)
		return nil, err
	}
	return append(families, g.families(rules)...), nil
}

// families are those of rules.
func (g *withRules) families(rules []api.Rule) []*dto.MetricFamily {
	labels := g.labelsOf(rules)
	packets, bytes := make([]dto.Metric, len(rules)), make([]dto.Metric, len(rules))
	byPackets := family(rulePackets, "Packets that reached the end of a rule, or a base chain's policy.", packets)
	byBytes := family(ruleBytes, "Bytes of those packets, from the IP header on.", bytes)
	for i := range rules {
		packets[i].Label, packets[i].Counter = labels[i], count(rules[i].Packets)
		bytes[i].Label, bytes[i].Counter = labels[i], count(rules[i].Bytes)
	}
	return []*dto.MetricFamily{byBytes, byPackets}
}

func count(n uint64) *dto.Counter {
	v := float64(n)
	return &dto.Counter{Value: &v}
}

func family(name, help string, metrics []dto.Metric) *dto.MetricFamily {
	f := &dto.MetricFamily{Name: &name, Help: &help, Type: dto.MetricType_COUNTER.Enum()}
	for i := range metrics {
		f.Metric = append(f.Metric, &metrics[i])
	}
	return f
}

// labelsOf are the labels of each rule. They are made when the ruleset has changed.
func (g *withRules) labelsOf(rules []api.Rule) [][]*dto.LabelPair {
	g.mu.Lock()
	defer g.mu.Unlock()
	before, known := g.rules, g.labels
	g.rules, g.labels = make([]api.Rule, len(rules)), make([][]*dto.LabelPair, len(rules))
	for i, r := range rules {
		r.Packets, r.Bytes = 0, 0
		g.rules[i] = r
		if i < len(before) && before[i] == r {
			g.labels[i] = known[i]
		} else {
			g.labels[i] = ruleLabels(&r)
		}
	}
	return g.labels
}

func ruleLabels(r *api.Rule) []*dto.LabelPair {
	values := map[string]string{
		"family": r.Family, "table": r.Table, "chain": r.Chain, "handle": strconv.FormatUint(r.Handle, 10), "rule": strings.ToValidUTF8(r.Text, "?"),
	}
	var pairs []*dto.LabelPair
	for name, value := range values {
		pairs = append(pairs, &dto.LabelPair{Name: &name, Value: &value})
	}
	slices.SortFunc(pairs, func(a, b *dto.LabelPair) int { return strings.Compare(a.GetName(), b.GetName()) })
	return pairs
}
