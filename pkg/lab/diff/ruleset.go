// SPDX-License-Identifier: GPL-2.0-only

package diff

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"

	"github.com/randomizedcoder/l2d/loader"
	"github.com/randomizedcoder/l2d/pkg/flow"
	"github.com/randomizedcoder/l2d/pkg/nft"
	"github.com/randomizedcoder/l2d/pkg/policy"
)

// ruleKey names a rule, the same at both routers.
type ruleKey struct {
	table, chain string
	handle       uint64
}

// rule is a rule and where l2d counts it.
type rule struct {
	key   ruleKey
	text  string
	index uint32
}

// count is what a rule has counted.
type count struct {
	Packets uint64 `json:"packets"`
	Bytes   uint64 `json:"bytes"`
}

// limits of the router with l2d: more than a run makes.
const (
	maxFlows    = 65536
	maxHalfOpen = 65536
)

// kernelRules loads a ruleset file into the router's nftables, with a counter in
// each rule and limits that do not depend on the moment, and returns its text.
func (r *router) kernelRules(file string) (string, error) {
	if _, err := r.nft("", "flush", "ruleset"); err != nil {
		return "", err
	}
	if _, err := r.nft("", "-f", file); err != nil {
		return "", err
	}
	source, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	text := string(source)
	if counted(text) != text {
		listing, err := r.nft("", "list", "ruleset")
		if err != nil {
			return "", err
		}
		text = counted(listing)
		if _, err := r.nft("flush ruleset\n"+text, "-f", "-"); err != nil {
			return "", err
		}
	}
	return text, r.self.do(func() error {
		return netlink.ConntrackTableFlush(netlink.ConntrackTable)
	})
}

var (
	ending = regexp.MustCompile(`((?:accept|drop|return|continue|(?:jump|goto) \S+|(?:reject|snat|dnat|redirect|masquerade)(?: .*)?))$`)
	rate   = regexp.MustCompile(`(limit rate (?:over )?\d+(?: \S?bytes)?)/(?:second|minute|hour)`)
)

// counted puts a counter before the verdict of each rule of a listing that has
// none, and slows its limits down.
func counted(listing string) string {
	lines := strings.Split(listing, "\n")
	eachRule(lines, func(i int, _, _ string) {
		line, note, noted := strings.Cut(lines[i], " comment \"")
		line = rate.ReplaceAllString(line, "$1/day")
		if !strings.Contains(line, "counter") {
			if ending.MatchString(line) {
				line = ending.ReplaceAllString(line, "counter $1")
			} else {
				line += " counter"
			}
		}
		if noted {
			line += " comment \"" + note
		}
		lines[i] = line
	})
	return strings.Join(lines, "\n")
}

// eachRule calls fn for each line of a listing that is a rule.
func eachRule(lines []string, fn func(line int, table, chain string)) {
	var table, chain string
	for i, line := range lines {
		w := strings.Fields(line)
		switch {
		case len(w) == 0:
		case w[0] == "table" && len(w) > 2:
			table, chain = w[1]+" "+w[2], ""
		case w[0] == "chain" && len(w) > 1:
			chain = w[1]
		case w[0] == "}":
			chain = ""
		case chain != "" && w[0] != "type":
			fn(i, table, chain)
		}
	}
}

var (
	handle  = regexp.MustCompile(` # handle (\d+)$`)
	counter = regexp.MustCompile(`counter packets (\d+) bytes (\d+)`)
)

// kernelCounts reads the counters of nftables.
func (r *router) kernelCounts() (map[ruleKey]count, error) {
	listing, err := r.nft("", "-a", "list", "ruleset")
	if err != nil {
		return nil, err
	}
	counts := map[ruleKey]count{}
	lines := strings.Split(listing, "\n")
	eachRule(lines, func(i int, table, chain string) {
		h, c := handle.FindStringSubmatch(lines[i]), counter.FindStringSubmatch(lines[i])
		if h == nil || c == nil {
			err = fmt.Errorf("rule %q: no handle or no counter", strings.TrimSpace(lines[i]))
			return
		}
		// The patterns have digits only.
		n, _ := strconv.ParseUint(h[1], 10, 64)
		packets, _ := strconv.ParseUint(c[1], 10, 64)
		bytes, _ := strconv.ParseUint(c[2], 10, 64)
		counts[ruleKey{table, chain, n}] = count{packets, bytes}
	})
	return counts, err
}

// enforcement is l2d with a ruleset on a router.
type enforcement struct {
	dp    *loader.Dataplane
	pin   string
	rules []rule
}

// modeOf is how the dataplane forwards.
func modeOf(xdp bool) string {
	if xdp {
		return loader.XDPNative
	}
	return loader.XDPOff
}

// enforce compiles the ruleset and attaches it to the router.
func (r *router) enforce(ctx context.Context, text, pin string, xdp bool) (*enforcement, error) {
	dir, err := os.MkdirTemp("", "l2d-diff-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "rules.nft")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return nil, err
	}
	links, names := []nft.Link{{Name: "lo", Index: 1}}, map[string]int{"lo": 1}
	cfg := loader.Config{PinPath: pin, MaxFlows: maxFlows, MaxHalfOpen: maxHalfOpen, Timeouts: flow.DefaultTimeouts()}
	for i, p := range r.ports {
		links = append(links, nft.Link{Name: p.name, Index: r.index[i]})
		names[p.name] = r.index[i]
		cfg.Interfaces = append(cfg.Interfaces, loader.Interface{Name: p.name, Index: r.index[i], XDP: modeOf(xdp)})
	}
	rs, err := nft.ReadFile(ctx, file, links)
	if err != nil {
		return nil, err
	}
	program, err := policy.Compile(rs, policy.Options{Links: names})
	if err != nil {
		return nil, err
	}
	cfg.Policy = program
	e := &enforcement{pin: pin}
	if err := r.self.do(func() (err error) { e.dp, err = loader.Apply(cfg); return err }); err != nil {
		return nil, err
	}
	for _, info := range program.Rules {
		if info.Handle != 0 {
			e.rules = append(e.rules, rule{ruleKey{info.Table, info.Chain, info.Handle}, info.Text, info.Index})
		}
	}
	return e, nil
}

// counts reads the counters of l2d.
func (e *enforcement) counts() (map[ruleKey]count, error) {
	list, err := e.dp.Counters()
	if err != nil {
		return nil, err
	}
	counts := map[ruleKey]count{}
	for _, r := range e.rules {
		counts[r.key] = count{list[r.index].Packets, list[r.index].Bytes}
	}
	return counts, nil
}

// stats are the reasons for which l2d dropped packets, and more.
func (e *enforcement) stats() (map[string]uint64, error) {
	s, err := e.dp.Status()
	return s.Stats, err
}

func (e *enforcement) close() error {
	e.dp.Close()
	return loader.Detach(e.pin)
}
