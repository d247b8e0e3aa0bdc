// SPDX-License-Identifier: GPL-2.0-only

package loader

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/ringbuf"
	"golang.org/x/sys/unix"
)

// Fates of packets: enum monitor_fate of bpf/lib/monitor.h.
const (
	FateDropped   = iota
	FateForwarded // by Out
	FateAccepted  // for the router, or for the kernel to answer
	FateSent      // by the router
)

// MonitorEvent is a packet that was dropped, or passed.
type MonitorEvent struct {
	monitorFrame
	Passed *MonitorPassed // nil if it was dropped
}

// MonitorPassed is what a packet has become: the rest of struct monitor_passed.
type MonitorPassed struct {
	Out     uint32 // index of the interface that it is forwarded by
	Len     uint32 // as those of MonitorEvent
	DataLen uint32
	_       uint32
	Data    [monitorData]byte
}

// monitorData is MONITOR_DATA of bpf/lib/monitor.h.
const monitorData = 512

// monitorFrame is struct monitor_event of bpf/lib/monitor.h.
type monitorFrame struct {
	Now  uint64 // CLOCK_MONOTONIC, ns
	Lost uint64 // events that were not told on this CPU, until then
	// Reasons are the statistics that have moved since the packet before, as bits by
	// their index in [StatNames].
	Reasons uint64
	// Rule is the counter index of the last rule that matched. It says nothing of
	// a drop that no rule has decided.
	Rule   uint32
	Reject uint32 // as pkt.reject of bpf/lib/types.h; 0: it was not
	Index  uint32 // of the interface
	Len    uint32 // of the frame
	// DataLen is how many bytes of Data are the frame's.
	DataLen uint32
	Type    uint16 // ARPHRD_* of the interface
	Egress  uint8  // 1: it leaves
	Fate    uint8
	Data    [monitorData]byte
}

// Monitor watches what the programs drop, and what they let pass. Without one,
// nothing has code for it.
type Monitor struct {
	// XDPUnseen is why what XDP drops is not told, nil if it is.
	XDPUnseen error

	events  *ringbuf.Reader
	links   []link.Link
	dir     string
	watched map[string]ebpf.ProgramID // the programs there were, by their pins
}

// MonitorOptions say what is watched.
type MonitorOptions struct {
	// PerSecond is of how many packets a CPU tells in a second at most; it counts the
	// others.
	PerSecond uint32
	// Drops and Passed choose: what is dropped, and what is not.
	Drops, Passed bool
	// Filter selects packets before they are counted or told.
	Filter MonitorFilter
}

// errTracing: fentry and fexit.
var errTracing = errors.New("this kernel forbids programs that trace others (fentry)")

// Monitor begins to watch the network namespace that it is called in. It is an error if what passes cannot be watched; what XDP drops
// may not be told then: see [Monitor.XDPUnseen].
func (d *Dataplane) Monitor(o MonitorOptions) (*Monitor, error) {
	m, running, err := d.watch()
	if err != nil {
		return nil, err
	}
	defer closeMaps(running)
	coll, err := m.load(o, running, true)
	if errors.Is(err, errTracing) && !o.Passed {
		m.XDPUnseen = err
		coll, err = m.load(o, running, false)
	}
	if err != nil {
		return nil, err
	}
	defer coll.Close()
	if err := begin(coll.Maps["monitor_cpus"], running[statsMap]); err != nil {
		return nil, err
	}
	if m.events, err = ringbuf.NewReader(coll.Maps["monitor_events"]); err != nil {
		return nil, err
	}
	if err := m.attach(coll.Programs); err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return m, nil
}

// watch returns a monitor of the programs that run, and the maps of these: in the midst of a replacement they would
// not be of the same ones.
func (d *Dataplane) watch() (*Monitor, map[string]*ebpf.Map, error) {
	d.replacing.Lock()
	defer d.replacing.Unlock()
	running, _, _, err := d.snapshot()
	if err != nil {
		return nil, nil, err
	}
	m := &Monitor{dir: filepath.Join(d.cfg.PinPath, dirPrograms)}
	if m.watched, err = m.running(); err != nil {
		closeMaps(running)
		return nil, nil, err
	}
	return m, running, nil
}

// load loads the programs that watch those that run, which have the maps. Without
// tracing it is only what TC drops.
func (m *Monitor) load(o MonitorOptions, running map[string]*ebpf.Map, tracing bool) (*ebpf.Collection, error) {
	spec, err := loadL2Monitor()
	if err != nil {
		return nil, err
	}
	if err := o.set(spec); err != nil {
		return nil, err
	}
	for name, p := range spec.Programs {
		switch {
		case p.Type == ebpf.RawTracepoint && o.Drops,
			p.AttachTo == hookXDP.program && tracing && m.watched[hookXDP.program] != 0,
			p.AttachTo != hookXDP.program && o.Passed && p.Type == ebpf.Tracing:
		default:
			delete(spec.Programs, name)
		}
	}
	closeTargets, err := m.target(spec)
	defer closeTargets()
	if err != nil {
		return nil, err
	}
	if err := o.Filter.splice(spec); err != nil {
		return nil, err
	}
	shared := map[string]*ebpf.Map{}
	for name := range spec.Maps {
		if same := running[name]; same != nil {
			shared[name] = same
		}
	}
	types := kernelTypes()
	kernel, err := types.Kernel()
	if err != nil {
		return nil, fmt.Errorf("type information of the kernel: %w", err)
	}
	coll, err := ebpf.NewCollectionWithOptions(spec, ebpf.CollectionOptions{
		MapReplacements: shared, Cache: types, Programs: ebpf.ProgramOptions{KernelTypes: kernel},
	})
	if errors.Is(err, unix.EPERM) && tracing {
		return nil, fmt.Errorf("%w: %w", errTracing, err)
	}
	if err != nil {
		return nil, describeLoadError(err)
	}
	return coll, nil
}

// set writes the options into a specification.
func (o *MonitorOptions) set(spec *ebpf.CollectionSpec) error {
	const windows = 10 // a second: MONITOR_WINDOW
	yes := map[bool]uint32{true: 1}
	var netns unix.Stat_t
	if err := unix.Stat("/proc/thread-self/ns/net", &netns); err != nil {
		return fmt.Errorf("network namespace: %w", err)
	}
	for name, value := range map[string]uint32{
		"monitor_most": max(1, o.PerSecond/windows), "watch_drops": yes[o.Drops], "watch_passed": yes[o.Passed],
		"monitor_netns": uint32(netns.Ino),
	} {
		if err := spec.Variables[name].Set(value); err != nil {
			return err
		}
	}
	return nil
}

// target names the programs that those of a specification are attached to. The caller
// closes them when these are loaded.
func (m *Monitor) target(spec *ebpf.CollectionSpec) (closeAll func(), err error) {
	targets := map[string]*ebpf.Program{}
	closeAll = func() { closePrograms(targets) }
	for _, p := range spec.Programs {
		if p.Type != ebpf.Tracing {
			continue
		}
		if targets[p.AttachTo] == nil {
			target, err := ebpf.LoadPinnedProgram(filepath.Join(m.dir, p.AttachTo), nil)
			if err != nil {
				return closeAll, fmt.Errorf("program %s: %w", p.AttachTo, err)
			}
			targets[p.AttachTo] = target
		}
		p.AttachTarget = targets[p.AttachTo]
	}
	return closeAll, nil
}

// attach has the programs see packets.
func (m *Monitor) attach(programs map[string]*ebpf.Program) error {
	for name, p := range programs {
		var l link.Link
		var err error
		if p.Type() == ebpf.RawTracepoint {
			l, err = link.AttachRawTracepoint(link.RawTracepointOptions{Name: "kfree_skb", Program: p})
		} else {
			l, err = link.AttachTracing(link.TracingOptions{Program: p})
		}
		if err != nil {
			return fmt.Errorf("watch packets: %s: %w", name, err)
		}
		m.links = append(m.links, l)
	}
	return nil
}

// begin tells each CPU what its statistics are before the first packet.
func begin(cpus, stats *ebpf.Map) error {
	s, err := readStats(stats)
	if err != nil {
		return err
	}
	var all []l2MonitorMonitorCpu
	if err := cpus.Lookup(uint32(0), &all); err != nil {
		return err
	}
	for cpu := range all {
		for i := range s.perCPU {
			all[cpu].Seen[i] = s.perCPU[i][cpu]
		}
	}
	return cpus.Put(uint32(0), all)
}

// running identifies the programs that run.
func (m *Monitor) running() (map[string]ebpf.ProgramID, error) {
	ids := map[string]ebpf.ProgramID{}
	for _, h := range []hook{hookIngress, hookEgress, hookXDP} {
		p, err := ebpf.LoadPinnedProgram(filepath.Join(m.dir, h.program), nil)
		if errors.Is(err, fs.ErrNotExist) && h.program == hookXDP.program {
			continue // no interface has XDP
		}
		if err != nil {
			return nil, fmt.Errorf("program %s: %w", h.program, err)
		}
		ids[h.program], err = programID(p)
		p.Close()
		if err != nil {
			return nil, err
		}
	}
	return ids, nil
}

func programID(p *ebpf.Program) (ebpf.ProgramID, error) {
	info, err := p.Info()
	if err != nil {
		return 0, err
	}
	id, _ := info.ID()
	return id, nil
}

// Current tells whether the programs are still those that are watched.
func (m *Monitor) Current() bool {
	ids, err := m.running()
	return err == nil && maps.Equal(ids, m.watched)
}

// unsure are statistics of drops that also move without a packet that is freed behind
// the programs: rejected ones become their answers, fragments end with time or for the
// sake of others, XDP drops frames by itself, and is not watched everywhere.
var unsure = []string{"drop_policy", "drop_fragment_timeout", "drop_fragment_limit"}

// Reason is why the packet was dropped; empty if it is one of several, and false if the
// packet was not dropped by the programs: others have, or it is a fragment that is kept.
func (e *MonitorEvent) Reason() (string, bool) {
	names, err := StatNames()
	if err != nil {
		return "", true
	}
	var sure, other []string
	held := false
	for i, name := range names {
		switch {
		case e.Reasons>>i&1 == 0:
		case name == "fragment_held":
			held = true
		case slices.Contains(unsure, name):
			other = append(other, name)
		case strings.HasPrefix(name, "drop_"):
			sure = append(sure, name)
		}
	}
	switch {
	case len(sure) == 1:
		return sure[0], true
	case len(sure) > 1:
		return "", true
	case held || len(other) == 0:
		return "", false
	case len(other) == 1:
		return other[0], true
	}
	return "", true
}

// Read waits for the next event; the error is [ringbuf.ErrClosed] after Close.
func (m *Monitor) Read() (e MonitorEvent, err error) {
	r, err := m.events.Read()
	if err != nil {
		return e, err
	}
	from := bytes.NewReader(r.RawSample)
	if err := binary.Read(from, binary.NativeEndian, &e.monitorFrame); err != nil {
		return e, fmt.Errorf("event: %w", err)
	}
	if from.Len() > 0 {
		e.Passed = new(MonitorPassed)
		if err := binary.Read(from, binary.NativeEndian, e.Passed); err != nil {
			return e, fmt.Errorf("event: %w", err)
		}
		if int(e.Passed.DataLen) > len(e.Passed.Data) {
			return e, fmt.Errorf("event: %d bytes of data", e.Passed.DataLen)
		}
	}
	if int(e.DataLen) > len(e.Data) {
		return e, fmt.Errorf("event: %d bytes of data", e.DataLen)
	}
	return e, nil
}

// Close ends it.
func (m *Monitor) Close() error {
	var errs []error
	for _, l := range m.links {
		errs = append(errs, l.Close())
	}
	return errors.Join(append(errs, m.events.Close())...)
}
