// SPDX-License-Identifier: GPL-2.0-only

package host

import (
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/randomizedcoder/l2d/pkg/config"
	"github.com/randomizedcoder/l2d/pkg/tcnl"
)

// inside runs f on a thread in a network namespace.
func inside(t *testing.T, ns *os.File, f func() error) {
	t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked
		err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET)
		if err == nil {
			err = f()
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// l4sRouter is the test's namespace, with a DualPI2 of a slow link towards the namespace
// "server", and two others with senders.
func l4sRouter(t *testing.T) map[string]*os.File {
	t.Helper()
	out := map[string]*os.File{}
	for i, name := range []string{"server", "l4s", "classic"} {
		net := string(rune('1' + i))
		run(t, "ip", "netns", "add", name)
		t.Cleanup(func() { run(t, "ip", "netns", "del", name) })
		run(t, "ip", "link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", name)
		run(t, "ip", "addr", "add", "10.9."+net+".1/24", "dev", name)
		run(t, "ip", "link", "set", name, "up")
		run(t, "ip", "-n", name, "addr", "add", "10.9."+net+".2/24", "dev", "eth0")
		run(t, "ip", "-n", name, "link", "set", "eth0", "up")
		run(t, "ip", "-n", name, "route", "add", "default", "via", "10.9."+net+".1")
		f, err := os.Open("/run/netns/" + name)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		out[name] = f
		ecn := map[string]string{"server": "3", "l4s": "3", "classic": "0"}[name]
		inside(t, f, func() error { return os.WriteFile("/proc/sys/net/ipv4/tcp_ecn", []byte(ecn), 0) })
	}
	if err := os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0); err != nil {
		t.Fatal(err)
	}
	return out
}

// TestL4S: an L4S connection with l2d's bbr3, and one with cubic, by the same slow link with
// DualPI2, which takes all of ECN as L4S. The first one's packets are in the L4S queue and do not wait there, and are marked.
func TestL4S(t *testing.T) {
	if !*machine {
		t.Skip("takes a kernel with DualPI2 and AccECN: for a virtual machine")
	}
	k := algorithm(t)
	if _, err := os.Stat("/proc/sys/net/ipv4/tcp_ecn_option"); err != nil || exec.Command("modprobe", "sch_dualpi2").Run() != nil {
		t.Skip("this kernel has no AccECN, or no DualPI2")
	}
	ends := l4sRouter(t)
	e := engine(t, t.TempDir(), k, &Qdisc{dialTC(), &kernelQdiscs{has: map[string]bool{}}})
	if err := apply(t, e, k.want(t, config.BBR3{Source: config.BBR3BPF, L4S: true, ECNMaxRTT: -1})); err != nil {
		t.Fatal(err)
	}
	c, err := config.Parse("/x/l2d.yaml", []byte(`
dataplane: {ruleset: x, interfaces: [{name: a}]}
host:
  qdiscs:
    server:
      root: { kind: htb, default: "1:1", classes: { "1:1": { rate: 50mbit, leaf: { kind: dualpi2, ecn: any } } } }
`))
	if err != nil {
		t.Fatal(err)
	}
	if err := apply(t, e, qdiscResources("", &c.Host.Qdiscs[0])[0]); err != nil {
		t.Fatal(err)
	}
	var l net.Listener
	inside(t, ends["server"], func() (err error) {
		l, err = net.Listen("tcp4", "10.9.1.2:5001")
		return err
	})
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(io.Discard, c); c.Close() }()
		}
	}()
	for from, algorithm := range map[string]string{"l4s": k.name(), "classic": "cubic"} {
		d := net.Dialer{Control: func(_, _ string, raw syscall.RawConn) (err error) {
			return errors.Join(raw.Control(func(fd uintptr) {
				err = unix.SetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION, algorithm)
			}), err)
		}}
		inside(t, ends[from], func() error {
			c, err := d.Dial("tcp4", l.Addr().String())
			if err != nil {
				return err
			}
			t.Cleanup(func() { c.Close() })
			go func() {
				for chunk := make([]byte, 1<<16); ; {
					if _, err := c.Write(chunk); err != nil {
						return
					}
				}
			}()
			return nil
		})
	}
	watchDualPI2(t)
}

// watchDualPI2 looks at its queues until both have had packets, and marks.
func watchDualPI2(t *testing.T) {
	client, err := tcnl.Dial()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	var l4s, classic []float64
	var counts map[string]float64
	for begin := time.Now(); ; time.Sleep(100 * time.Millisecond) {
		if counts = dualPI2(t, client); counts["l4s_packets"] > 0 {
			l4s, classic = append(l4s, counts["l4s_delay_seconds"]), append(classic, counts["classic_delay_seconds"])
		}
		enough := counts["l4s_packets"] > 8000 && counts["classic_packets"] > 4000 && counts["marks"] > 20
		if enough && len(l4s) >= 50 {
			break
		}
		if time.Since(begin) > 2*time.Minute {
			t.Fatalf("within two minutes: %v", counts)
		}
	}
	slices.Sort(l4s)
	slices.Sort(classic)
	l, c := l4s[len(l4s)/2], classic[len(classic)/2]
	t.Logf("median delay: %.2f ms in the L4S queue, %.2f ms in the classic one; %v", l*1000, c*1000, counts)
	// The machine's time is virtual: how busy the host is does not lengthen them.
	if l >= 0.002 || c < 0.005 || c > 0.030 {
		t.Errorf("median delay of the L4S queue %.2f ms, of the classic one %.2f ms; want less than 2, and about its target of 15", l*1000, c*1000)
	}
}

// dualPI2 are the counts of the only one there is.
func dualPI2(t *testing.T, client *tcnl.Client) map[string]float64 {
	t.Helper()
	reports, err := client.Reports(0)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]float64{}
	for _, r := range reports {
		if r.Kind != "dualpi2" {
			continue
		}
		for _, v := range r.Details {
			out[v.Name] = v.Value
		}
	}
	return out
}
