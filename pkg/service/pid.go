// SPDX-License-Identifier: GPL-2.0-only

package service

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/randomizedcoder/l2d/internal/durable"
)

// A process is known to the next daemon by its number and when it started, in ticks since the
// kernel did: numbers are used again.

func writePID(dir string, pid int) error {
	ticks, err := startTime(pid)
	if err != nil {
		return err
	}
	return durable.WriteFile(pidPath(dir), fmt.Appendf(nil, "%d %d\n", pid, ticks))
}

// readPID returns the process that is noted; nil if it does not run any more. Its end is
// seen by its file descriptor, as it may be no child.
func readPID(dir string) *running {
	b, err := os.ReadFile(pidPath(dir))
	if err != nil {
		return nil
	}
	var pid int
	var ticks uint64
	if _, err := fmt.Sscanf(string(b), "%d %d\n", &pid, &ticks); err != nil {
		return nil
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return nil
	}
	// Of whatever has the number now, the descriptor stands for the same.
	if now, err := startTime(pid); err != nil || now != ticks {
		unix.Close(fd)
		return nil
	}
	p := &running{pid: pid, started: startedAt(ticks), gone: make(chan struct{})}
	go func() {
		defer unix.Close(fd)
		for {
			n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, -1)
			if n > 0 || err != nil && err != unix.EINTR {
				break
			}
		}
		p.exit = "ended; it was started by an earlier l2d, which would know how"
		close(p.gone)
	}()
	return p
}

// ticksPerSecond is USER_HZ, which /proc uses on all architectures that Go runs on.
const ticksPerSecond = 100

// startTime is field 22 of proc_pid_stat(5). What is dead and not waited for is not there.
func startTime(pid int) (uint64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// The name, field 2, may have anything in it.
	fields := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
	if len(fields) < 20 || fields[0][0] == 'Z' {
		return 0, os.ErrProcessDone
	}
	return strconv.ParseUint(string(fields[19]), 10, 64)
}

func startedAt(ticks uint64) time.Time {
	var now unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &now) != nil {
		return time.Time{}
	}
	return time.Now().Add(time.Duration(ticks)*time.Second/ticksPerSecond - time.Duration(now.Nano()))
}

// onThread runs a function on a thread of its own, whose properties end with it.
func onThread(do func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlock
		done <- do()
	}()
	return <-done
}
