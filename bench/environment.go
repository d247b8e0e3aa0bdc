// SPDX-License-Identifier: GPL-2.0-only

package bench

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/randomizedcoder/l2d/pkg/ethnl"
)

// Environment is what a result depends on besides the device.
type Environment struct {
	Started     string            `json:"started"` // RFC 3339
	Command     string            `json:"command"` // of "l2ctl bench"
	Kernel      string            `json:"kernel"`
	Arch        string            `json:"arch"` // as Go names it
	CPU         string            `json:"cpu"`
	CPUs        int               `json:"cpus"`
	SMT         string            `json:"smt"`           // cpu/smt/control of sysfs
	Isolated    string            `json:"isolated_cpus"` // a list, as the kernel writes them
	Governor    string            `json:"governor"`      // of the packet core
	Clock       string            `json:"clocksource"`
	Load        string            `json:"loadavg"`        // of 1, 5 and 15 minutes, before the run
	JIT         string            `json:"bpf_jit"`        // net.core.bpf_jit_enable
	Harden      string            `json:"bpf_jit_harden"` // net.core.bpf_jit_harden
	Mitigations map[string]string `json:"mitigations"`    // by vulnerability
	Offloads    map[string]string `json:"offloads"`       // that are on, by interface of the router
	Commit      string            `json:"commit"`         // of the working directory
	Tools       map[string]string `json:"tools"`          // version by name
	FrameLen    int               `json:"frame_bytes"`    // without FCS
	Options     Options           `json:"options"`
}

// observe reads the environment. What cannot be read stays empty.
func observe(ctx context.Context, o Options) Environment {
	load := strings.Fields(line("/proc/loadavg"))
	e := Environment{
		Started:     time.Now().UTC().Format(time.RFC3339),
		Command:     o.Command,
		Arch:        runtime.GOARCH,
		CPU:         cpuModel(),
		CPUs:        runtime.NumCPU(),
		SMT:         line("/sys/devices/system/cpu/smt/control"),
		Isolated:    line("/sys/devices/system/cpu/isolated"),
		Governor:    line(fmt.Sprintf("/sys/devices/system/cpu/cpu%d/cpufreq/scaling_governor", o.RouterCPU)),
		Clock:       line("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
		Load:        strings.Join(load[:min(3, len(load))], " "),
		JIT:         line("/proc/sys/net/core/bpf_jit_enable"),
		Harden:      line("/proc/sys/net/core/bpf_jit_harden"),
		Mitigations: map[string]string{},
		Offloads:    map[string]string{},
		Commit:      output(ctx, "git", "describe", "--always", "--dirty", "--abbrev=12"),
		Tools: map[string]string{
			"nft": output(ctx, "nft", "--version"), "ip": output(ctx, "ip", "-V"), "go": runtime.Version(),
		},
		FrameLen: FrameLen,
		Options:  o,
	}
	var name unix.Utsname
	if unix.Uname(&name) == nil {
		e.Kernel = unix.ByteSliceToString(name.Release[:])
	}
	files, _ := filepath.Glob("/sys/devices/system/cpu/vulnerabilities/*") // the pattern is right
	for _, f := range files {
		if s := line(f); s != "Not affected" {
			e.Mitigations[filepath.Base(f)] = s
		}
	}
	return e
}

// observeOffloads reads what the interfaces of a router leave to their drivers.
func (e *Environment) observeOffloads(t *Topology) error {
	return t.dut.do(func() error {
		c, err := ethnl.Dial()
		if err != nil {
			return err
		}
		defer c.Close()
		for _, name := range []string{IngressName, EgressName} {
			features, err := c.Features(name)
			if err != nil {
				return fmt.Errorf("%s: features: %w", name, err)
			}
			var on []string
			for feature, f := range features {
				if f.Active {
					on = append(on, feature)
				}
			}
			slices.Sort(on)
			e.Offloads[name] = strings.Join(on, " ")
		}
		return nil
	})
}

// check refuses what could not have been observed.
func (e Environment) check() error {
	texts := []string{
		e.Started, e.Command, e.Kernel, e.Arch, e.CPU, e.SMT, e.Isolated, e.Governor, e.Clock,
		e.Load, e.JIT, e.Harden, e.Commit,
	}
	for _, m := range []map[string]string{e.Mitigations, e.Offloads, e.Tools} {
		for k, v := range m {
			texts = append(texts, k, v)
		}
	}
	for _, s := range texts {
		if !printable(s) {
			return fmt.Errorf("%.40q is not one line of text", s)
		}
	}
	return nil
}

// differences names what differs between the environments of two runs, but for
// the commit, the time and the load: results that are to show what a commit does
// should have none.
func (e Environment) differences(b Environment) []string {
	var out []string
	for _, d := range []struct {
		what     string
		old, new any
	}{
		{"command", e.Command, b.Command},
		{"kernel", e.Kernel, b.Kernel},
		{"architecture", e.Arch, b.Arch},
		{"CPU", e.CPU, b.CPU},
		{"CPUs", e.CPUs, b.CPUs},
		{"SMT", e.SMT, b.SMT},
		{"isolated CPUs", e.Isolated, b.Isolated},
		{"governor", e.Governor, b.Governor},
		{"clock source", e.Clock, b.Clock},
		{"BPF JIT", e.JIT, b.JIT},
		{"BPF JIT hardening", e.Harden, b.Harden},
		{"mitigations", e.Mitigations, b.Mitigations},
		{"offloads", e.Offloads, b.Offloads},
		{"tools", e.Tools, b.Tools},
		{"bytes of a frame", e.FrameLen, b.FrameLen},
		{"options", e.Options, b.Options},
	} {
		// Maps are printed in the order of their keys.
		if was, is := fmt.Sprint(d.old), fmt.Sprint(d.new); was != is {
			out = append(out, fmt.Sprintf("%s: %s, then %s", d.what, was, is))
		}
	}
	return out
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
