// SPDX-License-Identifier: GPL-2.0-only

package host

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/randomizedcoder/l2d/pkg/cpus"
	"github.com/randomizedcoder/l2d/pkg/reconcile"
)

// GovernorKind is the name of [Governor].
const GovernorKind = "governor"

// Governor is the kind of what decides about the frequency of CPUs. A resource has
// the name of a CPU, such as cpu3.
type Governor struct {
	// Root is / but in tests.
	Root string
}

// Name implements [reconcile.Kind].
func (*Governor) Name() string { return GovernorKind }

func (k *Governor) path(cpu, file string) string {
	return filepath.Join(k.Root, "sys/devices/system/cpu", cpu, "cpufreq", file)
}

// Check implements [reconcile.Kind].
func (k *Governor) Check(_ context.Context, r *reconcile.Resource) []reconcile.Problem {
	m, err := cpus.Read(k.Root)
	if err != nil {
		return []reconcile.Problem{{Resource: r, Problem: err.Error()}}
	}
	n, _ := strconv.Atoi(strings.TrimPrefix(r.Name, "cpu"))
	if problem, want := m.Refuses([]int{n}); problem != "" {
		return []reconcile.Problem{{Resource: r, Problem: problem, Want: want}}
	}
	b, err := os.ReadFile(k.path(r.Name, "scaling_available_governors"))
	if errors.Is(err, fs.ErrNotExist) {
		return []reconcile.Problem{{Resource: r, Problem: "the kernel does not set its frequency: the firmware or a hypervisor does", Skip: true}}
	}
	if err != nil {
		return []reconcile.Problem{{Resource: r, Problem: err.Error()}}
	}
	if there := strings.Fields(string(b)); !slices.Contains(there, r.Want[valueKey]) {
		return []reconcile.Problem{{Resource: r, Key: valueKey, Problem: "the kernel has no such governor", Want: "one of " + strings.Join(there, ", ")}}
	}
	return nil
}

// Observe implements [reconcile.Kind].
func (k *Governor) Observe(_ context.Context, name string, keys []string) (reconcile.State, error) {
	out := reconcile.State{}
	for _, key := range keys {
		cpu := name
		if key != valueKey {
			cpu = key
		}
		b, err := os.ReadFile(k.path(cpu, "scaling_governor"))
		if err != nil {
			return nil, err
		}
		out[key] = strings.TrimSpace(string(b))
	}
	return out, nil
}

// Same implements [reconcile.Kind].
func (*Governor) Same(_, want, have string) bool { return want == have }

// Effect implements [reconcile.Kind].
func (*Governor) Effect(string, reconcile.State) reconcile.Effect {
	return reconcile.Effect{Impact: reconcile.InPlace}
}

// Before implements [reconcile.Kind]. CPUs that share a clock share its governor.
func (k *Governor) Before(ctx context.Context, name string, to reconcile.State) (reconcile.State, error) {
	keys := to.Keys()
	if b, err := os.ReadFile(k.path(name, "affected_cpus")); err == nil {
		for _, n := range strings.Fields(string(b)) {
			if cpu := "cpu" + n; cpu != name {
				keys = append(keys, cpu)
			}
		}
	}
	return k.Observe(ctx, name, keys)
}

// Set implements [reconcile.Kind].
func (k *Governor) Set(_ context.Context, name string, to reconcile.State) error {
	for _, key := range to.Keys() {
		cpu := name
		if key != valueKey {
			cpu = key
		}
		if err := write(k.path(cpu, "scaling_governor"), to[key]); err != nil {
			return fmt.Errorf("governor of %s: %w", cpu, err)
		}
	}
	return nil
}
