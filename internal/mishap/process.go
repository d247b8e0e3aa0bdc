// SPDX-License-Identifier: GPL-2.0-only

package mishap

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"
)

// Process is a program whose calls are watched, those of all its threads. What it starts goes on as ever.
type Process struct{ *watch }

// watchedProgram is the environment variable that has a process become a program that is watched. Its value is the number
// of a descriptor to tell of the listener by; the next one says when to begin.
const watchedProgram = "L2D_TEST_WATCHED"

// Start starts a command with this process's own program in between, which has [Become] called before all else. Its steps
// are those in a network namespace, as /proc has its name; empty: in whichever.
func Start(cmd *exec.Cmd, space string) (*Process, error) {
	tell, told, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer tell.Close()
	begin, begun, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, told.Close())
	}
	defer begun.Close()
	const first = 3 // descriptor of ExtraFiles
	env := cmd.Env
	if env == nil {
		env = os.Environ()
	}
	cmd.Env = append(env, fmt.Sprint(watchedProgram, "=", first+len(cmd.ExtraFiles)))
	cmd.ExtraFiles = append(cmd.ExtraFiles, told, begin)
	cmd.Args = append([]string{"watched", cmd.Path}, cmd.Args[1:]...)
	cmd.Path = "/proc/self/exe"
	err = cmd.Start()
	if err := errors.Join(err, told.Close(), begin.Close()); err != nil {
		return nil, err
	}
	text := make([]byte, 16)
	n, err := tell.Read(text)
	if err != nil {
		return nil, fmt.Errorf("no listener: %w", err)
	}
	number, err := strconv.Atoi(string(text[:n]))
	if err != nil {
		return nil, err
	}
	listener, err := descriptorOf(cmd.Process.Pid, number)
	if err != nil {
		return nil, fmt.Errorf("listener: %w", err)
	}
	return &Process{newWatch(listener, cmd.Process.Pid, space)}, nil
}

// descriptorOf is the same as a descriptor of another process.
func descriptorOf(pid, number int) (int, error) {
	p, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return 0, err
	}
	defer func() { _ = unix.Close(p) }()
	return unix.PidfdGetfd(p, number, 0)
}

// Become makes a process that [Start] has begun the program that it is to be. It returns in all others.
func Become() {
	text := os.Getenv(watchedProgram)
	if text == "" {
		return
	}
	fmt.Fprintln(os.Stderr, become(text))
	os.Exit(1)
}

// become returns only after an error.
func become(text string) error {
	runtime.LockOSThread() // the others have no filter, and end with exec
	tell, err := strconv.Atoi(text)
	if err != nil {
		return err
	}
	if err := os.Unsetenv(watchedProgram); err != nil {
		return err
	}
	begin := tell + 1
	unix.CloseOnExec(tell)
	unix.CloseOnExec(begin)
	listener, err := install(filter())
	if err != nil {
		return err
	}
	if _, err := unix.Write(tell, []byte(strconv.Itoa(listener))); err != nil {
		return err
	}
	// Ends when the other end is closed: when the listener is another's.
	if _, err := unix.Read(begin, make([]byte, 1)); err != nil {
		return err
	}
	return unix.Exec(os.Args[1], os.Args[1:], os.Environ())
}
