// SPDX-License-Identifier: GPL-2.0-only

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// inMachine is set in the environment of the command, for it to know where it is.
const inMachine = "L2D_VM"

// guestEnv is what the command finds in its environment.
var guestEnv = map[string]string{
	"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin", "HOME": "/root", "LANG": "C.UTF-8", "TMPDIR": "/tmp",
	inMachine: "1",
}

// guest is the first process of the machine: it finds the root file system, runs
// the command, says how it ended, and turns the machine off.
func guest() {
	finish(boot())
}

// finish says how the command ended, and turns the machine off; or has it boot again, if the command wants that.
func finish(code int, err error) {
	if err == nil && code == exitReboot {
		err = reboot()
	}
	if err != nil {
		fmt.Println("vm: in the machine:", err) // to the console
	} else if p, err := openPort("exit"); err == nil {
		fmt.Fprintln(p, code)
		p.Close()
	}
	unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
	select {}
}

// reboot ends all that runs, as an operator does, and waits for its own end. It returns only an error.
func reboot() error {
	if os.Getpid() == 1 {
		unix.Sync()
		return unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART)
	}
	out, err := exec.Command("systemctl", "reboot").CombinedOutput()
	if err != nil {
		return fmt.Errorf("systemctl reboot: %w: %s", err, out)
	}
	for {
		time.Sleep(time.Minute)
	}
}

func boot() (int, error) {
	for _, m := range [][2]string{{"devtmpfs", "/dev"}, {"proc", "/proc"}, {"sysfs", "/sys"}} {
		if err := mount(m[0], m[0], m[1], ""); err != nil {
			return 0, err
		}
	}
	text, err := os.ReadFile("/command")
	if err != nil {
		return 0, err
	}
	var c command
	if err := json.Unmarshal(text, &c); err != nil {
		return 0, err
	}
	modules, err := filepath.Glob("/early/*.ko")
	if err != nil {
		return 0, err
	}
	for _, path := range modules {
		if err := loadModule(path); err != nil {
			return 0, fmt.Errorf("%s: %w", path, err)
		}
	}
	if err := enterRoot(c.Tree); err != nil {
		return 0, err
	}
	if c.Systemd {
		return 0, handOver(c)
	}
	return run(c)
}

func mount(source, fstype, target, data string) error {
	if err := os.MkdirAll(target, 0o755); err != nil {
		return err
	}
	if err := unix.Mount(source, target, fstype, 0, data); err != nil {
		return fmt.Errorf("mount %s on %s: %w", source, target, err)
	}
	return nil
}

func loadModule(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return unix.FinitModule(int(f.Fd()), "", 0)
}

// enterRoot makes the disks the root file system, with what a command expects of
// a system that was booted.
func enterRoot(tree bool) error {
	disks := map[string]string{"/dev/vda": "/new"}
	if tree {
		disks["/dev/vdb"] = "/new/l2d"
	}
	for _, disk := range []string{"/dev/vda", "/dev/vdb"} {
		target, ok := disks[disk]
		if !ok {
			continue
		}
		if err := await(func() error { _, err := os.Stat(disk); return err }); err != nil {
			return err
		}
		if err := mount(disk, "ext4", target, ""); err != nil {
			return err
		}
	}
	for _, dir := range []string{"/dev", "/proc", "/sys"} {
		if err := unix.Mount(dir, "/new"+dir, "", unix.MS_MOVE, ""); err != nil {
			return fmt.Errorf("move %s: %w", dir, err)
		}
	}
	if err := errors.Join(os.Chdir("/new"), unix.Mount(".", "/", "", unix.MS_MOVE, ""), unix.Chroot("."), os.Chdir("/")); err != nil {
		return err
	}
	for _, m := range [][3]string{
		{"tmpfs", "/run", "mode=0755"}, {"tmpfs", "/tmp", "mode=1777"}, {"tmpfs", "/dev/shm", "mode=1777"},
		{"devpts", "/dev/pts", "mode=0620,ptmxmode=0666"}, {"cgroup2", "/sys/fs/cgroup", ""}, {"bpf", "/sys/fs/bpf", ""},
		{"debugfs", "/sys/kernel/debug", ""}, {"tracefs", "/sys/kernel/tracing", ""},
	} {
		if err := mount(m[0], m[0], m[1], m[2]); err != nil {
			return err
		}
	}
	if _, err := os.Stat("/dev/net/tun"); err == nil {
		return nil // the kernel has it built in
	}
	// Where udev is, this is there before its module is.
	const tun = 10<<8 | 200
	return errors.Join(os.Mkdir("/dev/net", 0o755), unix.Mknod("/dev/net/tun", unix.S_IFCHR|0o666, tun))
}

// await tries until there is no error, for as long as devices may take to appear.
func await(try func() error) error {
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if err := try(); err == nil || time.Now().After(end) {
			return err
		}
	}
}

// openPort opens a virtio port by its name.
func openPort(name string) (f *os.File, err error) {
	err = await(func() error {
		found, _ := filepath.Glob("/sys/class/virtio-ports/*/name") // the pattern is right
		for _, path := range found {
			if b, err := os.ReadFile(path); err != nil || strings.TrimSpace(string(b)) != name {
				continue
			}
			f, err = os.OpenFile("/dev/"+filepath.Base(filepath.Dir(path)), os.O_WRONLY, 0)
			return err
		}
		return fmt.Errorf("port %s: %w", name, fs.ErrNotExist)
	})
	return f, err
}

// run returns what the command exited with, or the shell's number for a signal
// that ended it.
func run(c command) (int, error) {
	var outputs [2]*os.File
	var copied [2]chan struct{}
	var writers [2]*os.File
	for i := range outputs {
		var err error
		if outputs[i], err = openPort(ports[i]); err != nil {
			return 0, err
		}
		defer outputs[i].Close()
		// The command gets a pipe, which is what it would have outside.
		r, w, err := os.Pipe()
		if err != nil {
			return 0, err
		}
		writers[i], copied[i] = w, make(chan struct{})
		go func() {
			io.Copy(outputs[i], r)
			close(copied[i])
		}()
	}
	for name, value := range guestEnv {
		if err := os.Setenv(name, value); err != nil {
			return 0, err
		}
	}
	cmd := exec.Command(c.Argv[0], c.Argv[1:]...)
	if c.Tree {
		cmd.Dir = "/l2d"
	}
	cmd.Stdout, cmd.Stderr = writers[0], writers[1]
	code := 127
	if err := cmd.Start(); err != nil {
		fmt.Fprintln(writers[1], "vm: in the machine:", err)
	} else if code, err = reap(cmd.Process.Pid); err != nil {
		return 0, err
	}
	// Daemons that the command has left may hold the pipes for ever.
	patience := time.After(time.Second)
	for i := range outputs {
		writers[i].Close()
		select {
		case <-copied[i]:
		case <-patience:
		}
	}
	return code, nil
}

// reap waits for a child, and for all orphans meanwhile: the first process is
// their parent.
func reap(pid int) (int, error) {
	for {
		var status unix.WaitStatus
		switch ended, err := unix.Wait4(-1, &status, 0, nil); {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return 0, fmt.Errorf("wait: %w", err)
		case ended != pid:
		case status.Signaled():
			return 128 + int(status.Signal()), nil
		case status.Exited():
			return status.ExitStatus(), nil
		}
	}
}
