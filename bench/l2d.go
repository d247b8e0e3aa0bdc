// SPDX-License-Identifier: GPL-2.0-only

package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"text/template"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/randomizedcoder/l2d/loader"
	"github.com/randomizedcoder/l2d/pkg/api"
	"github.com/randomizedcoder/l2d/pkg/flow"
	"github.com/randomizedcoder/l2d/pkg/lab"
)

// L2d is the real daemon with a ruleset that masquerades.
type L2d struct {
	Binary  string // see [lab.Daemon]
	Ruleset string
	// TC turns XDP off.
	TC bool
	// OutTC turns XDP off at the interface that packets leave by: XDP of the other one
	// leaves them to TC.
	OutTC bool
	// Label is behind the name; may be empty.
	Label string
	// MaxFlows is conntrack.max_flows; 0: the default.
	MaxFlows int
	// Metrics is the port of 127.0.0.1 that serves them, those of rules included; 0: none.
	Metrics int

	cmd    *exec.Cmd
	log    bytes.Buffer
	ended  chan struct{}
	dir    string // of the configuration and the socket
	client *api.Client
	status api.Status
	start  time.Duration // from exec to an attached dataplane
	empty  uint64        // bytes of the flow table without flows
}

// idle is how long a device has to keep flows, in seconds: with many devices,
// the turns of one are far apart.
const idle = "3600s"

// How long the daemon may take to start and to end.
const (
	l2dStart = 3 * time.Minute  // a ruleset can have a million elements
	l2dStop  = 20 * time.Second // a full table is given back
)

// The pin path is in the mount namespace of the router.
var l2dConfig = template.Must(template.New("l2d.yaml").Parse(`dataplane:
  ruleset: {{.Ruleset}}
  pin_path: /sys/fs/bpf/l2d
  interfaces:
    - { name: ` + IngressName + `, xdp: "{{.XDP}}" }
    - { name: ` + EgressName + `, xdp: "{{.Out}}" }
    - { name: ` + LANName + `, xdp: "off" }
conntrack:
{{- with .MaxFlows}}
  max_flows: {{.}}
{{- end}}
  timeouts: { udp_unreplied: ` + idle + `, udp_stream: ` + idle + ` }
control:
  socket: {{.Socket}}
{{- with .Metrics}}
metrics: { listen: "127.0.0.1:{{.}}", rules: true }
{{- end}}
host:
  state_dir: {{.StateDir}}
log:
  level: warn
`))

// Name implements [Device].
func (d *L2d) Name() string {
	if d.TC {
		return L2dTCName + d.Label
	}
	return L2dName + d.Label
}

// Names of the two devices.
const (
	L2dName   = "l2d"
	L2dTCName = "l2d-tc"
)

func init() {
	register(L2dName, func(o DeviceOptions) Device {
		return &L2d{Binary: o.L2d, Ruleset: o.Ruleset, MaxFlows: roomFor(o.Flows)}
	})
	register(L2dTCName, func(o DeviceOptions) Device {
		return &L2d{Binary: o.L2d, Ruleset: o.Ruleset, TC: true, MaxFlows: roomFor(o.Flows)}
	})
}

// roomFor is the limit of flows that a router has for so many: that of nf_conntrack where that
// does, as a larger table is less in the cache.
func roomFor(flows int) int {
	if flows <= conntrackMax {
		return conntrackMax
	}
	return 2 * flows
}

// Stateful implements [Device].
func (*L2d) Stateful() bool { return true }

// Promise implements [Device].
func (*L2d) Promise() Promise {
	return Promise{Masqueraded: true, TTL: startTTL - 1}
}

// Setup implements [Device].
func (d *L2d) Setup(ctx context.Context, t *Topology) error {
	config, err := d.configure()
	if err != nil {
		return err
	}
	if d.Metrics != 0 {
		if err := t.InRouter(upLoopback); err != nil {
			return err
		}
	}
	begin := time.Now()
	if err := d.exec(t, config); err != nil {
		return err
	}
	ctx, stop := context.WithTimeout(ctx, l2dStart)
	defer stop()
	if err := d.ready(ctx); err != nil {
		return fmt.Errorf("%w\n%s", err, bytes.TrimSpace(d.log.Bytes()))
	}
	d.start = time.Since(begin)
	m, err := d.flows()
	if err != nil {
		return err
	}
	defer m.Close()
	if d.empty, err = memory(m); err != nil {
		return err
	}
	return d.checkPath()
}

// configure writes the configuration file and returns its name.
func (d *L2d) configure() (string, error) {
	ruleset, err := filepath.Abs(d.Ruleset)
	if err != nil {
		return "", err
	}
	if d.dir, err = os.MkdirTemp("", "l2d-bench-"); err != nil {
		return "", err
	}
	xdp := loader.XDPNative
	if d.TC {
		xdp = loader.XDPOff
	}
	out := xdp
	if d.OutTC {
		out = loader.XDPOff
	}
	socket := filepath.Join(d.dir, "l2d.sock")
	d.client = api.NewClient(socket)
	name := filepath.Join(d.dir, "l2d.yaml")
	return name, writeFile(name, func(w io.Writer) error {
		return l2dConfig.Execute(w, map[string]any{"Ruleset": ruleset, "XDP": xdp, "Out": out, "Socket": socket, "StateDir": filepath.Dir(socket), "MaxFlows": d.MaxFlows, "Metrics": d.Metrics})
	})
}

// exec starts the daemon in the router.
func (d *L2d) exec(t *Topology, config string) error {
	d.cmd = exec.Command(lab.Daemon(d.Binary), "--config", config)
	d.cmd.Stdout, d.cmd.Stderr = &d.log, &d.log
	// The router's thread lives as long as the topology: should this
	// process die, the daemon does too, and with it the last reference to
	// the mount namespace and the pins there.
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := t.InRouter(d.cmd.Start); err != nil {
		return fmt.Errorf("start l2d: %w", err)
	}
	d.ended = make(chan struct{})
	go func() {
		_ = d.cmd.Wait() // the log says more
		close(d.ended)
	}()
	return nil
}

// ready waits until the daemon answers and its dataplane is attached.
func (d *L2d) ready(ctx context.Context) (err error) {
	for {
		d.status, err = d.client.Status(ctx)
		if err == nil && d.status.Attached {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("wait for l2d: %w", ctx.Err()), err)
		case <-d.ended:
			return fmt.Errorf("l2d ended: %s", d.cmd.ProcessState)
		case <-time.After(2 * time.Millisecond):
		}
	}
}

// checkPath makes sure that packets can go the way that is to be measured.
func (d *L2d) checkPath() error {
	for _, i := range d.status.Dataplane.Interfaces {
		native := i.XDP == loader.XDPNative && i.XDPRedirect
		off := d.TC || d.OutTC && i.Name == EgressName
		if (i.Name == IngressName || i.Name == EgressName) && native == off {
			return fmt.Errorf("%s: XDP is %s: %s", i.Name, i.XDP, i.Note)
		}
	}
	return nil
}

// maxStray is the part of the packets that may go the other way.
const maxStray = 0.01

// Watch implements [Verifier].
func (d *L2d) Watch(ctx context.Context) error { return d.ready(ctx) }

// Verify implements [Verifier].
func (d *L2d) Verify(ctx context.Context, c Case) error {
	before := d.status.Dataplane.Stats
	if err := d.ready(ctx); err != nil {
		return err
	}
	after := d.status.Dataplane.Stats
	if c.Dropped {
		if after["drop_policy"] == before["drop_policy"] {
			return errors.New("no packet was dropped by a rule")
		}
		return nil
	}
	byXDP := float64(after["xdp_forwarded"] - before["xdp_forwarded"])
	byTC := float64(after["tc_forwarded"] - before["tc_forwarded"])
	// A flow's first packet and its first answer are TC's.
	stray := byTC
	if d.TC || c.Fresh {
		stray = byXDP
	}
	all := byXDP + byTC
	if all == 0 || stray > maxStray*all {
		return fmt.Errorf("%.0f packets were forwarded by XDP, %.0f by TC%s", byXDP, byTC, moved(before, after))
	}
	began := float64(after["flow_new"] - before["flow_new"])
	if c.Fresh && began < (0.5-maxStray)*all {
		return fmt.Errorf("%.0f flows have begun with %.0f packets: not all were new", began, all)
	}
	return nil
}

// moved are the counters that say why packets were not forwarded.
func moved(before, after map[string]uint64) string {
	var why strings.Builder
	for _, name := range slices.Sorted(maps.Keys(after)) {
		n := after[name] - before[name]
		if n > 0 && !strings.HasSuffix(name, "_forwarded") {
			fmt.Fprintf(&why, ", %s %d", name, n)
		}
	}
	return why.String()
}

// Forget implements [Forgetter].
func (d *L2d) Forget(ctx context.Context) error {
	_, err := d.client.DeleteFlows(ctx, flow.Filter{}, true)
	return err
}

// Describe implements [Describer].
func (d *L2d) Describe(context.Context) ([]Figure, error) {
	if d.TC || d.Label != "" {
		return nil, nil // the same programs and maps, or not what is asked
	}
	figures := []Figure{{
		Device: L2dName, Name: "start of the daemon to an attached ruleset",
		Value: milliseconds(d.start), Unit: "ms",
	}}
	for _, p := range d.status.Dataplane.Programs {
		figures = append(figures,
			Figure{L2dName, p.Name + " verified", float64(p.VerifiedInstructions), "instructions"},
			Figure{L2dName, p.Name + " native code", float64(p.JITedBytes), "bytes"},
			Figure{L2dName, p.Name + " load time", milliseconds(p.LoadTime), "ms"})
	}
	perFlow, err := d.flowMemory()
	if err != nil {
		return nil, err
	}
	return append(figures, Figure{L2dName, "memory of a flow, both directions", perFlow, "bytes"}), nil
}

func milliseconds(d time.Duration) float64 {
	return float64(d.Round(100*time.Microsecond)) / float64(time.Millisecond)
}

// flowMemory is what the kernel accounts for a flow in the table of confirmed
// ones: what its two entries take, and their share of the empty table if it
// has as many flows as it may.
func (d *L2d) flowMemory() (float64, error) {
	m, err := d.flows()
	if err != nil {
		return 0, err
	}
	defer m.Close()
	full, err := memory(m)
	if err != nil {
		return 0, err
	}
	entries := 0
	var key, value []byte
	for i := m.Iterate(); i.Next(&key, &value); {
		entries++
	}
	if entries == 0 {
		return 0, errors.New("the flow table is empty")
	}
	return math.Round(2*float64(d.empty)/float64(m.MaxEntries()) +
		2*float64(full-d.empty)/float64(entries)), nil
}

// flows opens the table of confirmed flows.
func (d *L2d) flows() (*ebpf.Map, error) {
	pin := fmt.Sprintf("/proc/%d/root%s/state/l2_flows", d.cmd.Process.Pid, d.status.Dataplane.PinPath)
	m, err := ebpf.LoadPinnedMap(pin, &ebpf.LoadPinOptions{ReadOnly: true})
	if err != nil {
		return nil, fmt.Errorf("flow table: %w", err)
	}
	return m, nil
}

func memory(m *ebpf.Map) (uint64, error) {
	info, err := m.Info()
	if err != nil {
		return 0, fmt.Errorf("flow table: %w", err)
	}
	bytes, ok := info.Memlock()
	if !ok {
		return 0, errors.New("the kernel does not tell the size of the flow table")
	}
	return bytes, nil
}

// Teardown implements [Device].
func (d *L2d) Teardown() error {
	var errs []error
	if d.ended != nil {
		errs = append(errs, d.stop())
	}
	return errors.Join(append(errs, os.RemoveAll(d.dir))...)
}

// stop removes the dataplane and ends the daemon.
func (d *L2d) stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), l2dStop)
	defer cancel()
	select {
	case <-d.ended:
		return nil
	default:
	}
	_, err := d.client.Detach(ctx, false)
	_ = d.cmd.Process.Signal(unix.SIGTERM)
	select {
	case <-d.ended:
	case <-ctx.Done():
		err = errors.Join(err, errors.New("l2d does not end: killed"), d.cmd.Process.Kill())
		<-d.ended
	}
	return err
}
