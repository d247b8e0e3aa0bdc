// SPDX-License-Identifier: GPL-2.0-only

package flow

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// Table is the dataplane's flow tables: the confirmed flows and those that are
// half open.
type Table struct {
	// Interface names the interface with an index; nil: its number is its name.
	Interface func(index int) string
	// Deleted is called for each living flow that Delete has ended, as it was at a time;
	// nil: nobody wants to know.
	Deleted func(fl Flow, at time.Time)

	confirmed, halfOpen *ebpf.Map
}

// NewTable reads flows from the maps l2_flows and l2_half_open, which stay the
// caller's.
func NewTable(confirmed, halfOpen *ebpf.Map) (*Table, error) {
	for _, m := range []*ebpf.Map{confirmed, halfOpen} {
		if err := checkLayout(m); err != nil {
			return nil, err
		}
	}
	return &Table{confirmed: confirmed, halfOpen: halfOpen}, nil
}

// List returns the living flows that a filter selects. Flows that change while
// it reads may be missing or be there in an older state.
func (t *Table) List(ctx context.Context, filter Filter) ([]Flow, error) {
	var flows []Flow
	err := t.Each(ctx, func(f *Flow) {
		if filter.Match(f) {
			flows = append(flows, *f)
		}
	})
	if err != nil {
		return nil, err
	}
	return flows, nil
}

// Each calls yield with each living flow, which is its to use until it returns, and ends
// with an error when ctx does.
func (t *Table) Each(ctx context.Context, yield func(*Flow)) error {
	now := nowNS()
	return t.each(ctx, now, func(_ *rawTuple, f *rawFlow, fl *Flow) error {
		if f.left(now) >= 0 {
			yield(fl)
		}
		return nil
	})
}

// each calls yield with the original direction of each flow, dead or alive, until it returns
// an error. The half-open ones are read first: one that is confirmed meanwhile is in one
// tier at least, and if it is in both it is a confirmed one.
func (t *Table) each(ctx context.Context, now uint64, yield func(*rawTuple, *rawFlow, *Flow) error) error {
	halfOpen, err := readAll(ctx, t.halfOpen)
	if err != nil {
		return err
	}
	confirmed, err := readAll(ctx, t.confirmed)
	if err != nil {
		return err
	}
	visit := func(key rawTuple, f, twin rawFlow, isConfirmed bool) error {
		fl := t.decode(&key, &f, twin, now)
		fl.Confirmed = isConfirmed
		return yield(&key, &f, &fl)
	}
	for key, f := range confirmed {
		if err := ctx.Err(); err != nil {
			return err
		}
		if f.Flags&flagReply != 0 {
			continue
		}
		if err := visit(key, f, confirmed[f.reverse(&key)], true); err != nil {
			return err
		}
	}
	for key, f := range halfOpen {
		if err := ctx.Err(); err != nil {
			return err
		}
		twin := halfOpen[f.reverse(&key)]
		if f.Flags&flagReply != 0 {
			reverse := f.reverse(&key)
			if _, ok := halfOpen[reverse]; ok {
				continue
			}
			// What has begun it was evicted: an answer puts it back.
			key, f, twin = reverse, f.turned(&key), f
		}
		if c, ok := confirmed[key]; ok && c.Flags&flagReply == 0 {
			continue
		}
		if err := visit(key, f, twin, false); err != nil {
			return err
		}
	}
	return nil
}

// Delete ends the flows that a filter selects and returns how many were
// living.
func (t *Table) Delete(filter Filter) (int, error) { return t.DeleteIf(filter.Match) }

// DeleteIf is Delete of the flows that a function selects.
func (t *Table) DeleteIf(selects func(*Flow) bool) (int, error) {
	now := nowNS()
	deleted := 0
	err := t.each(context.Background(), now, func(key *rawTuple, f *rawFlow, fl *Flow) error {
		if !selects(fl) {
			return nil
		}
		ended, err := t.end(key, f, fl)
		if err != nil || !ended || f.left(now) < 0 {
			return err
		}
		deleted++
		if t.Deleted != nil {
			end := nowNS()
			fl.Age = f.age(end)
			t.Deleted(*fl, wallTime(end))
		}
		return nil
	})
	return deleted, err
}

// end takes a flow out of both tiers, as it may have been confirmed since it was read, and
// gives it the counters that it has ended with. It tells whether the flow was there: else
// the dataplane has ended it, and said so.
func (t *Table) end(key *rawTuple, f *rawFlow, fl *Flow) (was bool, err error) {
	for _, tier := range []*ebpf.Map{t.halfOpen, t.confirmed} {
		for k, d := range map[rawTuple]*Direction{*key: &fl.Original, f.reverse(key): &fl.Reply} {
			var last rawFlow
			err := tier.LookupAndDelete(&k, &last)
			if errors.Is(err, ebpf.ErrKeyNotExist) {
				continue
			}
			if err != nil {
				return was, fmt.Errorf("delete flow: %w", err)
			}
			was = true
			d.Packets, d.Bytes = last.Packets, last.Bytes
		}
	}
	return was, nil
}

func (t *Table) decode(key *rawTuple, f *rawFlow, twin rawFlow, now uint64) Flow {
	fl := Flow{
		number:      key.L4proto,
		out:         f.Via,
		Protocol:    ProtocolName(key.L4proto),
		Replied:     f.Flags&flagSeenReply != 0,
		Assured:     f.Flags&flagAssured != 0,
		Masqueraded: f.Flags&flagMasquerade != 0,
		ID:          key.id(),
		Mark:        f.Mark,
		Labels:      labels(f.Labels),
		Expires:     FromTicks(uint32(max(0, f.left(now)))),
		Age:         f.age(now),
		Original: Direction{
			Src:     addrPort(key.Nfproto, key.Saddr, key.Sport),
			Dst:     addrPort(key.Nfproto, key.Daddr, key.Dport),
			Packets: f.Packets, Bytes: f.Bytes, Zone: key.Zone,
		},
		Reply: Direction{
			Src:     addrPort(key.Nfproto, f.Daddr, f.Dport),
			Dst:     addrPort(key.Nfproto, f.Saddr, f.Sport),
			Packets: twin.Packets, Bytes: twin.Bytes, Zone: f.Zone,
		},
		In:  t.interfaceName(twin.Via),
		Out: t.interfaceName(f.Via),
	}
	if names := stateNames[key.L4proto]; int(f.State) < len(names) {
		fl.State = names[f.State]
	}
	return fl
}

func (t *Table) interfaceName(index uint16) string {
	switch {
	case index == 0:
		return ""
	case t.Interface == nil:
		return strconv.Itoa(int(index))
	}
	return t.Interface(int(index))
}

// labels lists the bits that are set.
func labels(words [4]uint32) string {
	var list []string
	for i := range 32 * len(words) {
		if words[i/32]>>(i%32)&1 != 0 {
			list = append(list, strconv.Itoa(i))
		}
	}
	return strings.Join(list, ",")
}

// hasLabel tells whether a list of bits has one.
func hasLabel(list string, bit uint8) bool {
	return slices.Contains(strings.Split(list, ","), strconv.Itoa(int(bit)))
}

// batch is how many entries one system call reads.
const batch = 4096

func readAll(ctx context.Context, m *ebpf.Map) (map[rawTuple]rawFlow, error) {
	entries := map[rawTuple]rawFlow{}
	keys, values := make([]rawTuple, batch), make([]rawFlow, batch)
	var cursor ebpf.MapBatchCursor
	for ctx.Err() == nil {
		n, err := m.BatchLookup(&cursor, keys, values, nil)
		for i := range n {
			entries[keys[i]] = values[i]
		}
		if errors.Is(err, ebpf.ErrKeyNotExist) {
			return entries, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read flows: %w", err)
		}
	}
	return nil, ctx.Err()
}

// nowNS is CLOCK_MONOTONIC, the dataplane's clock.
func nowNS() uint64 {
	var ts unix.Timespec
	// Cannot fail for this clock.
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts)
	return uint64(ts.Nano())
}
