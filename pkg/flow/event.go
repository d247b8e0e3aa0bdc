// SPDX-License-Identifier: GPL-2.0-only

package flow

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/ringbuf"
)

// Kind is what happens to a flow: a bit of a set.
type Kind uint32

// Kinds of events, those of the dataplane by enum flow_event_kind of
// bpf/lib/flow_event.h.
const (
	KindNew     Kind = 1 << iota // its first packet is let through
	KindUpdate                   // its state, or what has been seen of it, has changed
	KindConfirm                  // likewise, and it cannot be evicted any more
	KindDestroy                  // it has ended
	// KindLost is no flow's: events are missing.
	KindLost

	KindAll = KindNew | KindUpdate | KindConfirm | KindDestroy
)

var kindNames = [...]string{"new", "update", "confirm", "destroy", "lost"}

// String lists the kinds.
func (k Kind) String() string {
	var list []string
	for i, name := range kindNames {
		if k&(1<<i) != 0 {
			list = append(list, name)
		}
	}
	return strings.Join(list, ",")
}

// MarshalText writes a kind for JSON.
func (k Kind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText reads what MarshalText writes.
func (k *Kind) UnmarshalText(b []byte) error {
	*k = 0
	for name := range strings.SplitSeq(string(b), ",") {
		i := slices.Index(kindNames[:], name)
		if i < 0 {
			return fmt.Errorf("event %q: want some of %s", name, strings.Join(kindNames[:], ","))
		}
		*k |= 1 << i
	}
	return nil
}

// ParseKinds reads a list of kinds of events as users write it: conntrack's
// words, and without regard to case. Those that confirm a flow are updates, too.
func ParseKinds(s string) (Kind, error) {
	var kinds Kind
	for name := range strings.SplitSeq(strings.ToLower(s), ",") {
		switch name {
		case "all":
			kinds |= KindAll
		case "new":
			kinds |= KindNew
		case "update", "updates":
			kinds |= KindUpdate | KindConfirm
		case "confirm":
			kinds |= KindConfirm
		case "destroy":
			kinds |= KindDestroy
		default:
			return 0, fmt.Errorf("event %q: want some of all, new, update, confirm, destroy", name)
		}
	}
	return kinds, nil
}

// Reasons why a flow has ended; those of the dataplane by enum flow_end.
const (
	EndExpired  = "expired"
	EndReopened = "reopened" // a new connection with the same ends begins
	EndRefused  = "refused"  // a rule dropped its first packet after all
	EndMoved    = "moved"    // masqueraded, and goes by another interface now
	EndDeleted  = "deleted"  // by a user
	EndAddress  = "address"  // that it was masqueraded with is gone
)

var endNames = [...]string{"", EndExpired, EndReopened, EndRefused, EndMoved}

// Event is something that happened to a flow, or a number of events that are
// missing.
type Event struct {
	Kind Kind      `json:"event"`
	Time time.Time `json:"time"`
	// Reason why the flow has ended: one of the End* words.
	Reason string `json:"reason,omitempty"`
	// Flow as it was then; nil with KindLost. Its counters are right when it has
	// ended.
	Flow *Flow `json:"flow,omitempty"`
	// Lost events, with KindLost.
	Lost uint64 `json:"lost,omitempty"`
}

// String is the event on one line, in conntrack's manner.
func (e *Event) String() string {
	if e.Flow == nil {
		return fmt.Sprintf("%9s %d events", "[LOST]", e.Lost)
	}
	s := fmt.Sprintf("%9s %s", "["+strings.ToUpper(e.Kind.String())+"]", e.Flow)
	if e.Reason != "" {
		s += " reason=" + e.Reason
	}
	return s
}

// rawListen is struct flow_listen.
type rawListen struct {
	All, Translated Kind
	Lost            uint64
}

// rawEvent is struct flow_event.
type rawEvent struct {
	Now, Lost      uint64
	Key            rawTuple
	Flow           rawFlow
	Packets, Bytes uint64
	Via            uint16
	Half           uint8
	Kind, End      uint8
	_              [3]uint8
}

// Listen tells the dataplane which events it is to report: of all flows, and of
// those that are translated. The map is l2_flow_listen.
func Listen(listen *ebpf.Map, all, translated Kind) error {
	var l rawListen
	if err := listen.Lookup(uint32(0), &l); err != nil {
		return fmt.Errorf("events of flows: %w", err)
	}
	// Not in one step with the count: events that are lost at this moment may be
	// counted less.
	l.All, l.Translated = all&KindAll, translated&KindAll
	if err := listen.Put(uint32(0), l); err != nil {
		return fmt.Errorf("events of flows: %w", err)
	}
	return nil
}

// EventReader reads the dataplane's events of flows.
type EventReader struct {
	// Interface is as in [Table].
	Interface func(index int) string

	ring   *ringbuf.Reader
	listen *ebpf.Map
	lost   uint64 // that were reported
	record ringbuf.Record
	// pending is an event that comes behind those that were lost before it.
	pending *Event
}

// NewEventReader reads from the maps l2_flow_events and l2_flow_listen, which stay
// the caller's. Events that wait there already come first: the dataplane reports
// what [Listen] asked for whether or not somebody reads yet. Those that were lost
// before are not told again.
func NewEventReader(events, listen *ebpf.Map) (*EventReader, error) {
	r := &EventReader{listen: listen}
	n, err := r.allLost()
	if err != nil {
		return nil, err
	}
	r.lost = n
	if r.ring, err = ringbuf.NewReader(events); err != nil {
		return nil, fmt.Errorf("events of flows: %w", err)
	}
	return r, nil
}

// Close ends the reading; it may be called at any time.
func (r *EventReader) Close() error { return r.ring.Close() }

// Read waits for the next event. The error is [ringbuf.ErrClosed] after Close.
func (r *EventReader) Read() (Event, error) {
	if e := r.pending; e != nil {
		r.pending = nil
		return *e, nil
	}
	for {
		r.ring.SetDeadline(time.Now().Add(time.Second))
		err := r.ring.ReadInto(&r.record)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			// Nothing may come after what was lost.
			n, err := r.allLost()
			if err != nil {
				return Event{}, err
			}
			if e, lost := r.lostUntil(n); lost {
				return e, nil
			}
			continue
		}
		if err != nil {
			return Event{}, err
		}
		var raw rawEvent
		if n, err := binary.Decode(r.record.RawSample, binary.NativeEndian, &raw); err != nil || n != len(r.record.RawSample) {
			// Of another version, which has left it unread.
			return Event{Kind: KindLost, Time: time.Now(), Lost: 1}, nil
		}
		e := r.decode(&raw)
		if lost, some := r.lostUntil(raw.Lost); some {
			r.pending = &e
			return lost, nil
		}
		return e, nil
	}
}

func (r *EventReader) allLost() (uint64, error) {
	var l rawListen
	if err := r.listen.Lookup(uint32(0), &l); err != nil {
		return 0, fmt.Errorf("events of flows: %w", err)
	}
	return l.Lost, nil
}

// lostUntil is the event for what was lost since the last one.
func (r *EventReader) lostUntil(n uint64) (Event, bool) {
	if int64(n-r.lost) <= 0 {
		return Event{}, false
	}
	e := Event{Kind: KindLost, Time: time.Now(), Lost: n - r.lost}
	r.lost = n
	return e, true
}

func (r *EventReader) decode(raw *rawEvent) Event {
	key, f := raw.Key, raw.Flow
	twin := rawFlow{Packets: raw.Packets, Bytes: raw.Bytes, Via: raw.Via}
	if f.Flags&flagReply != 0 {
		// What is reported is the reply direction: the other one from it.
		reverse := f.turned(&key)
		reverse.Packets, reverse.Bytes, reverse.Via = twin.Packets, twin.Bytes, twin.Via
		key, f, twin = f.reverse(&key), reverse, f
	}
	t := Table{Interface: r.Interface}
	fl := t.decode(&key, &f, twin, raw.Now)
	fl.Confirmed = raw.Half == 0
	e := Event{Kind: 1 << raw.Kind, Time: wallTime(raw.Now), Flow: &fl}
	if int(raw.End) < len(endNames) {
		e.Reason = endNames[raw.End]
	}
	return e
}

// wallTime is a time of the dataplane's clock.
func wallTime(ns uint64) time.Time {
	return time.Now().Add(time.Duration(ns - nowNS())).Round(0)
}
