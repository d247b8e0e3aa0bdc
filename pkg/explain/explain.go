// SPDX-License-Identifier: GPL-2.0-only

// Package explain tells what becomes of a packet and why: it runs the packet through a
// copy of the dataplane that notes its steps, and nothing comes of it.
package explain

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"

	"github.com/randomizedcoder/l2d/loader"
	"github.com/randomizedcoder/l2d/pkg/flow"
	"github.com/randomizedcoder/l2d/pkg/ntuple"
	"github.com/randomizedcoder/l2d/pkg/policy"
)

// MostBefore is more fragments than a datagram may have.
const MostBefore = 256

// Target is the dataplane that a packet is to meet.
type Target struct {
	// Config and Program say what it is; Running has the flows and the sets, and is
	// nil if there are none.
	Config  loader.Config
	Program *policy.Program
	Running *loader.Dataplane
	// Name is the name of the interface with an index.
	Name func(index int) string
}

// Request is what is asked.
type Request struct {
	// Packet in the language of [ParsePacket]; empty: Frame is the packet.
	Packet string `json:"packet,omitempty"`
	// Frame as it was captured, from the Ethernet header on if Ethernet is true, or
	// from the IP header on; it comes in by In, or the router sends it by Out.
	Frame    []byte `json:"frame,omitempty"`
	Ethernet bool   `json:"ethernet,omitempty"`
	In       string `json:"in,omitempty"`
	Out      string `json:"out,omitempty"`
	// Before are frames like it that go the same way before, such as the other fragments of its datagram.
	Before [][]byte `json:"before,omitempty"`
	// Ruleset is the file of another ruleset than the one in force; empty: that one.
	Ruleset string `json:"ruleset,omitempty"`
}

// Verdict is what becomes of a packet.
type Verdict string

// Verdicts.
const (
	Forwarded Verdict = "forwarded"
	Delivered Verdict = "delivered" // to the router itself
	Sent      Verdict = "sent"      // by the router itself
	Dropped   Verdict = "dropped"
	Rejected  Verdict = "rejected" // dropped, and its sender is told
	Held      Verdict = "held"     // a fragment, until the others are there
	ToKernel  Verdict = "to the kernel"
	Passed    Verdict = "passed" // it is not for the dataplane
)

// Rule is a rule that the packet met, or the policy of a base chain.
type Rule struct {
	Family string `json:"family"`
	Table  string `json:"table"`
	Chain  string `json:"chain"`
	// Handle as in nft -a; 0 for a policy.
	Handle uint64 `json:"handle"`
	Text   string `json:"text"`
	// Line of the ruleset file; 0 when it is not known.
	Line    int  `json:"line"`
	Matched bool `json:"matched"`
	// Why it did not match.
	Why string `json:"why,omitempty"`
}

// Explanation is the way of a packet.
type Explanation struct {
	Packet string `json:"packet"`
	// Path is "xdp" or "tc": what decides about the packet.
	Path    string  `json:"path"`
	Verdict Verdict `json:"verdict"`
	// Reason of a drop, by the name that l2ctl status counts it by.
	Reason string `json:"reason,omitempty"`
	// Decided is the rule that a drop comes from; nil if none does.
	Decided *Rule `json:"decided,omitempty"`
	// NTuple is the rule of ntuple that it comes from.
	NTuple string `json:"ntuple,omitempty"`
	// States of conntrack that rules see at last.
	States []string `json:"ct_state,omitempty"`
	// Flow that the packet belongs to; Begun if it begins it.
	Flow  *flow.Flow `json:"flow,omitempty"`
	Begun bool       `json:"begun,omitempty"`
	Rules []Rule     `json:"rules"`
	// Arrived and Left are the packet's ends before and after translation.
	Arrived string `json:"arrived,omitempty"`
	Left    string `json:"left,omitempty"`
	// Out is the interface that it leaves by, Gateway the next hop.
	Out      string `json:"out,omitempty"`
	Gateway  string `json:"gateway,omitempty"`
	Mark     uint32 `json:"mark,omitempty"`
	Priority uint32 `json:"priority,omitempty"`
	// Frame as it came, Bytes from the Ethernet header on as it is at last: of a
	// packet that is forwarded, the header is written when it leaves.
	Frame []byte `json:"frame"`
	Bytes []byte `json:"bytes,omitempty"`
	// Stats are the statistics that it would have moved.
	Stats map[string]uint64 `json:"stats"`
}

// InputError is what is wrong with a request.
type InputError struct{ error }

// Unwrap returns what it is.
func (e *InputError) Unwrap() error { return e.error }

// Run explains a packet. Errors of what was asked are [*InputError].
func Run(t Target, r Request) (*Explanation, error) {
	packet, err := t.packet(r)
	if err != nil {
		return nil, &InputError{err}
	}
	if len(r.Before) > MostBefore {
		return nil, &InputError{fmt.Errorf("%d frames before the packet: want at most %d", len(r.Before), MostBefore)}
	}
	traced := t.Program.Traced()
	cfg := t.Config
	cfg.Policy = traced
	trial, err := loader.NewTrial(cfg, t.Running, addressesIn(packet.Frame))
	if err != nil {
		return nil, err
	}
	defer trial.Close()
	for _, frame := range r.Before {
		earlier := r
		earlier.Packet, earlier.Frame = "", frame
		p, err := t.packet(earlier)
		if err != nil {
			return nil, &InputError{err}
		}
		if err := trial.Precede(p, policy.TraceMap); err != nil {
			return nil, err
		}
	}
	before, err := trial.Flows(t.Name)
	if err != nil {
		return nil, err
	}
	res, err := trial.Run(packet, policy.TraceMap)
	if err != nil {
		return nil, err
	}
	after, err := trial.Flows(t.Name)
	if err != nil {
		return nil, err
	}
	e := &Explanation{Packet: r.Packet, Frame: packet.Frame, Bytes: res.Frame, Stats: res.Stats, Path: "tc", Rules: rulesMet(traced.Met(res.Notes))}
	if e.Packet == "" {
		e.Packet = "captured " + describe(packet.Frame)
	}
	if res.Program == "l2_xdp" {
		e.Path = "xdp"
	}
	e.decide(&res)
	if e.Reason == "drop_steer" {
		e.NTuple = t.steeredBy(&packet)
	}
	t.route(e, &res)
	e.findFlow(&res, before, after)
	return e, nil
}

// packet makes what is asked a frame at an interface.
func (t *Target) packet(r Request) (p loader.TrialPacket, err error) {
	var pkt *Packet
	in, out := r.In, r.Out
	if r.Packet != "" {
		if pkt, err = ParsePacket(r.Packet); err != nil {
			return p, err
		}
		in, out, p.Mark = pkt.In, pkt.Out, pkt.Mark
	}
	if in != "" && out != "" {
		return p, errors.New("a packet comes in by an interface, or the router sends it by one: not both")
	}
	name := in
	if in == "" {
		if name, err = t.ownWay(out, pkt); err != nil {
			return p, err
		}
	}
	index, err := t.index(name)
	if err != nil {
		return p, err
	}
	l, err := netlink.LinkByIndex(index)
	if err != nil {
		return p, fmt.Errorf("interface %s: %w", name, err)
	}
	mac := l.Attrs().HardwareAddr
	if len(mac) != 6 {
		mac = make(net.HardwareAddr, 6) // its packets have no such header
	}
	other := net.HardwareAddr{2, 0, 0, 0, 0, 0xfe}
	dst, src := mac, other
	if in == "" {
		p.Out, dst, src = index, other, mac
	} else {
		p.In = index
	}
	switch {
	case pkt != nil:
		p.Frame = pkt.Frame(dst, src)
	case r.Ethernet:
		p.Frame = slices.Clone(r.Frame)
	default:
		if p.Frame, err = withHeader(r.Frame); err != nil {
			return p, err
		}
		copy(p.Frame, dst)
		copy(p.Frame[6:], src)
	}
	if len(p.Frame) <= etherLen || len(p.Frame) > etherLen+1500 {
		return p, fmt.Errorf("a frame of %d bytes: want %d to %d", len(p.Frame), etherLen+1, etherLen+1500)
	}
	return p, nil
}

// steeredBy is the rule of ntuple that decides about a frame.
func (t *Target) steeredBy(p *loader.TrialPacket) string {
	for _, i := range t.Config.Interfaces {
		if i.Index != p.In {
			continue
		}
		fields := ntuple.ReadFrame(p.Frame)
		if r := ntuple.First(i.Rules, &fields); r != nil {
			return r.String()
		}
	}
	return ""
}

// ownWay is the interface that the router sends its own packet by.
func (t *Target) ownWay(out string, pkt *Packet) (string, error) {
	if out != "" || pkt == nil {
		if out == "" {
			return "", errors.New("want the interface where the packet comes in, or by which the router sends it")
		}
		return out, nil
	}
	routes, err := netlink.RouteGet(pkt.Dst.Addr().AsSlice())
	if err != nil || len(routes) == 0 {
		return "", fmt.Errorf("no route to %v: say where the packet comes in (iif NAME), or by which interface the router sends it (oif NAME)", pkt.Dst.Addr())
	}
	return t.Name(routes[0].LinkIndex), nil
}

// index is that of an interface that the dataplane is attached to.
func (t *Target) index(name string) (int, error) {
	var names []string
	for _, i := range t.Config.Interfaces {
		if i.Name == name {
			return i.Index, nil
		}
		names = append(names, i.Name)
	}
	return 0, fmt.Errorf("interface %q: the dataplane is not attached to it; want one of %s", name, strings.Join(names, ", "))
}

func rulesMet(list []policy.TracedRule) []Rule {
	out := []Rule{}
	for _, r := range list {
		family, table, _ := strings.Cut(r.Table, " ")
		out = append(out, Rule{family, table, r.Chain, r.Handle, r.Text, r.Line, r.Matched, r.Why})
	}
	return out
}

// outcomes are statistics that say what became of a packet.
var outcomes = []struct {
	stat    string
	verdict Verdict
}{
	{"xdp_forwarded", Forwarded}, {"tc_forwarded", Forwarded}, {"local_in", Delivered}, {"local_out", Sent},
	{"to_kernel", ToKernel}, {"fragment_held", Held},
}

// decide finds out what became of the packet.
func (e *Explanation) decide(res *loader.TrialResult) {
	e.Verdict = Passed
	for _, o := range outcomes {
		if res.Stats[o.stat] > 0 {
			e.Verdict = o.verdict
		}
	}
	for name := range res.Stats {
		// What has a reason of its own may be dropped in a rule, which counts that, too.
		if strings.HasPrefix(name, dropPrefix) && (name != "drop_policy" || e.Reason == "") {
			e.Verdict, e.Reason = Dropped, name
		}
	}
	if e.Verdict == Dropped && (res.Action == loader.TCXRedirect || res.Reject != 0) {
		e.Verdict = Rejected
	}
	if e.Verdict == Passed && (res.Action == loader.TCXDrop || res.Program == "l2_xdp") {
		e.Verdict = Dropped
	}
	if e.Verdict == Dropped || e.Verdict == Held {
		e.Bytes = nil
	}
	if e.Reason != "drop_policy" {
		return
	}
	for i := range e.Rules {
		if e.Rules[i].Matched {
			e.Decided = &e.Rules[i]
		}
	}
}

var ctStates = []struct {
	bit  uint32
	name string
}{{1, "invalid"}, {2, "established"}, {4, "related"}, {8, "new"}, {64, "untracked"}}

// route says where the packet goes, and as what.
func (t *Target) route(e *Explanation, res *loader.TrialResult) {
	if !res.Parsed {
		return
	}
	for _, s := range ctStates {
		// Without having been looked at it is invalid to rules, which says nothing.
		if res.CtState&s.bit != 0 && (s.name != "invalid" || res.Stats["flow_invalid"] > 0) {
			e.States = append(e.States, s.name)
		}
	}
	if a := res.Arrived; !a.Src.Addr().IsUnspecified() || !a.Dst.Addr().IsUnspecified() {
		e.Arrived, e.Left = tupleText(a), tupleText(res.Left)
	}
	e.Mark, e.Priority = res.Mark, res.Priority
	switch e.Verdict {
	case Forwarded, Sent, ToKernel:
		e.Out = t.Name(res.Out)
		if e.Verdict == Forwarded && res.Gateway.IsValid() && !res.Gateway.IsUnspecified() {
			e.Gateway = res.Gateway.String()
		}
	}
}

func tupleText(t loader.TrialTuple) string {
	if hasPorts(t.Protocol) {
		return fmt.Sprintf("%v > %v", t.Src, t.Dst)
	}
	return fmt.Sprintf("%v > %v", t.Src.Addr(), t.Dst.Addr())
}

// findFlow finds the flow that the packet is of, or that it begins.
func (e *Explanation) findFlow(res *loader.TrialResult, before, after []flow.Flow) {
	if !res.Parsed {
		return
	}
	is := func(d flow.Direction) bool { return d.Src == res.Arrived.Src && d.Dst == res.Arrived.Dst }
	of := func(f flow.Flow) bool {
		return f.Protocol == flow.ProtocolName(res.Arrived.Protocol) && (is(f.Original) || is(f.Reply))
	}
	if i := slices.IndexFunc(before, of); i >= 0 {
		e.Flow = &before[i]
		return
	}
	if i := slices.IndexFunc(after, of); i >= 0 {
		e.Flow, e.Begun = &after[i], true
	}
}

// describe names a frame that has no text.
func describe(frame []byte) string {
	list := addressesOf(frame[etherLen:], binary.BigEndian.Uint16(frame[12:]), false)
	if len(list) < 2 {
		return fmt.Sprintf("frame of %d bytes", len(frame))
	}
	return fmt.Sprintf("packet %v > %v, %d bytes", list[0], list[1], len(frame)-etherLen)
}
