// SPDX-License-Identifier: GPL-2.0-only

package loader

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/ringbuf"
)

// MonitorEvent is a packet that was dropped: struct monitor_event of bpf/l2_monitor.c.
type MonitorEvent struct {
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
	_       uint8
	Data    [512]byte
}

// Monitor watches what the TC programs drop. Without one, nothing has code for it.
type Monitor struct {
	events *ringbuf.Reader
	link   link.Link
	pin    string
	id     ebpf.ProgramID
}

// Monitor begins to watch. A CPU tells of so many packets in a second at most, and
// counts the others.
func (d *Dataplane) Monitor(perSecond uint32) (_ *Monitor, err error) {
	spec, err := loadL2Monitor()
	if err != nil {
		return nil, err
	}
	const windows = 10 // a second: MONITOR_WINDOW
	if err := spec.Variables["monitor_most"].Set(max(1, perSecond/windows)); err != nil {
		return nil, err
	}
	running, _, _, err := d.snapshot()
	if err != nil {
		return nil, err
	}
	defer closeMaps(running)
	d.mu.RLock()
	m := &Monitor{pin: filepath.Join(d.cfg.PinPath, dirPrograms, hookIngress.program)}
	d.mu.RUnlock()
	if m.id, err = m.running(); err != nil {
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
	if m.link, err = link.AttachRawTracepoint(link.RawTracepointOptions{Name: "kfree_skb", Program: coll.Programs["monitor_drops"]}); err != nil {
		return nil, errors.Join(fmt.Errorf("watch dropped packets: %w", err), m.events.Close())
	}
	return m, nil
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
	if err := binary.Read(bytes.NewReader(r.RawSample), binary.NativeEndian, &e); err != nil {
		return e, fmt.Errorf("event: %w", err)
	}
	if int(e.DataLen) > len(e.Data) {
		return e, fmt.Errorf("event: %d bytes of data", e.DataLen)
	}
	return e, nil
}

// Close ends it.
func (m *Monitor) Close() error { return errors.Join(m.link.Close(), m.events.Close()) }
