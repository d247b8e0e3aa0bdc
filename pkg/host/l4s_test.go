// SPDX-License-Identifier: GPL-2.0-only

package host

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/randomizedcoder/l2d/pkg/config"
	"github.com/randomizedcoder/l2d/pkg/reconcile"
	"github.com/randomizedcoder/l2d/pkg/tcnl"
)

// inside runs f on a thread in a network namespace.
func inside(t *testing.T, ns *os.File, f func() error) {
	t.Helper()
	if err := within(ns, f); err != nil {
		t.Fatal(err)
	}
}

func within(ns *os.File, f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked
		err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET)
		if err == nil {
			err = f()
		}
		done <- err
	}()
	return <-done
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
	slowLink(t, e, "ecn: any")
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

// slowLink has a DualPI2 with such options for 50 Mbit/s towards the server.
func slowLink(t *testing.T, e *reconcile.Engine, options string) {
	t.Helper()
	c, err := config.Parse("/x/l2d.yaml", []byte(`
dataplane: {ruleset: x, interfaces: [{name: a}]}
host:
  qdiscs:
    server:
      root: { kind: htb, default: "1:1", classes: { "1:1": { rate: 50mbit, leaf: { kind: dualpi2, `+options+` } } } }
`))
	if err != nil {
		t.Fatal(err)
	}
	if err := apply(t, e, qdiscResources("", &c.Host.Qdiscs[0])[0]); err != nil {
		t.Fatal(err)
	}
}

// flood sends packets with ECT(1) for a time, about twice as many as the slow link takes: 9 of 1428
// bytes in a millisecond.
func flood(to string, duration time.Duration) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_TOS, 1); err != nil {
		return err
	}
	dest := &unix.SockaddrInet4{Port: 9, Addr: netip.MustParseAddr(to).As4()}
	chunk := make([]byte, 1400)
	for begin, sent := time.Now(), 0; time.Since(begin) < duration; time.Sleep(time.Millisecond) {
		for ; sent < 9*int(time.Since(begin)/time.Millisecond); sent++ {
			_ = unix.Sendto(fd, chunk, 0, dest) // nobody listens, which it may be told
		}
	}
	return nil
}

// TestL4SOverload: packets that claim to be L4S, and come twice as fast as they can leave whatever
// marks say, are dropped while the queue is still short; told not to, DualPI2 lets it grow to its limit.
func TestL4SOverload(t *testing.T) {
	if !*machine {
		t.Skip("takes a kernel with DualPI2: for a virtual machine")
	}
	if exec.Command("modprobe", "sch_dualpi2").Run() != nil {
		t.Skip("this kernel has no DualPI2")
	}
	const limit = 2000 // packets, which take half a second to leave
	for setting, want := range map[bool]func(delay float64) bool{
		true:  func(delay float64) bool { return delay < 0.1 },
		false: func(delay float64) bool { return delay > 0.3 },
	} {
		t.Run(fmt.Sprintf("drop_overload=%v", setting), func(t *testing.T) {
			ns(t)
			ends := l4sRouter(t)
			slowLink(t, engine(t, t.TempDir(), &Qdisc{dialTC(), &kernelQdiscs{has: map[string]bool{}}}), fmt.Sprintf("limit: %d, drop_overload: %v", limit, setting))
			client, err := tcnl.Dial()
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = client.Close() }()
			stop := make(chan error, 1)
			go func() { stop <- within(ends["l4s"], func() error { return flood("10.9.1.2", 5*time.Second) }) }()
			var delays []float64
			var counts map[string]float64
			for begin, over := time.Now(), false; !over; {
				select {
				case err := <-stop:
					if over = true; err != nil {
						t.Fatal(err)
					}
				case <-time.After(50 * time.Millisecond):
					if counts = dualPI2(t, client); time.Since(begin) > 3*time.Second {
						delays = append(delays, counts["l4s_delay_seconds"])
					}
				}
			}
			if len(delays) == 0 {
				t.Fatal("the flood ended early")
			}
			slices.Sort(delays)
			delay := delays[len(delays)/2]
			t.Logf("median delay of the L4S queue %.0f ms; %v, %d dropped", delay*1000, counts, dropsOf(t, client))
			if !want(delay) || counts["marks"] == 0 || dropsOf(t, client) < 2000 {
				t.Errorf("median delay of the L4S queue %.0f ms, %v marks, %d drops", delay*1000, counts["marks"], dropsOf(t, client))
			}
		})
	}
}

// dropsOf are what the only DualPI2 has dropped.
func dropsOf(t *testing.T, client *tcnl.Client) (drops uint64) {
	t.Helper()
	reports, err := client.Reports(0)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range reports {
		if r.Kind == "dualpi2" {
			drops += uint64(r.Drops)
		}
	}
	return drops
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
