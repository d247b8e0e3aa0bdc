// SPDX-License-Identifier: GPL-2.0-only

package loader

import (
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/randomizedcoder/l2d/pkg/flow"
	"golang.org/x/sys/unix"
)

var (
	upgradeFlows = flag.Int("upgrade.flows", 60, "TCP connections of TestUpgrade")
	upgradeRate  = flag.Int("upgrade.pps", 2000, "UDP packets a second of TestUpgrade")
)

// otherBuild compiles the programs with another layout of flows, and other
// statistics, as an older version could have them.
func otherBuild(t *testing.T) []*ebpf.CollectionSpec {
	t.Helper()
	if _, err := exec.LookPath("clang-19"); err != nil {
		t.Skip("needs clang-19")
	}
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("../bpf")); err != nil {
		t.Fatal(err)
	}
	types := filepath.Join(dir, "lib", "types.h")
	text, err := os.ReadFile(types)
	if err != nil {
		t.Fatal(err)
	}
	for _, change := range [][2]string{
		{"\tstruct endpoints out;\n\t__u32 expires;", "\t__u64 forgotten;\n\t__u32 expires;"},
		{"\tstruct tcp_seen seen;\n", "\tstruct endpoints out;\n\tstruct tcp_seen seen;\n"},
		{"\tunion {\n\t\t__u8 state; /* by the flow's protocol: */\n\t\tenum tcp_state tcp_state;\n\t\tenum sctp_state sctp_state;\n\t};\n", "\t__u8 state;\n"},
		{"\tenum tcp_event event;\n", "\t__u8 event;\n"},
		{"\tSTAT(XDP_FORWARDED)", "\tSTAT(FORGOTTEN) STAT(XDP_FORWARDED)"},
	} {
		if strings.Count(string(text), change[0]) != 1 {
			t.Fatalf("%s is not in %s once", change[0], types)
		}
		text = []byte(strings.Replace(string(text), change[0], change[1], 1))
	}
	if err := os.WriteFile(types, text, 0o600); err != nil {
		t.Fatal(err)
	}
	var specs []*ebpf.CollectionSpec
	for _, name := range []string{"l2_tc", "l2_xdp"} {
		object := filepath.Join(dir, name+".o")
		// What this build's layout promises, that one does not.
		out, err := exec.Command("clang-19", "-O2", "-g", "-mcpu=v3", "-target", "bpfel", "-D_Static_assert(...)=",
			"-idirafter", "/usr/include/x86_64-linux-gnu", "-idirafter", "/usr/include/aarch64-linux-gnu",
			"-c", filepath.Join(dir, name+".c"), "-o", object).CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		spec, err := ebpf.LoadCollectionSpec(object)
		if err != nil {
			t.Fatal(err)
		}
		specs = append(specs, spec)
	}
	return specs
}

// numbered is a stream of numbered UDP packets from the LAN to the WAN.
type numbered struct {
	sent, received atomic.Int64
	stop           atomic.Bool
	done           sync.WaitGroup
}

// stream sends so many packets a second until it is stopped.
func (c *numbered) stream(t *testing.T, r *router, from, to netip.AddrPort, rate int) {
	t.Helper()
	in, out := r.udp(t, "w", to), r.udp(t, "l", from)
	raw, err := in.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 64<<20)
	}); err != nil {
		t.Fatal(err)
	}
	c.done.Go(func() {
		buffer := make([]byte, 64)
		for {
			n, sender, err := in.ReadFromUDPAddrPort(buffer)
			if err != nil {
				return
			}
			// The first is answered: the flow is one of both ends.
			if c.received.Add(1) == 1 {
				in.WriteToUDPAddrPort(buffer[:n], sender)
			}
		}
	})
	c.done.Go(func() {
		defer in.Close()
		packet := make([]byte, 18)
		for begin := time.Now(); !c.stop.Load(); time.Sleep(time.Millisecond) {
			for due := int64(time.Since(begin).Seconds() * float64(rate)); c.sent.Load() < due; {
				binary.BigEndian.PutUint64(packet, uint64(c.sent.Add(1)))
				if _, err := out.WriteToUDPAddrPort(packet, to); err != nil {
					t.Error(err)
					return
				}
			}
		}
		for end := time.Now().Add(patience); c.received.Load() < c.sent.Load() && time.Now().Before(end); {
			time.Sleep(10 * time.Millisecond)
		}
	})
}

// repinIfaces puts a map of another size in the place of the pinned one of
// interfaces: the loader would not fill one of the other build's.
func (r *router) repinIfaces(t *testing.T) {
	t.Helper()
	m, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 9, MaxEntries: maxIfindex})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	pin := filepath.Join(r.pin, dirState, "l2_ifaces")
	if err := errors.Join(os.Remove(pin), m.Pin(pin)); err != nil {
		t.Fatal(err)
	}
}

// TestUpgrade: connections and a stream of packets go on, and lose nothing,
// while a build with another layout of flows gives way to this one, tables
// change their sizes, and rules change.
func TestUpgrade(t *testing.T) {
	// Not parallel: it changes what the build is.
	other := otherBuild(t)
	if _, err := statNames(); err != nil { // of this build
		t.Fatal(err)
	}
	ours := parsed
	t.Cleanup(func() { parsed = ours })
	parsed = func() ([]*ebpf.CollectionSpec, error) { return other, nil }

	r := newRouter(t)
	cfg := r.config(testPolicy{masquerade: true})
	cfg.MaxFlows = uint32(2**upgradeFlows + 1024)
	cfg.TCP.Loose = false // a connection whose flow is lost ends
	r.mustApply(cfg).Close()
	r.repinIfaces(t)
	conns := r.streams(t, families[0], 9020, *upgradeFlows)
	idle := r.streams(t, families[0], 9021, 2) // no packet says what state they are in
	var udp numbered
	udp.stream(t, r, at(families[0].lan, 5600), at(families[0].wan, 5601), *upgradeRate)
	var talking sync.WaitGroup
	var exchanges atomic.Int64
	for i, c := range conns {
		talking.Go(func() {
			for n := 0; !udp.stop.Load(); n++ {
				if err := c.talk(fmt.Sprintf("%d says %d", i, n)); err != nil {
					t.Errorf("connection %d: %v", i, err)
					return
				}
				exchanges.Add(1)
				time.Sleep(time.Duration(*upgradeFlows) * time.Millisecond)
			}
		})
	}
	t.Cleanup(func() { // before the sockets are closed, whatever fails
		udp.stop.Store(true)
		talking.Wait()
		udp.done.Wait()
	})
	pause := func() { time.Sleep(500 * time.Millisecond) }
	pause()

	parsed = ours
	upgraded := time.Now()
	d := r.mustApply(cfg)
	forwarded := stat(t, d, "tc_forwarded") + stat(t, d, "xdp_forwarded")
	if int64(forwarded) < udp.received.Load()/2 {
		t.Errorf("%d packets forwarded: the statistics were not carried over", forwarded)
	}
	pause()
	for _, change := range []func(){
		func() { cfg.MaxFlows += 1000 },
		func() { cfg.Policy = testPolicy{masquerade: true, countStates: true} },
		func() { cfg.MaxHalfOpen *= 2; cfg.Policy = testPolicy{masquerade: true, id: 3} },
	} {
		change()
		d.Close()
		d = r.mustApply(cfg)
		pause()
	}
	udp.stop.Store(true)
	talking.Wait()
	udp.done.Wait()
	if sent, received := udp.sent.Load(), udp.received.Load(); sent != received || sent == 0 {
		t.Errorf("%d packets sent, %d received", sent, received)
	}
	since := time.Since(upgraded)
	list := flows(t, d, flow.Filter{})
	if n, want := len(list), len(conns)+len(idle)+1; n != want {
		t.Errorf("%d flows, not %d", n, want)
	}
	for _, f := range list {
		if f.Age < since {
			t.Errorf("begun anew: %v", &f)
		}
		if f.Protocol == "tcp" && f.State != "ESTABLISHED" {
			t.Errorf("not as it was: %v", &f)
		}
	}
	for _, name := range []string{"drop_policy", "drop_internal", "drop_flow_clash"} {
		if n := stat(t, d, name); n != 0 {
			t.Errorf("%s: %d", name, n)
		}
	}
	t.Logf("%d exchanges of %d connections, %d packets at %d a second", exchanges.Load(), len(conns), udp.sent.Load(), *upgradeRate)
}
