// SPDX-License-Identifier: GPL-2.0-only

package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Tool is a load that a program of others makes and measures: a client in the
// generator's place, and often a server in the receiver's. A new one is a line in
// [Tools].
type Tool struct {
	// Name of the load, a word or two.
	Name string
	// Program is the client's, and Package where Debian has it; Version are the
	// arguments that have it print its version.
	Program, Package string
	Version          []string
	// Server is the command line of what runs at the receiver; none: nothing.
	Server []string
	// Client is the command line of a client that runs for a while. It may leave
	// files in its working directory, which are kept.
	Client func(d time.Duration) []string
	// Congestion are the arguments that have the sender use a congestion control; nil: it
	// cannot be told.
	Congestion func(control string) []string
	// Beside is a load that runs meanwhile; its figures are not looked at.
	Beside *Tool
	// Read finds the figures in what the client has printed, or left in dir.
	Read func(out []byte, dir string) ([]Measure, error)
}

// Measure is a figure that a tool has found.
type Measure struct {
	Name   string  `json:"name"` // of the figure, such as "p99"
	Unit   string  `json:"unit"`
	Value  float64 `json:"value"`
	Higher bool    `json:"higher_is_better"`
	// Quantiles are those of single probes, where there are some: every hundredth.
	Quantiles []float64 `json:"quantiles,omitempty"`
	// Over are means of single probes in the course of the run, where there are some.
	Over []point `json:"over_time,omitempty"`
}

// Limits of what a tool may take besides the time that it measures.
const (
	toolPatience = time.Minute // to connect and to end
	serverStop   = 2 * time.Second
)

// programs are those of a tool: what it needs to be there.
func (t *Tool) programs() []string {
	list := []string{t.Program}
	if len(t.Server) > 0 {
		list = append(list, t.Server[0])
	}
	if t.Beside != nil {
		list = append(list, t.Beside.programs()...)
	}
	return list
}

// by is the tool with a congestion control of the sender.
func (t Tool) by(control string) Tool {
	client, more := t.Client, t.Congestion(control)
	t.Name += " " + control
	t.Client = func(d time.Duration) []string { return append(client(d), more...) }
	return t
}

// missing says which program of a tool is not there, "" if all are.
func (t *Tool) missing() string {
	for _, p := range t.programs() {
		if _, err := exec.LookPath(p); err != nil {
			return fmt.Sprintf("%s is not there: Debian's package %s has it", p, t.Package)
		}
	}
	return ""
}

// version is the first line that a tool prints when it is asked for it.
func (t *Tool) version(ctx context.Context) string { return firstLine(ctx, t.Program, t.Version...) }

// firstLine is that of what a program prints, however it ends.
func firstLine(ctx context.Context, program string, args ...string) string {
	out, _ := exec.CommandContext(ctx, program, args...).CombinedOutput() // some exit with an error
	first, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	return strings.TrimSpace(first)
}

// process is a program of a tool that runs in a namespace.
type process struct {
	cmd   *exec.Cmd
	out   bytes.Buffer // standard output
	err   bytes.Buffer
	ended chan error
}

// start runs a command in a namespace, on one CPU, in a process group of its own.
func start(ns *namespace, cpu int, dir string, argv []string) (*process, error) {
	p := &process{cmd: exec.Command(argv[0], argv[1:]...), ended: make(chan error, 1)}
	p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr = dir, &p.out, &p.err
	// The namespace's thread lives as long as the topology.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	p.cmd.WaitDelay = serverStop // of what a server has left behind with its output
	if err := ns.do(p.cmd.Start); err != nil {
		return nil, fmt.Errorf("%s: %w", argv[0], err)
	}
	var set unix.CPUSet
	set.Set(cpu)
	if err := unix.SchedSetaffinity(p.cmd.Process.Pid, &set); err != nil && !errors.Is(err, unix.ESRCH) {
		return nil, errors.Join(fmt.Errorf("%s: on CPU %d: %w", argv[0], cpu, err), p.kill())
	}
	go func() { p.ended <- p.cmd.Wait() }()
	return p, nil
}

// listens waits until that many sockets of a process's namespace wait for somebody,
// where only servers have some.
func (p *process) listens(ctx context.Context, sockets int) error {
	for {
		n, err := waiting(p.cmd.Process.Pid)
		if err == nil && n >= sockets {
			return nil
		}
		select {
		case err := <-p.ended:
			p.ended <- err
			return fmt.Errorf("%s ended: %w\n%s%s", p.cmd.Args[0], err, tail(p.out.Bytes()), tail(p.err.Bytes()))
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("%s does not listen: %w", p.cmd.Args[0], ctx.Err()), err)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// waiting counts the sockets in a process's namespace that wait for somebody.
func waiting(pid int) (n int, err error) {
	const (
		stateField = 3
		tcpListen  = "0A" // include/net/tcp_states.h
	)
	for _, name := range []string{"tcp", "tcp6", "udp", "udp6"} {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/%s", pid, name))
		if err != nil {
			return 0, err
		}
		for line := range strings.Lines(string(text)) {
			f := strings.Fields(line)
			if len(f) > stateField && f[0] != "sl" && (f[stateField] == tcpListen || strings.HasPrefix(name, "udp")) {
				n++
			}
		}
	}
	return n, nil
}

// wait returns when a process has ended; one that takes too long is killed.
func (p *process) wait(ctx context.Context) error {
	select {
	case err := <-p.ended:
		if err != nil {
			return fmt.Errorf("%s: %w\n%s%s", strings.Join(p.cmd.Args, " "), err, tail(p.out.Bytes()), tail(p.err.Bytes()))
		}
		return nil
	case <-ctx.Done():
		return errors.Join(fmt.Errorf("%s: %w", strings.Join(p.cmd.Args, " "), ctx.Err()), p.stop())
	}
}

// tail is the end of what a program has printed.
func tail(b []byte) []byte { return b[max(0, len(b)-1000):] }

// stop ends a process and all that it has started.
func (p *process) stop() error {
	_ = unix.Kill(-p.cmd.Process.Pid, unix.SIGTERM)
	select {
	case <-p.ended: // by the signal
		return p.kill() // what is left of its group
	case <-time.After(serverStop):
		return p.kill()
	}
}

// kill ends a process group.
func (p *process) kill() error {
	if err := unix.Kill(-p.cmd.Process.Pid, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("kill %s: %w", p.cmd.Args[0], err)
	}
	return nil
}
