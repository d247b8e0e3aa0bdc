// SPDX-License-Identifier: GPL-2.0-only

package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/cilium/ebpf"
)

// microRouter is a router whose programs are run by the kernel's test, with one
// ruleset.
type microRouter struct {
	topology *Topology
	traffic  *traffic // none; but what hears it lets XDP redirect
	device   Device
	dir      string // of the ruleset
	// Programs for packets from the generator, and TC's for the answers.
	xdp, forward, answer *tester
	programs             []*ebpf.Program
}

// newMicroRouter starts l2d with the path's ruleset, or has its limit.
func newMicroRouter(ctx context.Context, p microPath, binary string) (*microRouter, error) {
	m := &microRouter{}
	if err := m.setup(ctx, p, binary); err != nil {
		return nil, errors.Join(err, m.close())
	}
	return m, nil
}

func (m *microRouter) setup(ctx context.Context, p microPath, binary string) (err error) {
	if m.topology, err = NewTopology(); err != nil {
		return fmt.Errorf("topology: %w", err)
	}
	t := m.topology
	if m.traffic, err = newTraffic(t, Case{Flows: 1}); err != nil {
		return err
	}
	if p.limit != nil {
		m.device = p.limit
		if err := p.limit.Setup(ctx, t); err != nil {
			return err
		}
		m.xdp = newTester(p.limit.program(), t.Ingress.Index)
		return nil
	}
	if err := t.InRouter(t.addIPv6); err != nil {
		return fmt.Errorf("router: %w", err)
	}
	if m.dir, err = os.MkdirTemp("", "l2d-micro-"); err != nil {
		return err
	}
	file := filepath.Join(m.dir, "ruleset.nft")
	if err := os.WriteFile(file, []byte(p.ruleset), 0o600); err != nil {
		return err
	}
	d := &L2d{Binary: binary, Ruleset: file, OutTC: p.outTC}
	m.device = d
	if err := d.Setup(ctx, t); err != nil {
		return err
	}
	for _, name := range []string{"l2_xdp", "l2_ingress"} {
		p, err := d.program(name)
		if err != nil {
			return err
		}
		m.programs = append(m.programs, p)
	}
	m.xdp = newTester(m.programs[0], t.Ingress.Index)
	m.forward = newTester(m.programs[1], t.Ingress.Index)
	m.answer = newTester(m.programs[1], t.Egress.Index)
	return nil
}

func (m *microRouter) close() error {
	var errs []error
	for _, p := range m.programs {
		errs = append(errs, p.Close())
	}
	if m.device != nil {
		errs = append(errs, m.device.Teardown())
	}
	if m.traffic != nil {
		errs = append(errs, m.traffic.close())
	}
	if m.topology != nil {
		errs = append(errs, m.topology.Close())
	}
	return errors.Join(append(errs, os.RemoveAll(m.dir))...)
}

// establish has TC forward the frame, and the answer to what it has become.
func (m *microRouter) establish(frame []byte) error {
	return m.topology.InRouter(func() error {
		verdict, out, _, err := m.forward.run(frame)
		if err != nil {
			return err
		}
		if verdict != tcxRedirect {
			return fmt.Errorf("the first packet: returns %d, not %d", verdict, tcxRedirect)
		}
		source, target, err := udpEnds(out)
		if err != nil {
			return fmt.Errorf("the first packet: %w", err)
		}
		reply := udpFrame(m.topology.Sink.MAC, m.topology.Egress.MAC, target, source)
		verdict, _, _, err = m.answer.run(reply)
		if err == nil && verdict != tcxRedirect {
			err = fmt.Errorf("the answer: returns %d, not %d", verdict, tcxRedirect)
		}
		return err
	})
}

// streamAfter is when a flow of UDP has become a stream, two seconds and a tick after it
// has begun: that is for its next packet at TC to find.
const streamAfter = 2500 * time.Millisecond

// settleTime is how long that may take.
const settleTime = 20 * time.Second

// settle waits until XDP forwards the flow of a frame, or leaves it to TC for where it goes.
func (m *microRouter) settle(ctx context.Context, frame []byte, began time.Time, outTC bool) error {
	want := uint32(xdpRedirect)
	if outTC {
		want = xdpPass
	}
	ctx, stop := context.WithTimeout(ctx, settleTime)
	defer stop()
	for {
		if err := m.establish(frame); err != nil {
			return err
		}
		var verdict uint32
		err := m.topology.InRouter(func() (err error) {
			verdict, _, _, err = m.xdp.run(frame)
			return err
		})
		if err != nil {
			return err
		}
		if verdict == want && time.Since(began) > streamAfter {
			return nil
		}
		if err := wait(ctx, 50*time.Millisecond); err != nil {
			return fmt.Errorf("XDP does not forward the flow: returns %d: %w", verdict, err)
		}
	}
}

// limit is a device with one program, which does the least that a path can.
type limit interface {
	Device
	program() *ebpf.Program
}

func (r *Redirect) program() *ebpf.Program { return r.objects.Redirect }

func (d *Drop) program() *ebpf.Program { return d.objects.Drop }

// program opens a program of the dataplane.
func (d *L2d) program(name string) (*ebpf.Program, error) {
	pin := fmt.Sprintf("/proc/%d/root%s/prog/%s", d.cmd.Process.Pid, d.status.Dataplane.PinPath, name)
	p, err := ebpf.LoadPinnedProgram(pin, nil)
	if err != nil {
		return nil, fmt.Errorf("program %s: %w", name, err)
	}
	return p, nil
}
