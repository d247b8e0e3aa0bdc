// SPDX-License-Identifier: GPL-2.0-only

package tcnl

import (
	"encoding/binary"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// all is given where a test may not be skipped: in the virtual machines.
var all = flag.Bool("tcnl.all", false, "fail where the kernel lacks what one of its version can have")

// mustHave tells whether this kernel has to have a kind of qdiscs.
func mustHave(kind string) bool {
	var u unix.Utsname
	var major, minor int
	_ = unix.Uname(&u)
	_, _ = fmt.Sscanf(unix.ByteSliceToString(u.Release[:]), "%d.%d", &major, &minor)
	return *all && (kind != "dualpi2" || major > 6 || major == 6 && minor >= 17)
}

// pair is a client in a namespace of its own, with a pair of veths that are up; what
// is sent to 10.9.0.2 leaves by v0.
func pair(t *testing.T) (*Client, int) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	runtime.LockOSThread() // and never unlock: the thread ends with the test
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("/proc/sys/net/ipv6/conf/default/disable_ipv6", []byte("1"), 0); err != nil {
		t.Fatal(err)
	}
	for _, args := range []string{
		"link add v0 type veth peer name v1", "link set v0 up", "link set v1 up", "address add 10.9.0.1/24 dev v0", "neighbour add 10.9.0.2 lladdr 02:00:00:00:00:02 dev v0",
	} {
		if out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
			t.Fatalf("ip %s: %v: %s", args, err, out)
		}
	}
	l, err := net.InterfaceByName("v0")
	if err != nil {
		t.Fatal(err)
	}
	c, err := Dial()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c, l.Index
}

// send sends packets of UDP with a payload, marked with bits of the IP header.
func send(t *testing.T, count, size int, tos byte) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Close(fd) }()
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_TOS, int(tos)); err != nil {
		t.Fatal(err)
	}
	for range count {
		_ = unix.Sendto(fd, make([]byte, size), 0, &unix.SockaddrInet4{Port: 9, Addr: [4]byte{10, 9, 0, 2}}) // may be dropped
	}
}

// put has a root qdisc, or skips the test if the kernel does not have the kind.
func put(t *testing.T, c *Client, index int, q Qdisc) {
	t.Helper()
	q.Parent = rootParent
	have, err := c.Root(index)
	if err != nil {
		t.Fatal(err)
	}
	switch err := c.Put(index, have, &q); {
	case err != nil && strings.Contains(err.Error(), errMissing.Error()) && !mustHave(q.Kind):
		t.Skipf("this kernel has no %s", q.Kind)
	case err != nil:
		t.Fatal(err)
	}
}

// report waits for what a qdisc says after packets.
func report(t *testing.T, c *Client, index int, packets uint64) Report {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		list, err := c.Reports(index)
		if err != nil || len(list) != 1 {
			t.Fatalf("%v, %+v", err, list)
		}
		if r := list[0]; r.Packets+uint64(r.Drops)+uint64(r.Queued) >= packets || time.Now().After(end) {
			return r
		}
	}
}

func (r *Report) must(t *testing.T, name string) float64 {
	t.Helper()
	v, ok := r.Detail(name)
	if !ok {
		t.Fatalf("no %s in %+v", name, r)
	}
	return v
}

func TestReports(t *testing.T) {
	c, index := pair(t)
	put(t, c, index, Qdisc{Kind: "pfifo", Handle: 5 << 16, Options: map[string]string{"limit": "7"}})
	send(t, 3, 100, 0)
	r := report(t, c, index, 3)
	if r.Packets != 3 || r.Bytes != 3*142 || r.Kind != "pfifo" || r.Handle != "5:" || r.Parent != "root" || r.Options["limit"] != "7" || r.Interface != index {
		t.Errorf("%+v", r)
	}
}

// TestDualPI2Report: what is marked as L4S is counted in one queue, the rest in the other.
func TestDualPI2Report(t *testing.T) {
	c, index := pair(t)
	put(t, c, index, Qdisc{Kind: "dualpi2", Options: map[string]string{"memory_limit": "1MiB"}})
	send(t, 4, 100, 1)
	send(t, 2, 100, 0)
	r := report(t, c, index, 6)
	if l, cl := r.must(t, "l4s_packets"), r.must(t, "classic_packets"); l != 4 || cl != 2 {
		t.Errorf("%v in the L4S queue, %v in the other", l, cl)
	}
	if r.must(t, "memory_limit_bytes") != 1<<20 || r.must(t, "credit_bytes") == 0 || r.must(t, "probability") != 0 || r.must(t, "max_memory_bytes") == 0 {
		t.Errorf("%+v", r)
	}
}

// TestCakeReport: packets are counted in the tin of their class.
func TestCakeReport(t *testing.T) {
	c, index := pair(t)
	put(t, c, index, Qdisc{Kind: "cake", Options: map[string]string{"bandwidth": "80mbit", "diffserv": "diffserv4"}})
	const voice = 46 << 2
	send(t, 5, 100, voice)
	r := report(t, c, index, 5)
	if len(r.Tins) != 4 || r.Tins[3].Name != "voice" {
		t.Fatalf("%+v", r.Tins)
	}
	if i := slices.IndexFunc(r.Tins[3].Values, func(v Value) bool { return v.Name == "packets" && v.Counter && v.Value == 5 }); i < 0 {
		t.Errorf("%+v", r.Tins[3])
	}
	if i := slices.IndexFunc(r.Tins[1].Values, func(v Value) bool { return v.Name == "threshold_bytes_per_second" && v.Value == 1e7 }); i < 0 {
		t.Errorf("%+v", r.Tins[1])
	}
	if r.must(t, "memory_limit_bytes") == 0 || r.must(t, "max_network_bytes") == 0 {
		t.Errorf("%+v", r)
	}
}

func TestFQReports(t *testing.T) {
	c, index := pair(t)
	put(t, c, index, Qdisc{Kind: "fq"})
	send(t, 5, 100, 0)
	r := report(t, c, index, 5)
	if r.must(t, "flows")+r.must(t, "fastpath_packets") < 1 {
		t.Errorf("%+v", r)
	}
	put(t, c, index, Qdisc{Kind: "fq_codel", Options: map[string]string{"memory_limit": "64KiB"}})
	send(t, 5, 900, 0)
	if r = report(t, c, index, 5); r.must(t, "memory_bytes") != 0 || r.must(t, "overmemory_drops") != 0 {
		t.Errorf("%+v", r)
	}
}

// TestStructs decodes recorded bytes: counters with their units and signs.
func TestStructs(t *testing.T) {
	var b []byte
	for _, v := range []uint32{1 << 31, 15000, 250, 7, 8, 9, 10, 11, ^uint32(0) - 99, 4096, 8192, 1 << 20} {
		b = binary.NativeEndian.AppendUint32(b, v)
	}
	r := Report{Kind: "dualpi2"}
	r.details(b)
	for name, want := range map[string]float64{
		"probability": 0.5, "classic_delay_seconds": 0.015, "l4s_delay_seconds": 0.00025, "classic_packets": 7, "l4s_packets": 8, "max_queued_packets": 9, "marks": 10,
		"step_marks": 11, "credit_bytes": -100, "memory_bytes": 4096, "max_memory_bytes": 8192, "memory_limit_bytes": 1 << 20,
	} {
		if got := r.must(t, name); got < want-1e-9 || got > want+1e-9 {
			t.Errorf("%s: %v, not %v", name, got, want)
		}
	}
	// An older kernel says less.
	short := Report{Kind: "dualpi2"}
	if short.details(b[:10]); len(short.Details) != 2 {
		t.Errorf("%+v", short)
	}
}

// TestUnreported: an option that a kernel says nothing of is one that it does not have, but for what it never tells of a default.
func TestUnreported(t *testing.T) {
	for _, c := range []struct{ kind, without, want string }{
		{"fq", "offload_horizon weights", "weights offload_horizon"},
		{"dualpi2", "step_packets", ""},
		{"dualpi2", "step_thresh", ""},
		{"dualpi2", "step_thresh step_packets", "step_packets step_thresh"},
		{"fq_codel", "ce_threshold ce_threshold_selector ce_threshold_mask", ""},
		{"cake", "raw", ""},
		{"nosuch", "", ""},
	} {
		q := Qdisc{Kind: c.kind, Options: map[string]string{}}
		if k := KindOf(c.kind); k != nil {
			for _, name := range k.Names() {
				if !slices.Contains(strings.Fields(c.without), name) {
					q.Options[name] = "1"
				}
			}
		}
		if got := strings.Join(q.unreported(), " "); got != c.want {
			t.Errorf("%s without %s: %q, not %q", c.kind, c.without, got, c.want)
		}
	}
}
