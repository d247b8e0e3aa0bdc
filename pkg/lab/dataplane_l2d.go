// SPDX-License-Identifier: GPL-2.0-only

package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/goccy/go-yaml"
)

// startTime is what the daemon gets to be ready, or to have reloaded.
const startTime = 30 * time.Second

// L2D is the real thing: the daemon in the router's namespace.
type L2D struct {
	lab     *Lab
	daemon  string // paths of the binaries
	control string
	dir     string // the lab's copy of the configuration and its ruleset
	ruleset string
	socket  string
	process *Process
	notify  *notifySocket
	starts  int
}

// Daemon is the file of l2d, by what a command line has: without anything the one beside
// this program, if there is one, and that of the path.
func Daemon(file string) string {
	if file != "" {
		return file
	}
	if self, err := os.Executable(); err == nil {
		beside := filepath.Join(filepath.Dir(self), "l2d")
		if _, err := os.Stat(beside); err == nil {
			return beside
		}
	}
	return "l2d"
}

// NewL2D returns a dataplane that runs the binary daemon on a copy of a
// configuration file and its ruleset, and asks it with the binary control
// (l2ctl). The copy differs in what a second l2d on the same machine must not
// share: the pins, the socket and the state of the host.
func NewL2D(l *Lab, daemon, control, config string) (*L2D, error) {
	d := &L2D{lab: l, daemon: daemon, control: control, dir: filepath.Join(l.dir, "l2d"), socket: filepath.Join(l.dir, "l2d", "l2d.sock")}
	if err := os.MkdirAll(d.dir, 0o700); err != nil {
		return nil, err
	}
	if err := d.copyConfig(config); err != nil {
		return nil, fmt.Errorf("%s: %w", config, err)
	}
	return d, nil
}

// Name returns "l2d".
func (d *L2D) Name() string { return "l2d" }

// Config returns the path of the lab's configuration file.
func (d *L2D) Config() string { return filepath.Join(d.dir, "l2d.yaml") }

// Socket returns the path of the daemon's control socket.
func (d *L2D) Socket() string { return d.socket }

func (d *L2D) copyConfig(config string) error {
	text, err := os.ReadFile(config)
	if err != nil {
		return err
	}
	var tree yaml.MapSlice
	if err := yaml.UnmarshalWithOptions(text, &tree, yaml.UseOrderedMap()); err != nil {
		return err
	}
	dataplane, control := section(tree, "dataplane"), section(tree, "control")
	name, ok := value(dataplane, "ruleset").(string)
	if !ok {
		return errors.New("no dataplane.ruleset")
	}
	ruleset, err := os.ReadFile(filepath.Join(filepath.Dir(config), name))
	if err != nil {
		return err
	}
	d.ruleset = filepath.Join(d.dir, "firewall.nft")
	dataplane = set(dataplane, "ruleset", filepath.Base(d.ruleset))
	dataplane = set(dataplane, "pin_path", d.lab.PinPath())
	control = set(control, "socket", d.socket)
	// What is declared of a host and its CPUs is of no router in a namespace, and in part of the
	// machine that the lab is on. Services are those that checks ask for.
	dataplane = slices.DeleteFunc(dataplane, func(i yaml.MapItem) bool { return i.Key == "cpus" })
	tree = slices.DeleteFunc(tree, func(i yaml.MapItem) bool { return i.Key == "network" || i.Key == "services" })
	host := yaml.MapSlice{{Key: "state_dir", Value: filepath.Join(d.dir, "state")}}
	tree = set(set(set(tree, "dataplane", dataplane), "control", control), "host", host)
	out, err := yaml.Marshal(tree)
	if err != nil {
		return err
	}
	return errors.Join(os.WriteFile(d.ruleset, ruleset, 0o644), os.WriteFile(d.Config(), out, 0o644))
}

func section(tree yaml.MapSlice, key string) yaml.MapSlice {
	s, _ := value(tree, key).(yaml.MapSlice)
	return s
}

func value(tree yaml.MapSlice, key string) any {
	for _, item := range tree {
		if item.Key == key {
			return item.Value
		}
	}
	return nil
}

func set(tree yaml.MapSlice, key string, v any) yaml.MapSlice {
	for i := range tree {
		if tree[i].Key == key {
			tree[i].Value = v
			return tree
		}
	}
	return append(tree, yaml.MapItem{Key: key, Value: v})
}

// Start starts the daemon and waits until it says that it is ready.
func (d *L2D) Start(ctx context.Context) error {
	if d.notify == nil {
		n, err := listenNotify(filepath.Join(d.dir, "notify.sock"))
		if err != nil {
			return err
		}
		d.notify = n
		d.lab.undo.add("l2d", func() error { return errors.Join(d.endDaemon(), n.close()) })
	}
	d.starts++
	before := d.notify.ready.Load()
	p, err := d.lab.start(Router, fmt.Sprintf("l2d-%d", d.starts),
		processOptions{env: []string{"NOTIFY_SOCKET=" + d.notify.path}}, d.daemon, "--config", d.Config())
	if err != nil {
		return err
	}
	d.process = p
	return d.waitReady(ctx, before)
}

// waitReady waits for one more READY=1 than before.
func (d *L2D) waitReady(ctx context.Context, before uint64) error {
	var ended error
	err := poll(ctx, startTime, func() error {
		if d.notify.ready.Load() > before {
			return nil
		}
		if ended = d.process.exited(); ended != nil {
			return nil
		}
		return fmt.Errorf("l2d is not ready:\n%s", tail(d.process.log))
	})
	return errors.Join(ended, err)
}

// Kill ends the daemon at once; what it attached stays.
func (d *L2D) Kill(context.Context) error { return d.process.Kill() }

// Reload writes a new ruleset, sends SIGHUP and waits until it is in force.
func (d *L2D) Reload(ctx context.Context, ruleset string) error {
	before := d.notify.ready.Load()
	if err := os.WriteFile(d.ruleset, []byte(ruleset), 0o644); err != nil {
		return err
	}
	if err := d.process.signal(syscall.SIGHUP); err != nil {
		return err
	}
	if err := d.waitReady(ctx, before); err != nil {
		return err
	}
	s, err := d.status(ctx)
	if err != nil {
		return err
	}
	if s.ReloadError != "" {
		return fmt.Errorf("reload refused: %s", s.ReloadError)
	}
	return nil
}

// Stop ends the daemon and removes its pins, which detaches the programs.
func (d *L2D) Stop(context.Context) error {
	return errors.Join(d.endDaemon(), os.RemoveAll(d.lab.PinPath()))
}

func (d *L2D) endDaemon() error {
	if d.process == nil {
		return nil
	}
	return d.process.Stop()
}

// l2ctl runs a command against the daemon and returns what it prints.
func (d *L2D) l2ctl(ctx context.Context, args ...string) (string, error) {
	return d.lab.run(ctx, Router, "", append([]string{d.control, "--socket", d.socket}, args...)...)
}

// Rules asks "l2ctl rules --json".
func (d *L2D) Rules(ctx context.Context) ([]Rule, error) {
	out, err := d.l2ctl(ctx, "rules", "--json")
	if err != nil {
		return nil, err
	}
	var answer []struct {
		Family string `json:"family"`
		Rule
	}
	if err := json.Unmarshal([]byte(out), &answer); err != nil {
		return nil, fmt.Errorf("l2ctl rules --json: %w", err)
	}
	var rules []Rule
	for _, r := range answer {
		r.Table = strings.TrimSpace(r.Family + " " + r.Table)
		rules = append(rules, r.Rule)
	}
	return rules, nil
}

// SetAdd asks "l2ctl set add".
func (d *L2D) SetAdd(ctx context.Context, family, table, set, element string, timeout time.Duration) error {
	_, err := d.l2ctl(ctx, "set", "add", family, table, set, element, "--timeout", timeout.String())
	return err
}

// l2dStatus is the part of "l2ctl status --json" that the lab reads.
type l2dStatus struct {
	ReloadError string `json:"reload_error"`
	Dataplane   struct {
		Stats map[string]uint64 `json:"stats"`
	} `json:"dataplane"`
}

func (d *L2D) status(ctx context.Context) (l2dStatus, error) {
	var s l2dStatus
	out, err := d.l2ctl(ctx, "status", "--json")
	if err != nil {
		return s, err
	}
	return s, wrap(json.Unmarshal([]byte(out), &s), "l2ctl status --json")
}

// Status asks "l2ctl status --json" and "l2ctl flows --count": what the former
// knows of flows may be some seconds old.
func (d *L2D) Status(ctx context.Context) (Status, error) {
	s, err := d.status(ctx)
	if err != nil {
		return Status{}, err
	}
	count, err := d.l2ctl(ctx, "flows", "--count")
	if err != nil {
		return Status{}, err
	}
	flows, err := strconv.ParseUint(strings.TrimSpace(count), 10, 64)
	return Status{Flows: flows, Reasons: s.Dataplane.Stats}, wrap(err, "l2ctl flows --count")
}

// notifySocket counts what a daemon reports with sd_notify.
type notifySocket struct {
	path  string
	conn  *net.UnixConn
	ready atomic.Uint64
}

func listenNotify(path string) (*notifySocket, error) {
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return nil, err
	}
	n := &notifySocket{path: path, conn: conn}
	go n.receive()
	return n, nil
}

func (n *notifySocket) receive() {
	buf := make([]byte, 4096)
	for {
		size, err := n.conn.Read(buf)
		if err != nil {
			return
		}
		for line := range strings.Lines(string(buf[:size])) {
			if strings.TrimSpace(line) == "READY=1" {
				n.ready.Add(1)
			}
		}
	}
}

func (n *notifySocket) close() error { return n.conn.Close() }
