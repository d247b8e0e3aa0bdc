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
	for _, tier := range []*ebpf.Map{t.confirmed, t.halfOpen} {
		entries, err := readAll(ctx, tier)
		if err != nil {
			return err
		}
		for key, f := range entries {
			if err := ctx.Err(); err != nil {
				return err
			}
			if f.Flags&flagReply != 0 || f.left(now) < 0 {
				continue
			}
			fl := t.decode(&key, &f, entries[f.reverse(&key)], now)
			fl.Confirmed = tier == t.confirmed
			yield(&fl)
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
	for _, tier := range []*ebpf.Map{t.confirmed, t.halfOpen} {
		entries, err := readAll(context.Background(), tier)
		if err != nil {
			return deleted, err
		}
		for key, f := range entries {
			if f.Flags&flagReply != 0 {
				continue
			}
			twin := f.reverse(&key)
			fl := t.decode(&key, &f, entries[twin], now)
			fl.Confirmed = tier == t.confirmed
			if !selects(&fl) {
				continue
			}
			for _, k := range []rawTuple{key, twin} {
				if err := tier.Delete(&k); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
					return deleted, fmt.Errorf("delete flow: %w", err)
				}
			}
			if f.left(now) >= 0 {
				deleted++
				if t.Deleted != nil {
					end := nowNS()
					fl.Age = f.age(end)
					t.Deleted(fl, wallTime(end))
				}
			}
		}
	}
	return deleted, nil
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
	if key.L4proto == protoTCP && int(f.State) < len(stateNames) {
		fl.State = stateNames[f.State]
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
