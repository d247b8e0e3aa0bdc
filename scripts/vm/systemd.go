// SPDX-License-Identifier: GPL-2.0-only

package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// With -systemd the first process becomes systemd, which starts this program once more, as a unit that
// runs the command and turns the machine off.

const (
	programInMachine = "/run/vm/vm"
	commandInMachine = "/run/vm/command"
	unitInMachine    = "/run/systemd/system/vm.service"
)

// unit is of the command: it waits for nothing, and what it writes goes its own way.
const unit = `[Unit]
Description=command of the virtual machine
DefaultDependencies=no

[Service]
ExecStart=` + programInMachine + ` -in-machine
StandardOutput=file:/dev/console
StandardError=file:/dev/console
`

// handOver makes systemd the first process. It returns only if that fails.
func handOver(c command) error {
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		return err
	}
	text, err := json.Marshal(c)
	if err != nil {
		return err
	}
	for path, b := range map[string][]byte{programInMachine: self, commandInMachine: text, unitInMachine: []byte(unit)} {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, b, 0o644); err != nil {
			return err
		}
	}
	if err := os.Chmod(programInMachine, 0o755); err != nil {
		return err
	}
	const systemd = "/usr/lib/systemd/systemd"
	return fmt.Errorf("%s: %w", systemd, unix.Exec(systemd, []string{systemd, "--unit=vm.service"}, []string{"PATH=" + guestEnv["PATH"]}))
}

// underSystemd runs the command, in the place of the first process.
func underSystemd() (int, error) {
	b, err := os.ReadFile(commandInMachine)
	if err != nil {
		return 0, err
	}
	var c command
	if err := json.Unmarshal(b, &c); err != nil {
		return 0, err
	}
	return run(c)
}
