// SPDX-License-Identifier: GPL-2.0-only

package doctor

import "strings"

func checkKernel(r *report) {
	r.canRun()
	r.typeInformation()
	r.jit()
	r.lockdown()
	r.bpffs()
	r.unprivileged()
	r.taint()
	r.balancing()
}

func (r *report) canRun() {
	release := r.read("proc/sys/kernel/osrelease")
	if r.HostProblem != "" {
		r.add(Failure, "run", "the dataplane cannot run here", strings.ReplaceAll(r.HostProblem, "\n", "; "), "what the evidence asks for")
		return
	}
	r.good("run", "Linux %s has what the dataplane needs", release)
}

func (r *report) typeInformation() {
	if !r.exists("sys/kernel/btf/vmlinux") {
		r.add(Failure, "btf", "the kernel has no type information, which the programs are placed by", "no /sys/kernel/btf/vmlinux", "a kernel with CONFIG_DEBUG_INFO_BTF=y")
		return
	}
	r.good("btf", "the kernel has type information")
}

func (r *report) jit() {
	const path = "net/core/bpf_jit_enable"
	switch v := r.sysctl(path); {
	case v == "0":
		r.add(Failure, "jit", "programs are interpreted, which is ten times slower", "net.core.bpf_jit_enable = 0", setSysctl(path, "1"))
	case r.sysctl("net/core/bpf_jit_harden") == "2":
		r.add(Warning, "jit", "constants of all programs are blinded, also root's", "net.core.bpf_jit_harden = 2", setSysctl("net/core/bpf_jit_harden", "1"))
	default: // without the file it is always on
		r.good("jit", "programs are compiled to machine code")
	}
}

func (r *report) lockdown() {
	if v := r.read("sys/kernel/security/lockdown"); strings.Contains(v, "[confidentiality]") {
		r.add(Failure, "lockdown", "the kernel is locked down: programs may not read its memory", "/sys/kernel/security/lockdown: "+v, "the kernel command line without lockdown=confidentiality")
		return
	}
	r.good("lockdown", "the kernel is not locked down against BPF")
}

func (r *report) bpffs() {
	for _, line := range strings.Split(r.read("proc/mounts"), "\n") {
		if f := strings.Fields(line); len(f) > 2 && f[1] == "/sys/fs/bpf" && f[2] == "bpf" {
			r.good("bpffs", "a BPF file system is at /sys/fs/bpf")
			return
		}
	}
	r.add(Note, "bpffs", "no BPF file system is at /sys/fs/bpf yet: l2d mounts one, which is gone with its mount namespace", "/proc/mounts", "mount -t bpf bpf /sys/fs/bpf, as systemd does")
}

func (r *report) unprivileged() {
	const path = "kernel/unprivileged_bpf_disabled"
	if r.sysctl(path) == "0" {
		r.add(Warning, "unprivileged", "everybody may load BPF programs", "kernel.unprivileged_bpf_disabled = 0", setSysctl(path, "2"))
		return
	}
	r.good("unprivileged", "only root may load BPF programs")
}

// taintFlags are of Documentation/admin-guide/tainted-kernels.rst.
var taintFlags = []struct {
	bit  uint
	what string
}{
	{0, "a proprietary module"}, {2, "a module was forced"}, {4, "a machine check"}, {7, "it has died before"}, {9, "it has warned"},
	{12, "a module of another source tree"}, {13, "an unsigned module"}, {14, "a soft lockup"},
}

func (r *report) taint() {
	n := number(r.sysctl("kernel/tainted"))
	var what []string
	bad := false
	for _, f := range taintFlags {
		if n>>f.bit&1 != 0 {
			what = append(what, f.what)
			bad = bad || f.bit == 4 || f.bit == 7 || f.bit == 9 || f.bit == 14
		}
	}
	switch evidence := "kernel.tainted = " + r.sysctl("kernel/tainted"); {
	case bad:
		r.add(Warning, "taint", "the kernel has complained since it started: "+strings.Join(what, ", "), evidence, "look at what dmesg says, and reboot")
	case len(what) > 0:
		r.add(Note, "taint", "the kernel has more than its own: "+strings.Join(what, ", "), evidence, "")
	default:
		r.good("taint", "the kernel has not complained")
	}
}

func (r *report) balancing() {
	const path = "kernel/numa_balancing"
	if v := r.sysctl(path); v != "" && v != "0" {
		r.add(Warning, "numa", "memory is moved between nodes, which faults on the packet CPUs", "kernel.numa_balancing = "+v, setSysctl(path, "0"))
		return
	}
	r.good("numa", "memory is not moved between nodes")
}
