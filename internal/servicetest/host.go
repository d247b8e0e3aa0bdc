// SPDX-License-Identifier: GPL-2.0-only

// Package servicetest runs services in tests: real daemons, by the engine that runs them on a router.
package servicetest

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/randomizedcoder/l2d/pkg/config"
	"github.com/randomizedcoder/l2d/pkg/reconcile"
	"github.com/randomizedcoder/l2d/pkg/service"
)

// patience is for what a slow machine takes its time for: in an emulated one beside others, a handshake with an
// access point has taken two minutes.
const patience = 5 * time.Minute

// Need skips a test that has not what it needs.
func Need(t *testing.T, programs ...string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			t.Skipf("%s is not installed: scripts/setup.sh test", p)
		}
	}
}

// Run runs a command that must not fail, and returns what it prints.
func Run(t *testing.T, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	out, err := exec.CommandContext(ctx, args[0], args[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v: %s", args, err, out)
	}
	return string(out)
}

// Eventually waits for a state; check says what is missing.
func Eventually(t *testing.T, check func() error) {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
	}
}

// Neighbour makes a network namespace at the other end of a link, for the rest of the test, and returns
// what runs commands there.
func Neighbour(t *testing.T, name, link, peer string) (command func(args ...string) []string) {
	t.Helper()
	ns := fmt.Sprintf("l2d-%s-%d", name, os.Getpid())
	Run(t, "ip", "netns", "add", ns)
	t.Cleanup(func() {
		_ = exec.Command("ip", "link", "del", link).Run() // gone already
		Run(t, "ip", "netns", "del", ns)
	})
	Run(t, "ip", "link", "add", link, "type", "veth", "peer", "name", peer, "netns", ns)
	Run(t, "ip", "link", "set", link, "up")
	Run(t, "ip", "-n", ns, "link", "set", peer, "up")
	Run(t, "ip", "-n", ns, "link", "set", "lo", "up")
	return func(args ...string) []string { return append([]string{"ip", "netns", "exec", ns}, args...) }
}

// Dir is a directory that everybody can enter, as daemons run as others.
func Dir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "l2d-services-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// Program copies an installed program and returns its path: distributions confine some by their path
// to the files of the host's own.
func Program(t *testing.T, name string) string {
	t.Helper()
	installed, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("%s is not installed: scripts/setup.sh test", name)
	}
	b, err := os.ReadFile(installed)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(Dir(t), name)
	if err := os.WriteFile(path, b, 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// Host is an engine with services.
type Host struct {
	// Dir has all of its files, those of services in Run.
	Dir, Run string
	Manager  *service.Manager
	t        *testing.T
	engine   *reconcile.Engine
}

// NewHost returns one with some daemons, which end with the test.
func NewHost(t *testing.T, daemons ...service.Daemon) *Host {
	t.Helper()
	h := &Host{Dir: Dir(t), t: t}
	h.Run = filepath.Join(h.Dir, "run")
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	h.Manager = service.New(daemons, service.Dirs{Run: h.Run}, h.Dir+"/state", log)
	h.engine = reconcile.New(h.Dir+"/engine", log, h.Manager)
	t.Cleanup(func() {
		if err := h.Apply(""); err != nil {
			t.Error(err)
		}
	})
	return h
}

// base is the part of a configuration that is not the services'.
const base = "dataplane: {ruleset: x, interfaces: [{name: br0}]}\n"

// Apply brings the host into the state that the rest of a configuration declares.
func (h *Host) Apply(text string) error {
	c, err := config.Parse("l2d.yaml", []byte(base+text))
	if err != nil {
		return err
	}
	list, err := h.Manager.Declare(c)
	if err != nil {
		return err
	}
	p, err := h.engine.Plan(context.Background(), list)
	if err != nil {
		return err
	}
	_, err = h.engine.Apply(context.Background(), p, reconcile.Options{})
	return err
}

// Drift is what is not as the rest of a configuration declares, but for what corrects itself.
func (h *Host) Drift(text string) []reconcile.Change {
	h.t.Helper()
	c, err := config.Parse("l2d.yaml", []byte(base+text))
	if err != nil {
		h.t.Fatal(err)
	}
	left, err := h.engine.Drift(h.t.Context(), func() ([]reconcile.Resource, error) { return h.Manager.Declare(c) })
	if err != nil {
		h.t.Fatal(err)
	}
	return left
}

// Must is Apply that must not fail.
func (h *Host) Must(text string) {
	h.t.Helper()
	if err := h.Apply(text); err != nil {
		h.t.Fatal(err)
	}
}

// Status is that of a service.
func (h *Host) Status(name string) service.Status {
	h.t.Helper()
	for _, s := range h.Manager.Statuses(h.t.Context()) {
		if s.Name == name {
			return s
		}
	}
	h.t.Fatalf("no service %s", name)
	return service.Status{}
}
