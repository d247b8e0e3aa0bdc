// SPDX-License-Identifier: GPL-2.0-only

package lab

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func startNftables(t *testing.T, ruleset string) (*Lab, *Nftables) {
	t.Helper()
	l := upLab(t, "")
	dp := NewNftables(l, ruleset)
	if err := dp.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return l, dp
}

// The checks themselves are checked against the kernel.
func TestNftables(t *testing.T) {
	ruleset := example(t, "l2/firewall.nft")
	l, dp := startNftables(t, ruleset)
	runChecks(t, l, dp, L2Checks(ruleset))
}

// A check that passes without the rule that it is about proves nothing: with a
// ruleset whose drop rules count but do not drop, every drop check must fail
// because packets arrive.
func TestDropChecksCanFail(t *testing.T) {
	text, err := os.ReadFile(example(t, "l2/firewall.nft"))
	if err != nil {
		t.Fatal(err)
	}
	open := filepath.Join(t.TempDir(), "open.nft")
	text = []byte(strings.NewReplacer("counter drop", "counter", "policy drop", "policy accept").Replace(string(text)))
	if err := os.WriteFile(open, text, 0o644); err != nil {
		t.Fatal(err)
	}
	l, dp := startNftables(t, open)
	for _, c := range slices.Concat(wanChecks(), edgeChecks()) {
		switch {
		case strings.HasPrefix(c.Name, "SYN"), strings.HasPrefix(c.Name, "spoofed LAN"),
			strings.HasPrefix(c.Name, "to special-purpose"), c.Name == "upstream source", c.Name == "blacklist":
		default:
			continue
		}
		t.Run(c.Name, func(t *testing.T) {
			r := Run(t.Context(), l, countOnly{dp}, []Check{c}, nil)[0]
			if r.Pass {
				t.Fatalf("passes although nothing is dropped; %v", r.Rules)
			}
			if !strings.Contains(r.Error, "packets arrived") {
				t.Errorf("fails, but not because packets arrived: %s", r.Error)
			}
		})
	}
}

// countOnly gives rules that only count the text of those that drop.
type countOnly struct{ *Nftables }

func (d countOnly) Rules(ctx context.Context) ([]Rule, error) {
	rules, err := d.Nftables.Rules(ctx)
	for i := range rules {
		if !verdict.MatchString(rules[i].Text) && !strings.Contains(rules[i].Text, "log") {
			rules[i].Text = strings.TrimSpace(rules[i].Text + " drop")
		}
	}
	return rules, err
}
