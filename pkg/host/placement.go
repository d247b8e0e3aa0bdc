// SPDX-License-Identifier: GPL-2.0-only

package host

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/randomizedcoder/l2d/pkg/config"
	"github.com/randomizedcoder/l2d/pkg/cpus"
	"github.com/randomizedcoder/l2d/pkg/reconcile"
)

// Ranks of what is about CPUs, behind those of a NIC's settings: new queues have new
// interrupts, and no steering.
const (
	irqRank = nicRank + 40 + iota
	threadedRank
	rpsRank
	xpsRank
	threadsRank
	governorRank
)

// placer collects the resources that are about CPUs.
type placer struct {
	root string
	c    *config.Config
	out  []reconcile.Resource
	errs []error
	// radios that have taken a CPU of a list of them, by the list's text.
	radios map[string][]string
	// placed is what places a device's interrupts, by the device.
	placed map[string]string
	// refused says that the dataplane's CPUs are, or cannot be read: what is placed on them
	// is not looked at.
	refused bool
}

// cpuResources are those of a configuration that are about CPUs: who serves the interrupts
// of NICs and their queues, and governors.
func cpuResources(root string, c *config.Config) ([]reconcile.Resource, error) {
	p := &placer{root: root, c: c, radios: map[string][]string{}, placed: map[string]string{}, refused: !c.Sound("dataplane.cpus")}
	p.machine()
	named := map[string]bool{}
	for i := range c.Host.NICs {
		if n := &c.Host.NICs[i]; !absent(n) {
			named[n.Name] = n.IRQs != nil
			p.nic(n)
		}
	}
	if len(c.Dataplane.CPUs) > 0 && !p.refused {
		p.dataplane(named)
	}
	return p.out, errors.Join(p.errs...)
}

// machine checks the dataplane's CPUs, and has governors for those that have one
// declared.
func (p *placer) machine() {
	if len(p.c.Dataplane.CPUs) == 0 && len(p.c.Host.Governors) == 0 {
		return
	}
	m, err := cpus.Read(p.root)
	if err != nil {
		p.errs = append(p.errs, err)
		return
	}
	if problem, want := m.Refuses(p.c.Dataplane.CPUs); problem != "" {
		e := p.c.Dataplane.CPUsAt(p.c.Path)
		e.Problem, e.Want = problem, want
		p.errs, p.refused = append(p.errs, e), true
	}
	for i := range p.c.Host.Governors {
		g := &p.c.Host.Governors[i]
		list := g.CPUs
		if list == nil {
			list = m.Online
		}
		if problem, want := m.Refuses(list); problem != "" {
			e := g.At(p.c.Path)
			e.Problem, e.Want = problem, want
			p.errs = append(p.errs, e)
			continue
		}
		for _, n := range list {
			p.add(GovernorKind, "cpu"+strconv.Itoa(n), governorRank, false, g.At(p.c.Path), reconcile.State{valueKey: g.Name})
		}
	}
}

func (p *placer) add(kind, name string, rank int, enforce bool, at config.Error, want reconcile.State) {
	p.out = append(p.out, reconcile.Resource{
		Kind: kind, Name: name, Want: want, Rank: rank, Enforce: enforce,
		At: reconcile.PlaceOf(at),
	})
}

func (p *placer) nic(n *config.NIC) {
	good := func(q *config.Queues) bool { return q != nil && !q.Keep && !(q.Dataplane && p.refused) }
	if good(n.IRQs) {
		p.interrupts(n.Name, n.Enforce, n.IRQs.At(p.c.Path, n.Name, "irqs"), p.spread(n.IRQs))
	}
	if n.Threaded != nil {
		p.add(ThreadedKind, n.Name, threadedRank, n.Enforce, n.At(p.c.Path), reconcile.State{valueKey: onOff(*n.Threaded)})
	}
	if good(n.Threads) {
		p.add(ThreadsKind, n.Name, threadsRank, n.Enforce, n.Threads.At(p.c.Path, n.Name, "threads"), reconcile.State{cpusKey: p.spread(n.Threads).String()})
	}
	if good(n.RPS) || n.Flows != nil {
		at, want := n.At(p.c.Path), reconcile.State{}
		if good(n.RPS) {
			at, want[cpusKey] = n.RPS.At(p.c.Path, n.Name, "rps"), p.spread(n.RPS).String()
		}
		if n.Flows != nil {
			want[flowsKey] = strconv.FormatUint(uint64(*n.Flows), 10)
		}
		p.add(RPSKind, n.Name, rpsRank, n.Enforce, at, want)
	}
	if good(n.XPS) {
		p.add(XPSKind, n.Name, xpsRank, n.Enforce, n.XPS.At(p.c.Path, n.Name, "xps"), reconcile.State{cpusKey: p.spread(n.XPS).String()})
	}
}

// spread is the sets of CPUs that a file says.
func (p *placer) spread(q *config.Queues) spread {
	sets := spread(q.Sets)
	if q.Dataplane {
		sets = spread{p.c.Dataplane.CPUs}
	}
	if !q.Each || len(sets) != 1 {
		return sets
	}
	out := make(spread, len(sets[0]))
	for i, n := range sets[0] {
		out[i] = []int{n}
	}
	return out
}

// dataplane has the interrupts of the dataplane's interfaces on its CPUs, but for those that
// the file says something else of. They are put back when something else moves them.
func (p *placer) dataplane(named map[string]bool) {
	for i := range p.c.Dataplane.Interfaces {
		name := p.c.Dataplane.Interfaces[i].Name
		if list, err := Interrupts(p.root, name); named[name] || err == nil && len(list) == 0 || isForeign(p.root, name) {
			continue // a virtual interface has none, and those of another namespace are not ours
		}
		p.interrupts(name, true, p.c.Dataplane.CPUsAt(p.c.Path), p.spread(&config.Queues{Dataplane: true, Each: true}))
	}
}

// interrupts places those of an interface. A radio has all of them on one CPU, that of
// its default queue; radios with the same list get one after the other of it.
func (p *placer) interrupts(name string, enforce bool, at config.Error, s spread) {
	device, err := filepath.EvalSymlinks(filepath.Join(p.root, "sys/class/net", name, "device"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		p.errs = append(p.errs, err)
		return
	}
	if _, err := os.Stat(filepath.Join(p.root, "sys/class/net", name, "phy80211")); err == nil {
		radios := p.radios[s.String()]
		i := slices.Index(radios, device)
		if i < 0 {
			i = len(radios)
			p.radios[s.String()] = append(radios, device)
		}
		s = s[i%len(s) : i%len(s)+1]
	}
	if other, again := p.placed[device]; again && device != "" {
		if other != s.String() {
			at.Value, at.Problem, at.Want = s.String(), fmt.Sprintf("%s has the same device as another interface, whose interrupts are placed on %s", name, other), "the same CPUs for both"
			p.errs = append(p.errs, at)
		}
		return
	}
	p.placed[device] = s.String()
	p.add(IRQKind, name, irqRank, enforce, at, reconcile.State{cpusKey: s.String()})
}
