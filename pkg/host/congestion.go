// SPDX-License-Identifier: GPL-2.0-only

package host

import (
	"errors"
	"io/fs"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/randomizedcoder/l2d/internal/nearest"
	"github.com/randomizedcoder/l2d/pkg/reconcile"
)

const (
	congestionControl        = "net.ipv4.tcp_congestion_control"
	allowedCongestionControl = "net.ipv4.tcp_allowed_congestion_control"
)

// newValues are sysctls of a network namespace with values that the kernel may not know.
var newValues = []string{congestionControl, allowedCongestionControl, "net.ipv4.tcp_ecn", "net.ipv4.tcp_ecn_option", "net.ipv4.tcp_ecn_option_beacon"}

// noAlgorithm is that of a route that leaves it to the default.
const noAlgorithm = "none"

// trials are values of such sysctls that the kernel takes.
type trials struct {
	mu    sync.Mutex
	takes map[string]bool
	// provided are congestion controls that are registered before they are used.
	provided map[string]bool
	// refuses are values of others that it does not take.
	refuses map[string]error
}

// ofKernel are those of the running kernel.
var ofKernel = &trials{takes: map[string]bool{}, provided: map[string]bool{}}

// provide notes that a congestion control will be there when it is used, or not.
func (t *trials) provide(algorithm string, provided bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.provided[algorithm] = provided
}

// forget has it tried anew whether the kernel takes a congestion control.
func (t *trials) forget(algorithm string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.takes, congestionControl+" "+algorithm)
}

func (t *trials) provides(algorithm string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.provided[algorithm]
}

// load has the kernel load the congestion controls of some sysctls. Some are allowed by
// being there, so that is before anything is compared with what is allowed.
func load(list []*reconcile.Resource) {
	for _, r := range list {
		if r.Name != congestionControl && r.Name != allowedCongestionControl {
			continue
		}
		for _, algorithm := range strings.Fields(r.Want[valueKey]) {
			_ = ofKernel.try(congestionControl, algorithm) // the check tells
		}
	}
}

// try tells whether the kernel takes a value. It writes it in a network namespace that
// is made for that: the kernel loads what it needs for it, and nothing else changes.
func (t *trials) try(name, value string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.takes[name+" "+value] { // what it does not take now may be installed later
		return nil
	}
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlock: the namespace ends with the thread
		if unix.Unshare(unix.CLONE_NEWNET) != nil {
			done <- nil // applying it will tell
			return
		}
		done <- write(NewSysctl().path(name), value)
	}()
	err := <-done
	// Other namespaces may not have what is restricted: it is there.
	if errors.Is(err, fs.ErrPermission) {
		err = nil
	}
	if err == nil {
		t.takes[name+" "+value] = true
	}
	return err
}

// refused are problems with values that the kernel does not take.
func (s *Sysctl) refused(r *reconcile.Resource) []reconcile.Problem {
	switch {
	case s.trials == nil || !slices.Contains(newValues, r.Name):
		return s.wrongValue(r)
	case r.Name == congestionControl, r.Name == allowedCongestionControl:
		return s.trials.lacked(r, valueKey)
	case s.trials.try(r.Name, r.Want[valueKey]) != nil:
		return []reconcile.Problem{{Resource: r, Key: valueKey, Problem: "this kernel does not take it", Want: "a value that it knows: AccECN is in Linux 7"}}
	}
	return nil
}

// lacked are problems with the congestion controls that an attribute names.
func (t *trials) lacked(r *reconcile.Resource, key string) (out []reconcile.Problem) {
	for _, algorithm := range strings.Fields(r.Want[key]) {
		if algorithm == noAlgorithm || t.provides(algorithm) || t.try(congestionControl, algorithm) == nil {
			continue
		}
		has := algorithms()
		want := "one of " + strings.Join(has, ", ")
		if near := nearest.Of(algorithm, has); near != "" {
			want = near + ", or " + want
		}
		out = append(out, reconcile.Problem{Resource: r, Key: key, Problem: "this kernel has no congestion control " + algorithm, Want: want})
	}
	return out
}

// algorithms are the congestion controls that the kernel has, as far as they are loaded.
func algorithms() []string {
	b, _ := os.ReadFile(NewSysctl().path("net.ipv4.tcp_available_congestion_control"))
	has := strings.Fields(string(b))
	slices.Sort(has)
	return has
}

// canonical is the value of a sysctl as it is compared: in a list that is a set, the
// order is the kernel's.
func canonical(name, value string) string {
	if name != allowedCongestionControl {
		return words(value)
	}
	list := strings.Fields(value)
	slices.Sort(list)
	return strings.Join(slices.Compact(list), " ")
}
