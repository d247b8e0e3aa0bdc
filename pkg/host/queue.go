// SPDX-License-Identifier: GPL-2.0-only

package host

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/bits"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/randomizedcoder/l2d/pkg/cpus"
	"github.com/randomizedcoder/l2d/pkg/reconcile"
)

// Names of the kinds [Queues].
const (
	RPSKind = "rps"
	XPSKind = "xps"
)

// Attributes of them.
const (
	cpusKey  = "cpus"
	flowsKey = "flows"
)

// Queues is the kind of the CPUs that work for an interface's queues. A resource has
// the interface's name. The attribute cpus has sets of CPUs for the queues; flows is the size
// of each queue's table of flows.
type Queues struct {
	// Root is / but in tests.
	Root string
	name string // of the kind
	// Of the queues' directories and files; flows is empty if there is no such file.
	prefix, cpus, flows string
	refuses             func(cpus.Machine, []int) (problem, want string)
}

// NewRPS returns the kind of receive packet and flow steering: which CPUs the
// kernel hands the packets of a receive queue to.
func NewRPS() *Queues {
	return &Queues{"/", RPSKind, "rx-", "rps_cpus", "rps_flow_cnt", cpus.Machine.RefusesSteering}
}

// NewXPS returns the kind of transmit packet steering: which CPUs send by a queue.
func NewXPS() *Queues {
	return &Queues{"/", XPSKind, "tx-", "xps_cpus", "", cpus.Machine.Refuses}
}

// Name implements [reconcile.Kind].
func (k *Queues) Name() string { return k.name }

// queues are the directories of an interface's queues, in their order.
func (k *Queues) queues(link string) ([]string, error) {
	dir := filepath.Join(k.Root, "sys/class/net", link, "queues")
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("queues of %s: %w", link, err)
	}
	var numbers []int
	for _, e := range entries {
		if n, err := strconv.Atoi(strings.TrimPrefix(e.Name(), k.prefix)); err == nil && strings.HasPrefix(e.Name(), k.prefix) {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	out := make([]string, len(numbers))
	for i, n := range numbers {
		out[i] = filepath.Join(dir, k.prefix+strconv.Itoa(n))
	}
	return out, nil
}

// Check implements [reconcile.Kind].
func (k *Queues) Check(ctx context.Context, r *reconcile.Resource) (out []reconcile.Problem) {
	if isForeign(k.Root, r.Name) {
		return foreignProblem(r)
	}
	if _, err := k.Observe(ctx, r.Name, r.Want.Keys()); err != nil {
		return []reconcile.Problem{queueProblem(k.Root, r, k.name, err)}
	}
	if p := checkSpread(k.Root, r, k.refuses); p != nil {
		out = append(out, *p)
	}
	return out
}

// checkSpread says what is wrong with the CPUs that are wanted.
func checkSpread(root string, r *reconcile.Resource, refuses func(cpus.Machine, []int) (problem, want string)) *reconcile.Problem {
	text, ok := r.Want[cpusKey]
	if !ok {
		return nil
	}
	p := &reconcile.Problem{Resource: r, Key: cpusKey}
	m, err := cpus.Read(root)
	if err != nil {
		p.Problem = err.Error()
		return p
	}
	s, err := parseSpread(text)
	if err != nil {
		p.Problem, p.Want = err.Error(), "CPU lists such as 0-3,8"
		return p
	}
	if p.Problem, p.Want = refuses(m, s.all()); p.Problem == "" {
		return nil
	}
	return p
}

// isForeign tells whether /sys shows another interface of that name than there is: it can
// be that of another network namespace.
func isForeign(root, name string) bool {
	if root != "/" {
		return false
	}
	read := func(file string) string {
		b, _ := os.ReadFile(filepath.Join(root, "sys/class/net", name, file))
		return strings.TrimSpace(string(b))
	}
	index := read("ifindex")
	l, err := link(name)
	if err != nil {
		return index != "" && errors.Is(err, fs.ErrNotExist)
	}
	return index != strconv.Itoa(l.Attrs().Index) || l.Attrs().HardwareAddr != nil && read("address") != l.Attrs().HardwareAddr.String()
}

func foreignProblem(r *reconcile.Resource) []reconcile.Problem {
	return []reconcile.Problem{{Resource: r, Problem: "/sys does not show this network namespace", Want: "sysfs mounted in it"}}
}

// queueProblem is what is wrong if something of an interface's queues cannot be read.
func queueProblem(root string, r *reconcile.Resource, what string, err error) reconcile.Problem {
	if errors.Is(err, fs.ErrNotExist) {
		if _, e := os.Stat(filepath.Join(root, "sys/class/net", r.Name)); e != nil {
			return linkProblem(r, what, err)
		}
		err = errors.ErrUnsupported
	}
	if errors.Is(err, errors.ErrUnsupported) {
		return reconcile.Problem{Resource: r, Problem: "the interface has no " + what + ": it needs more than one queue, and a kernel with it", Skip: true}
	}
	return reconcile.Problem{Resource: r, Problem: err.Error()}
}

// Observe implements [reconcile.Kind].
func (k *Queues) Observe(_ context.Context, name string, keys []string) (reconcile.State, error) {
	queues, err := k.queues(name)
	if err != nil {
		return nil, err
	}
	if len(queues) == 0 {
		return nil, fmt.Errorf("%s of %s: %w", k.name, name, errors.ErrUnsupported)
	}
	out := reconcile.State{}
	for _, key := range keys {
		switch {
		case key == cpusKey:
			out[key], err = k.readCPUs(queues)
		case key == flowsKey && k.flows != "":
			out[key], err = k.readFlows(queues)
		}
		if err != nil {
			return nil, fmt.Errorf("%s of %s: %w", k.name, name, err)
		}
	}
	return out, nil
}

func (k *Queues) readCPUs(queues []string) (string, error) {
	s := make(spread, len(queues))
	for i, q := range queues {
		b, err := os.ReadFile(filepath.Join(q, k.cpus))
		// Of a device with one queue the kernel says that there is no XPS.
		if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EOPNOTSUPP) {
			return "", errors.ErrUnsupported
		}
		if err != nil {
			return "", err
		}
		if s[i], err = cpus.ParseMask(string(b)); err != nil {
			return "", err
		}
	}
	return s.String(), nil
}

func (k *Queues) readFlows(queues []string) (string, error) {
	words := make([]string, len(queues))
	for i, q := range queues {
		b, err := os.ReadFile(filepath.Join(q, k.flows))
		if err != nil {
			return "", err
		}
		words[i] = strings.TrimSpace(string(b))
	}
	return strings.Join(words, " "), nil
}

// Same implements [reconcile.Kind].
func (k *Queues) Same(key, want, have string) bool {
	if key == cpusKey {
		return sameSpread(want, have)
	}
	w, h := strings.Fields(want), strings.Fields(have)
	if len(w) == 0 {
		return false
	}
	for i := range h {
		if tableSize(w[i%len(w)]) != tableSize(h[i]) {
			return false
		}
	}
	return true
}

// tableSize is the size that the kernel gives a table of flows.
func tableSize(s string) uint64 {
	n, _ := strconv.ParseUint(s, 10, 32)
	if n < 2 {
		return n
	}
	return 1 << bits.Len64(n-1)
}

// Effect implements [reconcile.Kind].
func (*Queues) Effect(string, reconcile.State) reconcile.Effect {
	return reconcile.Effect{Impact: reconcile.InPlace}
}

// Before implements [reconcile.Kind].
func (k *Queues) Before(ctx context.Context, name string, to reconcile.State) (reconcile.State, error) {
	return k.Observe(ctx, name, to.Keys())
}

// Set implements [reconcile.Kind]. What is so already is not written.
func (k *Queues) Set(ctx context.Context, name string, to reconcile.State) error {
	queues, err := k.queues(name)
	if err != nil {
		return err
	}
	have, err := k.Observe(ctx, name, to.Keys())
	if err != nil {
		return err
	}
	if text, ok := to[cpusKey]; ok && !k.Same(cpusKey, text, have[cpusKey]) {
		s, err := parseSpread(text)
		if err != nil {
			return err
		}
		for i, set := range s.over(len(queues)) {
			if err := write(filepath.Join(queues[i], k.cpus), cpus.FormatMask(set)); err != nil {
				return err
			}
		}
	}
	if text, ok := to[flowsKey]; ok && !k.Same(flowsKey, text, have[flowsKey]) {
		words := strings.Fields(text)
		for i, q := range queues {
			if err := write(filepath.Join(q, k.flows), words[i%len(words)]); err != nil {
				return err
			}
		}
	}
	return nil
}
