// SPDX-License-Identifier: GPL-2.0-only

package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/randomizedcoder/l2d/loader"
	"github.com/randomizedcoder/l2d/pkg/api"
	"github.com/randomizedcoder/l2d/pkg/flow"
)

type flowsCmd struct {
	List   flowsListCmd   `cmd:"" default:"withargs" help:"List tracked flows."`
	Delete flowsDeleteCmd `cmd:"" help:"End tracked flows."`
	Events flowsEventsCmd `cmd:"" help:"Show what happens to flows while it happens."`
	Stats  flowsStatsCmd  `cmd:"" help:"Show what each CPU has done to flows."`
}

// conntrackWords are what conntrack's letters for its commands are here.
var conntrackWords = map[string][]string{
	"-L": {"list"}, "-D": {"delete"}, "-F": {"delete", "--all"}, "-E": {"events"}, "-C": {"list", "--count"}, "-S": {"stats"},
}

// withoutLetters puts words in the place of a letter behind "flows".
func withoutLetters(args []string) []string {
	i := slices.Index(args, "flows")
	if i < 0 || i+1 >= len(args) || i > 0 && !strings.HasPrefix(args[0], "--socket") {
		return args
	}
	words, ok := conntrackWords[args[i+1]]
	if !ok {
		return args
	}
	return slices.Concat(args[:i+1], words, args[i+2:])
}

// flowsFilter selects flows. The words are conntrack's where it has them.
type flowsFilter struct {
	Addr         string `help:"Only flows with an address, before or after translation, in this prefix." placeholder:"PREFIX"`
	Src          string `help:"Only flows whose first packet came from this prefix." short:"s" aliases:"orig-src" placeholder:"PREFIX"`
	Dst          string `help:"Only flows whose first packet was sent to this prefix." short:"d" aliases:"orig-dst" placeholder:"PREFIX"`
	ReplySrc     string `help:"Only flows whose replies come from this prefix." short:"r" placeholder:"PREFIX"`
	ReplyDst     string `help:"Only flows whose replies are sent to this prefix." short:"q" placeholder:"PREFIX"`
	Port         string `help:"Only flows with this port, before or after translation." placeholder:"N"`
	Sport        string `help:"Only flows whose first packet came from this port." aliases:"orig-port-src" placeholder:"N"`
	Dport        string `help:"Only flows whose first packet was sent to this port." aliases:"orig-port-dst" placeholder:"N"`
	ReplyPortSrc string `help:"Only flows whose replies come from this port." placeholder:"N"`
	ReplyPortDst string `help:"Only flows whose replies are sent to this port." placeholder:"N"`
	Proto        string `help:"Only flows of this protocol, such as tcp, udp, icmp, icmpv6 or a number." short:"p" aliases:"protonum" placeholder:"NAME"`
	Family       string `help:"Only flows of this family: ipv4 or ipv6." short:"f" placeholder:"NAME"`
	State        string `help:"Only flows in this state of TCP or SCTP, such as established or time_wait." placeholder:"NAME"`
	Status       string `help:"Only flows that are all of these: seen_reply, unreplied, assured, confirmed, half_open." short:"u" placeholder:"NAME,..."`
	Mark         string `help:"Only flows with this ct mark." short:"m" placeholder:"N[/MASK]"`
	Label        string `help:"Only flows with this bit of the ct label set." short:"l" placeholder:"BIT"`
	Zone         string `help:"Only flows with this ct zone in a direction." short:"w" placeholder:"N"`
	OrigZone     string `help:"Only flows with this ct zone in the original direction." placeholder:"N"`
	ReplyZone    string `help:"Only flows with this ct zone in the reply direction." placeholder:"N"`
	Interface    string `help:"Only flows that come in or leave by this interface." complete:"interface" short:"i" placeholder:"NAME"`
	In           string `help:"Only flows whose first packet came in by this interface." placeholder:"NAME"`
	Out          string `help:"Only flows whose first packet left by this interface." placeholder:"NAME"`
	SrcNAT       bool   `help:"Only flows whose source is translated." name:"src-nat" short:"n" xor:"nat"`
	DstNAT       bool   `help:"Only flows whose destination is translated." name:"dst-nat" short:"g" xor:"nat"`
	AnyNAT       bool   `help:"Only flows that are translated." name:"any-nat" short:"j" xor:"nat"`
	NoNAT        bool   `help:"Only flows that are not translated." name:"no-nat" xor:"nat"`
}

func (c *flowsFilter) filter() (flow.Filter, error) {
	var f flow.Filter
	values := [...]struct{ name, value string }{
		{"addr", c.Addr}, {"src", c.Src}, {"dst", c.Dst}, {"reply-src", c.ReplySrc}, {"reply-dst", c.ReplyDst},
		{"port", c.Port}, {"sport", c.Sport}, {"dport", c.Dport}, {"reply-port-src", c.ReplyPortSrc}, {"reply-port-dst", c.ReplyPortDst},
		{"proto", c.Proto}, {"family", c.Family}, {"state", c.State}, {"status", c.Status}, {"mark", c.Mark}, {"label", c.Label},
		{"zone", c.Zone}, {"orig-zone", c.OrigZone}, {"reply-zone", c.ReplyZone},
		{"interface", c.Interface}, {"in", c.In}, {"out", c.Out}, {"nat", c.nat()},
	}
	for _, v := range values {
		if v.value == "" {
			continue
		}
		if err := f.Set(v.name, v.value); err != nil {
			return f, api.BadInput(err)
		}
	}
	return f, nil
}

func (c *flowsFilter) nat() string {
	switch {
	case c.SrcNAT:
		return flow.NATSrc.String()
	case c.DstNAT:
		return flow.NATDst.String()
	case c.AnyNAT:
		return flow.NATAny.String()
	case c.NoNAT:
		return flow.NATNone.String()
	}
	return ""
}

type flowsListCmd struct {
	flowsFilter
	JSON  bool `help:"Print one JSON object a line." name:"json" xor:"form"`
	Count bool `help:"Print only how many there are." xor:"form"`
	ID    bool `help:"Print the number of each flow, which rules know as ct id." name:"id"`
	Names bool `help:"Print the names of hosts in the place of their addresses." xor:"form"`
}

// Run implements the command.
func (c *flowsListCmd) Run(e *env) error {
	f, err := c.filter()
	if err != nil {
		return err
	}
	if c.Count {
		n, err := e.client.CountFlows(e.ctx, f)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(e.out, n)
		return err
	}
	var names map[netip.Addr]string
	if c.Names {
		if names, err = e.client.Names(e.ctx); err != nil {
			return err
		}
	}
	enc := json.NewEncoder(e.out)
	return e.client.Flows(e.ctx, f, func(fl flow.Flow) error {
		if c.JSON {
			return enc.Encode(fl)
		}
		_, err := fmt.Fprintln(e.out, c.line(&fl, names))
		return err
	})
}

// line is a flow as text.
func (c *flowsListCmd) line(f *flow.Flow, names map[netip.Addr]string) string {
	line := named(f.String(), names)
	if c.ID {
		line += fmt.Sprintf(" id=%d", f.ID)
	}
	return line
}

// named is a flow's line with names in the place of addresses.
func named(line string, names map[netip.Addr]string) string {
	if len(names) == 0 {
		return line
	}
	words := strings.Split(line, " ")
	for i, w := range words {
		key, value, _ := strings.Cut(w, "=")
		if key != "src" && key != "dst" {
			continue
		}
		if a, err := netip.ParseAddr(value); err == nil && names[a] != "" {
			words[i] = key + "=" + names[a]
		}
	}
	return strings.Join(words, " ")
}

type flowsDeleteCmd struct {
	flowsFilter
	All  bool `help:"End all flows; not to be combined with a filter."`
	JSON bool `help:"Print a JSON object." name:"json"`
}

// Run implements the command.
func (c *flowsDeleteCmd) Run(e *env) error {
	f, err := c.filter()
	if err != nil {
		return err
	}
	if f.IsZero() != c.All {
		return api.BadInput(errors.New("want a filter such as --addr or --port, or --all without one"))
	}
	n, err := e.client.DeleteFlows(e.ctx, f, c.All)
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(e.out, api.DeletedFlows{Deleted: n})
	}
	_, err = fmt.Fprintf(e.out, "flows deleted: %d\n", n)
	return err
}

type flowsEventsCmd struct {
	flowsFilter
	Event     string `help:"Only events of these kinds: new, update, confirm, destroy." short:"e" default:"all" placeholder:"NAME,..."`
	Timestamp bool   `help:"Print the time before each event."`
	JSON      bool   `help:"Print one JSON object a line." name:"json"`
}

// Run implements the command.
func (c *flowsEventsCmd) Run(e *env) error {
	f, err := c.filter()
	if err != nil {
		return err
	}
	kinds, err := flow.ParseKinds(c.Event)
	if err != nil {
		return api.BadInput(err)
	}
	enc := json.NewEncoder(e.out)
	err = e.client.FlowEvents(e.ctx, f, kinds, nil, func(event flow.Event) error {
		if c.JSON {
			return enc.Encode(event)
		}
		if c.Timestamp {
			fmt.Fprint(e.out, event.Time.Format("2006-01-02T15:04:05.000000Z07:00 "))
		}
		_, err := fmt.Fprintln(e.out, event.String())
		return err
	})
	if e.ctx.Err() != nil {
		return nil // it was told to end
	}
	return err
}

type flowsStatsCmd struct {
	JSON bool `help:"Print one JSON object a line." name:"json"`
}

// Run implements the command.
func (c *flowsStatsCmd) Run(e *env) error {
	s, err := e.client.Status(e.ctx)
	if err != nil {
		return err
	}
	if !s.Attached {
		return errors.New("detached: there are no flows")
	}
	enc := json.NewEncoder(e.out)
	for _, cpu := range s.Dataplane.FlowCPUs {
		if c.JSON {
			err = enc.Encode(cpu)
		} else {
			_, err = fmt.Fprintln(e.out, flowStats(cpu))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// flowStats are a CPU's statistics on one line, in conntrack's manner: those of
// flows first, all in the order of their names.
func flowStats(c loader.FlowCPUStatus) string {
	names := slices.SortedFunc(maps.Keys(c.Stats), func(a, b string) int {
		first := func(name string) int {
			if strings.HasPrefix(name, "flow_") {
				return 0
			}
			return 1
		}
		return cmp.Or(first(a)-first(b), strings.Compare(a, b))
	})
	var b strings.Builder
	fmt.Fprintf(&b, "cpu=%-3d", c.CPU)
	for _, name := range names {
		fmt.Fprintf(&b, " %s=%d", name, c.Stats[name])
	}
	return b.String()
}
