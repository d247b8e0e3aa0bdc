// SPDX-License-Identifier: GPL-2.0-only

package host

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/randomizedcoder/l2d/pkg/cpus"
	"github.com/randomizedcoder/l2d/pkg/reconcile"
)

// ThreadsKind is the name of [Threads].
const ThreadsKind = "threads"

// Threads is the kind of the CPUs that threads run on which poll an interface's queues, in the order of the kernel's numbers
// for these. A resource has the interface's name; its attribute cpus is a spread over the threads.
type Threads struct {
	// Root is / but in tests.
	Root string
	// ofLink are the processes that poll an interface's queues.
	ofLink func(link string) ([]int, error)
	// place has a process run on some CPUs.
	place func(pid int, list []int) error
}

// NewThreads returns the kind for the running kernel.
func NewThreads() *Threads { return &Threads{"/", napiThreads, place} }

// Name implements [reconcile.Kind].
func (*Threads) Name() string { return ThreadsKind }

// napiThreads are those that the kernel tells of. Before Linux 6.8 it does not.
func napiThreads(name string) (pids []int, err error) {
	l, err := link(name)
	if err != nil {
		return nil, err
	}
	answer, err := netdevDump(netdevNAPIGet, func(ae *netlink.AttributeEncoder) { ae.Uint32(netdevIfindex, uint32(l.Attrs().Index)) })
	if err != nil {
		return nil, err
	}
	byID := map[int]int{}
	for _, m := range answer {
		ad, err := netlink.NewAttributeDecoder(m.Data)
		if err != nil {
			return nil, err
		}
		id, pid := 0, 0
		for ad.Next() {
			switch ad.Type() {
			case netdevNAPIID:
				id = int(ad.Uint32())
			case netdevNAPIPID:
				pid = int(ad.Uint32())
			}
		}
		if err := ad.Err(); err != nil {
			return nil, err
		}
		if pid != 0 {
			byID[id] = pid
		}
	}
	return byNumber(byID), nil
}

// byNumber are the values of a map in the order of its keys.
func byNumber(m map[int]int) (out []int) {
	for _, k := range slices.Sorted(maps.Keys(m)) {
		out = append(out, m[k])
	}
	return out
}

// place is sched_setaffinity(2).
func place(pid int, list []int) error {
	var set unix.CPUSet
	for _, n := range list {
		set.Set(n)
	}
	if err := unix.SchedSetaffinity(pid, &set); err != nil {
		return fmt.Errorf("process %d on CPUs %s: %w", pid, cpus.Format(list), err)
	}
	return nil
}

// threads are the processes that poll an interface's queues. Those of a radio have its name: the NAPI of a driver such as mt76
// is that of a device that nothing tells of.
func (k *Threads) threads(link string) ([]int, error) {
	dir, err := radioDir(k.Root, link)
	if errors.Is(err, fs.ErrNotExist) {
		return k.ofLink(link)
	}
	if err != nil {
		return nil, err
	}
	prefix := "napi/" + filepath.Base(dir) + "-"
	found, err := filepath.Glob(filepath.Join(k.Root, "proc/[0-9]*/comm"))
	if err != nil {
		return nil, err
	}
	byID := map[int]int{}
	for _, path := range found {
		b, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		number, ok := strings.CutPrefix(strings.TrimSpace(string(b)), prefix)
		id, err := strconv.Atoi(number)
		pid, err2 := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if ok && err == nil && err2 == nil {
			byID[id] = pid
		}
	}
	return byNumber(byID), nil
}

// Check implements [reconcile.Kind].
func (k *Threads) Check(_ context.Context, r *reconcile.Resource) []reconcile.Problem {
	if isForeign(k.Root, r.Name) {
		return foreignProblem(r)
	}
	if p := checkSpread(k.Root, r, cpus.Machine.Refuses); p != nil {
		return []reconcile.Problem{*p}
	}
	if _, err := os.Stat(filepath.Join(k.Root, "sys/class/net", r.Name)); err != nil {
		return []reconcile.Problem{queueProblem(k.Root, r, ThreadsKind, err)}
	}
	list, err := k.threads(r.Name)
	if err != nil || len(list) == 0 {
		return []reconcile.Problem{{Resource: r, Problem: "no thread polls its queues now: that takes threaded: true and an interface that is up, or a radio whose driver has threads", Skip: true}}
	}
	return nil
}

// Observe implements [reconcile.Kind].
func (k *Threads) Observe(_ context.Context, name string, keys []string) (reconcile.State, error) {
	if len(keys) == 0 {
		return reconcile.State{}, nil
	}
	list, err := k.threads(name)
	if err == nil && len(list) == 0 {
		err = fs.ErrNotExist
	}
	if err != nil {
		return nil, fmt.Errorf("threads of %s: %w", name, err)
	}
	have := make(spread, len(list))
	for i, pid := range list {
		if have[i], err = k.allowed(pid); err != nil {
			return nil, err
		}
	}
	return reconcile.State{cpusKey: have.String()}, nil
}

// allowed are the CPUs that a process may run on.
func (k *Threads) allowed(pid int) ([]int, error) {
	path := filepath.Join(k.Root, "proc", strconv.Itoa(pid), "status")
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(b)) {
		if text, ok := strings.CutPrefix(line, "Cpus_allowed_list:"); ok {
			return cpus.Parse(strings.TrimSpace(text))
		}
	}
	return nil, fmt.Errorf("%s: no Cpus_allowed_list", path)
}

// Same implements [reconcile.Kind].
func (*Threads) Same(_, want, have string) bool { return sameSpread(want, have) }

// Effect implements [reconcile.Kind].
func (*Threads) Effect(string, reconcile.State) reconcile.Effect {
	return reconcile.Effect{Impact: reconcile.InPlace}
}

// Before implements [reconcile.Kind].
func (k *Threads) Before(ctx context.Context, name string, to reconcile.State) (reconcile.State, error) {
	return k.Observe(ctx, name, to.Keys())
}

// Set implements [reconcile.Kind].
func (k *Threads) Set(_ context.Context, name string, to reconcile.State) error {
	text, ok := to[cpusKey]
	if !ok {
		return nil
	}
	s, err := parseSpread(text)
	if err != nil {
		return err
	}
	list, err := k.threads(name)
	if err != nil || len(list) == 0 {
		return errors.Join(err, fmt.Errorf("threads of %s: %w", name, fs.ErrNotExist))
	}
	for i, set := range s.over(len(list)) {
		if err := k.place(list[i], set); err != nil {
			return err
		}
	}
	return nil
}
