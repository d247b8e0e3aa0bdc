// SPDX-License-Identifier: GPL-2.0-only

package metrics

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/randomizedcoder/l2d/pkg/llama"
)

type someClients struct{}

func (someClients) KeaStatistics(context.Context) map[int]map[string]float64 {
	return map[int]map[string]float64{
		4: {"subnet[1].total-addresses": 101, "subnet[1].assigned-addresses": 7, "pkt4-ack-sent": 12},
		6: {"subnet[1].total-nas": 4096, "subnet[1].assigned-pds": 2},
	}
}

func (someClients) RecursorStatistics(context.Context) map[string]uint64 {
	return map[string]uint64{"questions": 10, "servfail-answers": 1, "packetcache-hits": 4, "qa-latency": 1500, "answers0-1": 5}
}

func (someClients) LlamaStatistics(context.Context) map[string]llama.Statistics {
	return map[string]llama.Statistics{"tiny": {"prompt_tokens_total": 12, "tokens_predicted_seconds_total": 0.25, "requests_deferred": 3, "n_decode_total": 9, "other": 1}}
}

func TestClients(t *testing.T) {
	code, text := scrapeQdiscs(NewClientCollector(someClients{}))
	if code != http.StatusOK {
		t.Fatalf("%d: %s", code, text)
	}
	for _, want := range []string{
		`l2d_dhcp_addresses{family="4"} 101`, `l2d_dhcp_leases{family="4"} 7`, `l2d_dhcp_leases{family="6"} 0`, `l2d_dhcp_delegated_prefixes{family="6"} 2`,
		`l2d_dhcp_packets_total{family="4",packet="ack-sent"} 12`, `l2d_dns_questions_total 10`, `l2d_dns_answers_total{result="servfail"} 1`,
		`l2d_dns_answers_within_total{within="1ms"} 5`, `l2d_dns_cache_total{cache="packet",result="hit"} 4`, `l2d_dns_latency_seconds 0.0015`,
		`l2d_llm_tokens_total{instance="tiny",kind="read"} 12`, `l2d_llm_seconds_total{instance="tiny",kind="written"} 0.25`,
		`l2d_llm_requests{instance="tiny",state="waiting"} 3`, `l2d_llm_decodes_total{instance="tiny"} 9`,
	} {
		if !strings.Contains(text, want+"\n") {
			t.Errorf("%s is missing: %s", want, text)
		}
	}
}
