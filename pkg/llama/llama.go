// SPDX-License-Identifier: GPL-2.0-only

// Package llama has llama.cpp's server as a service.
package llama

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"

	"github.com/randomizedcoder/l2d/pkg/config"
	"github.com/randomizedcoder/l2d/pkg/service"
)

// Daemon is the [service.Daemon].
type Daemon struct{ flags *flags }

// New returns the daemon.
func New() *Daemon { return &Daemon{newFlags()} }

// Name is that of the daemon, and the first part of the names of its units.
const Name = "llama"

// UnitName is the name of an instance's unit.
func UnitName(instance string) string { return Name + "-" + instance }

// Name implements [service.Daemon].
func (*Daemon) Name() string { return Name }

// Params of units.
const (
	addressParam = "address" // where it listens
	modelParam   = "model"
	keyParam     = "key" // the file that has the key of clients
)

// Units implements [service.Daemon].
func (d *Daemon) Units(c *config.Config, dirs service.Dirs) ([]*service.Unit, error) {
	var out []*service.Unit
	var errs []error
	for i := range c.Services.Llama {
		u, err := d.unit(c, dirs, &c.Services.Llama[i])
		if err != nil {
			errs = append(errs, err)
			continue
		}
		out = append(out, u)
	}
	return out, errors.Join(errs...)
}

func (d *Daemon) unit(c *config.Config, dirs service.Dirs, l *config.Llama) (*service.Unit, error) {
	name := UnitName(l.Name)
	dir := dirs.Of(name)
	u := &service.Unit{
		Name: name, Daemon: Name, Mode: l.Mode, Service: l.Service, User: l.User, Patience: l.StartTimeout,
		Dirs: []service.Dir{{Path: dir, Mode: 0o755}},
		// What runs on a GPU makes its programs when it starts.
		Sandbox: service.Sandbox{Families: []string{"AF_INET", "AF_INET6", "AF_UNIX", "AF_NETLINK"}, Devices: l.Devices, JIT: l.Devices != nil},
		Params:  map[string]string{addressParam: l.Listen.String(), modelParam: l.Model},
	}
	key := ""
	if l.APIKey != nil {
		var err error
		if key, err = service.Secret(c, l.APIKey); err != nil {
			return nil, err
		}
		u.Params[keyParam] = filepath.Join(dir, "api-key")
		u.Files = []service.File{{Path: u.Params[keyParam], Content: []byte(key + "\n"), Mode: 0o400, Owner: l.User, Secrets: []string{key}}}
	}
	if l.Mode == config.ModeWatch {
		return u, nil
	}
	u.Argv = d.argv(l, u.Params[keyParam])
	return u, nil
}

// argv is the command line. What is not said is not given, but for what builds have other
// defaults of.
func (d *Daemon) argv(l *config.Llama, keyFile string) []string {
	program := service.Program(&l.Service, "llama-server")
	argv := []string{
		program, "--model", l.Model, "--host", l.Listen.Addr().String(), "--port", strconv.Itoa(int(l.Listen.Port())), "--metrics",
	}
	number := func(flag string, n uint32) {
		if n != 0 {
			argv = append(argv, flag, strconv.Itoa(int(n)))
		}
	}
	number("--ctx-size", l.Context)
	number("--threads", l.Threads)
	number("--parallel", l.Parallel)
	if l.GPULayers != "" {
		argv = append(argv, "--n-gpu-layers", l.GPULayers)
	}
	argv = append(argv, d.flags.flashAttention(program, l.FlashAttention)...)
	if d.flags.has(program, "--offline") {
		argv = append(argv, "--offline")
	}
	if keyFile != "" {
		argv = append(argv, "--api-key-file", keyFile)
	}
	return argv
}

// magic is what a GGUF file begins with.
const magic = "GGUF"

// Check implements [service.Daemon]: the server has no checker of its own.
func (d *Daemon) Check(ctx context.Context, u *service.Unit, _ string) error {
	f, err := os.Open(u.Params[modelParam])
	if err != nil {
		return fmt.Errorf("model: %w", err)
	}
	defer f.Close()
	head := make([]byte, len(magic))
	if _, err := io.ReadFull(f, head); err != nil || !bytes.Equal(head, []byte(magic)) {
		return fmt.Errorf("model %s: is no GGUF file", f.Name())
	}
	return d.flags.check(ctx, u.Argv)
}

// Effect implements [service.Daemon].
func (*Daemon) Effect(_, _ *service.Unit) service.Effect {
	return service.Effect{Action: service.Restart, Disruptive: true, Why: "answers that are being written end, and the model is loaded again"}
}

// Reload implements [service.Daemon]. The server reads its files when it starts: what was in them
// then it has.
func (*Daemon) Reload(context.Context, *service.Unit, func(string) error) error { return nil }
