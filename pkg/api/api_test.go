// SPDX-License-Identifier: GPL-2.0-only

package api

import (
	"golang.org/x/net/bpf"

	"github.com/randomizedcoder/l2d/loader"

	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/randomizedcoder/l2d/pkg/explain"
	"github.com/randomizedcoder/l2d/pkg/flow"
	"github.com/randomizedcoder/l2d/pkg/hostapd"
	"github.com/randomizedcoder/l2d/pkg/kea"
	"github.com/randomizedcoder/l2d/pkg/llama"
	"github.com/randomizedcoder/l2d/pkg/observe"
	"github.com/randomizedcoder/l2d/pkg/reconcile"
	"github.com/randomizedcoder/l2d/pkg/recursor"
	"github.com/randomizedcoder/l2d/pkg/revision"
	"github.com/randomizedcoder/l2d/pkg/service"
)

// memory is a Service without a dataplane: it answers from fields, and notes
// what it was asked.
type memory struct {
	asked string
	err   error
	flows []flow.Flow
	hub   flow.Hub
}

func (m *memory) note(format string, args ...any) error {
	m.asked = fmt.Sprintf(format, args...)
	return m.err
}

func (m *memory) Status(context.Context) (Status, error) {
	return Status{Version: "v1", PID: 7, Attached: true, Rules: 3}, m.note("status")
}
func (m *memory) Rules(context.Context) (Rules, error) {
	return Rules{Text: "table ip x {\n}\n", Rules: []Rule{{Family: "ip", Table: "x", Chain: "c", Handle: 4, Text: "drop", Packets: 1 << 60}}}, m.note("rules")
}

func (m *memory) Explain(_ context.Context, r explain.Request) (*explain.Explanation, error) {
	if _, err := explain.ParsePacket(r.Packet); err != nil {
		return nil, BadInput(err)
	}
	m.asked = "explain"
	return &explain.Explanation{Packet: r.Packet, Verdict: explain.Dropped}, nil
}

func (m *memory) Sample(context.Context) (*observe.Sample, error) {
	return &observe.Sample{Host: "l2", Hosts: []observe.Host{{Address: netip.MustParseAddr("fd00::1"), Up: 0.5}}}, m.note("sample")
}

func (m *memory) Watch(_ context.Context, o WatchOptions, ready func(), yield func(Watched) error) error {
	if o.Rate == 8 {
		return errors.New("no dataplane")
	}
	ready()
	for i := range 3 {
		if err := yield(Watched{Kind: o.Kinds[0], Packet: &Packet{Length: i + len(o.Filter.Ethernet)}, Lost: uint64(o.Rate)}); err != nil {
			return err
		}
	}
	return nil
}

// TestWatch: packets come in order, and what goes wrong before is told.
func TestWatch(t *testing.T) {
	c, _ := serve(t, &memory{})
	ready, n := false, 0
	all := []bpf.RawInstruction{{Op: 6, K: 0x40000}} // ret
	o := WatchOptions{Kinds: []string{WatchPassed, WatchDrops}, Rate: 7, Filter: loader.MonitorFilter{Ethernet: all}}
	err := c.Watch(t.Context(), o, func() { ready = true }, func(w Watched) error {
		if w.Kind != WatchPassed || w.Packet.Length != n+1 || w.Lost != 7 {
			t.Errorf("packet %d is %+v", n, w)
		}
		n++
		return nil
	})
	if err != nil || n != 3 || !ready {
		t.Errorf("%d packets, %v, %v", n, ready, err)
	}
	if err := c.Watch(t.Context(), WatchOptions{Rate: 8}, nil, nil); err == nil {
		t.Error("no error")
	}
	for _, bad := range []WatchOptions{
		{},
		{Rate: 1, Kinds: []string{"weather"}},
		{Rate: 1, Filter: loader.MonitorFilter{IP: []bpf.RawInstruction{{Op: 0xffff}}}},
		{Rate: 1, Filter: loader.MonitorFilter{IP: []bpf.RawInstruction{{Op: 0x28, K: 12}}}}, // without an end
	} {
		if err := c.Watch(t.Context(), bad, nil, nil); !IsBadInput(err) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}

func (m *memory) NTuples(context.Context) ([]NTuple, error) {
	return []NTuple{{Interface: "eth0", Rule: "tcp4 dport 9 drop", Place: PlaceXDP, Hits: new(uint64)}}, m.note("ntuple")
}
func (m *memory) Flows(_ context.Context, f flow.Filter) ([]flow.Flow, error) {
	return m.flows, m.note("flows %v %d %s %s%s", f.Prefix, f.Port, f.Protocol, f.State, marks(f))
}
func (m *memory) DeleteFlows(_ context.Context, f flow.Filter) (int, error) {
	return 12, m.note("delete flows %v %d %s %s%s", f.Prefix, f.Port, f.Protocol, f.State, marks(f))
}

func (m *memory) FlowEvents(_ context.Context, f flow.Filter, kinds flow.Kind) (*flow.Listener, error) {
	if err := m.note("events %v %s", f.Prefix, kinds); err != nil {
		return nil, err
	}
	return m.hub.Listen(f, kinds)
}

// marks is what a filter says of marks and zones.
func marks(f flow.Filter) (s string) {
	if f.Mark != nil {
		s += fmt.Sprintf(" mark %d", *f.Mark)
	}
	if f.Zone != nil {
		s += fmt.Sprintf(" zone %d", *f.Zone)
	}
	return s
}

func (m *memory) SetList(_ context.Context, s SetName) ([]Element, error) {
	return nil, m.note("list %s", s)
}
func (m *memory) SetAdd(_ context.Context, s SetName, element string, timeout time.Duration) error {
	return m.note("add %s %s %v", s, element, timeout)
}
func (m *memory) SetDelete(_ context.Context, s SetName, element string) error {
	return m.note("delete %s %s", s, element)
}
func (m *memory) HostPlan(context.Context) (*reconcile.Plan, error) {
	return &reconcile.Plan{Resources: 5}, m.note("plan")
}
func (m *memory) HostApply(_ context.Context, o HostOptions) (HostApplied, error) {
	return HostApplied{Pending: &reconcile.Pending{ID: "0a"}}, m.note("apply %v", o)
}
func (m *memory) HostRevisions(context.Context) ([]revision.Summary, error) {
	return []revision.Summary{{Number: 4}}, m.note("revisions")
}
func (m *memory) HostRevision(_ context.Context, n int) (*revision.Revision, error) {
	return &revision.Revision{Summary: revision.Summary{Number: n}, Text: "t"}, m.note("revision %d", n)
}
func (m *memory) HostConfirm(_ context.Context, id string) error  { return m.note("confirm %s", id) }
func (m *memory) HostRollback(_ context.Context, id string) error { return m.note("rollback %s", id) }
func (m *memory) Leases(context.Context) ([]kea.Lease, error)     { return nil, m.note("leases") }
func (m *memory) Names(context.Context) (map[netip.Addr]string, error) {
	return map[netip.Addr]string{netip.MustParseAddr("192.168.1.10"): "nas"}, m.note("names")
}
func (m *memory) DNSTop(_ context.Context, what string) ([]recursor.Share, error) {
	return []recursor.Share{{Percent: 50, Name: "a.b"}}, m.note("top %s", what)
}
func (m *memory) DNSFlush(_ context.Context, name string) (string, error) {
	return "wiped", m.note("flush %s", name)
}
func (m *memory) Services(context.Context) ([]service.Status, error) {
	return nil, m.note("services")
}
func (m *memory) Stations(context.Context) ([]hostapd.Report, error) {
	return nil, m.note("stations")
}
func (m *memory) StationEvents(_ context.Context, ready func() error, yield func(hostapd.Event) error) error {
	if err := m.note("station events"); err != nil {
		return err
	}
	return errors.Join(ready(), yield(hostapd.Event{Interface: "wlan0", Name: hostapd.StationConnected, MAC: "02:00:00:00:00:01"}))
}
func (m *memory) RestartService(_ context.Context, name string) error {
	return m.note("restart %s", name)
}
func (m *memory) ServiceLogs(_ context.Context, name string, lines int) ([]string, error) {
	return []string{"a line"}, m.note("logs %s %d", name, lines)
}
func (m *memory) ServiceConfig(_ context.Context, name string) (service.Shown, error) {
	return service.Shown{Name: name}, m.note("config %s", name)
}
func (m *memory) AskLLM(_ context.Context, instance, question string, tokens int) (llama.Answer, error) {
	return llama.Answer{Text: "42"}, m.note("ask %s %q %d", instance, question, tokens)
}
func (m *memory) Reload(context.Context) (Reloaded, error) {
	return Reloaded{Changed: true, Rules: 9, Took: time.Second}, m.note("reload")
}
func (m *memory) Detach(_ context.Context, fallback bool) (Detached, error) {
	return Detached{Fallback: fallback}, m.note("detach %v", fallback)
}

// serve runs a server on a real socket and returns a client of it.
func serve(t *testing.T, s Service) (*Client, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "run", "l2d.sock")
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	srv := Server(s, slog.New(slog.DiscardHandler))
	done := make(chan error, 1)
	go func() { done <- srv.Serve(l) }()
	t.Cleanup(func() {
		srv.Close()
		<-done
	})
	return NewClient(path), path
}

func TestCalls(t *testing.T) {
	m := &memory{}
	c, _ := serve(t, m)
	ctx := t.Context()
	set := SetName{"inet", "filter", "a b/c?d"}
	for _, call := range []struct {
		do    func() (any, error)
		asked string
		got   any
	}{
		{func() (any, error) { return c.Status(ctx) }, "status", Status{Version: "v1", PID: 7, Attached: true, Rules: 3}},
		{func() (any, error) { return c.Sample(ctx) }, "sample", &observe.Sample{Host: "l2", Hosts: []observe.Host{{Address: netip.MustParseAddr("fd00::1"), Up: 0.5}}}},
		{func() (any, error) { return c.HostPlan(ctx) }, "plan", &reconcile.Plan{Resources: 5}},
		{func() (any, error) { return c.HostApply(ctx, HostOptions{}) }, "apply {0s 0 false }", HostApplied{Pending: &reconcile.Pending{ID: "0a"}}},
		{func() (any, error) { return c.HostApply(ctx, HostOptions{time.Minute, 7, true, "a & b"}) }, "apply {1m0s 7 true a & b}", HostApplied{Pending: &reconcile.Pending{ID: "0a"}}},
		{func() (any, error) { return c.HostRevisions(ctx) }, "revisions", []revision.Summary{{Number: 4}}},
		{func() (any, error) { return c.HostRevision(ctx, 4) }, "revision 4", &revision.Revision{Summary: revision.Summary{Number: 4}, Text: "t"}},
		{func() (any, error) { return nil, c.HostConfirm(ctx, "0a") }, "confirm 0a", nil},
		{func() (any, error) { return nil, c.HostRollback(ctx, "0a") }, "rollback 0a", nil},
		{func() (any, error) { return c.Leases(ctx) }, "leases", []kea.Lease{}},
		{func() (any, error) { return c.Names(ctx) }, "names", map[netip.Addr]string{netip.MustParseAddr("192.168.1.10"): "nas"}},
		{func() (any, error) { return c.DNSTop(ctx, "bogus-queries") }, "top bogus-queries", []recursor.Share{{Percent: 50, Name: "a.b"}}},
		{func() (any, error) { return c.DNSFlush(ctx, "a.b") }, "flush a.b", Flushed{"wiped"}},
		{func() (any, error) { return c.Services(ctx) }, "services", []service.Status{}},
		{func() (any, error) { return c.Stations(ctx) }, "stations", []hostapd.Report{}},
		{func() (any, error) {
			var got []hostapd.Event
			err := c.StationEvents(ctx, func(e hostapd.Event) error { got = append(got, e); return nil })
			return got, err
		}, "station events", []hostapd.Event{{Interface: "wlan0", Name: hostapd.StationConnected, MAC: "02:00:00:00:00:01"}}},
		{func() (any, error) { return nil, c.RestartService(ctx, "../a b") }, "restart ../a b", nil},
		{func() (any, error) { return c.ServiceLogs(ctx, "radvd", 7) }, "logs radvd 7", []string{"a line"}},
		{func() (any, error) { return c.ServiceConfig(ctx, "radvd") }, "config radvd", service.Shown{Name: "radvd"}},
		{func() (any, error) { return c.AskLLM(ctx, "qwen", "a & b?", 9) }, `ask qwen "a & b?" 9`, llama.Answer{Text: "42"}},
		{func() (any, error) { return c.Reload(ctx) }, "reload", Reloaded{true, 9, time.Second}},
		{func() (any, error) { return c.Detach(ctx, true) }, "detach true", Detached{true}},
		{func() (any, error) { return c.Detach(ctx, false) }, "detach false", Detached{false}},
		{func() (any, error) { return c.SetList(ctx, set) }, "list {inet filter a b/c?d}", []Element{}},
		{func() (any, error) { return nil, c.SetAdd(ctx, set, "2001:db8::/32 . 1-5", 90*time.Second) }, "add {inet filter a b/c?d} 2001:db8::/32 . 1-5 1m30s", nil},
		{func() (any, error) { return nil, c.SetAdd(ctx, set, "%2F", 0) }, "add {inet filter a b/c?d} %2F 0s", nil},
		{func() (any, error) { return nil, c.SetDelete(ctx, set, "10.0.0.0/8") }, "delete {inet filter a b/c?d} 10.0.0.0/8", nil},
		{func() (any, error) {
			return c.DeleteFlows(ctx, flow.Filter{Prefix: netip.MustParsePrefix("10.0.0.0/8"), Port: 53, Protocol: "udp", State: "CLOSE"}, false)
		}, "delete flows 10.0.0.0/8 53 udp CLOSE", 12},
		{func() (any, error) { return c.DeleteFlows(ctx, flow.Filter{}, true) }, "delete flows invalid Prefix 0  ", 12},
		{func() (any, error) { r, err := c.Rules(ctx); return r.Rules[0].Packets, err }, "rules", uint64(1 << 60)},
		{func() (any, error) {
			e, err := c.Explain(ctx, explain.Request{Packet: "iif br0 udp 192.0.2.1:1 > 192.0.2.2:2"})
			return string(e.Verdict) + " " + e.Packet, err
		}, "explain", "dropped iif br0 udp 192.0.2.1:1 > 192.0.2.2:2"},
		{func() (any, error) { r, err := c.NTuples(ctx); return r[0].Rule, err }, "ntuple", "tcp4 dport 9 drop"},
	} {
		got, err := call.do()
		if err != nil {
			t.Errorf("%s: %v", call.asked, err)
		}
		if m.asked != call.asked {
			t.Errorf("asked %q, want %q", m.asked, call.asked)
		}
		if !reflect.DeepEqual(got, call.got) {
			t.Errorf("%s: got %#v, want %#v", call.asked, got, call.got)
		}
	}
}

func TestFlows(t *testing.T) {
	m := &memory{}
	for i := range 5000 { // more than a buffer
		m.flows = append(m.flows, flow.Flow{Protocol: "udp", Original: flow.Direction{
			Src: netip.AddrPortFrom(netip.MustParseAddr("fd00::1"), uint16(i)), Dst: netip.MustParseAddrPort("1.1.1.1:53"), Packets: uint64(i)}})
	}
	c, _ := serve(t, m)
	mark, zone := uint32(1<<31), uint16(0)
	f := flow.Filter{Prefix: netip.MustParsePrefix("fd00::/64"), Port: 53, Protocol: "udp", State: "TIME_WAIT", Mark: &mark, Zone: &zone}
	n := 0
	err := c.Flows(t.Context(), f, func(fl flow.Flow) error {
		if fl.Original.Packets != uint64(n) || fl.Original.Src.Port() != uint16(n) {
			return fmt.Errorf("flow %d is %v", n, fl)
		}
		n++
		return nil
	})
	if err != nil || n != len(m.flows) {
		t.Errorf("%d flows, %v", n, err)
	}
	if m.asked != "flows fd00::/64 53 udp TIME_WAIT mark 2147483648 zone 0" {
		t.Errorf("asked %q", m.asked)
	}
	if n, err := c.CountFlows(t.Context(), flow.Filter{}); err != nil || n != 5000 {
		t.Errorf("count %d, %v", n, err)
	}
	stop := errors.New("enough")
	if err := c.Flows(t.Context(), f, func(flow.Flow) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("yield's error came back as %v", err)
	}
}

// TestFlowEvents: events come over the socket as they happen; a caller that does
// not read holds up nobody.
func TestFlowEvents(t *testing.T) {
	m := &memory{}
	c, _ := serve(t, m)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	listen := func(yield func(flow.Event) error) (done chan error) {
		ready := make(chan struct{})
		done = make(chan error, 1)
		go func() {
			done <- c.FlowEvents(ctx, flow.Filter{Prefix: netip.MustParsePrefix("10.0.0.0/8")}, flow.KindNew|flow.KindDestroy, func() { close(ready) }, yield)
		}()
		select {
		case <-ready:
		case err := <-done:
			t.Fatal(err)
		}
		return done
	}
	stuck := make(chan struct{})
	blocked := listen(func(flow.Event) error { <-stuck; return errors.New("enough") })
	got := make(chan flow.Event)
	done := listen(func(e flow.Event) error { got <- e; return nil })
	if m.asked != "events 10.0.0.0/8 new,destroy" {
		t.Errorf("asked %q", m.asked)
	}
	f := flow.Flow{Protocol: "udp", Original: flow.Direction{Src: netip.MustParseAddrPort("10.1.2.3:5"), Dst: netip.MustParseAddrPort("1.1.1.1:53")}}
	for i := range 20000 { // more than sockets and buffers hold
		f := f
		f.Original.Packets = uint64(i)
		m.hub.Publish(flow.Event{Kind: flow.KindNew, Flow: &f})
		if e := <-got; e.Kind != flow.KindNew || e.Flow.Original.Packets != uint64(i) {
			t.Fatalf("event %d is %v", i, &e)
		}
	}
	close(stuck)
	if err := <-blocked; err == nil || err.Error() != "enough" {
		t.Error(err)
	}
	m.hub.Close()
	if err := <-done; err != nil {
		t.Errorf("the daemon's end is %v", err)
	}
}

func TestErrors(t *testing.T) {
	m := &memory{}
	c, _ := serve(t, m)
	for _, e := range []struct {
		err    error
		status int
		input  bool
	}{
		{errors.New("broken"), 500, false},
		{BadInput(errors.New("l2d.yaml:1:2: wrong")), 422, true},
		{fmt.Errorf("there is no x: %w", fs.ErrNotExist), 404, true},
		{&Error{409, "detached"}, 409, true},
		{fmt.Errorf("wrapped: %w", BadInput(errors.New("wrong"))), 422, true},
	} {
		m.err = e.err
		_, err := c.Reload(t.Context())
		var ae *Error
		if !errors.As(err, &ae) || ae.Status != e.status || err.Error() != strings.TrimSuffix(e.err.Error(), ": file does not exist") || IsBadInput(err) != e.input {
			t.Errorf("%v came back as %#v", e.err, err)
		}
	}
	if BadInput(nil) != nil {
		t.Error("BadInput(nil) is an error")
	}
}

// TestRefusals sends what the client never does.
func TestRefusals(t *testing.T) {
	m := &memory{}
	c, _ := serve(t, m)
	for _, r := range []struct {
		method, path, query string
		status              int
		text                string
	}{
		{"GET", "/v1/flows", "port=70000", 422, "want a number from 1 to 65535"},
		{"GET", "/v1/flows", "port=0", 422, "want a number from 1 to 65535"},
		{"GET", "/v1/flows/count", "addr=10.0.0.256", 422, "want an address or a prefix"},
		{"GET", "/v1/flows", "adr=10.0.0.1", 422, "want addr, src, dst"},
		{"DELETE", "/v1/flows", "", 422, "or all=true"},
		{"GET", "/v1/flows", "port=5&port=6", 422, "given 2 times"},
		{"DELETE", "/v1/flows", "proto=", 422, "want a protocol"},
		{"DELETE", "/v1/flows", "all=false", 422, "or all=true"},
		{"DELETE", "/v1/flows", "all=true&port=53", 422, "without one"},
		{"DELETE", "/v1/flows", "all=yes", 422, "want true or false"},
		{"DELETE", "/v1/flows", "prot=53", 422, "want addr, src, dst"},
		{"PUT", "/v1/sets/ip/t/s/e", "timeout=5", 422, "want a duration"},
		{"PUT", "/v1/sets/ip/t/s/e", "timeout=-5s", 422, "want a duration"},
		{"POST", "/v1/detach", "fallback=maybe", 422, "want true or false"},
		{"GET", "/v1/flows/events", "event=begin", 422, "want some of all, new"},
		{"GET", "/v1/flows/events", "port=0", 422, "want a number from 1 to 65535"},
		{"GET", "/v1/reload", "", 404, "not known to this daemon"},
		{"GET", "/v2/status", "", 404, "not known to this daemon"},
	} {
		m.asked = ""
		q, err := url.ParseQuery(r.query)
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.do(t.Context(), r.method, r.path, q)
		var ae *Error
		if !errors.As(err, &ae) || ae.Status != r.status || !strings.Contains(ae.Message, r.text) {
			t.Errorf("%s %s?%s: %#v", r.method, r.path, r.query, err)
		}
		if m.asked != "" {
			t.Errorf("%s %s?%s reached the service: %s", r.method, r.path, r.query, m.asked)
		}
	}
}

func TestSocket(t *testing.T) {
	// A generous umask must not matter.
	defer unix.Umask(unix.Umask(0))
	_, path := serve(t, &memory{})
	for p, want := range map[string]fs.FileMode{path: fs.ModeSocket | 0o600, filepath.Dir(path): fs.ModeDir | 0o700} {
		info, err := os.Stat(p)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode() != want {
			t.Errorf("%s has mode %v, want %v", p, info.Mode(), want)
		}
	}
	if _, err := Listen(path); err == nil || !strings.Contains(err.Error(), "another daemon") {
		t.Errorf("second listener: %v", err)
	}
}

func TestStaleSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	if _, err := NewClient(path).Status(t.Context()); !errors.Is(err, ErrNotRunning) {
		t.Errorf("without a socket: %v", err)
	}
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	dead.SetUnlinkOnClose(false) // as after kill -9
	dead.Close()
	if _, err := NewClient(path).Status(t.Context()); !errors.Is(err, ErrNotRunning) {
		t.Errorf("with a dead socket: %v", err)
	}
	l, err := Listen(path)
	if err != nil {
		t.Fatalf("stale socket not replaced: %v", err)
	}
	l.Close()
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("socket not removed: %v", err)
	}
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(path); err == nil {
		t.Error("a file that is not a socket was replaced")
	}
}
