// SPDX-License-Identifier: GPL-2.0-only

package loader

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
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
	events *ringbuf.Reader
	links  []link.Link
	pin    string
	id     ebpf.ProgramID
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

// Monitor begins to watch.
func (d *Dataplane) Monitor(o MonitorOptions) (_ *Monitor, err error) {
	spec, err := loadL2Monitor()
	if err != nil {
		return nil, err
	}
	const windows = 10 // a second: MONITOR_WINDOW
	if err := spec.Variables["monitor_most"].Set(max(1, o.PerSecond/windows)); err != nil {
		return nil, err
	}
	running, _, _, err := d.snapshot()
	if err != nil {
		return nil, err
	}
	defer closeMaps(running)
	d.mu.RLock()
	dir := filepath.Join(d.cfg.PinPath, dirPrograms)
	d.mu.RUnlock()
	m := &Monitor{pin: filepath.Join(dir, hookIngress.program)}
	if m.id, err = m.running(); err != nil {
		return nil, err
	}
	watched, err := attachTo(spec, dir, o)
	defer closePrograms(watched)
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
	kernel, err := kernelTypes.Kernel()
	if err != nil {
		return nil, fmt.Errorf("type information of the kernel: %w", err)
	}
	coll, err := ebpf.NewCollectionWithOptions(spec, ebpf.CollectionOptions{
		MapReplacements: shared, Cache: kernelTypes, Programs: ebpf.ProgramOptions{KernelTypes: kernel},
	})
	if errors.Is(err, unix.EPERM) && o.Passed {
		return nil, fmt.Errorf("this kernel forbids programs that trace others (fentry), which see what passes: %w", err)
	}
	if err != nil {
		return nil, describeLoadError(err)
	}
	defer coll.Close()
	if err := begin(coll.Maps["monitor_cpus"], running[statsMap]); err != nil {
		return nil, err
	}
	if m.events, err = ringbuf.NewReader(coll.Maps["monitor_events"]); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, m.Close())
		}
	}()
	for name, p := range coll.Programs {
		var l link.Link
		if p.Type() == ebpf.RawTracepoint {
			l, err = link.AttachRawTracepoint(link.RawTracepointOptions{Name: "kfree_skb", Program: p})
		} else {
			l, err = link.AttachTracing(link.TracingOptions{Program: p})
		}
		if err != nil {
			return nil, fmt.Errorf("watch packets: %s: %w", name, err)
		}
		m.links = append(m.links, l)
	}
	return m, nil
}

// attachTo leaves those programs in a specification that are asked for, and names
// the programs that they are attached to, which the caller closes.
func attachTo(spec *ebpf.CollectionSpec, dir string, o MonitorOptions) (watched map[string]*ebpf.Program, err error) {
	watched = map[string]*ebpf.Program{}
	for name, p := range spec.Programs {
		if p.Type == ebpf.RawTracepoint {
			if !o.Drops {
				delete(spec.Programs, name)
			}
			continue
		}
		if !o.Passed {
			delete(spec.Programs, name)
			continue
		}
		target := watched[p.AttachTo]
		if target == nil {
			if target, err = ebpf.LoadPinnedProgram(filepath.Join(dir, p.AttachTo), nil); errors.Is(err, fs.ErrNotExist) {
				delete(spec.Programs, name) // no interface has XDP
				continue
			}
			if err != nil {
				return watched, fmt.Errorf("program %s: %w", p.AttachTo, err)
			}
			watched[p.AttachTo] = target
		}
		p.AttachTarget = target
	}
	return watched, nil
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

// running identifies the program that runs.
func (m *Monitor) running() (ebpf.ProgramID, error) {
	p, err := ebpf.LoadPinnedProgram(m.pin, nil)
	if err != nil {
		return 0, fmt.Errorf("program %s: %w", m.pin, err)
	}
	defer p.Close()
	return programID(p)
}

func programID(p *ebpf.Program) (ebpf.ProgramID, error) {
	info, err := p.Info()
	if err != nil {
		return 0, err
	}
	id, _ := info.ID()
	return id, nil
}

// Current tells whether the programs are still those whose memory it reads.
func (m *Monitor) Current() bool {
	id, err := m.running()
	return err == nil && id == m.id
}

// unsure are statistics of drops that also move without a packet that is freed behind
// the programs: rejected ones become their answers, fragments end with time or for the
// sake of others, XDP drops frames by itself.
var unsure = []string{"drop_policy", "drop_fragment_timeout", "drop_fragment_limit", "drop_steer"}

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
