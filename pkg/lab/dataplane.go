// SPDX-License-Identifier: GPL-2.0-only

package lab

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// Dataplane is what stands between the router's interfaces: the thing to check.
// Its methods return when what they ask for is in force.
type Dataplane interface {
	// Name is "l2d" or "nftables".
	Name() string
	// Start puts the ruleset in force, or takes over what a killed daemon left.
	Start(ctx context.Context) error
	// Kill ends the daemon, if there is one, with SIGKILL. Packets go on.
	Kill(ctx context.Context) error
	// Reload puts a changed ruleset in force.
	Reload(ctx context.Context, ruleset string) error
	// Rules returns every rule with what it has counted so far.
	Rules(ctx context.Context) ([]Rule, error)
	// SetAdd adds an element to a set, for a while.
	SetAdd(ctx context.Context, family, table, set, element string, timeout time.Duration) error
	// Status returns totals since the start; a dataplane may know none.
	Status(ctx context.Context) (Status, error)
	// Stop ends the daemon and removes the dataplane.
	Stop(ctx context.Context) error
}

// Rule is a rule of the ruleset with its counter.
type Rule struct {
	Table   string `json:"table"` // with its family: "inet filter"
	Chain   string `json:"chain"`
	Handle  uint64 `json:"handle"`
	Text    string `json:"text"` // as nft prints it
	Line    int    `json:"line"` // in the file; 0: not known
	Packets uint64 `json:"packets"`
	Bytes   uint64 `json:"bytes"`
	Policy  bool   `json:"policy"` // the base chain's policy, not a rule
}

// Status is what a dataplane has done since it started.
type Status struct {
	Flows uint64
	// Reasons maps the name of each of the dataplane's own counters to its value.
	Reasons map[string]uint64
}

// ruleName names the rules that the checks expect to decide.
type ruleName struct {
	chain, text string
}

func (n ruleName) String() string { return n.chain + ": " + n.text }

// is tells whether the rule is the named one, as plainRule prints both.
func (n ruleName) is(r Rule) bool {
	return !r.Policy && r.Chain == n.chain && plainRule(r.Text) == plainRule(n.text)
}

// plainRule returns a rule's text without its counter statement, quotes,
// superfluous space and the default burst, which not every version of nft prints.
func plainRule(text string) string {
	words := strings.Fields(strings.NewReplacer(`"`, "", " burst 5 packets", "").Replace(text))
	var out []string
	for i := 0; i < len(words); i++ {
		if words[i] != "counter" {
			out = append(out, words[i])
			continue
		}
		if i+4 < len(words) && words[i+1] == "packets" && words[i+3] == "bytes" {
			i += 4
		}
	}
	return strings.Join(out, " ")
}

// find returns the packets that the named rule has counted.
func (n ruleName) find(rules []Rule) (uint64, error) {
	var found []Rule
	for _, r := range rules {
		if n.is(r) {
			found = append(found, r)
		}
	}
	if len(found) != 1 {
		var chain []string
		for _, r := range rules {
			if r.Chain == n.chain {
				chain = append(chain, plainRule(r.Text))
			}
		}
		return 0, fmt.Errorf("%d rules are %q, want 1; the chain has:\n%s", len(found), n, strings.Join(chain, "\n"))
	}
	return found[0].Packets, nil
}
