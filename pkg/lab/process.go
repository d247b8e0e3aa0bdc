// SPDX-License-Identifier: GPL-2.0-only

package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// stopTime is what a process gets between SIGTERM and SIGKILL.
const stopTime = 5 * time.Second

// Process is a running program inside a namespace.
type Process struct {
	name string
	log  string
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
	err  error         // valid after done
}

// processOptions are what few programs need.
type processOptions struct {
	env   []string
	stdin io.Reader
	// stdout receives the standard output instead of the log file.
	stdout io.Writer
}

// start runs a program in namespace ns. Its output goes to name.log in the lab's
// directory. It is in a process group of its own, so that a terminal's Ctrl-C
// reaches only the process that will clean up. It ends with the lab.
func (l *Lab) start(ns, name string, opt processOptions, argv ...string) (*Process, error) {
	logFile, err := os.OpenFile(filepath.Join(l.dir, name+".log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, err
	}
	defer logFile.Close()

	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), opt.env...)
	cmd.Stdin = opt.stdin
	cmd.Stdout, cmd.Stderr = logFile, logFile
	if opt.stdout != nil {
		cmd.Stdout = opt.stdout
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := l.ns[ns].Do(cmd.Start); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	p := &Process{name: name, log: logFile.Name(), cmd: cmd, done: make(chan struct{})}
	go func() {
		p.err = cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// Stop ends the process, by force when it does not go.
func (p *Process) Stop() error {
	if p.signal(syscall.SIGTERM) != nil {
		return nil
	}
	select {
	case <-p.done:
		return nil
	case <-time.After(stopTime):
		return p.Kill()
	}
}

// Kill ends the process with SIGKILL and waits until it is gone.
func (p *Process) Kill() error {
	if err := p.signal(syscall.SIGKILL); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("kill %s: %w", p.name, err)
	}
	<-p.done
	return nil
}

func (p *Process) signal(s syscall.Signal) error {
	select {
	case <-p.done:
		return os.ErrProcessDone
	default:
		return p.cmd.Process.Signal(s)
	}
}

// exited returns an error that quotes the log when the process has ended.
func (p *Process) exited() error {
	select {
	case <-p.done:
		return fmt.Errorf("%s ended: %v\n%s", p.name, p.err, tail(p.log))
	default:
		return nil
	}
}

// tail returns the last lines of a log.
func tail(path string) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	return strings.Join(lines[max(0, len(lines)-15):], "\n")
}

// run runs a program in namespace ns to its end and returns its standard output.
// An error carries what the program said.
func (l *Lab) run(ctx context.Context, ns, stdin string, argv ...string) (string, error) {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Stdin = strings.NewReader(stdin)
	cmd.WaitDelay = time.Second
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := l.ns[ns].Do(cmd.Start); err != nil {
		return "", err
	}
	if err := cmd.Wait(); err != nil {
		said := strings.TrimSpace(stderr.String())
		if said == "" {
			said = strings.TrimSpace(stdout.String())
		}
		return stdout.String(), fmt.Errorf("%s: %w: %s", strings.Join(argv, " "), err, said)
	}
	return stdout.String(), nil
}

// poll calls fn until it returns nil, its last error after the time is over, or
// the context's.
func poll(ctx context.Context, limit time.Duration, fn func() error) error {
	deadline := time.Now().Add(limit)
	for {
		err := fn()
		if err == nil || time.Now().After(deadline) {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ctx.Err(), err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}
