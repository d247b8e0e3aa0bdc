// SPDX-License-Identifier: GPL-2.0-only

package host

import (
	"context"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"github.com/randomizedcoder/l2d/pkg/ethioctl"
	"github.com/randomizedcoder/l2d/pkg/reconcile"
)

// RSS is the kind of how a network interface spreads packets over its receive
// queues. A resource has the interface's name. Its attributes are key, the hash's
// secret as ethtool -x shows it, and queues: those that take turns in the
// table, with spaces between them. Where these are all there are, the table is, or
// becomes, the kernel's own, which follows their number: allQueues is behind them.
type RSS struct{ dev ethioctl.Device }

// RSSKind is the name of [RSS].
const RSSKind = "rss"

// Attributes of [RSS].
const (
	rssKey    = "key"
	rssQueues = "queues"

	allQueues = " (all)"
)

// Name implements [reconcile.Kind].
func (*RSS) Name() string { return RSSKind }

// Check implements [reconcile.Kind].
func (s *RSS) Check(_ context.Context, r *reconcile.Resource) (out []reconcile.Problem) {
	now, err := ethioctl.GetRSS(s.dev, r.Name)
	if err != nil {
		return []reconcile.Problem{linkProblem(r, RSSKind, err)}
	}
	for _, key := range r.Want.Keys() {
		p := reconcile.Problem{Resource: r, Key: key}
		switch {
		case key == rssKey && len(now.Key) == 0, key == rssQueues && len(now.Table) == 0:
			p.Problem, p.Skip = "the driver "+driver(r.Name)+" has no such setting", true
		case key == rssKey && len(keyBytes(r.Want[key])) != len(now.Key):
			p.Problem, p.Want = "the device's key has another length", fmt.Sprintf("%d bytes", len(now.Key))
		case key == rssQueues && len(strings.Fields(r.Want[key])) > len(now.Table):
			p.Problem, p.Want = "more than the device's table has room for", fmt.Sprintf("at most %d", len(now.Table))
		default:
			continue
		}
		out = append(out, p)
	}
	return out
}

// keyText is a key as ethtool shows it, keyBytes is the reverse; nil if it is none.
func keyText(key []byte) string {
	parts := make([]string, len(key))
	for i, b := range key {
		parts[i] = hex.EncodeToString([]byte{b})
	}
	return strings.Join(parts, ":")
}

func keyBytes(text string) []byte {
	key, err := hex.DecodeString(strings.ReplaceAll(text, ":", ""))
	if err != nil {
		return nil
	}
	return key
}

// cycleText is a table: the shortest list of queues that it repeats.
func cycleText(table []uint32) string {
	repeats := func(n int) bool {
		for i := n; i < len(table); i++ {
			if table[i] != table[i-n] {
				return false
			}
		}
		return true
	}
	n := 1
	for n < len(table) && !repeats(n) {
		n++
	}
	parts := make([]string, min(n, len(table)))
	for i := range parts {
		parts[i] = strconv.FormatUint(uint64(table[i]), 10)
	}
	return strings.Join(parts, " ")
}

// cycle is the table of some entries that repeats a list.
func cycle(text string, entries int) ([]uint32, error) {
	fields := strings.Fields(text)
	table := make([]uint32, entries)
	for i := range table {
		queue, err := strconv.ParseUint(fields[i%len(fields)], 10, 32)
		if err != nil {
			return nil, fmt.Errorf("queues: %w", err)
		}
		table[i] = uint32(queue)
	}
	return table, nil
}

// Observe implements [reconcile.Kind].
func (s *RSS) Observe(_ context.Context, name string, keys []string) (reconcile.State, error) {
	now, err := ethioctl.GetRSS(s.dev, name)
	if err != nil {
		return nil, err
	}
	out := reconcile.State{}
	if len(now.Key) > 0 {
		out[rssKey] = keyText(now.Key)
	}
	if len(now.Table) > 0 {
		out[rssQueues] = cycleText(now.Table)
		if queues, err := ethioctl.Queues(s.dev, name); err == nil && inTurn(now.Table, queues) {
			out[rssQueues] += allQueues
		}
	}
	return out.Pick(keys), nil
}

// Same implements [reconcile.Kind].
func (*RSS) Same(key, want, have string) bool {
	if key != rssQueues || want == have || want == "" || have == "" {
		return strings.EqualFold(want, have)
	}
	want, have = strings.TrimSuffix(want, allQueues), strings.TrimSuffix(have, allQueues)
	// Another way to write the same table.
	const entries = 1 << 12
	w, err := cycle(want, entries)
	h, err2 := cycle(have, entries)
	return err == nil && err2 == nil && cycleText(w) == cycleText(h)
}

// Effect implements [reconcile.Kind].
func (*RSS) Effect(string, reconcile.State) reconcile.Effect {
	return reconcile.Effect{Impact: reconcile.InPlace}
}

// Before implements [reconcile.Kind].
func (s *RSS) Before(ctx context.Context, name string, to reconcile.State) (reconcile.State, error) {
	return s.Observe(ctx, name, to.Keys())
}

// Set implements [reconcile.Kind].
func (s *RSS) Set(_ context.Context, name string, to reconcile.State) error {
	var set ethioctl.RSS
	if text, ok := to[rssKey]; ok {
		set.Key = keyBytes(text)
	}
	if text := to[rssQueues]; strings.HasSuffix(text, allQueues) {
		set.Table = []uint32{}
	} else if text != "" {
		now, err := ethioctl.GetRSS(s.dev, name)
		if err != nil {
			return err
		}
		if set.Table, err = cycle(text, len(now.Table)); err != nil {
			return err
		}
		queues, err := ethioctl.Queues(s.dev, name)
		if err == nil && inTurn(set.Table, queues) {
			set.Table = []uint32{}
		}
	}
	return ethioctl.SetRSS(s.dev, name, set)
}

// inTurn tells whether a table has all queues in turn.
func inTurn(table []uint32, queues uint32) bool {
	for i, q := range table {
		if q != uint32(i)%max(queues, 1) {
			return false
		}
	}
	return true
}
