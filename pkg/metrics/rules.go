// SPDX-License-Identifier: GPL-2.0-only

package metrics

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/randomizedcoder/l2d/pkg/api"
)

// Names of the families of rules, and what they are.
const (
	rulePackets     = "l2d_rule_packets_total"
	rulePacketsHelp = "Packets that reached the end of a rule, or a base chain's policy."
	ruleBytes       = "l2d_rule_bytes_total"
	ruleBytesHelp   = "Bytes of those packets, from the IP header on."
)

// textFormat is what a handler with rules answers with, whatever is asked for: each
// scraper reads it.
const textFormat = "text/plain; version=0.0.4"

// withRules adds the counters of rules to what others serve. A registry would check, hash,
// sort and format each of them at every scrape; a ruleset has thousands, whose names and
// labels do not change from one to the next.
type withRules struct {
	others http.Handler // as text, and not compressed
	source Source
	log    *slog.Logger

	mu     sync.Mutex
	rules  []api.Rule // of the last scrape, without their counts
	labels []string   // of each rule, as they are written
	size   int        // of the last answer, bytes
}

// newWithRules adds the counters to those of a gatherer.
func newWithRules(g prometheus.Gatherer, s Source, log *slog.Logger) *withRules {
	o := handlerOptions
	o.DisableCompression = true
	return &withRules{others: promhttp.HandlerFor(g, o), source: s, log: log}
}

// ServeHTTP implements [http.Handler].
func (h *withRules) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	rules, err := h.read(r.Context())
	if err != nil {
		h.log.Error("metrics: the rules cannot be read", "err", err)
		http.Error(w, "rules: "+err.Error(), http.StatusInternalServerError)
		return
	}
	r = r.Clone(r.Context())
	r.Header.Set("Accept", textFormat)
	answer := &statusWriter{ResponseWriter: w, status: http.StatusOK}
	h.others.ServeHTTP(answer, r)
	if answer.status == http.StatusOK && len(rules) > 0 {
		_, _ = w.Write(h.text(rules)) // who asked has gone
	}
}

// read returns the rules with their counts, none if nothing is attached.
func (h *withRules) read(ctx context.Context) ([]api.Rule, error) {
	ctx, cancel := context.WithTimeout(ctx, scrapeTimeout)
	defer cancel()
	st, err := h.source.Status(ctx)
	if err != nil || !st.Attached {
		return nil, nil // the others say so
	}
	return h.source.RuleCounts(ctx)
}

// statusWriter knows what was answered.
type statusWriter struct {
	http.ResponseWriter
	status int
}

// WriteHeader implements [http.ResponseWriter].
func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// text has both families.
func (h *withRules) text(rules []api.Rule) []byte {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.keepLabels(rules)
	b := make([]byte, 0, h.size+h.size/8)
	b = h.family(b, ruleBytes, ruleBytesHelp, func(i int) uint64 { return rules[i].Bytes })
	b = h.family(b, rulePackets, rulePacketsHelp, func(i int) uint64 { return rules[i].Packets })
	h.size = len(b)
	return b
}

// family appends a counter of each rule.
func (h *withRules) family(b []byte, name, help string, value func(i int) uint64) []byte {
	b = fmt.Appendf(b, "# HELP %s %s\n# TYPE %s counter\n", name, help, name)
	for i, labels := range h.labels {
		b = append(append(b, name...), labels...)
		b = append(strconv.AppendUint(b, value(i), 10), '\n')
	}
	return b
}

// keepLabels has the labels of each rule. They are made when the ruleset has changed.
func (h *withRules) keepLabels(rules []api.Rule) {
	before, known := h.rules, h.labels
	h.rules, h.labels = make([]api.Rule, len(rules)), make([]string, len(rules))
	for i, r := range rules {
		r.Packets, r.Bytes = 0, 0
		h.rules[i] = r
		if i < len(before) && before[i] == r {
			h.labels[i] = known[i]
		} else {
			h.labels[i] = ruleLabels(&r)
		}
	}
}

var escaped = strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`)

// ruleLabels are the labels of a rule, in the order of their names.
func ruleLabels(r *api.Rule) string {
	text := func(s string) string { return escaped.Replace(strings.ToValidUTF8(s, "?")) }
	return fmt.Sprintf(`{chain="%s",family="%s",handle="%d",rule="%s",table="%s"} `, text(r.Chain), text(r.Family), r.Handle, text(r.Text), text(r.Table))
}
