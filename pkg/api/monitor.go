// SPDX-License-Identifier: GPL-2.0-only

package api

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/bpf"

	"github.com/randomizedcoder/l2d/loader"
	"github.com/randomizedcoder/l2d/pkg/flow"
)

// Kinds of what is watched.
const (
	WatchDrops    = "drops"    // packets that are dropped
	WatchPassed   = "passed"   // those that are not, before and after rewriting
	WatchFlows    = "flows"    // flows that begin and end
	WatchLog      = "log"      // log statements
	WatchNAT      = "nat"      // translations that could not be made
	WatchSets     = "sets"     // changes of sets
	WatchServices = "services" // states of services, stations
)

// WatchKinds are all of these.
var WatchKinds = []string{WatchDrops, WatchPassed, WatchFlows, WatchLog, WatchNAT, WatchSets, WatchServices}

// WatchOptions say what is watched.
type WatchOptions struct {
	Kinds []string
	// Rate is of how many packets a CPU tells in a second at most.
	Rate uint32
	// Filter selects packets, in the kernel.
	Filter loader.MonitorFilter
}

// Has tells whether a kind is watched.
func (o *WatchOptions) Has(kind string) bool { return slices.Contains(o.Kinds, kind) }

// Watched is something that has happened.
type Watched struct {
	Kind   string      `json:"kind"` // one of [WatchKinds]
	Time   time.Time   `json:"time"`
	Packet *Packet     `json:"packet,omitempty"` // of drops, passed and nat
	Flow   *flow.Event `json:"flow,omitempty"`   // of flows
	Text   string      `json:"text,omitempty"`   // of the others, and of what is not told of drops
	// Lost is how many of the kind at least were not told since the one before.
	Lost uint64 `json:"lost,omitempty"`
}

// Fates of packets.
const (
	PacketDropped   = "dropped"
	PacketRejected  = "rejected"  // its sender is told
	PacketForwarded = "forwarded" // by Out
	PacketAccepted  = "accepted"  // for the router, or for the kernel to answer
	PacketSent      = "sent"      // by the router
)

// Packet is one that the dataplane has met.
type Packet struct {
	Fate string `json:"fate"`
	// Reason of a drop by the name that l2ctl status counts it by; empty if it is one
	// of several.
	Reason string `json:"reason,omitempty"`
	// Rule that has decided a drop; nil if none has.
	Rule *Rule `json:"rule,omitempty"`
	// NTuple is the rule of ntuple that has, as the configuration has it.
	NTuple    string `json:"ntuple,omitempty"`
	Interface string `json:"interface"`
	// Egress: it is on its way out by the interface; else in.
	Egress bool `json:"egress,omitempty"`
	// Ethernet: data begins with such a header; else with IP's.
	Ethernet bool `json:"ethernet"`
	// Length of the frame in bytes; Data may be less.
	Length int    `json:"length"`
	Data   []byte `json:"data"`
	// Rewritten is what has become of a packet that is not dropped, nil if it is as it
	// was; Out is the interface that it is forwarded by.
	Rewritten       []byte `json:"rewritten,omitempty"`
	RewrittenLength int    `json:"rewritten_length,omitempty"`
	Out             string `json:"out,omitempty"`
}

// Watch calls yield with what happens, until yield returns an error, ctx ends or the
// daemon does. Ready is called when all is watched; it may be nil.
func (c *Client) Watch(ctx context.Context, o WatchOptions, ready func(), yield func(Watched) error) error {
	body, err := c.do(ctx, http.MethodGet, "/v1/monitor", url.Values{
		"rate": {fmt.Sprint(o.Rate)}, "kinds": {strings.Join(o.Kinds, ",")},
		"ethernet": {filterText(o.Filter.Ethernet)}, "ip": {filterText(o.Filter.IP)},
	})
	if err != nil {
		return err
	}
	if ready != nil {
		ready()
	}
	return eachOf(body, "what is watched", yield)
}

// filterSize is that of an instruction of classic BPF: struct sock_filter.
const filterSize = 8

// filterText is a program as it is sent: in base64, numbers in network byte order.
func filterText(raw []bpf.RawInstruction) string {
	var b []byte
	for _, i := range raw {
		b = binary.BigEndian.AppendUint16(b, i.Op)
		b = append(b, i.Jt, i.Jf)
		b = binary.BigEndian.AppendUint32(b, i.K)
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

func parseFilterText(text string) (raw []bpf.RawInstruction, err error) {
	b, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(b)%filterSize != 0 {
		return nil, fmt.Errorf("want a program of classic BPF, in base64")
	}
	for ; len(b) > 0; b = b[filterSize:] {
		raw = append(raw, bpf.RawInstruction{Op: binary.BigEndian.Uint16(b), Jt: b[2], Jf: b[3], K: binary.BigEndian.Uint32(b[4:])})
	}
	return raw, nil
}

// maxRate bounds what a CPU tells in a second.
const maxRate = 100000

func watchOptions(q url.Values) (o WatchOptions, err error) {
	rate, err := strconv.ParseUint(q.Get("rate"), 10, 32)
	if err != nil || rate == 0 || rate > maxRate {
		return o, fmt.Errorf("rate %q: want 1 to %d", q.Get("rate"), maxRate)
	}
	o.Rate, o.Kinds = uint32(rate), []string{WatchDrops}
	if q.Get("kinds") != "" {
		o.Kinds = strings.Split(q.Get("kinds"), ",")
	}
	for _, k := range o.Kinds {
		if !slices.Contains(WatchKinds, k) {
			return o, fmt.Errorf("kind %q: want some of %s", k, strings.Join(WatchKinds, ","))
		}
	}
	if o.Filter.Ethernet, err = parseFilterText(q.Get("ethernet")); err != nil {
		return o, fmt.Errorf("filter of Ethernet frames: %w", err)
	}
	if o.Filter.IP, err = parseFilterText(q.Get("ip")); err != nil {
		return o, fmt.Errorf("filter of IP packets: %w", err)
	}
	return o, o.Filter.Check()
}

// watch writes one JSON object a line, until the caller goes away or the daemon ends.
func watch(s Service, log *slog.Logger, w http.ResponseWriter, r *http.Request) {
	o, err := watchOptions(r.URL.Query())
	if err != nil {
		writeError(w, r, log, BadInput(err))
		return
	}
	flusher := http.NewResponseController(w)
	begun := false
	begin := func() {
		w.Header().Set("Content-Type", "application/x-ndjson")
		begun = flusher.Flush() == nil
	}
	enc := json.NewEncoder(w)
	err = s.Watch(r.Context(), o, begin, func(p Watched) error {
		if err := enc.Encode(&p); err != nil {
			return err
		}
		return flusher.Flush()
	})
	if err != nil && !begun {
		writeError(w, r, log, err)
	}
}
