// SPDX-License-Identifier: GPL-2.0-only

package config

import (
	"strings"
	"testing"
	"time"
)

func TestBBR3(t *testing.T) {
	parse := func(section string) (*BBR3, error) {
		c, err := Parse("/x/l2d.yaml", []byte("dataplane: {ruleset: x, interfaces: [{name: a}]}\nhost:\n  congestion_control: "+section+"\n"))
		if err != nil {
			return nil, err
		}
		return c.Host.BBR3, nil
	}
	same := func(a, b *BBR3) bool {
		if a == nil || b == nil {
			return a == b
		}
		x, y := *a, *b
		x.at, y.at = position{}, position{}
		return x == y
	}
	for section, want := range map[string]*BBR3{
		"{default: cubic}":                                 nil,
		"{default: bbr3}":                                  {Source: BBR3Auto},
		"{allowed: [cubic, bbr3], enforce: true}":          {Source: BBR3Auto, Enforce: true},
		"{routes: {10.0.0.0/8: bbr3}, source: bpf}":        {Source: BBR3BPF},
		"{default: bbr3, source: module}":                  {Source: BBR3Module},
		"{source: none}":                                   {Source: BBR3None},
		"{source: drain}":                                  {Source: BBR3Drain},
		"{bbr3: {loss_threshold: 2.5%}}":                   {Source: BBR3Auto, LossThreshold: 25},
		"{bbr3: {marks: l4s, l4s_max_rtt: none}}":          {Source: BBR3Auto, L4S: true, ECNMaxRTT: -1},
		"{bbr3: {marks: classic, l4s_max_rtt: 300us}}":     {Source: BBR3Auto, ECNMaxRTT: 300 * time.Microsecond},
		"{default: bbr3, bbr3: {probe_rtt_interval: 10s}}": {Source: BBR3Auto, ProbeRTTInterval: 10 * time.Second},
	} {
		if got, err := parse(section); err != nil || !same(got, want) {
			t.Errorf("%s: %+v, %v", section, got, err)
		}
	}
	for section, want := range map[string]string{
		"{source: kernel}":                             `host.congestion_control.source: "kernel": want auto, bpf, module, none or drain`,
		"{default: bbr3, source: none}":                `bbr3 is used here`,
		"{source: module, bbr3: {loss_threshold: 2%}}": `the settings of bbr3 are of l2d's`,
		"{bbr3: {loss_threshold: 2}}":                  `host.congestion_control.bbr3.loss_threshold: "2": want a share from 0.1% to 50%`,
		"{bbr3: {loss_threshold: 51%}}":                `want a share`,
		"{bbr3: {loss_threshold: 0%}}":                 `want a share`,
		"{bbr3: {loss_threshold: 2.55%}}":              `want a share`,
		"{bbr3: {probe_rtt_interval: 500ms}}":          `want a duration in whole seconds from 1s to 1m0s`,
		"{bbr3: {marks: none}}":                        `want l4s or classic`,
		"{bbr3: {l4s_max_rtt: 2h}}":                    `want a time from 1us to 1m`,
		"{bbr3: {gain: 3}}":                            `gain`,
	} {
		if _, err := parse(section); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", section, err)
		}
	}
}
