// SPDX-License-Identifier: GPL-2.0-only

package main

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/randomizedcoder/l2d/loader"
	"github.com/randomizedcoder/l2d/pkg/api"
)

// writes are the system calls by which a process, and those that it starts, change the host
// while do runs, as strace shows them. What they do in network namespaces that they make for
// themselves, to read a ruleset or to try something, is none of the host's.
func (h *host) writes(pid int, do func()) []string {
	t := h.t
	t.Helper()
	dir := t.TempDir()
	// What a socket speaks is known in its own namespace alone.
	cmd := exec.Command("nsenter", fmt.Sprintf("--net=/proc/%d/ns/net", h.holder.Process.Pid), "strace", "-ff", "-x", "-s", "64", "-o", filepath.Join(dir, "trace"), "-p", strconv.Itoa(pid),
		"-e", "trace=openat,mkdirat,unlinkat,renameat,renameat2,mount,ioctl,sendto,sendmsg,bpf,unshare,setns,clone,clone3,fork,vfork")
	said, err := cmd.StderrPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(said).ReadString('\n'); !strings.Contains(line, "attached") {
		t.Fatalf("strace: %s%v", line, err)
	}
	do()
	_ = cmd.Process.Signal(os.Interrupt)
	_ = cmd.Wait() // of the signal
	files, err := filepath.Glob(filepath.Join(dir, "trace.*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("nothing is traced: %v", err)
	}
	tr := trace{apart: map[string]bool{}}
	slices.Sort(files) // parents come before their children, but for numbers that begin again
	for _, file := range files {
		tr.read(t, file)
	}
	return tr.writes
}

// trace is what is found in the files of threads and processes.
type trace struct {
	apart  map[string]bool // by thread: it is in a network namespace of its own
	writes []string
}

var (
	returned = regexp.MustCompile(`= (\d+)$`)
	// flagsOfOpen are those that change a file, or make one.
	flagsOfOpen = regexp.MustCompile(`^openat\([^"]*"([^"]*)".*O_(WRONLY|RDWR|CREAT|TRUNC)`)
	netlinkType = regexp.MustCompile(`nlmsg_type=([\w<|]+)[^}]*}(?:, "\\x(..))?`)
)

func (tr *trace) read(t *testing.T, file string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	thread := strings.TrimPrefix(filepath.Ext(file), ".")
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		name, _, _ := strings.Cut(line, "(")
		switch name {
		case "unshare":
			tr.apart[thread] = tr.apart[thread] || strings.Contains(line, "CLONE_NEWNET")
		case "clone", "clone3", "fork", "vfork":
			if child := returned.FindStringSubmatch(line); child != nil {
				tr.apart[child[1]] = tr.apart[thread] || strings.Contains(line, "CLONE_NEWNET")
			}
		default:
			if failed := strings.Contains(line, ") = -1 "); !failed && !tr.apart[thread] && isWrite(name, line) {
				tr.writes = append(tr.writes, line)
			}
		}
	}
}

// isWrite tells whether a system call changes something.
func isWrite(name, line string) bool {
	switch name {
	case "openat":
		f := flagsOfOpen.FindStringSubmatch(line)
		return f != nil && f[1] != "/dev/null"
	case "mkdirat", "unlinkat", "renameat", "renameat2", "mount":
		return true
	case "ioctl":
		return strings.Contains(line, "SIOCS")
	case "bpf":
		return regexp.MustCompile(`^bpf\(BPF_(PROG_LOAD|PROG_ATTACH|LINK_|MAP_CREATE|OBJ_PIN)`).MatchString(line)
	case "sendto", "sendmsg":
		return slices.ContainsFunc(netlinkType.FindAllStringSubmatch(line, -1), isNetlinkWrite)
	}
	return false
}

// isNetlinkWrite tells a message that changes something by the name of its type, or of generic
// netlink by the command.
func isNetlinkWrite(m []string) bool {
	switch {
	case m[1] == "ethtool":
		// linux/ethtool_netlink.h: these read.
		reads := []string{"01", "02", "04", "06", "07", "09", "0b", "0d", "0f", "11", "13", "15", "17", "19", "1c", "1d", "1f", "20", "21", "22", "24", "26"}
		return !slices.Contains(reads, m[2])
	case strings.HasPrefix(m[1], "RTM_"), strings.HasPrefix(m[1], "NFNL_"):
		return !strings.Contains(m[1], "GET")
	}
	return false
}

// TestNoWrites: of a host that is as declared, nothing is written: no file, no netlink message
// that changes something, no program or map. What differs is.
func TestNoWrites(t *testing.T) {
	if _, err := exec.LookPath("strace"); err != nil {
		t.Skip("needs strace")
	}
	h := newHost(t)
	h.sysfs = true
	declare := func(timeout, mtu int, gro, qdisc string) {
		h.write("l2d.yaml", strings.Replace(h.config(), "{name: br0}", "{name: br7}", 1)+fmt.Sprintf(`  sysctl: {net.ipv4.tcp_fin_timeout: %d, net.ipv4.conf.*.rp_filter: 2}
  links: {br7: {kind: bridge, members: [far0], addresses: [198.51.100.1/24]}}
  nics: {wan0: {mtu: %d, features: {rx-gro: %s}, rps: 0, xps: 0, channels: {rx: 1}}}
  qdiscs: {wan0: %s}
`, timeout, mtu, gro, qdisc))
	}
	declare(30, 1400, "true", "pfifo")
	h.start()
	h.expect("READY=1")
	c := h.client()
	// In force, and not only attached: what was before is gone then.
	h.settles("in force at br7", func() bool {
		return slices.ContainsFunc(h.status().Dataplane.Interfaces, func(i loader.InterfaceStatus) bool { return i.Name == "br7" })
	})
	daemon := h.status().PID
	apply := func(want int) func() {
		return func() {
			a, err := c.HostApply(t.Context(), api.HostOptions{})
			if err != nil || len(a.Plan.Changes) != want {
				t.Errorf("%d changes, want %d: %v", len(a.Plan.Changes), want, err)
			}
		}
	}
	if w := h.writes(daemon, apply(0)); len(w) > 0 {
		t.Errorf("of a host that is as declared, this was written:\n%s", strings.Join(w, "\n"))
	}
	declare(31, 1410, "false", "bfifo")
	w := strings.Join(h.writes(daemon, apply(4)), "\n")
	for _, want := range []string{"/proc/sys/net/ipv4/tcp_fin_timeout", "nlmsg_type=RTM_SETLINK", "nlmsg_type=ethtool", "nlmsg_type=RTM_NEWQDISC", "revisions/"} {
		if !strings.Contains(w, want) {
			t.Errorf("%q is not among what was written:\n%s", want, w)
		}
	}
}
