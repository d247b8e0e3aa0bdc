// SPDX-License-Identifier: GPL-2.0-only

package loader

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/randomizedcoder/l2d/internal/mapdiff"
	"github.com/randomizedcoder/l2d/pkg/flow"
	"golang.org/x/sys/unix"
)

// attached are the programs that run at the router's interfaces, by interface
// and hook.
func (r *router) attached(t *testing.T) map[string]ebpf.ProgramID {
	t.Helper()
	running := map[string]ebpf.ProgramID{}
	r.in("r", func() error {
		links, err := net.Interfaces()
		if err != nil {
			return err
		}
		for _, i := range links {
			for hook, typ := range map[string]ebpf.AttachType{"ingress": ebpf.AttachTCXIngress, "egress": ebpf.AttachTCXEgress} {
				result, err := link.QueryPrograms(link.QueryOptions{Target: i.Index, Attach: typ})
				if err != nil {
					return fmt.Errorf("%s: %w", hook, err)
				}
				for n, p := range result.Programs {
					running[fmt.Sprintf("%s %s %d", i.Name, hook, n)] = p.ID
				}
			}
		}
		return r.xdpPrograms(running)
	})
	return running
}

// pins are all files below the pin path, with the ids of what they hold.
func (r *router) pins(t *testing.T) map[string]uint32 {
	t.Helper()
	all := map[string]uint32{}
	err := filepath.WalkDir(r.pin, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		name := strings.TrimPrefix(path, r.pin+"/")
		switch dir, _, _ := strings.Cut(name, "/"); dir {
		case dirLinks:
			l, err := link.LoadPinnedLink(path, nil)
			if err != nil {
				return err
			}
			defer l.Close()
			info, err := l.Info()
			if err == nil {
				all[name] = uint32(info.ID)
			}
			return err
		case dirPrograms:
			p, err := ebpf.LoadPinnedProgram(path, nil)
			if err != nil {
				return err
			}
			defer p.Close()
			info, err := p.Info()
			if err == nil {
				id, _ := info.ID()
				all[name] = uint32(id)
			}
			return err
		default:
			m, err := ebpf.LoadPinnedMap(path, nil)
			if err != nil {
				return err
			}
			defer m.Close()
			info, err := m.Info()
			if err == nil {
				id, _ := info.ID()
				all[name] = uint32(id)
			}
			return err
		}
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return all
}

// stream is a TCP connection through the router that goes on until it is
// stopped.
type stream struct {
	talk func(string) error
}

// streams opens connections of the LAN host to an echo server of the WAN host.
func (r *router) streams(t *testing.T, f family, port uint16, n int) []stream {
	t.Helper()
	r.echoTCP(t, "w", at(f.wan, port))
	var all []stream
	for range n {
		c := r.mustDial(t, "l", at(f.lan, 0), at(f.wan, port))
		all = append(all, stream{talk: func(m string) error { return exchange(c, m) }})
		if err := all[len(all)-1].talk("hello"); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

func talkAll(t *testing.T, streams []stream) {
	t.Helper()
	for i, s := range streams {
		if err := s.talk(fmt.Sprint("message of ", i)); err != nil {
			t.Fatalf("connection %d is broken: %v", i, err)
		}
	}
}

// TestTakeOver: another process with the same policy finds all as it was.
func TestTakeOver(t *testing.T) {
	t.Parallel()
	r := newRouter(t)
	cfg := r.config(testPolicy{masquerade: true, countStates: true})
	d := r.mustApply(cfg)
	conns := r.streams(t, families[0], 9000, 3)
	before, err := d.Status()
	if err != nil {
		t.Fatal(err)
	}
	counted := stateCounters(t, d)
	if counted["forward new"] != 3 {
		t.Fatalf("counters before: %v", counted)
	}
	pins := r.pins(t)
	d.Close()
	talkAll(t, conns) // nobody is there

	d = r.mustApply(cfg)
	after, err := d.Status()
	if err != nil {
		t.Fatal(err)
	}
	if after.Generation != before.Generation {
		t.Errorf("generation %s, before %s", after.Generation, before.Generation)
	}
	if diff := mapdiff.Of(pins, r.pins(t)); len(diff) != 0 {
		t.Errorf("pins changed: %v", diff)
	}
	if kept := keptPrograms(after); len(kept) != len(after.Programs) {
		t.Errorf("only %v were kept", kept)
	}
	talkAll(t, conns)
	now := stateCounters(t, d)
	if now["forward new"] != counted["forward new"] || now["forward established"] <= counted["forward established"] {
		t.Errorf("counters %v, before %v", now, counted)
	}
	if list := flows(t, d, flow.Filter{Protocol: "tcp"}); len(list) != 3 {
		t.Errorf("%d flows, not 3", len(list))
	}
	if after.Stats["flow_new"] < before.Stats["flow_new"] || after.Stats["flow_new"] == 0 {
		t.Errorf("statistics began anew: %v", after.Stats)
	}
}

func keptPrograms(s Status) []string {
	var kept []string
	for _, p := range s.Programs {
		if p.Kept {
			kept = append(kept, p.Name)
		}
	}
	return kept
}

// TestKeptPrograms: what has another constant is another program, of another
// policy all are.
func TestKeptPrograms(t *testing.T) {
	t.Parallel()
	r := newRouter(t)
	cfg := r.config(testPolicy{masquerade: true})
	r.mustApply(cfg)
	for _, test := range []struct {
		name   string
		change func() error
		want   []string
	}{
		{"a constant of TC's", func() error { return sysctls("ipv4/ip_default_ttl=65") }, []string{"l2_reevaluate", "l2_xdp"}},
		{"nothing", func() error { return nil }, []string{"l2_egress", "l2_gc_start", "l2_ingress", "l2_reevaluate", "l2_xdp"}},
		{"the policy", func() error { cfg.Policy = testPolicy{dropInput: true}; return nil }, nil},
	} {
		r.in("r", test.change)
		s, err := r.mustApply(cfg).Status()
		if err != nil {
			t.Fatal(err)
		}
		if kept := keptPrograms(s); !slices.Equal(kept, test.want) {
			t.Errorf("%s: kept %v, want %v", test.name, kept, test.want)
		}
	}
}

// TestReplaceUnderLoad: no connection breaks and no packet is lost while the
// policy changes.
func TestReplaceUnderLoad(t *testing.T) {
	inModes(t, testPolicy{masquerade: true}, func(t *testing.T, r *router, d *Dataplane, m mode) {
		conns := append(r.streams(t, families[0], 9001, 25), r.streams(t, families[1], 9001, 25)...)
		var wg sync.WaitGroup
		var stop atomic.Bool
		var exchanges atomic.Int64
		broken := make(chan error, len(conns))
		for i, c := range conns {
			wg.Go(func() {
				for !stop.Load() {
					if err := c.talk(fmt.Sprintf("%d says %d", i, exchanges.Add(1))); err != nil {
						broken <- err
						return
					}
				}
			})
		}
		var generations []string
		for id := range byte(4) {
			cfg := r.config(testPolicy{id: id, masquerade: true, countStates: id%2 == 1})
			for i := range cfg.Interfaces {
				cfg.Interfaces[i].XDP = m.xdp
			}
			if id == 3 {
				cfg.MaxFlows *= 2 // and the tables move
				cfg.MaxHalfOpen /= 2
			}
			if err := r.do("r", func() error { return d.Replace(cfg) }); err != nil {
				t.Error(err)
			}
			s, err := d.Status()
			if err != nil {
				t.Fatal(err)
			}
			if slices.Contains(generations, s.Generation) {
				t.Errorf("generation %s again", s.Generation)
			}
			generations = append(generations, s.Generation)
			before := exchanges.Load()
			eventually(t, patience, "exchanges behind a change", func() bool { return exchanges.Load() >= before+125 })
		}
		stop.Store(true)
		wg.Wait()
		close(broken)
		for err := range broken {
			t.Error(err)
		}
		if n := len(flows(t, d, flow.Filter{Protocol: "tcp"})); n != len(conns) {
			t.Errorf("%d flows, not %d", n, len(conns))
		}
		for _, f := range flows(t, d, flow.Filter{Protocol: "tcp"}) {
			if !f.Confirmed || !f.NAT() && f.Original.Src.Addr().Is4() {
				t.Errorf("%v", &f)
			}
		}
		for name, want := range map[string]uint64{"flow_new": 50, "drop_policy": 0, "drop_internal": 0} {
			if got := stat(t, d, name); got != want {
				t.Errorf("%s: %d, not %d", name, got, want)
			}
		}
	})
}

// TestFailedApply: whatever goes wrong, at whatever step, all is as before.
func TestFailedApply(t *testing.T) {
	t.Parallel()
	for _, running := range []bool{true, false} {
		t.Run(map[bool]string{true: "running", false: "fresh"}[running], func(t *testing.T) {
			t.Parallel()
			r := newRouter(t)
			r.batch("r", "link add ifb9 type ifb", "link add gone0 type ifb")
			gone := r.index("gone0")
			r.batch("r", "link del gone0")
			good := r.config(testPolicy{id: 1, masquerade: true})
			good.Interfaces[1].AQM = true
			var conns []stream
			var d *Dataplane
			if running {
				d = r.mustApply(good)
				conns = r.streams(t, families[0], 9002, 3)
			}
			for _, c := range []struct {
				name   string
				want   string // in the error
				change func(*Config)
			}{
				{"interface that is not there", "interface", func(c *Config) {
					c.Interfaces = append(c.Interfaces, Interface{Name: "gone0", Index: gone, XDP: XDPAuto})
				}},
				{"first interface that is not there", "interface", func(c *Config) {
					c.Interfaces = append([]Interface{{Name: "gone0", Index: gone, XDP: XDPAuto}}, c.Interfaces...)
				}},
				{"no native XDP", "ifb9", func(c *Config) {
					c.Interfaces = append(c.Interfaces, Interface{Name: "ifb9", Index: r.index("ifb9"), XDP: XDPNative})
				}},
				{"policy that does not verify", "R1", func(c *Config) { c.Policy = testPolicy{id: 2, notVerifying: true} }},
				{"policy that cannot be pinned", "pin", func(c *Config) { c.Policy = testPolicy{id: 3, unpinnable: true} }},
				{"resized and not pinned", "pin", func(c *Config) {
					c.Policy = testPolicy{id: 4, unpinnable: true}
					c.MaxFlows *= 2
				}},
				{"no limit", "limits", func(c *Config) { c.MaxFlows = 0 }},
				{"no policy", "policy", func(c *Config) { c.Policy = nil }},
				{"interface index of nothing", "index", func(c *Config) { c.Interfaces = []Interface{{Name: "x", Index: 0}} }},
				{"not a BPF file system", "BPF file system", func(c *Config) { c.PinPath = t.TempDir() }},
			} {
				t.Run(c.name, func(t *testing.T) {
					programs, pins := r.attached(t), r.pins(t)
					if len(programs) != 0 != running {
						t.Fatalf("attached: %v", programs)
					}
					var state map[string]string
					if running {
						state = r.state(t, d)
					}
					cfg := r.config(testPolicy{id: 1, masquerade: true})
					cfg.Timeouts.TCPEstablished = 5 * time.Second
					cfg.Interfaces[0].AQM = true // and no more at the other
					c.change(&cfg)
					_, err := r.apply(cfg)
					if err == nil || !strings.Contains(err.Error(), c.want) {
						t.Fatalf("error %v, not one about %q", err, c.want)
					}
					if diff := mapdiff.Of(programs, r.attached(t)); len(diff) != 0 {
						t.Errorf("attached programs differ: %v", diff)
					}
					if diff := mapdiff.Of(pins, r.pins(t)); len(diff) != 0 {
						t.Errorf("pins differ: %v", diff)
					}
					if !running {
						if _, err := os.Stat(r.pin); !errors.Is(err, fs.ErrNotExist) {
							t.Errorf("%s is left: %v", r.pin, err)
						}
						return
					}
					if diff := mapdiff.Of(state, r.state(t, d)); len(diff) != 0 {
						t.Errorf("state differs: %v", diff)
					}
					talkAll(t, conns)
				})
			}
			// And the next one, without the error, works.
			d = r.mustApply(good)
			if running {
				talkAll(t, conns)
			}
			if err := exchangeThrough(t, r, 9003); err != nil {
				t.Error(err)
			}
		})
	}
}

// state is what the programs are told: settings, interfaces, ports.
func (r *router) state(t *testing.T, d *Dataplane) map[string]string {
	t.Helper()
	state := map[string]string{}
	for _, name := range []string{"l2_settings", "l2_ifaces", "l2_xdp_ports", "l2_shapers"} {
		err := d.Map(name, func(m *ebpf.Map) error {
			for key := range uint32(64) {
				if v, err := m.LookupBytes(key); err == nil && v != nil {
					state[fmt.Sprint(name, " ", key)] = fmt.Sprintf("%x", v)
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return state
}

// exchangeThrough is a conversation through the router from the beginning.
func exchangeThrough(t *testing.T, r *router, port uint16) error {
	for _, f := range families {
		r.echoTCP(t, "w", at(f.wan, port))
		c, err := r.dial("l", at(f.lan, 0), at(f.wan, port))
		if err != nil {
			return err
		}
		defer c.Close()
		if err := exchange(c, "through the router"); err != nil {
			return err
		}
	}
	return nil
}

// TestKilled cuts an Apply off at each of its steps, as a kill does: what was
// done stays. The next one puts all right.
func TestKilled(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		fresh bool
		kill  func(t *testing.T, r *router, cfg Config)
	}{
		{"before the first link", false, func(t *testing.T, r *router, cfg Config) {
			r.cutOff(t, cfg, func(*replacement) error { return nil })
		}},
		{"one interface attached", false, func(t *testing.T, r *router, cfg Config) {
			r.cutOff(t, cfg, func(p *replacement) error { return p.attach(cfg.Interfaces[0]) })
		}},
		{"one interface attached", true, func(t *testing.T, r *router, cfg Config) {
			r.cutOff(t, cfg, func(p *replacement) error { return p.attach(cfg.Interfaces[0]) })
		}},
		{"all attached", false, func(t *testing.T, r *router, cfg Config) {
			r.cutOff(t, cfg, func(p *replacement) error {
				return errors.Join(p.attach(cfg.Interfaces[0]), p.attach(cfg.Interfaces[1]))
			})
		}},
		{"all attached, tables resized", false, func(t *testing.T, r *router, cfg Config) {
			cfg.MaxFlows *= 2
			r.cutOff(t, cfg, func(p *replacement) error {
				return errors.Join(p.copyEntries(), p.attach(cfg.Interfaces[0]), p.attach(cfg.Interfaces[1]), p.copyEntries())
			})
		}},
		{"next policy half pinned", false, func(t *testing.T, r *router, cfg Config) {
			if err := os.MkdirAll(filepath.Join(r.pin, dirNext), 0o700); err != nil {
				t.Fatal(err)
			}
			m, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 4, MaxEntries: 1})
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close()
			if err := m.Pin(filepath.Join(r.pin, dirNext, "l2_counters")); err != nil {
				t.Fatal(err)
			}
		}},
		{"old policy gone, next not in its place", false, func(t *testing.T, r *router, cfg Config) {
			if err := os.Rename(filepath.Join(r.pin, dirPolicy), filepath.Join(r.pin, dirNext)); err != nil {
				t.Fatal(err)
			}
		}},
		{"no policy", false, func(t *testing.T, r *router, cfg Config) {
			if err := os.RemoveAll(filepath.Join(r.pin, dirPolicy)); err != nil {
				t.Fatal(err)
			}
		}},
		{"programs not pinned", false, func(t *testing.T, r *router, cfg Config) {
			if err := os.RemoveAll(filepath.Join(r.pin, dirPrograms)); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		name := c.name
		if c.fresh {
			name = "fresh, " + name
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRouter(t)
			old := r.config(testPolicy{id: 1, masquerade: true})
			var conns []stream
			if !c.fresh {
				r.mustApply(old).Close()
				conns = r.streams(t, families[0], 9004, 3)
			}
			cfg := r.config(testPolicy{id: 2, masquerade: true})
			c.kill(t, r, cfg)
			talkAll(t, conns) // the halves get on
			if !c.fresh {
				conns = append(conns, r.streams(t, families[1], 9004, 3)...)
			}
			for _, next := range []Config{cfg, old} {
				d := r.mustApply(next)
				begun := stat(t, d, "flow_new")
				talkAll(t, conns)
				if n := stat(t, d, "flow_new") - begun; n != 0 {
					t.Errorf("%d connections had to be picked up", n)
				}
				if err := exchangeThrough(t, r, 9005+uint16(next.Policy.Hash()[0])); err != nil {
					t.Error(err)
				}
				if len(conns) > 0 && len(flows(t, d, flow.Filter{Port: 9004})) != len(conns) {
					t.Error("flows are lost")
				}
				var dirs []string
				entries, err := os.ReadDir(r.pin)
				if err != nil {
					t.Fatal(err)
				}
				for _, e := range entries {
					dirs = append(dirs, e.Name())
				}
				if want := []string{dirLinks, dirPolicy, dirPrograms, dirState}; !slices.Equal(dirs, want) {
					t.Errorf("%v below the pin path, not %v", dirs, want)
				}
				// One program a hook, and of one generation.
				attached := r.attached(t)
				if len(attached) != 6 {
					t.Errorf("attached: %v", attached)
				}
				for _, hook := range []string{"ingress 0", "egress 0", "xdp"} {
					if attached["lan0 "+hook] != attached["wan0 "+hook] {
						t.Errorf("%s: programs of two generations: %v", hook, attached)
					}
				}
				d.Close()
			}
		})
	}
}

// TestKilledBetweenDirectories: of the one moment in which there is no policy
// directory, nothing is lost either.
func TestKilledBetweenDirectories(t *testing.T) {
	t.Parallel()
	r := newRouter(t)
	cfg := r.config(testPolicy{masquerade: true, countStates: true})
	d := r.mustApply(cfg)
	if err := exchangeThrough(t, r, 9020); err != nil {
		t.Fatal(err)
	}
	before := stateCounters(t, d)
	d.Close()
	if err := os.Rename(filepath.Join(r.pin, dirPolicy), filepath.Join(r.pin, dirNext)); err != nil {
		t.Fatal(err)
	}
	d = r.mustApply(cfg)
	if after := stateCounters(t, d); before["forward new"] != 2 || after["forward new"] != 2 {
		t.Errorf("counters %v, before %v", after, before)
	}
}

// cutOff does an Apply as far as f does, and lets go of everything.
func (r *router) cutOff(t *testing.T, cfg Config, f func(*replacement) error) {
	t.Helper()
	r.in("r", func() error {
		p, err := newReplacement(cfg)
		if err != nil {
			return err
		}
		defer p.close()
		if err := os.MkdirAll(filepath.Join(cfg.PinPath, dirLinks), 0o700); err != nil {
			return err
		}
		if err := p.stagePins(); err != nil {
			return err
		}
		return f(p)
	})
}

// TestResize: tables of another size keep their flows.
func TestResize(t *testing.T) {
	t.Parallel()
	r := newRouter(t)
	cfg := r.config(testPolicy{masquerade: true})
	cfg.Timeouts.UDPUnreplied = time.Hour // longer than a busy machine loads programs
	d := r.mustApply(cfg)
	conns := r.streams(t, families[0], 9010, 20)
	udp := r.udp(t, "l", at(families[0].lan, 5500)) // half open
	if _, err := udp.WriteToUDPAddrPort([]byte("x"), at(families[0].wanless, 5501)); err != nil {
		t.Fatal(err)
	}
	eventually(t, patience, "half-open flow", func() bool { return len(flows(t, d, flow.Filter{Port: 5500})) == 1 })
	for _, size := range []struct{ flows, half uint32 }{{2048, 512}, {2048, 128}, {100, 1024}} {
		cfg.MaxFlows, cfg.MaxHalfOpen = size.flows, size.half
		d = r.mustApply(cfg)
		begun := stat(t, d, "flow_new")
		talkAll(t, conns)
		if n := stat(t, d, "flow_new") - begun; n != 0 {
			t.Errorf("%+v: %d connections had to be picked up", size, n)
		}
		if n := len(flows(t, d, flow.Filter{Protocol: "tcp"})); n != len(conns) {
			t.Errorf("%+v: %d flows, not %d", size, n, len(conns))
		}
		if n := len(flows(t, d, flow.Filter{Port: 5500})); n != 1 {
			t.Errorf("%+v: %d half-open flows, not 1", size, n)
		}
		for name, want := range map[string]uint32{"l2_flows": 2 * size.flows, "l2_half_open": 2 * size.half} {
			m, err := ebpf.LoadPinnedMap(filepath.Join(r.pin, dirState, name), nil)
			if err != nil {
				t.Fatal(err)
			}
			if m.MaxEntries() != want {
				t.Errorf("%s: %d entries pinned, not %d", name, m.MaxEntries(), want)
			}
			m.Close()
		}
		if s, err := d.Status(); err != nil || s.Flows.MaxConfirmed != size.flows || s.Flows.MaxHalfOpen != size.half {
			t.Errorf("status %+v, %v", s.Flows, err)
		}
	}
	// Fewer than there are: what fits is kept.
	cfg.MaxFlows = 10
	d = r.mustApply(cfg)
	if n := len(flows(t, d, flow.Filter{Protocol: "tcp"})); n < 5 || n > 10 {
		t.Errorf("%d flows in a table of 10", n)
	}
	// No half of one is.
	confirmed := r.stateMap(t, "l2_flows")
	r.eachFlow(t, "l2_flows", func(key *l2TCTuple, f *l2TCFlow) bool {
		other := otherDirection(key, f)
		if err := confirmed.Lookup(&other, new(l2TCFlow)); err != nil {
			t.Errorf("the other direction of %v: %v", key, err)
		}
		return true
	})
}

// TestUnknownLayout: what cannot be carried over is not thrown away.
func TestUnknownLayout(t *testing.T) {
	t.Parallel()
	r := newRouter(t)
	cfg := r.config(testPolicy{masquerade: true})
	r.mustApply(cfg).Close()
	conns := r.streams(t, families[0], 9011, 1)
	path := filepath.Join(r.pin, dirState, "l2_frags")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	m, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.LRUHash, KeySize: 40, ValueSize: 44, MaxEntries: 8192})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if err := m.Pin(path); err != nil {
		t.Fatal(err)
	}
	programs, pins := r.attached(t), r.pins(t)
	cfg.Policy = testPolicy{id: 9}
	if _, err := r.apply(cfg); err == nil || !strings.Contains(err.Error(), "l2_frags") || !strings.Contains(err.Error(), "no type information") || !strings.Contains(err.Error(), "l2ctl detach") {
		t.Errorf("error %v", err)
	}
	if !maps.Equal(programs, r.attached(t)) || !maps.Equal(pins, r.pins(t)) {
		t.Error("programs or pins have changed")
	}
	talkAll(t, conns)
	// What the error advises helps.
	r.in("r", func() error { return Detach(r.pin) })
	r.mustApply(cfg)
}

// TestInterfaceAgain: an interface that was removed and added has another
// index, and dead links.
func TestInterfaceAgain(t *testing.T) {
	t.Parallel()
	r := newRouter(t)
	cfg := r.config(testPolicy{masquerade: true})
	d := r.mustApply(cfg)
	if err := exchangeThrough(t, r, 9012); err != nil {
		t.Fatal(err)
	}
	r.batch("r", "link del wan0",
		"link add wan0 type veth peer name eth0 netns "+r.name+"w",
		"addr add 198.51.7.1/24 dev wan0", "addr add 2001:db8:7::1/64 dev wan0 nodad", "link set wan0 up")
	r.batch("w", "addr add 198.51.7.2/24 dev eth0", "addr add 2001:db8:7::2/64 dev eth0 nodad", "link set eth0 up")
	r.must("ip", "netns", "exec", r.name+"w", "ethtool", "-K", "eth0", "tx", "off", "gro", "on")
	again := r.config(testPolicy{masquerade: true})
	if again.Interfaces[1].Index == cfg.Interfaces[1].Index {
		t.Fatal("the same index")
	}
	// By the process that runs it, and by another.
	if err := r.do("r", func() error { return d.Replace(again) }); err != nil {
		t.Fatal(err)
	}
	if err := exchangeThrough(t, r, 9013); err != nil {
		t.Error(err)
	}
	d.Close()
	d = r.mustApply(again)
	if err := exchangeThrough(t, r, 9014); err != nil {
		t.Error(err)
	}
	if n := len(r.attached(t)); n != 6 {
		t.Errorf("%d programs attached, not 6", n)
	}

	// Without it: its programs and its port are gone.
	wan := again.Interfaces[1].Index
	again.Interfaces = again.Interfaces[:1]
	r.in("r", func() error { return d.Replace(again) })
	for name := range r.attached(t) {
		if strings.HasPrefix(name, "wan0") {
			t.Errorf("%s is still attached", name)
		}
	}
	names, err := AttachedInterfaces(r.pin)
	if err != nil || !slices.Equal(names, []string{"lan0"}) {
		t.Errorf("attached to %v, %v", names, err)
	}
	for name, ids := range r.state(t, d) {
		if name == fmt.Sprint("l2_xdp_ports ", wan) || name == fmt.Sprint("l2_ifaces ", wan) && strings.Trim(ids, "0") != "" {
			t.Errorf("%s is still there: %s", name, ids)
		}
	}
}

// TestDetach leaves nothing: no program, no pin, no map.
func TestDetach(t *testing.T) {
	t.Parallel()
	r := newRouter(t)
	if err := r.do("r", func() error { return Detach(r.pin) }); err == nil {
		t.Error("nothing to detach, and no error")
	}
	d := r.mustApply(r.config(testPolicy{masquerade: true}))
	if err := exchangeThrough(t, r, 9015); err != nil {
		t.Fatal(err)
	}
	pins, programs := r.pins(t), r.attached(t)
	if len(programs) != 6 {
		t.Errorf("attached: %v", programs)
	}
	d.Close()
	r.in("r", func() error { return Detach(r.pin) })
	if left := r.attached(t); len(left) != 0 {
		t.Errorf("still attached: %v", left)
	}
	if _, err := os.Stat(r.pin); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s is left: %v", r.pin, err)
	}
	// The kernel frees them in its own time; a timer or a work item that held
	// on to its program would keep them for ever.
	eventually(t, patience, "programs and maps freed", func() bool {
		for name, id := range pins {
			dir, _, _ := strings.Cut(name, "/")
			switch dir {
			case dirLinks:
			case dirPrograms:
				if p, err := ebpf.NewProgramFromID(ebpf.ProgramID(id)); err == nil {
					p.Close()
					return false
				}
			default:
				if m, err := ebpf.NewMapFromID(ebpf.MapID(id)); err == nil {
					m.Close()
					return false
				}
			}
		}
		return true
	})
	if out := r.must("ip", "-n", r.name+"r", "-d", "link"); strings.Contains(out, "prog/xdp") {
		t.Errorf("ip shows a program:\n%s", out)
	}
}

// TestDetachedAgain: links that were detached by a replacement which fails behind that are there again, with their
// programs.
func TestDetachedAgain(t *testing.T) {
	t.Parallel()
	r := newRouter(t)
	r.mustApply(r.config(testPolicy{masquerade: true}))
	before, pins := r.attached(t), r.pins(t)
	r.in("r", func() error {
		done, err := detachOthers(r.pin, map[string]bool{"lan0_ingress": true})
		if len(done) < 3 {
			err = errors.Join(err, fmt.Errorf("%d were detached", len(done)))
		}
		for _, d := range done {
			err = errors.Join(err, d.attachAgain())
		}
		closeDetached(done)
		return err
	})
	if after := r.attached(t); !reflect.DeepEqual(after, before) {
		t.Errorf("attached %v, and before %v", after, before)
	}
	for name := range pins {
		if _, there := r.pins(t)[name]; !there {
			t.Errorf("%s is not pinned", name)
		}
	}
	if err := exchangeThrough(t, r, 9016); err != nil {
		t.Error(err)
	}
}

// TestQueueManager: XDP does not send past a queue manager.
func TestQueueManager(t *testing.T) {
	t.Parallel()
	for name, manage := range map[string]func(r *router, cfg *Config){
		"none": func(*router, *Config) {},
		"found": func(r *router, _ *Config) {
			r.must("tc", "-n", r.name+"r", "qdisc", "add", "dev", "wan0", "root", "tbf", "rate", "10gbit", "burst", "10m", "latency", "50ms")
		},
		"configured": func(_ *router, cfg *Config) { cfg.Interfaces[1].AQM = true },
		"of others": func(r *router, _ *Config) {
			r.must("tc", "-n", r.name+"r", "qdisc", "add", "dev", "wan0", "root", "pfifo")
		},
		"XDP off": func(_ *router, cfg *Config) { cfg.Interfaces[1].XDP = XDPOff },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRouter(t)
			cfg := r.config(testPolicy{masquerade: true})
			manage(r, &cfg)
			d := r.mustApply(cfg)
			lan, wan := r.tap(t, "l"), r.tap(t, "w")
			f := families[0]
			src, dst := at(f.lan, 5600), at(f.wanless, 5601)
			there := ipPacket(src.Addr(), dst.Addr(), 17, 64, udpDatagram(src, dst, []byte("there")))
			back := ipPacket(dst.Addr(), f.rwan, 17, 64, udpDatagram(dst, at(f.rwan, 5600), []byte("back")))
			ways := map[string]uint64{}
			for range 10 {
				for way, send := range map[string]func(){
					"lan to wan": func() {
						lan.send(there)
						wan.receive("datagram", func(p packet) bool { return p.dst == dst })
					},
					"wan to lan": func() {
						if ways["lan to wan"] == 0 {
							lan.send(there)
							wan.receive("datagram", func(p packet) bool { return p.dst == dst })
						}
						wan.send(back)
						lan.receive("datagram", func(p packet) bool { return p.dst == src })
					},
				} {
					before := stat(t, d, "xdp_forwarded")
					send()
					ways[way] += stat(t, d, "xdp_forwarded") - before
				}
			}
			s, err := d.Status()
			if err != nil {
				t.Fatal(err)
			}
			past := name == "none" || name == "of others"
			if got := ways["lan to wan"] > 0; got != past {
				t.Errorf("XDP sent by wan0: %v, %v", got, ways)
			}
			if got := ways["wan to lan"] > 0; got != (name != "XDP off") {
				t.Errorf("XDP sent by lan0: %v, %v", got, ways)
			}
			w := s.Interfaces[1]
			if w.XDPRedirect != past || w.AQM != (name == "found" || name == "configured") || (w.XDP == XDPOff) != (name == "XDP off") {
				t.Errorf("status %+v", w)
			}
		})
	}
}

// TestPortsCloseQuietly: no packet is lost while XDP learns that it may not
// send by an interface any more.
func TestPortsCloseQuietly(t *testing.T) {
	t.Parallel()
	r := newRouter(t)
	cfg := r.config(testPolicy{masquerade: true})
	d := r.mustApply(cfg)
	lan, wan := r.tap(t, "l"), r.tap(t, "w")
	f := families[0]
	src, dst := at(f.lan, 5610), at(f.wanless, 5611)
	send := func() {
		lan.send(ipPacket(src.Addr(), dst.Addr(), unix.IPPROTO_UDP, 64, udpDatagram(src, dst, []byte("there"))))
	}
	send()
	wan.receive("datagram", func(p packet) bool { return p.dst == dst })
	wan.send(ipPacket(dst.Addr(), f.rwan, unix.IPPROTO_UDP, 64, udpDatagram(dst, at(f.rwan, 5610), []byte("back"))))
	lan.receive("answer", func(p packet) bool { return p.dst == src })
	for _, aqm := range []bool{true, false, true} {
		cfg.Interfaces[1].AQM = aqm
		replaced := make(chan error)
		go func() { replaced <- r.do("r", func() error { return d.Replace(cfg) }) }()
		sent := 0
		for more := 300; more > 0; {
			select {
			case err := <-replaced:
				if err != nil {
					t.Fatal(err)
				}
				replaced = nil
			case <-time.After(500 * time.Microsecond):
				send()
				sent++
			}
			if replaced == nil {
				more--
			}
		}
		// The last ones may be on their way still, on a busy machine.
		got := 0
		for end := time.Now().Add(10 * time.Second); got < sent && time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
			for _, p := range wan.drain() {
				if p.dst == dst {
					got++
				}
			}
		}
		if got != sent {
			t.Errorf("AQM %v: %d of %d packets arrived", aqm, got, sent)
		}
	}
}
