// SPDX-License-Identifier: GPL-2.0-only

package loader

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/vishvananda/netlink"

	"github.com/randomizedcoder/l2d/pkg/flow"
)

// Trial is a dataplane that is attached to nothing and has all its maps to itself:
// what a packet would meet is found out by running it, and nothing comes of it.
type Trial struct {
	loaded *loaded
	// xdp tells by interface whether XDP runs there.
	xdp map[uint32]bool
}

// trialFlows is room for flows besides those that are copied.
const trialFlows = 256

// trialPrograms are the programs that packets meet.
var trialPrograms = []string{"l2_ingress", "l2_egress", "l2_xdp"}

// trialShared are the maps that these read and never write, and that are filled by
// what is attached.
var trialShared = []string{"l2_vlans", "l2_xdp_ports"}

// trialCopied are maps of a policy, besides its sets, that decide what comes next.
var trialCopied = []string{"l2_limits", "l2_quotas", "l2_numgens", "l2_conn_counts", "l2_conn_members", "l2_conn_slots"}

// NewTrial loads the programs of cfg. They get copies of what running has: the flows
// that one of the addresses is part of, with their mappings; and, if cfg has the
// policy that runs, all that it remembers, or else what it would take over from that.
// Running may be nil.
func NewTrial(cfg Config, running *Dataplane, addresses []netip.Addr) (_ *Trial, err error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	old, status, identity, err := running.snapshot()
	if err != nil {
		return nil, err
	}
	defer closeMaps(old)
	wanted, err := identityOf(cfg.Policy)
	if err != nil {
		return nil, err
	}
	same := running != nil && identity == wanted
	flows, err := flowsOf(old, addresses)
	if err != nil {
		return nil, err
	}
	if cfg.steering, err = newSteering(cfg.Interfaces, 0); err != nil {
		return nil, err
	}
	cfg.MaxFlows = uint32(len(flows["l2_flows"].keys))/2 + trialFlows
	cfg.MaxHalfOpen = uint32(len(flows["l2_half_open"].keys)) + trialFlows
	cfg.trial, cfg.trialKeeps = true, same
	shared := map[string]*ebpf.Map{}
	for _, name := range trialShared {
		if m := old[name]; m != nil {
			shared[name] = m
		}
	}
	t := &Trial{xdp: map[uint32]bool{}}
	if t.loaded, err = load(&cfg, shared, nil, &phases{}); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			t.Close()
		}
	}()
	for _, s := range status {
		t.xdp[uint32(s.Index)] = s.XDP == XDPNative
	}
	for name, entries := range flows {
		if err := entries.to(t.loaded.maps[name]); err != nil {
			return nil, fmt.Errorf("copy of %s: %w", name, err)
		}
	}
	if err := t.fill(&cfg, old); err != nil {
		return nil, err
	}
	if same {
		return t, t.remember(old)
	}
	if old != nil && cfg.CarryAll != nil {
		return t, cfg.CarryAll(t.loaded.maps, old)
	}
	return t, nil
}

// snapshot returns what a dataplane has, if there is one, as descriptors that the caller
// closes: loading takes too long to keep others from its lock.
func (d *Dataplane) snapshot() (_ map[string]*ebpf.Map, _ []InterfaceStatus, _ [32]byte, err error) {
	if d == nil {
		return nil, nil, [32]byte{}, nil
	}
	d.mu.RLock()
	defer d.mu.RUnlock()
	if d.maps == nil {
		return nil, nil, d.identity, errors.New("the dataplane is closed")
	}
	clones := make(map[string]*ebpf.Map, len(d.maps))
	for name, m := range d.maps {
		if clones[name], err = m.Clone(); err != nil {
			delete(clones, name)
			closeMaps(clones)
			return nil, nil, d.identity, fmt.Errorf("map %s: %w", name, err)
		}
	}
	return clones, slices.Clone(d.interfaces), d.identity, nil
}

// Close lets go of all of it.
func (t *Trial) Close() { t.loaded.close() }

// Flows lists the flows that the trial has.
func (t *Trial) Flows(name func(index int) string) ([]flow.Flow, error) {
	table, err := flow.NewTable(t.loaded.maps["l2_flows"], t.loaded.maps["l2_half_open"])
	if err != nil {
		return nil, err
	}
	table.Interface = name
	return table.List(context.Background(), flow.Filter{})
}

// makeTrial changes an object so that nothing of it is seen from outside: a copy that
// it would send is not sent. Redirects take effect behind the programs, and do not
// when they are run by themselves.
func makeTrial(spec *ebpf.CollectionSpec, keeps bool) {
	for name, p := range spec.Programs {
		if !slices.Contains(trialPrograms, name) {
			delete(spec.Programs, name)
			continue
		}
		for i := range p.Instructions {
			if ins := &p.Instructions[i]; ins.IsBuiltinCall() && ins.Constant == int64(asm.FnCloneRedirect) {
				done := asm.Mov.Imm(asm.R0, 0)
				done.Metadata = ins.Metadata
				*ins = done
			}
		}
	}
	for name, m := range spec.Maps {
		if keeps && isRemembered(name) {
			m.Contents = nil // that of the running one is copied
		}
	}
}

// isRemembered tells whether a map of a policy has what it remembers: its sets, and
// what statements do.
func isRemembered(name string) bool {
	return slices.Contains(trialCopied, name) || !strings.HasPrefix(name, "l2_") && !isPrivateMap(name)
}

// fill tells the programs what they have to know.
func (t *Trial) fill(cfg *Config, old map[string]*ebpf.Map) error {
	clock, err := readClock()
	if err != nil {
		return err
	}
	maps := t.loaded.maps
	if err := errors.Join(
		maps["l2_settings"].Put(uint32(0), settingsOf(cfg)),
		maps["l2_nat_reserved"].Put(uint32(0), reservedOf(cfg.NAT.ReservedPorts)),
		maps["l2_clock"].Put(uint32(0), clock),
		cfg.steering.fill(maps), // no other CPU goes on with the packet
	); err != nil {
		return fmt.Errorf("settings: %w", err)
	}
	for _, i := range cfg.Interfaces {
		entry, err := ifaceEntry(i.Index)
		if err != nil {
			return err
		}
		if m := old["l2_ifaces"]; m != nil {
			if err := m.Lookup(uint32(i.Index), &entry); err != nil {
				return fmt.Errorf("interface %s: %w", i.Name, err)
			}
		}
		entry.Flags |= ifaceManaged
		entry.Flags &^= ifaceL3 // packets are run with a header
		if err := maps["l2_ifaces"].Put(uint32(i.Index), entry); err != nil {
			return fmt.Errorf("interface %s: %w", i.Name, err)
		}
	}
	return nil
}

// remember copies what the running policy does.
func (t *Trial) remember(old map[string]*ebpf.Map) error {
	for name, from := range old {
		to := t.loaded.maps[name]
		if to == nil || isStateMap(name) || !isRemembered(name) || isPerCPU(from) {
			continue
		}
		key, value := make([]byte, from.KeySize()), make([]byte, from.ValueSize())
		it := from.Iterate()
		for it.Next(&key, &value) {
			if err := to.Put(key, value); err != nil {
				return fmt.Errorf("copy of %s: %w", name, err)
			}
		}
		if err := it.Err(); err != nil {
			return fmt.Errorf("copy of %s: %w", name, err)
		}
	}
	return nil
}

func isPerCPU(m *ebpf.Map) bool {
	switch m.Type() {
	case ebpf.PerCPUArray, ebpf.PerCPUHash, ebpf.LRUCPUHash:
		return true
	}
	return false
}

// entries are some of a map's.
type entries struct{ keys, values [][]byte }

func (e entries) to(m *ebpf.Map) error {
	for i := range e.keys {
		if err := m.Put(e.keys[i], e.values[i]); err != nil {
			return err
		}
	}
	return nil
}

// flowsOf are the entries of flows, mappings and sources, by map, that have one of
// some addresses in them, before or after translation.
func flowsOf(maps map[string]*ebpf.Map, addresses []netip.Addr) (map[string]entries, error) {
	wanted := map[[16]byte]bool{}
	for _, a := range addresses {
		var b [16]byte
		copy(b[:], a.AsSlice())
		wanted[b] = true
	}
	out := map[string]entries{}
	// Where addresses are in a key and in a value.
	for name, at := range map[string]struct{ key, value []int }{
		"l2_flows":     {[]int{0, 16}, []int{0, 16}},
		"l2_half_open": {[]int{0, 16}, []int{0, 16}},
		"l2_mappings":  {[]int{0, 16}, []int{0}},
		"l2_sources":   {[]int{0}, nil},
	} {
		m := maps[name]
		if m == nil {
			continue
		}
		has := func(b []byte, offsets []int) bool {
			return slices.ContainsFunc(offsets, func(o int) bool { return wanted[[16]byte(b[o:o+16])] })
		}
		found, err := selected(m, func(key, value []byte) bool { return has(key, at.key) || has(value, at.value) })
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", name, err)
		}
		out[name] = found
	}
	return out, nil
}

// selected returns the entries that a function wants.
func selected(m *ebpf.Map, wants func(key, value []byte) bool) (entries, error) {
	const batch = 4096
	var out entries
	keys, values := byteArrays(batch, m.KeySize()), byteArrays(batch, m.ValueSize())
	var cursor ebpf.MapBatchCursor
	for {
		n, err := m.BatchLookup(&cursor, keys.Interface(), values.Interface(), nil)
		for i := range n {
			k, v := keys.Index(i).Bytes(), values.Index(i).Bytes()
			if wants(k, v) {
				out.keys, out.values = append(out.keys, slices.Clone(k)), append(out.values, slices.Clone(v))
			}
		}
		if errors.Is(err, ebpf.ErrKeyNotExist) {
			return out, nil
		}
		if err != nil {
			return out, err
		}
	}
}

// TrialPacket is a frame to be run.
type TrialPacket struct {
	// Frame begins with an Ethernet header.
	Frame []byte
	// In is the interface that it comes in by; 0: the router sends it itself, by Out.
	In, Out int
	// Mark that it has before.
	Mark uint32
}

// TrialResult is what became of a packet.
type TrialResult struct {
	// Program that has decided: l2_xdp, l2_ingress or l2_egress.
	Program string
	// Action is its return value: XDP_* or TCX_*.
	Action int32
	Frame  []byte
	// Stats are the statistics that have moved, by their names.
	Stats map[string]uint64
	// Notes are what the programs have written to a queue of uint32.
	Notes []uint32
	// Arrived and Left are the packet's tuple as it came and as the program has it
	// at last. Their ports are 0 where there are none.
	Arrived, Left TrialTuple
	// Parsed: the packet was taken apart, and what follows is known.
	Parsed bool
	// CtState are CT_STATE_* of bpf/lib/common.h.
	CtState        uint32
	Mark, Priority uint32
	// Out is the interface that it leaves by, Gateway the next hop; 0 and invalid if
	// they are not known.
	Out     int
	Gateway netip.Addr
	// Reject is pkt.reject of bpf/lib/types.h; 0: no rule has rejected it.
	Reject uint32
}

// TrialTuple is a packet's.
type TrialTuple struct {
	Src, Dst netip.AddrPort
	Protocol uint8
}

// What programs return, include/uapi/linux/bpf.h.
const (
	xdpPass     = 2
	TCXNext     = -1
	TCXDrop     = 2
	TCXRedirect = 7
	XDPRedirect = 4
)

// Run runs a packet: where XDP has it, and where TC does if XDP leaves it alone.
// Notes are read from the map of that name, if there is one. A trial has seen the
// packet afterwards.
func (t *Trial) Run(p TrialPacket, notes string) (TrialResult, error) {
	if p.In != 0 && t.xdp[uint32(p.In)] {
		r, err := t.run("l2_xdp", xdpContext(p), p.Frame, notes)
		if err != nil || r.Action != xdpPass {
			return r, err
		}
		if err := t.forget(); err != nil {
			return r, err
		}
	}
	program := "l2_ingress"
	if p.In == 0 {
		program = "l2_egress"
	}
	return t.run(program, skbContext(p), p.Frame, notes)
}

// Precede runs a packet that comes before the one that is to be explained: what it changes is
// kept, what is counted and noted of it is not.
func (t *Trial) Precede(p TrialPacket, notes string) error {
	if _, err := t.Run(p, notes); err != nil {
		return err
	}
	if err := t.forget(); err != nil {
		return err
	}
	stats := t.loaded.maps[statsMap]
	n, err := ebpf.PossibleCPU()
	if err != nil {
		return err
	}
	if err := stats.Put(uint32(0), make([]l2TCStatistics, n)); err != nil {
		return fmt.Errorf("statistics: %w", err)
	}
	return nil
}

// skbContext is the part of struct __sk_buff that the kernel takes.
func skbContext(p TrialPacket) []byte {
	ctx := make([]byte, 48)
	binary.NativeEndian.PutUint32(ctx[8:], p.Mark)
	ifindex := p.In
	if ifindex == 0 {
		ifindex = p.Out
	}
	binary.NativeEndian.PutUint32(ctx[40:], uint32(ifindex))
	return ctx
}

// xdpContext is a struct xdp_md.
func xdpContext(p TrialPacket) []byte {
	ctx := make([]byte, 24)
	binary.NativeEndian.PutUint32(ctx[4:], uint32(len(p.Frame)))
	binary.NativeEndian.PutUint32(ctx[12:], uint32(p.In))
	return ctx
}

// frameGrows is by how much a packet may grow: by what it becomes the answer of.
const frameGrows = 1024

func (t *Trial) run(program string, ctx, frame []byte, notes string) (TrialResult, error) {
	r := TrialResult{Program: program}
	// The answers of a CPU are found by it.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	out := make([]byte, len(frame)+frameGrows)
	opts := ebpf.RunOptions{Data: frame, DataOut: out, Context: ctx}
	action, err := t.loaded.programs[program].Run(&opts)
	if err != nil {
		return r, fmt.Errorf("run %s: %w", program, err)
	}
	r.Action, r.Frame = int32(action), opts.DataOut
	stats, err := readStats(t.loaded.maps[statsMap])
	if err != nil {
		return r, err
	}
	r.Stats = stats.sums()
	for name, n := range r.Stats {
		if n == 0 {
			delete(r.Stats, name)
		}
	}
	if m := t.loaded.maps[notes]; m != nil {
		for {
			var n uint32
			err := m.LookupAndDelete(nil, &n)
			if errors.Is(err, ebpf.ErrKeyNotExist) {
				break
			}
			if err != nil {
				return r, fmt.Errorf("%s: %w", notes, err)
			}
			r.Notes = append(r.Notes, n)
		}
	}
	return r, t.scratch(&r)
}

// scratch reads what the program has left in its working memory.
func (t *Trial) scratch(r *TrialResult) error {
	var all []l2TCScratch
	if err := t.loaded.maps["l2_scratch"].Lookup(uint32(0), &all); err != nil {
		return fmt.Errorf("working memory: %w", err)
	}
	at := slices.IndexFunc(all, func(s l2TCScratch) bool { return s.Pkt.Nfproto != 0 })
	if at < 0 {
		return nil
	}
	s := &all[at]
	p := &s.Pkt
	r.Parsed = true
	r.Arrived, r.Left = trialTuple(s.Key), trialTuple(p.Tuple)
	r.CtState, r.Mark, r.Priority, r.Out, r.Reject = p.CtState, p.Mark, p.Priority, int(p.Oif), p.Reject
	// struct bpf_fib_lookup: the family first, the destination or the gateway from
	// byte 32 on.
	var fib [64]byte
	for i, w := range s.Route {
		binary.NativeEndian.PutUint64(fib[8*i:], w)
	}
	switch fib[0] {
	case netlink.FAMILY_V4:
		r.Gateway = netip.AddrFrom4([4]byte(fib[32:36]))
	case netlink.FAMILY_V6:
		r.Gateway = netip.AddrFrom16([16]byte(fib[32:48]))
	}
	return nil
}

func trialTuple(t l2TCTuple) TrialTuple {
	port := func(p uint16) uint16 {
		var b [2]byte
		binary.NativeEndian.PutUint16(b[:], p)
		return binary.BigEndian.Uint16(b[:])
	}
	addr := func(a [16]uint8) netip.Addr {
		if t.Nfproto == netlink.FAMILY_V4 {
			return netip.AddrFrom4([4]byte(a[:4]))
		}
		return netip.AddrFrom16(a)
	}
	return TrialTuple{netip.AddrPortFrom(addr(t.Saddr), port(t.Sport)), netip.AddrPortFrom(addr(t.Daddr), port(t.Dport)), t.L4proto}
}

// forget clears what a run has left behind that a second one would be taken for.
func (t *Trial) forget() error {
	n, err := ebpf.PossibleCPU()
	if err != nil {
		return err
	}
	return errors.Join(
		t.loaded.maps["l2_scratch"].Put(uint32(0), make([]l2TCScratch, n)),
	)
}
