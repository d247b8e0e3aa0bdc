// SPDX-License-Identifier: GPL-2.0-only

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"

	"github.com/randomizedcoder/l2d/internal/mapdiff"
	"github.com/randomizedcoder/l2d/internal/mishap"
	"github.com/randomizedcoder/l2d/internal/servicetest"
	"github.com/randomizedcoder/l2d/pkg/api"
	"github.com/randomizedcoder/l2d/pkg/enforce"
	"github.com/randomizedcoder/l2d/pkg/reconcile"
)

var (
	stepsApart = flag.Int("l2d.steps", 0, "TestSteps: which steps to stop a daemon at: 1 is each of them, 2 every other one, ...; 0 is one of one plan")
	stepsFirst = flag.Int("l2d.first", 0, "TestSteps: the first of these steps, to go on where a run has ended")
	stepsSeed  = flag.Uint64("l2d.seed", 1, "TestSteps: the seed by which that one is found, if -l2d.steps is 0")
)

// declared are the files of a router at one time. Ways from one to another have all that a plan can have: what is
// made, changed and gone, of the host, the ruleset and the services.
type declared struct{ ruleset, interfaces, host, services string }

var declarations = []declared{
	{ruleset: ruleset, interfaces: "{name: wan0}, {name: br0}"},
	{
		ruleset:    strings.Replace(ruleset, "tcp dport 22 accept", "tcp dport 23 accept\n\t\tudp dport { 53, 67 } accept", 1),
		interfaces: "{name: wan0}, {name: br0}",
		host:       "  sysctl: {net.ipv4.tcp_fin_timeout: 31, net.ipv4.conf.*.rp_filter: 2}\n  links: {keep7: {kind: bridge, addresses: [198.51.100.1/24]}}\n  qdiscs: {wan0: {root: {kind: htb, default: \"1:1\", classes: {\"1:1\": {rate: 1gbit}}}}}\n",
		services:   "listen: [127.0.0.1]",
	},
	{
		// The set that was given elements at run time goes.
		ruleset:    strings.NewReplacer("tcp dport 22 accept", "tcp dport 24 counter accept", "set s ", "set other ", "@s", "@other").Replace(ruleset),
		interfaces: "{name: wan0}, {name: keep7}",
		host:       "  sysctl: {net.ipv4.tcp_fin_timeout: 32}\n  links: {keep7: {kind: bridge, addresses: [198.51.100.2/24]}}\n  nics: {wan0: {mtu: 1400, features: {rx-gro: false}}}\n",
		services:   "listen: [127.0.0.1], allow: [127.0.0.0/8, 198.51.100.0/24]",
	},
}

// router is a host with a daemon that can be stopped at its steps.
type router struct {
	*host
	recursor string // the program
	p        *daemonProcess
	watched  *mishap.Process
}

// declare writes the files.
func (r *router) declare(d declared) {
	r.t.Helper()
	text := strings.Replace(r.config(), "{name: wan0}, {name: br0}, {name: late0, optional: true}", d.interfaces, 1) + d.host
	if d.services != "" {
		text += fmt.Sprintf("services: {recursor: {mode: child, binary: %q, %s}}\n", r.recursor, d.services)
	}
	r.write("firewall.nft", d.ruleset)
	r.write("l2d.yaml", text)
}

// begin starts a daemon whose steps are watched.
func (r *router) begin() {
	r.t.Helper()
	space, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", r.holder.Process.Pid))
	if err != nil {
		r.t.Fatal(err)
	}
	r.p = r.startBy(func(p *daemonProcess) (err error) {
		r.watched, err = mishap.Start(p.Cmd, space)
		return err
	})
	r.expect("READY=1")
}

// thereAndBack makes the changes of the files, which wait for a confirmation, and undoes them.
func (r *router) thereAndBack() error {
	ctx, c := r.t.Context(), r.client()
	a, err := c.HostApply(ctx, api.HostOptions{Confirm: time.Hour})
	if err != nil {
		return err
	}
	if a.Pending == nil {
		return errors.New("there was nothing to change")
	}
	return c.HostRollback(ctx, a.Pending.ID)
}

// comeBack is what an operator does when the daemon was killed, or could not undo all: there is another one. Until
// the files are a revision they are only a wish, which is taken back.
func (r *router) comeBack(before declared, revisions int) {
	r.t.Helper()
	_ = r.p.Process.Kill() // has been already
	_ = r.p.Wait()
	list, err := revisionsOf(r.path("state")).List()
	if err != nil {
		r.t.Fatal(err)
	}
	if list[0].Number == revisions {
		r.declare(before)
	}
	r.begin()
	if p := r.status().Host.Pending; p != nil && p.Phase == reconcile.Waiting {
		if err := r.client().HostRollback(r.t.Context(), p.ID); err != nil {
			r.t.Fatal(err)
		}
	}
}

// set is the one that elements are given to.
func (r *router) set() api.SetName {
	r.t.Helper()
	rules, err := r.client().Rules(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	name := api.SetName{Family: "inet", Table: "filter", Set: "s"}
	if strings.Contains(rules.Text, "set other ") {
		name.Set = "other"
	}
	return name
}

// latest is the number of the latest revision.
func (r *router) latest() int {
	r.t.Helper()
	list, err := r.client().HostRevisions(r.t.Context())
	if err != nil || len(list) == 0 {
		r.t.Fatalf("%v, %v", list, err)
	}
	return list[0].Number
}

// state is all that a plan can change, as the kernel, the daemon and the files have it.
func (r *router) state() map[string]string {
	r.t.Helper()
	out := map[string]string{}
	for _, args := range []string{
		"ip -d -o link", "ip -o address", "ip -4 -o route show table all", "tc qdisc", "nft list ruleset", "ethtool -k wan0",
		"sysctl net.ipv4.tcp_fin_timeout net.ipv4.conf.wan0.rp_filter net.ipv4.conf.br0.rp_filter net.ipv4.conf.default.rp_filter",
	} {
		words := strings.Fields(args)
		text, err := r.command(words[0], words[1:]...).CombinedOutput()
		if err != nil {
			r.t.Fatalf("%s: %v: %s", args, err, text)
		}
		out[args] = passing.ReplaceAllString(string(text), "")
	}
	maps.Copy(out, r.programs())
	rules, err := r.client().Rules(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	out["ruleset"] = rules.Text
	elements, err := r.client().SetList(r.t.Context(), r.set())
	if err != nil {
		r.t.Fatal(err)
	}
	for _, e := range elements {
		out["set"] += fmt.Sprintf("%s expires %t\n", e.Value, e.Expires > 0)
	}
	services, err := r.client().Services(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	for _, s := range services {
		out["service "+s.Name] = fmt.Sprint(s.Running, s.Error)
	}
	s := r.status()
	for i := range s.Dataplane.Interfaces {
		// The kernel has refused native XDP: with which error, is as it fails just then.
		if note := &s.Dataplane.Interfaces[i].Note; strings.Contains(*note, "attach the xdp program") {
			*note = "refused"
		}
	}
	out["daemon"] = fmt.Sprint("attached ", s.Attached, ", pending ", s.Host.Pending != nil, ", ", s.Dataplane.Interfaces)
	processes, err := filepath.Glob("/proc/[0-9]*/exe")
	if err != nil {
		r.t.Fatal(err)
	}
	for _, exe := range processes {
		if program, err := os.Readlink(exe); err == nil && program == r.recursor {
			out["processes"] += "recursor "
		}
	}
	r.files(out, "run")
	r.files(out, "state/services")
	return out
}

// passing is what the kernel numbers, or what passes by itself.
var passing = regexp.MustCompile(`(?m)^\d+:|@if\d+|(valid|preferred)_lft \w+|(qdisc \w+) [0-9a-f]+:|[a-z_]*timer +[0-9.]+|prog/xdp id \d+ .*|NO-CARRIER,|,LOWER_UP|state [A-Z]+ | linkdown| tentative`)

// files adds those below a directory. What a service has noted is its own, and what was kept to undo by is of no use any more.
func (r *router) files(out map[string]string, dir string) {
	r.t.Helper()
	err := filepath.WalkDir(r.path(dir), func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() || !r.counts(path) {
			return err
		}
		b, err := os.ReadFile(path)
		info, statErr := e.Info()
		out[path] = fmt.Sprintf("%v\n%s", info.Mode(), b)
		return errors.Join(err, statErr)
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		r.t.Fatal(err)
	}
}

// counts tells whether a file is a part of the state.
func (r *router) counts(path string) bool {
	name := filepath.Base(path)
	if rest, ok := strings.CutPrefix(path, r.path("state/services")+"/"); ok {
		return strings.HasSuffix(rest, "/unit.json")
	}
	return name != "pid" && !strings.HasSuffix(name, ".log") && name != "ruleset.nft"
}

// programs are what is attached to each interface: the kernel's sums of their instructions, and what is in the
// constants that they have.
func (r *router) programs() map[string]string {
	r.t.Helper()
	var all map[string]string
	err := r.inNamespace(func() (err error) {
		all, err = readPrograms()
		return err
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return all
}

// readPrograms is [router.programs] in the thread's network namespace.
func readPrograms() (map[string]string, error) {
	links, err := enforce.ReadLinks()
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	for _, name := range links.Names() {
		for _, way := range []ebpf.AttachType{ebpf.AttachTCXIngress, ebpf.AttachTCXEgress} {
			q, err := link.QueryPrograms(link.QueryOptions{Target: links[name], Attach: way})
			if err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			for _, p := range q.Programs {
				if err := describeProgram(out, fmt.Sprint(name, " ", way), p.ID); err != nil {
					return nil, err
				}
			}
		}
		l, err := netlink.LinkByName(name)
		if err != nil {
			return nil, err
		}
		if x := l.Attrs().Xdp; x != nil && x.Attached {
			if err := describeProgram(out, name+" xdp", ebpf.ProgramID(x.ProgId)); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}

// describeProgram adds a program, and those of its maps that do not change.
func describeProgram(out map[string]string, key string, id ebpf.ProgramID) error {
	p, err := ebpf.NewProgramFromID(id)
	if err != nil {
		return err
	}
	defer p.Close()
	info, err := p.Info()
	if err != nil {
		return err
	}
	out[key] += info.Name + " " + info.Tag + "\n"
	ids, _ := info.MapIDs()
	for _, id := range ids {
		if err := describeMap(out, key, id); err != nil {
			return err
		}
	}
	return nil
}

func describeMap(out map[string]string, key string, id ebpf.MapID) error {
	m, err := ebpf.NewMapFromID(id)
	if err != nil {
		return err
	}
	defer m.Close()
	info, err := m.Info()
	if err != nil || !info.Frozen() {
		return err
	}
	var k, v []byte
	for all := m.Iterate(); all.Next(&k, &v); {
		out[key+" "+info.Name+fmt.Sprintf(" %x", k)] += fmt.Sprintf("%x\n", v)
	}
	return nil
}

// isAgain waits for a state: services that have been started anew take a moment.
func (r *router) isAgain(what string, before map[string]string) {
	r.t.Helper()
	var d []string
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if d = mapdiff.Of(before, r.state()); d == nil {
			return
		}
	}
	r.t.Fatalf("%s: not undone:\n%s", what, strings.Join(d, "\n"))
}

// ways are what happens to the steps of a daemon.
var ways = []mishap.Way{mishap.Kills, mishap.Fails, mishap.FailsBehind}

// TestSteps: whichever system call of the daemon that can change something fails, or the one behind it, or is the one that
// it gets SIGKILL at, while it changes its dataplane, a service and the host, or undoes that: all is as it was, to the byte, or
// as soon as the next daemon has begun.
func TestSteps(t *testing.T) {
	servicetest.Need(t, "pdns_recursor")
	t.Logf("-l2d.seed %d", *stepsSeed)
	random := rand.New(rand.NewPCG(*stepsSeed, 1))
	only, way, at := random.IntN(len(declarations)), ways[random.IntN(len(ways))], random.IntN(200)
	for n, from := range declarations {
		to := declarations[(n+1)%len(declarations)]
		switch {
		case *stepsApart > 0:
			t.Run(fmt.Sprint(n), func(t *testing.T) {
				for _, way := range ways {
					t.Run(way.String(), func(t *testing.T) { stopEach(t, from, to, way, *stepsFirst+n%*stepsApart) }) // not the same ones of each plan
				}
			})
		case n == only:
			r := newRouter(t, from)
			defer r.end()
			before := r.state()
			for !r.stop(from, to, way, at, before) { // it has not that many
				at /= 2
			}
		}
	}
}

// stopEach stops a daemon at steps of the way from one declaration to another, from one on.
func stopEach(t *testing.T, from, to declared, way mishap.Way, first int) {
	r := newRouter(t, from)
	defer r.end()
	before := r.state()
	count, at := 0, first
	for ; r.stop(from, to, way, at, before); at += *stepsApart {
		count++
	}
	t.Logf("%s: %d steps, the last one is %d", way, count, at-*stepsApart)
	if at < 150 {
		t.Error("these are too few")
	}
}

// newRouter is one that is as declared.
func newRouter(t *testing.T, d declared) *router {
	t.Helper()
	h := newHost(t)
	h.dir, h.sysfs = servicetest.Dir(t), true // which services can enter
	h.states = readStates(t, h.path("notify"))
	h.ip("link", "set", "lo", "up")
	r := &router{host: h, recursor: servicetest.Program(t, "pdns_recursor")}
	r.declare(d)
	r.begin()
	for i, timeout := range []time.Duration{0, 24 * time.Hour} {
		if err := r.client().SetAdd(t.Context(), r.set(), fmt.Sprint("192.0.2.", 77+i), timeout); err != nil {
			t.Fatal(err)
		}
	}
	r.settled(d.services != "")
	return r
}

// settled waits until the service is well, if there is one, and the daemon's start is final, which it
// is a moment later.
func (r *router) settled(has bool) {
	r.t.Helper()
	servicetest.Eventually(r.t, func() error {
		list, err := r.client().Services(r.t.Context())
		if err == nil && (has != (len(list) == 1) || has && list[0].Error != "") {
			err = fmt.Errorf("services %+v", list)
		}
		if p := r.status().Host.Pending; err == nil && p != nil {
			err = fmt.Errorf("a change is pending: %s", p.ID)
		}
		return err
	})
}

// stop stops the daemon at a step of a plan, and tells whether it has that one. All is undone then.
func (r *router) stop(from, to declared, way mishap.Way, at int, before map[string]string) bool {
	r.t.Helper()
	begin := time.Now()
	revisions := r.latest()
	r.declare(to)
	r.watched.Arm(at, way)
	err := r.thereAndBack()
	steps, hit := r.watched.Disarm()
	what := fmt.Sprintf("%s at %d of %d, %q: %v", way, at, len(steps), hit, err)
	if hit == "" && err != nil {
		r.t.Fatal(what)
	}
	if way == mishap.Kills && hit != "" || r.status().Host.Pending != nil {
		r.comeBack(from, revisions)
	}
	r.isAgain(what, before)
	r.t.Logf("%s, %v", what, time.Since(begin).Round(time.Millisecond))
	return hit != ""
}

// end ends the service, which would go on.
func (r *router) end() {
	r.declare(declarations[0])
	if _, err := r.client().HostApply(context.Background(), api.HostOptions{}); err != nil {
		r.t.Error(err)
	}
}
