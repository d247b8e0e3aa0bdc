// SPDX-License-Identifier: GPL-2.0-only

package bench

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
)

// bed is a device with a sender and a receiver who have whole stacks.
type bed struct {
	Device
	topology *Topology
	options  Options
}

// newBed sets a device up.
func newBed(ctx context.Context, d Device, o Options) (*bed, error) {
	b := &bed{Device: d, options: o}
	if err := b.setup(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", d.Name(), err), b.close())
	}
	return b, nil
}

func (b *bed) setup(ctx context.Context) (err error) {
	if b.topology, err = NewTopology(); err != nil {
		return fmt.Errorf("topology: %w", err)
	}
	t := b.topology
	if err := t.gen.do(func() error { return addDefaultRoute(t.Gen.Index, IngressAddr) }); err != nil {
		return err
	}
	// For devices that do not masquerade.
	if err := t.sink.do(func() error { return addDefaultRoute(t.Sink.Index, EgressAddr) }); err != nil {
		return err
	}
	if err := b.Device.Setup(ctx, t); err != nil {
		return err
	}
	for name, index := range map[string]int{IngressName: t.Ingress.Index, EgressName: t.Egress.Index} {
		if err := b.place(name, index); err != nil {
			return err
		}
	}
	return nil
}

// place has the packet core do the router's work for what comes in by an interface:
// what there is by NAPI, for XDP, and what a sender's CPU would do.
func (b *bed) place(name string, index int) error {
	if _, err := threadNAPI(b.topology.dut, name, index, b.options.RouterCPU); err != nil {
		return err
	}
	err := b.topology.dut.do(func() error {
		mask := fmt.Sprintf("%x", uint64(1)<<b.options.RouterCPU)
		return os.WriteFile("/sys/class/net/"+name+"/queues/rx-0/rps_cpus", []byte(mask), 0o644)
	})
	if err != nil {
		return fmt.Errorf("%s: packets to the packet core: %w", name, err)
	}
	return nil
}

// addDefaultRoute has a host's own stack send by the router.
func addDefaultRoute(index int, router netip.Prefix) error {
	err := netlink.RouteAdd(&netlink.Route{LinkIndex: index, Gw: router.Addr().AsSlice()})
	if err != nil {
		return fmt.Errorf("default route: %w", err)
	}
	return nil
}

func (b *bed) close() error {
	if b.topology == nil {
		return nil
	}
	return errors.Join(b.Device.Teardown(), b.topology.Close())
}

// run has a tool do its work through the device; what it prints is kept in dir.
func (b *bed) run(ctx context.Context, t *Tool, dir string) (_ Outcome, err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return Outcome{}, err
	}
	if err := prepare(dir); err != nil {
		return Outcome{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, 2*b.options.Duration+toolPatience)
	defer cancel()
	stop, err := b.serve(ctx, t, dir)
	defer func() { err = errors.Join(err, stop()) }()
	if err != nil {
		return Outcome{}, err
	}
	if t.Beside != nil {
		beside, err := start(b.topology.gen, b.options.GenCPU, dir, t.Beside.Client(2*b.options.Duration+toolPatience))
		if err != nil {
			return Outcome{}, err
		}
		defer func() { err = errors.Join(err, beside.stop()) }()
		if err := wait(ctx, b.options.Warmup); err != nil {
			return Outcome{}, err
		}
	}
	begin := time.Now()
	before, err := cpuTime(b.options.RouterCPU)
	if err != nil {
		return Outcome{}, err
	}
	client, err := start(b.topology.gen, b.options.GenCPU, dir, t.Client(b.options.Duration))
	if err != nil {
		return Outcome{}, err
	}
	ended := client.wait(ctx)
	after, err := cpuTime(b.options.RouterCPU)
	took := time.Since(begin)
	err = errors.Join(ended, err, keep(dir, "client", client))
	if err != nil {
		return Outcome{}, err
	}
	measures, err := t.Read(client.out.Bytes(), dir)
	if err != nil {
		return Outcome{}, fmt.Errorf("%w: see %s", err, dir)
	}
	o := Outcome{Device: b.Name(), Tool: t.Name, Busy: (after - before).Seconds() / took.Seconds(), Measures: measures, Raw: dir}
	for _, m := range measures {
		if m.Unit == "Mbit/s" && m.Name == "rate" && m.Value > 0 {
			o.Measures = append(o.Measures, Measure{Name: "router's CPU", Unit: "ns/byte", Value: o.Busy * 1e9 / (m.Value * 1e6 / 8)})
		}
	}
	return o, o.check()
}

// serve starts the servers of a tool, and of what runs beside it.
func (b *bed) serve(ctx context.Context, t *Tool, dir string) (stop func() error, err error) {
	var running []*process
	stop = func() error {
		var errs []error
		for i, p := range running {
			errs = append(errs, p.stop(), keep(dir, fmt.Sprintf("server%d", i), p))
		}
		return errors.Join(errs...)
	}
	for _, t := range []*Tool{t, t.Beside} {
		if t == nil || len(t.Server) == 0 {
			continue
		}
		p, err := start(b.topology.sink, b.options.GenCPU, dir, t.Server)
		if err != nil {
			return stop, err
		}
		running = append(running, p)
		if err := p.listens(ctx, len(running)); err != nil {
			return stop, err
		}
	}
	return stop, nil
}

// keep writes what a process has printed.
func keep(dir, name string, p *process) error {
	head := "$ " + strings.Join(p.cmd.Args, " ") + "\n"
	err := os.WriteFile(filepath.Join(dir, name+".out"), p.out.Bytes(), 0o644)
	return errors.Join(err, os.WriteFile(filepath.Join(dir, name+".err"), append([]byte(head), p.err.Bytes()...), 0o644))
}

// RunTools sets all devices up and has tools measure them in turns: with each tool,
// each device, and that some times. What tools print is kept below raw.
func RunTools(ctx context.Context, devices []Device, tools []Tool, raw string, o Options, progress func(string)) (r *Report, err error) {
	r = &Report{Environment: observe(ctx, o)}
	for i := range tools {
		r.Environment.Tools[tools[i].Program] = tools[i].version(ctx)
	}
	var beds []*bed
	defer func() {
		for _, b := range beds {
			err = errors.Join(err, b.close())
		}
	}()
	for _, d := range devices {
		progress("set up " + d.Name())
		b, err := newBed(ctx, d, o)
		if err != nil {
			return r, err
		}
		beds = append(beds, b)
	}
	if err := r.Environment.observeOffloads(beds[0].topology); err != nil {
		return r, err
	}
	for i := range tools {
		for round := range o.Repetitions {
			for _, b := range beds {
				name := fmt.Sprintf("%s-%s-%d", tools[i].Name, b.Name(), round+1)
				found, err := b.run(ctx, &tools[i], filepath.Join(raw, strings.ReplaceAll(name, " ", "-")))
				if err != nil {
					return r, fmt.Errorf("%s by %s: %w", tools[i].Name, b.Name(), err)
				}
				found.Round = round
				r.Outcomes = append(r.Outcomes, found)
				progress(fmt.Sprintf("%s, round %d of %d, %s: %s", tools[i].Name, round+1, o.Repetitions, b.Name(), found.Measures[0]))
			}
		}
	}
	return r, nil
}
