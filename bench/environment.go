// SPDX-License-Identifier: GPL-2.0-only

package bench

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// Environment is what a result depends on besides the device.
type Environment struct {
	Kernel      string            `json:"kernel"`
	CPU         string            `json:"cpu"`
	CPUs        int               `json:"cpus"`
	JIT         string            `json:"bpf_jit"` // net.core.bpf_jit_enable
	Mitigations map[string]string `json:"mitigations"`
	Commit      string            `json:"commit"`
	Tools       map[string]string `json:"tools"` // version by name
	FrameLen    int               `json:"frame_bytes"`
	Options     Options           `json:"options"`
}

// observe reads the environment. What cannot be read stays empty.
func observe(ctx context.Context, o Options) Environment {
	e := Environment{
		CPU:         cpuModel(),
		CPUs:        runtime.NumCPU(),
		JIT:         line("/proc/sys/net/core/bpf_jit_enable"),
		Mitigations: map[string]string{},
		Commit:      output(ctx, "git", "describe", "--always", "--dirty", "--abbrev=12"),
		Tools:       map[string]string{"nft": output(ctx, "nft", "--version"), "go": runtime.Version()},
		FrameLen:    FrameLen,
		Options:     o,
	}
	var name unix.Utsname
	if unix.Uname(&name) == nil {
		e.Kernel = unix.ByteSliceToString(name.Release[:])
	}
	files, _ := filepath.Glob("/sys/devices/system/cpu/vulnerabilities/*")
	for _, f := range files {
		if s := line(f); s != "Not affected" {
			e.Mitigations[filepath.Base(f)] = s
		}
	}
	return e
}

func cpuModel() string {
	f, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return ""
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if key, value, ok := strings.Cut(s.Text(), ":"); ok && strings.TrimSpace(key) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

func line(file string) string {
	b, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

func output(ctx context.Context, name string, args ...string) string {
	b, err := exec.CommandContext(ctx, name, args...).Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}
