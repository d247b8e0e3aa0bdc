// SPDX-License-Identifier: GPL-2.0-only

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// machine is a virtual machine that runs one command.
type machine struct {
	kit, kernel  string
	tree         string
	accel        string
	console      string
	memory, cpus int
	// nics are models of network interfaces, more are arguments of the kernel.
	nics, more []string
	timeout    time.Duration
	systemd    bool
	reboots    bool // and not end instead
	// virtual has the machine's clock count its instructions, one a nanosecond, and pass
	// over idle times. A busy host makes it slow: see docs/bbr3.md for what was seen.
	virtual bool
}

// command is what the first process of the machine is to run.
type command struct {
	Argv []string
	Tree bool // whether there is a second disk
	// Systemd has that as the first process.
	Systemd bool
}

// The ports by which the guest answers: standard output and error of the command,
// and the number that it exited with.
var ports = []string{"out", "err", "exit"}

// kernelArguments make a machine start quickly and its panics end it.
var kernelArguments = []string{
	"console=ttyS0", "quiet", "loglevel=5", "panic=-1", "log_buf_len=16M", "audit=0", "mitigations=off", "nokaslr",
	"tsc=reliable", "no_timer_check", "cryptomgr.notests", "random.trust_cpu=on",
}

// complaint is how a kernel says that it is wrong itself.
var complaint = regexp.MustCompile(`WARNING: (CPU|\S+:\d)|BUG: |Oops|Kernel panic|UBSAN`)

// complaints are the lines of a kernel's log by which it says so. A processor that
// got no time is a matter of the host.
func complaints(log []byte) (lines []string) {
	for line := range strings.Lines(string(log)) {
		if complaint.MatchString(line) && !strings.Contains(line, "soft lockup") {
			lines = append(lines, line)
		}
	}
	return lines
}

// run starts the machine and returns what the command exited with.
func (m *machine) run(argv []string) (int, error) {
	dir, err := os.MkdirTemp("", "l2d-vm-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	if m.accel == "" {
		b, err := os.ReadFile(filepath.Join(m.kit, "accel"))
		if err != nil {
			return 0, err
		}
		m.accel = strings.TrimSpace(string(b))
	}
	if err := m.initrd(filepath.Join(dir, "initrd"), command{Argv: argv, Tree: m.tree != "", Systemd: m.systemd}); err != nil {
		return 0, err
	}
	if m.tree != "" {
		if err := diskOf(m.tree, filepath.Join(dir, "tree.ext4")); err != nil {
			return 0, err
		}
	}
	console, err := os.Create(filepath.Join(dir, "console"))
	if err != nil {
		return 0, err
	}
	defer console.Close()

	exit, late, err := m.start(dir, console)
	if err != nil {
		return 0, err
	}
	log, err := os.ReadFile(console.Name())
	if err != nil {
		return 0, err
	}
	if m.console != "" {
		if err := os.WriteFile(m.console, log, 0o644); err != nil {
			return 0, err
		}
	}
	code, err := strconv.Atoi(strings.TrimSpace(exit))
	switch {
	case late:
		code = exitTimeout
		fmt.Fprintf(os.Stderr, "vm: %s: ended after %v\n", m.kernel, m.timeout)
	case err != nil:
		code = exitMachine
		fmt.Fprintf(os.Stderr, "vm: %s: ended without an answer\n", m.kernel)
	case complaints(log) != nil:
		fmt.Fprintf(os.Stderr, "vm: %s: the kernel complains\n", m.kernel)
		if code == 0 {
			code = exitKernel
		}
	default:
		return code, nil
	}
	os.Stderr.Write(tail(log, 8<<10))
	return code, nil
}

// tail is the end of a text, of at most n bytes.
func tail(b []byte, n int) []byte {
	return b[max(0, len(b)-n):]
}

// initrd writes the initial RAM file system: this program, the modules that find
// the root file system, and the command.
func (m *machine) initrd(path string, c command) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	a := newArchive(f)
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		return err
	}
	a.add("init", syscall.S_IFREG|0o755, self)
	text, err := json.Marshal(c)
	if err != nil {
		return err
	}
	a.add("command", syscall.S_IFREG|0o644, text)
	a.add("early", syscall.S_IFDIR|0o755, nil)
	modules, err := os.ReadDir(filepath.Join(m.kit, m.kernel, "early"))
	if err != nil {
		return err
	}
	for _, e := range modules { // sorted by name, which begins with a number
		data, err := os.ReadFile(filepath.Join(m.kit, m.kernel, "early", e.Name()))
		if err != nil {
			return err
		}
		a.add("early/"+e.Name(), syscall.S_IFREG|0o644, data)
	}
	if err := a.close(); err != nil {
		return err
	}
	return f.Close()
}

// diskOf makes a disk image of a directory, with room for as much again.
func diskOf(dir, image string) error {
	size := int64(64 << 20)
	err := filepath.Walk(dir, func(_ string, info os.FileInfo, err error) error {
		if err == nil && info.Mode().IsRegular() {
			size += 2 * (info.Size() + 4096)
		}
		return err
	})
	if err != nil {
		return err
	}
	cmd := exec.Command("mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-d", dir, image, fmt.Sprintf("%dk", size>>10))
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("mke2fs: %w: %s", err, out)
	}
	return nil
}

// arguments are those of qemu. Disks are written to temporary files that qemu
// makes, and never to the images.
func (m *machine) arguments(dir string) []string {
	cpu := "max"
	if m.accel == "tcg" {
		// An emulated "rep movsb" goes byte by byte: the kernel is to copy by words.
		cpu += ",-erms,-fsrm"
	}
	args := []string{
		"-nodefaults", "-no-user-config", "-display", "none",
		"-machine", "q35", "-accel", m.accel, "-cpu", cpu,
		"-smp", strconv.Itoa(m.cpus), "-m", strconv.Itoa(m.memory),
		"-kernel", filepath.Join(m.kit, m.kernel, "vmlinux"), "-initrd", filepath.Join(dir, "initrd"),
		"-append", strings.Join(append(kernelArguments, m.more...), " "),
		"-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console",
		"-object", "rng-random,id=rng,filename=/dev/urandom", "-device", "virtio-rng-pci,rng=rng",
		"-device", "virtio-serial-pci,id=serial",
	}
	if !m.reboots {
		args = append(args, "-no-reboot")
	}
	if m.virtual {
		args = append(args, "-icount", "shift=0,sleep=off")
	}
	for i, port := range ports {
		// The first file that a child is given besides the standard ones is 3.
		args = append(args, "-chardev", fmt.Sprintf("file,id=%s,path=/proc/self/fd/%d", port, 3+i),
			"-device", fmt.Sprintf("virtserialport,bus=serial.0,chardev=%s,name=%s", port, port))
	}
	for i, model := range m.nics {
		backend, device := fmt.Sprintf("tap,id=nic%d,script=no,downscript=no", i), fmt.Sprintf("%s,netdev=nic%d", model, i)
		if strings.HasPrefix(model, "virtio-net") {
			// Vectors are two for each queue, and one for its configuration.
			backend, device = fmt.Sprintf("%s,queues=%d", backend, m.cpus), fmt.Sprintf("%s,mq=on,vectors=%d", device, 2*m.cpus+2)
		}
		args = append(args, "-netdev", backend, "-device", device)
	}
	disks := []string{filepath.Join(m.kit, "root.ext4")}
	if m.tree != "" {
		disks = append(disks, filepath.Join(dir, "tree.ext4"))
	}
	for _, image := range disks {
		args = append(args, "-drive", "if=virtio,format=raw,snapshot=on,cache=unsafe,file="+image)
	}
	return args
}

// start runs qemu to its end. It returns what the guest wrote to the port "exit",
// and whether the machine was ended because its time was over.
func (m *machine) start(dir string, console *os.File) (exit string, late bool, err error) {
	cmd := exec.Command("qemu-system-x86_64", m.arguments(dir)...)
	// Without it nobody would end the machine when this process is killed.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if len(m.nics) > 0 { // their other ends are in a namespace of their own
		cmd.SysProcAttr.Cloneflags = syscall.CLONE_NEWNET
	}
	cmd.Env = append(os.Environ(), "TMPDIR="+dir)
	cmd.Stdout, cmd.Stderr = console, console
	readers := make([]*os.File, len(ports))
	for i := range ports {
		r, w, err := os.Pipe()
		if err != nil {
			return "", false, err
		}
		defer r.Close()
		defer w.Close()
		readers[i], cmd.ExtraFiles = r, append(cmd.ExtraFiles, w)
	}
	if err := cmd.Start(); err != nil {
		return "", false, err
	}
	for _, w := range cmd.ExtraFiles {
		w.Close() // so that the pipes end with qemu
	}
	over := time.AfterFunc(m.timeout, func() { cmd.Process.Kill() })
	var wg sync.WaitGroup
	var text []byte
	wg.Go(func() { io.Copy(os.Stdout, readers[0]) })
	wg.Go(func() { io.Copy(os.Stderr, readers[1]) })
	wg.Go(func() { text, _ = io.ReadAll(readers[2]) })
	wg.Wait()
	err = cmd.Wait()
	late = !over.Stop()
	var status *exec.ExitError
	if errors.As(err, &status) {
		err = nil // qemu says why on the console
	}
	return string(text), late, err
}
