// SPDX-License-Identifier: GPL-2.0-only

package service

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-systemd/v22/dbus"
	"github.com/coreos/go-systemd/v22/util"
	"golang.org/x/sys/unix"

	"github.com/randomizedcoder/l2d/internal/durable"
)

// units runs services as units of systemd. Their files are in the runtime directory: after a
// reboot there is nothing until l2d has its firewall in force.
type units struct {
	mu   sync.Mutex
	conn *dbus.Conn
}

// unitDir is where systemd finds units that last until the next reboot.
const unitDir = "/run/systemd/system"

// unitName is the name of a service's unit.
func unitName(name string) string { return "l2d-" + name + ".service" }

// systemdRuns tells whether systemd is the first process.
func systemdRuns() bool { return util.IsRunningSystemd() }

// dial returns the connection to systemd's own socket, which needs no bus.
func (s *units) dial(ctx context.Context) (*dbus.Conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn != nil && s.conn.Connected() {
		return s.conn, nil
	}
	// The connection outlives whoever needs it first.
	conn, err := dbus.NewSystemdConnectionContext(context.WithoutCancel(ctx))
	if err != nil {
		return nil, fmt.Errorf("systemd: %w", err)
	}
	s.conn = conn
	return conn, nil
}

// Start implements runner.
func (s *units) Start(ctx context.Context, u *Unit) error {
	return s.job(ctx, u.Name, func(c *dbus.Conn, name string, done chan<- string) (int, error) {
		if err := errors.Join(dropRefreshed(u.Name), c.ReloadContext(ctx)); err != nil {
			return 0, err
		}
		_ = c.ResetFailedUnitContext(ctx, name) // is of no unit that never failed
		return c.RestartUnitContext(ctx, name, "replace", done)
	})
}

// Refresh implements runner. Of a file that it reads again systemd takes limits only for the next
// process: the one that there is is given them.
func (s *units) Refresh(ctx context.Context, u *Unit) error {
	c, err := s.dial(ctx)
	if err != nil {
		return err
	}
	if err := c.ReloadContext(ctx); err != nil {
		return err
	}
	list, err := limitProperties(limitState(&u.Service.Limits))
	if err != nil {
		return err
	}
	return c.SetUnitPropertiesContext(ctx, unitName(u.Name), true, list...)
}

// dropRefreshed removes what [units.Refresh] has left for the next process: it has its own file.
func dropRefreshed(name string) error {
	return os.RemoveAll("/run/systemd/system.control/" + unitName(name) + ".d")
}

// Stop implements runner.
func (s *units) Stop(ctx context.Context, name string) error {
	c, err := s.dial(ctx)
	if err != nil {
		return err
	}
	list, err := c.ListUnitsByNamesContext(ctx, []string{unitName(name)})
	if err != nil || len(list) == 0 || list[0].LoadState == "not-found" {
		return err
	}
	err = s.job(ctx, name, func(c *dbus.Conn, name string, done chan<- string) (int, error) {
		return c.StopUnitContext(ctx, name, "replace", done)
	})
	if err != nil {
		return err
	}
	if err := durable.Remove(unitPath(name)); err != nil {
		return err
	}
	if err := dropRefreshed(name); err != nil {
		return err
	}
	return c.ReloadContext(ctx)
}

// job has systemd do something to a unit, and waits for it.
func (s *units) job(ctx context.Context, name string, do func(c *dbus.Conn, name string, done chan<- string) (int, error)) error {
	c, err := s.dial(ctx)
	if err != nil {
		return err
	}
	done := make(chan string, 1)
	if _, err := do(c, unitName(name), done); err != nil {
		return fmt.Errorf("systemd: %s: %w", unitName(name), err)
	}
	select {
	case result := <-done:
		if result != "done" {
			p, _ := s.Process(ctx, name) // says why, if it can
			return fmt.Errorf("systemd: %s: %s: %s", unitName(name), result, p.Exit)
		}
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Signal implements runner.
func (s *units) Signal(ctx context.Context, name, sig string) error {
	n := unix.SignalNum(sig)
	if n == 0 {
		return fmt.Errorf("%s: no signal", sig)
	}
	c, err := s.dial(ctx)
	if err != nil {
		return err
	}
	return c.KillUnitWithTarget(ctx, unitName(name), dbus.Main, int32(n))
}

// Process implements runner.
func (s *units) Process(ctx context.Context, name string) (Process, error) {
	c, err := s.dial(ctx)
	if err != nil {
		return Process{}, err
	}
	p, err := c.GetAllPropertiesContext(ctx, unitName(name))
	if err != nil {
		return Process{}, fmt.Errorf("systemd: %s: %w", unitName(name), err)
	}
	pid, _ := p["MainPID"].(uint32)
	restarts, _ := p["NRestarts"].(uint32)
	out := Process{Running: p["ActiveState"] == "active" && pid != 0, PID: int(pid), Restarts: uint64(restarts)}
	if us, _ := p["ExecMainStartTimestamp"].(uint64); us != 0 && out.Running {
		out.Started = time.UnixMicro(int64(us))
	}
	out.Exit = exitOf(p)
	return out, nil
}

// exitOf is how a unit's last process has ended, of its properties.
func exitOf(p map[string]any) string {
	if ended, _ := p["ExecMainExitTimestamp"].(uint64); ended == 0 {
		return ""
	}
	status, _ := p["ExecMainStatus"].(int32)
	result, _ := p["Result"].(string)
	code, _ := p["ExecMainCode"].(int32)
	// The codes of waitid(2): CLD_EXITED, CLD_KILLED, CLD_DUMPED.
	switch code {
	case 1:
		return fmt.Sprintf("exit status %d (%s)", status, result)
	case 2, 3:
		return fmt.Sprintf("signal: %v (%s)", unix.Signal(status), result)
	}
	return result
}

// Logs implements runner: what the unit's processes have written, and not what systemd has to say of them.
func (s *units) Logs(ctx context.Context, name string, lines int) ([]string, error) {
	out, err := Run(ctx, "journalctl", "_SYSTEMD_UNIT="+unitName(name), "--lines", fmt.Sprint(lines), "--output", "cat", "--no-pager", "--quiet")
	if err != nil {
		return nil, err
	}
	return strings.Split(out, "\n"), nil
}
