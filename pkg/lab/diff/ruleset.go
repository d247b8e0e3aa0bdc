// SPDX-License-Identifier: GPL-2.0-only

package diff

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
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

// ErrRefused says that l2d does not compile a ruleset.
var ErrRefused = errors.New("l2d refuses the ruleset")

// limits of the router with l2d: more than a run makes.
const (
	maxFlows    = 65536
	maxHalfOpen = 65536
)

// tracking has the kernel track connections, and put fragments together, also for
// rulesets that do not ask for it: l2d always does.
const tracking = "table inet rig-tracking { chain unused { ct state new; }; }"

// kernelRules loads a ruleset into the router's nftables, with a counter in
// each rule and limits that do not depend on the moment, and returns its text.
// Files that it includes are in dir.
func (r *router) kernelRules(text, dir string) (string, error) {
	// On the line that is the file's first, for errors to name the right ones.
	if _, err := r.nft("flush ruleset; "+text, "-I", dir, "-f", "-"); err != nil {
		return "", err
	}
	if counted(text) != text || strings.Contains(text, "include ") {
		listing, err := r.nft("", "list", "ruleset")
		if err != nil {
			return "", err
		}
		text = counted(listing)
		if _, err := r.nft("flush ruleset; "+text, "-f", "-"); err != nil {
			return "", err
		}
	}
	if _, err := r.nft(tracking, "-f", "-"); err != nil {
		return "", err
	}
	return text, r.self.do(func() error {
		return netlink.ConntrackTableFlush(netlink.ConntrackTable)
	})
}

var (
	ending = regexp.MustCompile(`((?:accept|drop|return|continue|(?:jump|goto) \S+|masquerade(?: .*)?|fwd .*|(?:reject|redirect)(?: (?:with|to|random|fully|persistent).*)?|[sd]nat (?:ip6? )?(?:prefix |addr \. port )?to .*))$`)
	// other is what has counters that are not the rule's own.
	other = regexp.MustCompile(`\{[^{}]*\}|counter name \S+|"[^"]*"`)
	rate  = regexp.MustCompile(`(limit rate (?:over )?\d+(?: \S?bytes)?)/(?:second|minute|hour)`)
)

// counted puts a counter before the verdict of each rule of a listing that has
// none, and slows its limits down.
func counted(listing string) string {
	lines := strings.Split(listing, "\n")
	eachRule(lines, func(i int, _, _ string) {
		line, note, noted := strings.Cut(lines[i], " comment \"")
		line = rate.ReplaceAllString(line, "$1/day")
		if !strings.Contains(other.ReplaceAllString(line, ""), "counter") {
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

// enforcement is l2d with a ruleset on a router.
type enforcement struct {
	dp    *loader.Dataplane
	pin   string
	rules []rule
	logs  []policy.LogInfo // by Event.Log
	begin []table          // its maps before the first packet
}

// modeOf is how the dataplane forwards.
func modeOf(xdp bool) string {
	if xdp {
		return loader.XDPNative
	}
	return loader.XDPOff
}

// enforce compiles the ruleset and attaches it to the router.
func (r *router) enforce(ctx context.Context, text, pin string, l *loaded) (*enforcement, error) {
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
	cfg := loader.Config{PinPath: pin, MaxFlows: maxFlows, MaxHalfOpen: maxHalfOpen, Timeouts: l.tracking.Timeouts, TCP: l.tracking.TCP, NAT: flow.DefaultNAT()}
	for i, p := range r.ports {
		links = append(links, nft.Link{Name: p.name, Index: r.index[i]})
		names[p.name] = r.index[i]
		cfg.Interfaces = append(cfg.Interfaces, loader.Interface{Name: p.name, Index: r.index[i], XDP: modeOf(l.xdp)})
	}
	rs, err := nft.ReadFile(ctx, file, links)
	if err != nil {
		return nil, err
	}
	program, err := policy.Compile(rs, policy.Options{Links: names, MarkECT1: l.marksECT1})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	cfg.Policy = program
	e := &enforcement{pin: pin, logs: program.Logs}
	err = r.self.do(func() (err error) { e.dp, err = loader.Apply(cfg); return err })
	if errors.Is(err, loader.ErrTooManyMaps) {
		return nil, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	if err != nil {
		return nil, err
	}
	for _, info := range program.Rules {
		if info.Handle != 0 {
			e.rules = append(e.rules, rule{ruleKey{info.Table, info.Chain, info.Handle}, info.Text, info.Index})
		}
	}
	if e.begin, err = remember(pin); err != nil {
		return nil, errors.Join(err, e.close())
	}
	return e, nil
}

// rewind takes back what packets have changed.
func (e *enforcement) rewind() error {
	for i := range e.begin {
		if err := e.begin[i].rewind(); err != nil {
			return fmt.Errorf("%v: %w", e.begin[i].m, err)
		}
	}
	return nil
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
	forget(e.begin)
	return loader.Detach(e.pin)
}
