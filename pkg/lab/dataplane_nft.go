// SPDX-License-Identifier: GPL-2.0-only

package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Nftables is the kernel's own nftables with the same ruleset: the oracle that
// the checks themselves are checked against.
type Nftables struct {
	lab     *Lab
	ruleset string
}

// NewNftables returns the oracle for a ruleset file.
func NewNftables(l *Lab, ruleset string) *Nftables {
	return &Nftables{lab: l, ruleset: ruleset}
}

// Name returns "nftables".
func (d *Nftables) Name() string { return "nftables" }

// Start loads the ruleset into the router's namespace.
func (d *Nftables) Start(ctx context.Context) error { return d.load(ctx, d.ruleset) }

// Kill does nothing: the kernel has no daemon to lose.
func (d *Nftables) Kill(context.Context) error { return nil }

// Stop removes the ruleset.
func (d *Nftables) Stop(ctx context.Context) error {
	_, err := d.lab.run(ctx, Router, "", "nft", "flush", "ruleset")
	return err
}

// Reload replaces the ruleset by the given text.
func (d *Nftables) Reload(ctx context.Context, ruleset string) error {
	changed := d.lab.dir + "/changed.nft"
	if err := os.WriteFile(changed, []byte(ruleset), 0o644); err != nil {
		return err
	}
	return d.load(ctx, changed)
}

// load loads a file, and then what the kernel made of it with a counter in every
// rule: a rule counts in nftables only when it says so, and a check wants to see
// which one decided. Each of the two steps is one transaction.
func (d *Nftables) load(ctx context.Context, file string) error {
	if _, err := d.lab.run(ctx, Router, "", "nft", "-f", file); err != nil {
		return err
	}
	listing, err := d.lab.run(ctx, Router, "", "nft", "list", "ruleset")
	if err != nil {
		return err
	}
	_, err = d.lab.run(ctx, Router, "flush ruleset\n"+countAll(listing), "nft", "-f", "-")
	return err
}

// verdict matches the statement of a listed rule that its counter precedes.
var verdict = regexp.MustCompile(`(accept|drop|return|masquerade|(?:jump|goto) \S+)$`)

// countAll adds a counter to each rule of a listing that ends in a verdict and
// has none.
func countAll(listing string) string {
	lines := strings.Split(listing, "\n")
	walkRules(lines, func(i int, _, _ string) {
		if !strings.Contains(lines[i], " counter ") && !strings.Contains(lines[i], "\tcounter ") {
			lines[i] = verdict.ReplaceAllString(lines[i], "counter $1")
		}
	})
	return strings.Join(lines, "\n")
}

// walkRules calls fn for every line of a listing that is a rule.
func walkRules(lines []string, fn func(line int, table, chain string)) {
	var table, chain string
	for i, line := range lines {
		words := strings.Fields(line)
		switch {
		case len(words) == 0 || strings.HasPrefix(words[0], "#"):
		case words[0] == "table" && len(words) > 2:
			table, chain = words[1]+" "+words[2], ""
		case words[0] == "chain" && len(words) > 1:
			chain = words[1]
		case words[0] == "}":
			chain = ""
		case chain != "" && words[0] != "type":
			fn(i, table, chain)
		}
	}
}

var (
	counterText = regexp.MustCompile(`counter packets (\d+) bytes (\d+) ?`)
	handleText  = regexp.MustCompile(` # handle (\d+)$`)
)

// Rules lists the rules of the router's namespace.
func (d *Nftables) Rules(ctx context.Context) ([]Rule, error) {
	listing, err := d.lab.run(ctx, Router, "", "nft", "-a", "list", "ruleset")
	if err != nil {
		return nil, err
	}
	var rules []Rule
	lines := strings.Split(listing, "\n")
	walkRules(lines, func(i int, table, chain string) {
		r := Rule{Table: table, Chain: chain, Text: strings.TrimSpace(lines[i])}
		if m := handleText.FindStringSubmatch(r.Text); m != nil {
			r.Handle, _ = strconv.ParseUint(m[1], 10, 64) // the pattern has digits only
			r.Text = strings.TrimSuffix(r.Text, m[0])
		}
		if m := counterText.FindStringSubmatch(r.Text); m != nil {
			r.Packets, _ = strconv.ParseUint(m[1], 10, 64)
			r.Bytes, _ = strconv.ParseUint(m[2], 10, 64)
			r.Text = strings.Replace(r.Text, m[0], "", 1)
		}
		rules = append(rules, r)
	})
	return rules, nil
}

// SetAdd adds an element that expires.
func (d *Nftables) SetAdd(ctx context.Context, family, table, set, element string, timeout time.Duration) error {
	_, err := d.lab.run(ctx, Router, "", "nft", "add", "element", family, table, set,
		fmt.Sprintf("{ %s timeout %ds }", element, int(timeout.Seconds())))
	return err
}

// Status returns the number of flows that the kernel tracks for the router.
func (d *Nftables) Status(context.Context) (Status, error) {
	var text []byte
	err := d.lab.ns[Router].Do(func() (err error) {
		text, err = os.ReadFile("/proc/sys/net/netfilter/nf_conntrack_count")
		return err
	})
	switch {
	case errors.Is(err, os.ErrNotExist): // connection tracking is not loaded
		return Status{}, nil
	case err != nil:
		return Status{}, err
	}
	flows, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64)
	return Status{Flows: flows}, wrap(err, "flow count")
}
