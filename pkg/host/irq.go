// SPDX-License-Identifier: GPL-2.0-only

package host

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/randomizedcoder/l2d/pkg/cpus"
	"github.com/randomizedcoder/l2d/pkg/reconcile"
)

// IRQKind is the name of [IRQ].
const IRQKind = "irq"

// IRQ is the kind of the CPUs that serve the interrupts of an interface's queues. A
// resource has the interface's name. What is wanted of its attribute cpus is a spread
// over the queues, as long as it may be; what is observed is the CPUs of each interrupt, with its
// queue: 0:2 0:2 1:3. An interrupt that is no queue's goes with the first one's.
type IRQ struct {
	// Root is / but in tests.
	Root string
}

// Name implements [reconcile.Kind].
func (*IRQ) Name() string { return IRQKind }

// Check implements [reconcile.Kind].
func (k *IRQ) Check(_ context.Context, r *reconcile.Resource) []reconcile.Problem {
	if isForeign(k.Root, r.Name) {
		return foreignProblem(r)
	}
	if p := checkSpread(k.Root, r, cpus.Machine.Refuses); p != nil {
		return []reconcile.Problem{*p}
	}
	list, err := Interrupts(k.Root, r.Name)
	if err != nil {
		return []reconcile.Problem{queueProblem(k.Root, r, IRQKind, err)}
	}
	if len(list) == 0 {
		if _, err := os.Stat(filepath.Join(k.Root, "sys/class/net", r.Name)); err != nil {
			return []reconcile.Problem{queueProblem(k.Root, r, IRQKind, err)}
		}
		return []reconcile.Problem{{Resource: r, Problem: "the interface has no interrupts: it is not a device's, or is down", Skip: true}}
	}
	return nil
}

func (k *IRQ) path(number int) string {
	return filepath.Join(k.Root, "proc/irq", strconv.Itoa(number), "smp_affinity_list")
}

// affinity is the CPUs that may serve an interrupt.
type affinity struct {
	Interrupt
	cpus string
}

func (k *IRQ) affinities(link string) ([]affinity, error) {
	list, err := Interrupts(k.Root, link)
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("interrupts of %s: %w", link, fs.ErrNotExist)
	}
	out := make([]affinity, len(list))
	for i, irq := range list {
		b, err := os.ReadFile(k.path(irq.Number))
		if err != nil {
			return nil, err
		}
		set, err := cpus.Parse(string(b))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", k.path(irq.Number), err)
		}
		out[i] = affinity{irq, cpus.Format(set)}
	}
	return out, nil
}

// Observe implements [reconcile.Kind].
func (k *IRQ) Observe(_ context.Context, name string, keys []string) (reconcile.State, error) {
	out := reconcile.State{}
	if len(keys) == 0 {
		return out, nil
	}
	list, err := k.affinities(name)
	if err != nil {
		return nil, err
	}
	words := make([]string, len(list))
	for i, a := range list {
		words[i] = strconv.Itoa(a.Queue) + ":" + a.cpus
	}
	out[cpusKey] = strings.Join(words, " ")
	return out, nil
}

// wanted returns the CPUs for the interrupts of some queues. Of what was observed
// there may be none for a queue that is new: that is empty.
func wanted(to string, queues []int) ([]string, error) {
	out := make([]string, len(queues))
	if !strings.Contains(to, ":") {
		s, err := parseSpread(to)
		if err != nil {
			return nil, err
		}
		for i, q := range queues {
			out[i] = cpus.Format(s[q%len(s)])
		}
		return out, nil
	}
	observed := map[string][]string{}
	for _, word := range strings.Fields(to) {
		queue, set, _ := strings.Cut(word, ":")
		observed[queue] = append(observed[queue], set)
	}
	for i, q := range queues {
		key := strconv.Itoa(q)
		if sets := observed[key]; len(sets) > 0 {
			out[i], observed[key] = sets[0], sets[1:]
		}
	}
	return out, nil
}

// Same implements [reconcile.Kind].
func (*IRQ) Same(_, want, have string) bool {
	var queues []int
	var sets []string
	for _, word := range strings.Fields(have) {
		queue, set, _ := strings.Cut(word, ":")
		q, err := strconv.Atoi(queue)
		if err != nil {
			return false
		}
		queues, sets = append(queues, q), append(sets, set)
	}
	w, err := wanted(want, queues)
	if err != nil || len(queues) == 0 {
		return false
	}
	for i := range w {
		if w[i] != "" && w[i] != sets[i] {
			return false
		}
	}
	return true
}

// Effect implements [reconcile.Kind].
func (k *IRQ) Effect(string, reconcile.State) reconcile.Effect {
	e := reconcile.Effect{Impact: reconcile.InPlace}
	if pid := Process(k.Root, "irqbalance"); pid != 0 {
		e.Why = fmt.Sprintf("irqbalance runs as process %d, and moves interrupts where it likes: stop it", pid)
	}
	return e
}

// Before implements [reconcile.Kind].
func (k *IRQ) Before(ctx context.Context, name string, to reconcile.State) (reconcile.State, error) {
	return k.Observe(ctx, name, to.Keys())
}

// Set implements [reconcile.Kind]. What is so already is not written.
func (k *IRQ) Set(_ context.Context, name string, to reconcile.State) error {
	text, ok := to[cpusKey]
	if !ok {
		return nil
	}
	list, err := k.affinities(name)
	if err != nil {
		return err
	}
	queues := make([]int, len(list))
	for i, a := range list {
		queues[i] = a.Queue
	}
	sets, err := wanted(text, queues)
	if err != nil {
		return err
	}
	for i, a := range list {
		if sets[i] == "" || sets[i] == a.cpus {
			continue
		}
		err := write(k.path(a.Number), sets[i])
		// EIO before Linux 7.
		if errors.Is(err, unix.EIO) || errors.Is(err, unix.EPERM) {
			err = fmt.Errorf("the kernel manages the CPUs of interrupt %d (%s) itself: %w", a.Number, a.Action, err)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Process returns the number of a process by the name of its program; 0 if none runs.
func Process(root, name string) int {
	found, _ := filepath.Glob(filepath.Join(root, "proc/[0-9]*/comm"))
	for _, path := range found {
		if b, err := os.ReadFile(path); err == nil && strings.TrimSpace(string(b)) == name {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			return pid
		}
	}
	return 0
}
