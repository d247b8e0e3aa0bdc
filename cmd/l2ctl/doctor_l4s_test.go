// SPDX-License-Identifier: GPL-2.0-only

package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/randomizedcoder/l2d/pkg/config"
	"github.com/randomizedcoder/l2d/pkg/doctor"
	"github.com/randomizedcoder/l2d/pkg/host"
	"github.com/randomizedcoder/l2d/pkg/reconcile"
)

// machine is given where tests may change what is the whole kernel's.
var machine = flag.Bool("l2ctl.machine", false, "this machine is for tests alone: change its congestion control")

// l4sHost is a host whose own connections are L4S, and wait in a DualPI2 of 20 Mbit/s.
const l4sHost = `
dataplane: {ruleset: firewall.nft, interfaces: [{name: slow}]}
host:
  congestion_control: { default: bbr3, source: bpf, bbr3: { marks: l4s, l4s_max_rtt: none }, ecn: { incoming: accurate, outgoing: accurate } }
  qdiscs:
    slow:
      root: { kind: htb, default: "1:1", classes: { "1:1": { rate: 20mbit, leaf: { kind: dualpi2, ecn: any } } } }
`

// TestDoctorL4S: of a kernel's own DualPI2, below the htb that has the rate, it says what has gone
// through it: nothing of L4S at first, then packets of a connection with bbr3, with marks.
func TestDoctorL4S(t *testing.T) {
	if !*machine {
		t.Skip("takes a kernel with DualPI2 and AccECN: for a virtual machine")
	}
	if _, err := os.Stat("/proc/sys/net/ipv4/tcp_ecn_option"); err != nil || exec.Command("modprobe", "sch_dualpi2").Run() != nil {
		t.Skip("this kernel has no AccECN, or no DualPI2")
	}
	for _, args := range []string{
		"netns add far", "link add slow type veth peer name eth0 netns far", "address add 10.9.0.1/24 dev slow", "link set slow up",
		"-n far address add 10.9.0.2/24 dev eth0", "-n far link set eth0 up",
	} {
		if out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
			t.Fatalf("ip %s: %v: %s", args, err, out)
		}
	}
	file := filepath.Join(files(t, map[string]string{"l2d.yaml": l4sHost, "firewall.nft": ""}), "l2d.yaml")
	declare(t, file)
	// found is what is said of a check, after "slow: " if it is one of interfaces.
	found := func(check string) (said string) {
		var stdout, stderr bytes.Buffer
		execute(t.Context(), []string{"--socket", "/none", "doctor", "l4s", "--config", file, "--interval", "1ms", "--json"}, &stdout, &stderr)
		var list []doctor.Finding
		if err := json.Unmarshal(stdout.Bytes(), &list); err != nil {
			t.Fatalf("%v: %s%s", err, &stdout, &stderr)
		}
		if i := slices.IndexFunc(list, func(f doctor.Finding) bool { return f.Check == check }); i >= 0 {
			said = string(list[i].Severity) + " " + list[i].Text
		}
		return said
	}
	if said := found("marks"); said != "note slow: no packet of an L4S connection has come by" {
		t.Errorf("before: %q", said)
	}
	saturate(t)
	marked := regexp.MustCompile(`^ok slow: [1-9][0-9]* packets in the L4S queue, [0-9]+ in the classic one, [1-9][0-9]* marked$`)
	for end := time.Now().Add(time.Minute); !marked.MatchString(found("marks")); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("within a minute: %q", found("marks"))
		}
	}
	t.Log(found("marks"))
	for check, want := range map[string]string{
		"dualpi2": "ok the kernel has DualPI2", "port": "ok slow: root qdisc htb", "ecn": "ok AccECN is asked for (net.ipv4.tcp_ecn = 3)",
		"accecn": "ok the kernel has AccECN", "congestion": "ok bbr3 is used, of ", "bbr3": "ok bbr3 is l2d's: 1 connections use it, marks are answered in proportion",
	} {
		if said := found(check); !strings.HasPrefix(said, want) {
			t.Errorf("%s: %q, want %q", check, said, want)
		}
	}
}

// declare has the host be as a file says.
func declare(t *testing.T, file string) {
	t.Helper()
	c, err := config.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	list, err := host.Resources(c)
	if err != nil {
		t.Fatal(err)
	}
	e := reconcile.New(t.TempDir(), slog.New(slog.DiscardHandler), host.Kinds()...)
	plan, err := e.Plan(t.Context(), list)
	if err == nil {
		_, err = e.Apply(t.Context(), plan, reconcile.Options{})
	}
	if err != nil {
		t.Fatal(err)
	}
}

// saturate sends to the namespace "far", which knows AccECN, until the test ends.
func saturate(t *testing.T) {
	t.Helper()
	far, err := os.Open("/run/netns/far")
	if err != nil {
		t.Fatal(err)
	}
	defer far.Close()
	listening := make(chan net.Listener)
	go func() {
		runtime.LockOSThread() // never unlocked
		var l net.Listener
		err := unix.Setns(int(far.Fd()), unix.CLONE_NEWNET)
		if err == nil {
			err = os.WriteFile("/proc/sys/net/ipv4/tcp_ecn", []byte("3"), 0)
		}
		if err == nil {
			l, err = net.Listen("tcp4", "10.9.0.2:5001")
		}
		if err != nil {
			t.Error(err)
		}
		listening <- l
	}()
	l := <-listening
	if l == nil {
		t.FailNow()
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		if c, err := l.Accept(); err == nil {
			_, _ = io.Copy(io.Discard, c)
			c.Close()
		}
	}()
	c, err := net.Dial("tcp4", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	go func() {
		for chunk := make([]byte, 1<<16); ; {
			if _, err := c.Write(chunk); err != nil {
				return
			}
		}
	}()
}
