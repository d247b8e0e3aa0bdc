// SPDX-License-Identifier: GPL-2.0-only

// Command vm runs a command in a virtual machine with another kernel, and exits
// as that command does:
//
//	vm -kit DIR -kernel NAME [-tree DIR] [-timeout 10m] -- COMMAND ARGUMENT...
//
// The kit is what scripts/vm/build.sh makes. DIR/ of -tree is /l2d in the machine,
// and the directory that the command starts in. What it writes to its standard
// output and error comes out of vm's. Nothing that it changes stays: each machine
// begins with the same file systems.
//
// With -reboots, what the machine has written to its disks outlives a reboot: the command is run again then, and finds
// it. When it exits with 123 there is one, as an operator's; it can also cut itself off.
//
// It exits with 124 after the timeout, with 125 when the machine did not say how
// the command ended, as after a panic, and with 126 when the command was well and
// the kernel was not.
//
// The same program is the first process of the machine: see guest.go.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"time"
)

// What vm exits with when it is not the command that decides.
const (
	exitReboot  = 123
	exitTimeout = 124
	exitMachine = 125
	exitKernel  = 126
)

func main() {
	if os.Getpid() == 1 {
		guest()
	}
	var m machine
	flag.StringVar(&m.kit, "kit", "", "directory of the kit")
	flag.StringVar(&m.kernel, "kernel", "", "kernel of the kit")
	flag.StringVar(&m.tree, "tree", "", "directory that is /l2d in the machine")
	flag.StringVar(&m.accel, "accel", "", "kvm or tcg; none: what the kit found to work")
	flag.StringVar(&m.console, "console", "", "file for what the kernel writes to its console")
	flag.IntVar(&m.memory, "memory", 2048, "MiB")
	flag.IntVar(&m.cpus, "cpus", 2, "processors")
	more := func(to *[]string) func(string) error {
		return func(s string) error { *to = append(*to, s); return nil }
	}
	flag.Func("nic", "a network interface of this model of qemu's, connected to nothing (repeatable)", more(&m.nics))
	flag.Func("append", "an argument of the kernel (repeatable)", more(&m.more))
	flag.DurationVar(&m.timeout, "timeout", 10*time.Minute, "how long the machine may run")
	flag.BoolVar(&m.systemd, "systemd", false, "have systemd as the machine's first process")
	flag.BoolVar(&m.reboots, "reboots", false, "let the machine boot again, and run the command each time")
	flag.BoolVar(&m.virtual, "virtual-time", false, "a clock that counts instructions, one a nanosecond, instead of the host's: emulated, with one processor")
	inMachine := flag.Bool("in-machine", false, "instead: run the machine's command, where systemd is the first process")
	unpack := flag.Bool("unpack", false, "instead: unpack the kernel image of the first argument into the second")
	flag.Parse()

	if *inMachine {
		finish(underSystemd())
	}
	if *unpack {
		if err := unpackKernel(flag.Arg(0), flag.Arg(1)); err != nil {
			fail(err)
		}
		return
	}
	if flag.NArg() == 0 {
		fail(errors.New("no command"))
	}
	if m.virtual {
		m.accel, m.cpus = "tcg", 1
	}
	code, err := m.run(flag.Args())
	if err != nil {
		fail(err)
	}
	os.Exit(code)
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "vm:", err)
	os.Exit(exitMachine)
}
