// SPDX-License-Identifier: GPL-2.0-only

package service

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/randomizedcoder/l2d/internal/durable"
)

// children runs units as processes of its own. They outlive l2d, as the dataplane does:
// a new daemon adopts them, so that an upgrade drops no station and no lease. While there is no l2d
// nobody starts them again.
type children struct {
	dirs   Dirs
	groups *cgroups
	log    *slog.Logger
	// backoffLeast is leastBackoff but in tests.
	backoffLeast time.Duration

	mu   sync.Mutex
	list map[string]*child
}

// child is a service that is supervised.
type child struct {
	// stop is closed when it is to end, leave when nobody is to watch it any more, done
	// when either has been done.
	stop, leave, done chan struct{}
	logs              *logTail

	mu      sync.Mutex
	unit    *Unit // its limits can change
	process Process
}

const (
	// stopTime is what a process gets to end itself.
	stopTime = 10 * time.Second
	// The wait before a process is started again: it doubles as long as none has
	// lived for steady. The first one is started at once.
	leastBackoff = time.Second
	mostBackoff  = time.Minute
	steady       = time.Minute
)

func newChildren(dirs Dirs, groups *cgroups, log *slog.Logger) *children {
	return &children{dirs: dirs, groups: groups, log: log, backoffLeast: leastBackoff, list: map[string]*child{}}
}

func (c *children) find(name string) *child {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.list[name]
}

// Start implements runner.
func (c *children) Start(ctx context.Context, u *Unit) error {
	if err := c.Stop(ctx, u.Name); err != nil {
		return err
	}
	ch := &child{unit: u, stop: make(chan struct{}), leave: make(chan struct{}), done: make(chan struct{})}
	var err error
	if ch.logs, err = openLog(c.dirs.Of(u.Name), u.Name, c.log); err != nil {
		return err
	}
	p, err := c.spawn(ch)
	if err != nil {
		ch.logs.close()
		return err
	}
	c.supervise(ch, p)
	return nil
}

// adopt takes over what an earlier daemon has started; it tells whether it runs.
func (c *children) adopt(u *Unit) bool {
	p := readPID(c.dirs.Of(u.Name))
	if p == nil {
		return false
	}
	ch := &child{unit: u, stop: make(chan struct{}), leave: make(chan struct{}), done: make(chan struct{})}
	var err error
	if ch.logs, err = openLog(c.dirs.Of(u.Name), u.Name, c.log); err != nil {
		c.log.Warn("the log of a service is not read", "service", u.Name, "err", err)
		ch.logs = &logTail{}
	}
	c.supervise(ch, p)
	return true
}

// supervise has a child's process watched.
func (c *children) supervise(ch *child, p *running) {
	c.mu.Lock()
	c.list[ch.current().Name] = ch
	c.mu.Unlock()
	ch.set(func(q *Process) { q.Running, q.PID, q.Started = true, p.pid, p.started })
	go c.watch(ch, p)
}

func (ch *child) current() *Unit {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	return ch.unit
}

func (ch *child) set(change func(*Process)) {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	change(&ch.process)
}

// watch waits for the process to end, and starts it again if that was not wanted.
func (c *children) watch(ch *child, p *running) {
	defer close(ch.done)
	defer ch.logs.close()
	name := ch.current().Name
	backoff := time.Duration(0)
	for {
		select {
		case <-ch.stop:
			c.end(ch, p, stopTime)
			c.groups.remove(ch.current())
			ch.set(func(q *Process) { q.Running, q.PID, q.Exit = false, 0, p.exit })
			return
		case <-ch.leave:
			return
		case <-p.gone:
		}
		c.end(ch, p, 0) // what it has left behind
		ch.set(func(q *Process) { q.Running, q.PID, q.Exit = false, 0, p.exit })
		c.log.Error("service ended", "service", name, "exit", p.exit)
		if r := ch.current().Service.Restart; r == "no" || r == "on-failure" && p.clean {
			select {
			case <-ch.stop:
			case <-ch.leave:
			}
			return
		}
		if time.Since(p.started) > steady {
			backoff = 0
		}
		for {
			select {
			case <-ch.stop:
				return
			case <-ch.leave:
				return
			case <-time.After(backoff):
			}
			backoff = min(max(2*backoff, c.backoffLeast), mostBackoff)
			next, err := c.spawn(ch)
			if err == nil {
				p = next
				break
			}
			c.log.Error("service not started", "service", name, "err", err)
			ch.set(func(q *Process) { q.Exit = err.Error() })
		}
		ch.set(func(q *Process) { q.Running, q.PID, q.Started, q.Restarts = true, p.pid, p.started, q.Restarts+1 })
		c.log.Warn("service started again", "service", name, "pid", p.pid)
	}
}

// Stop implements runner.
func (c *children) Stop(ctx context.Context, name string) error {
	c.mu.Lock()
	ch := c.list[name]
	delete(c.list, name)
	c.mu.Unlock()
	if ch == nil {
		return nil
	}
	close(ch.stop)
	select {
	case <-ch.done:
	case <-ctx.Done():
		return ctx.Err()
	}
	return durable.Remove(pidPath(c.dirs.Of(name)))
}

// close leaves all children to the next daemon.
func (c *children) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, ch := range c.list {
		close(ch.leave)
		<-ch.done
	}
	c.list = map[string]*child{}
}

// Signal implements runner.
func (c *children) Signal(_ context.Context, name, sig string) error {
	ch := c.find(name)
	s := unix.SignalNum(sig)
	if ch == nil || s == 0 {
		return fmt.Errorf("%s: no process for %s", name, sig)
	}
	ch.mu.Lock()
	defer ch.mu.Unlock()
	if !ch.process.Running {
		return fmt.Errorf("%s: does not run", name)
	}
	return unix.Kill(ch.process.PID, s)
}

// Process implements runner.
func (c *children) Process(_ context.Context, name string) (Process, error) {
	ch := c.find(name)
	if ch == nil {
		return Process{}, nil
	}
	ch.mu.Lock()
	defer ch.mu.Unlock()
	return ch.process, nil
}

// Logs implements runner.
func (c *children) Logs(_ context.Context, name string, lines int) ([]string, error) {
	ch := c.find(name)
	if ch == nil {
		return nil, fs.ErrNotExist
	}
	return ch.logs.last(lines), nil
}

// spawn starts the process of a child.
func (c *children) spawn(ch *child) (*running, error) {
	u := ch.current()
	if err := makeDirs(u); err != nil {
		return nil, err
	}
	attr, err := processAttributes(u)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(u.Argv[0], u.Argv[1:]...)
	cmd.Env = append([]string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8"}, u.Env...)
	cmd.Dir = "/"
	cmd.SysProcAttr = attr
	out, err := ch.logs.writer()
	if err != nil {
		return nil, err
	}
	defer out.Close()
	cmd.Stdout, cmd.Stderr = out, out
	group, err := c.groups.open(u)
	if err != nil {
		return nil, err
	}
	if group != nil {
		defer group.Close()
		attr.UseCgroupFD, attr.CgroupFD = true, int(group.Fd())
	}
	begin, err := gate(cmd)
	if err != nil {
		return nil, err
	}
	defer begin.Close()
	err = startLimited(cmd, u)
	cmd.ExtraFiles[0].Close() // the process has it
	if err != nil {
		return nil, err
	}
	p := &running{pid: cmd.Process.Pid, started: time.Now(), gone: make(chan struct{})}
	if err := writePID(c.dirs.Of(u.Name), p.pid); err != nil {
		c.log.Error("a later l2d will not know this process", "service", u.Name, "err", err)
	}
	if _, err := begin.Write([]byte("\n")); err != nil {
		c.log.Error("service does not begin", "service", u.Name, "err", err)
	}
	go func() {
		err := cmd.Wait()
		p.exit, p.clean = "ended by itself", err == nil
		if err != nil {
			p.exit = err.Error()
		}
		close(p.gone)
	}()
	return p, nil
}

// gate has a command wait for a line before it becomes its program: until its process is noted. One that is not, as l2d is
// no more, ends.
func gate(cmd *exec.Cmd) (begin *os.File, err error) {
	wait, begin, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	cmd.Args = append([]string{"sh", "-c", `read -r line <&3 && exec "$0" "$@" 3<&-`, cmd.Path}, cmd.Args[1:]...)
	cmd.Path, cmd.ExtraFiles = "/bin/sh", []*os.File{wait}
	return begin, nil
}

// processAttributes are the session, the user and the capabilities of a unit's process.
func processAttributes(u *Unit) (*syscall.SysProcAttr, error) {
	attr := &syscall.SysProcAttr{Setsid: true}
	if u.User == "" && u.Group == "" {
		return attr, nil
	}
	uid, gid, err := credentials(u.User, u.Group)
	if err != nil {
		return nil, err
	}
	attr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	for _, name := range u.Caps {
		n, ok := capabilities[name]
		if !ok {
			return nil, fmt.Errorf("capability %s is not known", name)
		}
		attr.AmbientCaps = append(attr.AmbientCaps, n)
	}
	return attr, nil
}

// capabilities are those that services need, by name.
var capabilities = map[string]uintptr{
	"CAP_CHOWN": unix.CAP_CHOWN, "CAP_DAC_OVERRIDE": unix.CAP_DAC_OVERRIDE, "CAP_KILL": unix.CAP_KILL,
	"CAP_NET_ADMIN": unix.CAP_NET_ADMIN, "CAP_NET_BIND_SERVICE": unix.CAP_NET_BIND_SERVICE, "CAP_NET_RAW": unix.CAP_NET_RAW,
	"CAP_SETGID": unix.CAP_SETGID, "CAP_SETUID": unix.CAP_SETUID, "CAP_SYS_CHROOT": unix.CAP_SYS_CHROOT,
	"CAP_SYS_NICE": unix.CAP_SYS_NICE, "CAP_IPC_LOCK": unix.CAP_IPC_LOCK,
}

// startLimited starts a process with the unit's niceness, class of disk accesses and CPUs: the thread that makes it
// has them, and ends afterwards.
func startLimited(cmd *exec.Cmd, u *Unit) error {
	return onThread(func() error {
		if err := limitThread(0, u); err != nil {
			return err
		}
		return cmd.Start()
	})
}

// Classes of disk accesses by name, and what ioprio_set(2) has them behind: the kernel has
// no such constants for user space. Within a class the priority is the one in the middle.
var ioClasses = map[string]int{"realtime": 1, "best-effort": 2, "idle": 3}

const (
	ioprioWhoProcess = 1
	ioprioClassShift = 13
	ioprioMiddle     = 4
)

// limitThread gives a thread the niceness, the class of disk accesses and the CPUs of a unit; 0 is the
// caller's.
func limitThread(tid int, u *Unit) error {
	if n := u.Service.Nice; n != nil {
		if err := unix.Setpriority(unix.PRIO_PROCESS, tid, *n); err != nil {
			return fmt.Errorf("nice %d: %w", *n, err)
		}
	}
	if class := ioClasses[u.Sandbox.IOClass]; class != 0 {
		if _, _, errno := unix.Syscall(unix.SYS_IOPRIO_SET, ioprioWhoProcess, uintptr(tid), uintptr(class<<ioprioClassShift|ioprioMiddle)); errno != 0 {
			return fmt.Errorf("I/O class %s: %w", u.Sandbox.IOClass, errno)
		}
	}
	if list := u.Service.CPUs; len(list) > 0 {
		var set unix.CPUSet
		for _, n := range list {
			set.Set(n)
		}
		if err := unix.SchedSetaffinity(tid, &set); err != nil {
			return fmt.Errorf("CPUs: %w", err)
		}
	}
	return nil
}

// forThreads does something to each thread of a process.
func forThreads(pid int, do func(tid int) error) error {
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		return err
	}
	for _, e := range entries {
		tid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if err := do(tid); err != nil && !errors.Is(err, unix.ESRCH) {
			return err
		}
	}
	return nil
}

// running is a process that was started or adopted.
type running struct {
	pid     int
	started time.Time
	// gone is closed when it has ended; then exit says how, and clean that it was no
	// failure.
	gone  chan struct{}
	exit  string
	clean bool
}

// end ends all processes of a child: by SIGTERM and, when the time is up, by SIGKILL. Its group
// has all that the process has started; without groups it is those of its session's
// process group.
func (c *children) end(ch *child, p *running, patience time.Duration) {
	if patience > 0 {
		_ = unix.Kill(-p.pid, unix.SIGTERM) // gone already
		select {
		case <-p.gone:
		case <-time.After(patience):
		}
	}
	if !c.groups.kill(ch.current()) {
		_ = unix.Kill(-p.pid, unix.SIGKILL)
	}
	<-p.gone
}

// Refresh implements runner.
func (c *children) Refresh(_ context.Context, u *Unit) error {
	ch := c.find(u.Name)
	if ch == nil {
		return nil
	}
	group, err := c.groups.open(u)
	if err != nil {
		return err
	}
	if group != nil {
		group.Close()
	}
	ch.mu.Lock()
	defer ch.mu.Unlock()
	ch.unit = u // also of the next process
	if !ch.process.Running {
		return nil
	}
	return forThreads(ch.process.PID, func(tid int) error { return limitThread(tid, u) })
}

func pidPath(dir string) string { return filepath.Join(dir, "pid") }
