// SPDX-License-Identifier: GPL-2.0-only

package loader

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/ringbuf"
)

// Event is a packet that a log statement reported.
type Event struct {
	Now uint64 // CLOCK_MONOTONIC, ns
	// Log is the index of the log statement in the policy, Rule the counter
	// index of the last rule that had matched the packet before.
	Log, Rule uint32
	IIF, OIF  uint32 // interface indexes; 0: none
	Len       uint32 // bytes from the network header on
	Mark      uint32
	CTState   uint32 // NF_CT_STATE bits
	UID, GID  uint32 // of the socket, with EventSocket
	NFProto   uint8  // 2: IPv4, 10: IPv6
	L4Proto   uint8
	THLen     uint8    // valid bytes of TH
	Flags     uint8    // Event*
	NH        [40]byte // network header, without the options of IPv4
	TH        [20]byte // start of the transport header
	// L4Offset is where the transport header begins, from the network header.
	L4Offset uint16
	DataLen  uint16   // valid bytes of Data
	MAC      [14]byte // the Ethernet header, with EventMAC
	_        [2]byte
	// Data is the packet from its network header on, as it came: of a
	// translated one NH and TH tell how the rules saw it.
	Data [256]byte
}

// Flags of an event: LOG_* of bpf/lib/types.h.
const (
	EventMAC    = 1 << 0
	EventSocket = 1 << 1
)

// Events calls with for each event until the context ends. One reader at a
// time: events are consumed.
func (d *Dataplane) Events(ctx context.Context, with func(Event)) error {
	var events *ebpf.Map
	if err := d.Map("l2_events", func(m *ebpf.Map) (err error) {
		events, err = m.Clone()
		return err
	}); err != nil {
		return err
	}
	defer events.Close()
	reader, err := ringbuf.NewReader(events)
	if err != nil {
		return fmt.Errorf("events: %w", err)
	}
	defer context.AfterFunc(ctx, func() { reader.Close() })()
	for {
		record, err := reader.Read()
		if errors.Is(err, ringbuf.ErrClosed) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("events: %w", err)
		}
		var e Event
		if err := binary.Read(bytes.NewReader(record.RawSample), binary.NativeEndian, &e); err != nil {
			slog.Error("event of another layout", "bytes", len(record.RawSample), "err", err)
			continue
		}
		with(e)
	}
}
