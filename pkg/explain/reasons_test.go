// SPDX-License-Identifier: GPL-2.0-only

package explain

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"flag"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/randomizedcoder/l2d/internal/testframe"
	"github.com/randomizedcoder/l2d/loader"
	"github.com/randomizedcoder/l2d/pkg/ntuple"
)

var update = flag.Bool("update", false, "write the golden files")

const reasonsRuleset = `
table inet t {
	chain prerouting {
		type filter hook prerouting priority -300; policy accept;
		udp dport 6 reject
	}
	chain forward {
		type filter hook forward priority filter; policy accept;
		udp dport 7 drop
		udp dport 8 ct count over 0 drop
	}
}
table ip nat {
	chain prerouting {
		type nat hook prerouting priority dstnat; policy accept;
		udp dport 13 dnat to 203.0.113.1
	}
	chain input {
		type nat hook input priority 100; policy accept;
		udp dport 21 snat to 198.51.7.1
	}
	chain postrouting {
		type nat hook postrouting priority srcnat; policy accept;
		udp dport 10 snat to 198.51.7.1:5000
		meta l4proto 99 masquerade
		udp dport 14 masquerade
	}
}
`

// reasonCases are a packet or more for each reason that a packet can be dropped for
// when it is explained. A frame begins with the IP header.
var reasonCases = []struct{ reason, packet, frame string }{
	{"drop_policy", "iif lan0 udp 192.168.7.2:1 > 1.1.1.1:7", ""},
	{"drop_policy", "iif lan0 udp 192.168.7.2:1 > 1.1.1.1:6", ""},
	{"drop_policy", "iif lan0 udp 192.168.7.2:1 > 1.1.1.1:8", ""},
	{"drop_martian", "iif lan0 udp 127.0.0.1:1 > 1.1.1.1:12", ""},
	{"drop_no_route", "iif lan0 udp 192.168.7.2:1 > 1.1.1.1:13", ""},
	{"drop_nat_local", "iif lan0 udp 192.168.7.2:1 > 192.168.7.1:21", ""},
	{"drop_fragment_tiny", "", "45000018000120004011" + "0000c0a80702c6330709" + "00010002"},
	{"drop_fragment_malformed", "", "45000018000120014011" + "0000c0a80702c6330709" + "00010002"},
	{"drop_fragment_limit", "", "4500002c00011ffe4011" + "0000c0a80702c6330709" + "000000000000000000000000000000000000000000000000"},
	{"drop_fragment", "", "4500001c000100b94011" + "0000c6330701c6330702" + "0001000200080000"},
	{"drop_fragment_overlap", "", hex.EncodeToString(testframe.Fragment(1, 16, false))},
	{"drop_fragment_duplicate", "", hex.EncodeToString(testframe.Fragment(1, 0, true))},
	{"drop_malformed", "", "4f00001c000100004011" + "0000c0a80702c6330709" + "0001000c00080000"},
	// Of a router that has flows: 192.168.7.2 has the port, and the protocol.
	{"drop_nat_exhausted", "iif lan0 udp 192.168.7.3:2 > 1.1.1.1:10", ""},
	{"drop_nat_redirect", "", "45000038000100004001" + "000001010101c6330701" + "0501ecf001010102" + "4500001c000100003f11" + "0000c633070101010101" + "1388000a00080000"},
	{"drop_flow_clash", "iif lan0 99 192.168.7.3 > 1.1.1.1", ""},
	{"drop_nat_moved", "iif lan0 udp 192.168.7.5:1 > 1.1.1.1:14", ""}, // by the LAN now
	{"drop_source_limit", "iif lan0 udp 192.168.7.2:3 > 1.1.1.1:20", ""},
	{"drop_ct_count_full", "iif lan0 udp 192.168.7.4:1 > 1.1.1.1:8", ""}, // counts as many as it can
	{"drop_steer", "iif lan0 udp 192.168.7.2:1 > 1.1.1.1:30", ""},
	// Of one without addresses.
	{"drop_nat_no_address", "iif lan0 udp 192.168.7.2:1 > 1.1.1.1:14", ""},
}

// firstFragment is what comes before the others of its datagram.
var firstFragment = testframe.Fragment(1, 0, true)

// unexplained are the reasons that no packet has at the moment that it is explained: they are told
// by their names alone.
var unexplained = map[string]string{
	"drop_fragment_timeout": "those that have come wait for the others, and are dropped later",
	"drop_internal":         "it takes the kernel to refuse a step, as for want of memory",
}

// sourceLimit is how many flows an address may begin, where flows are.
const sourceLimit = 2

// TestReasons: each reason for a drop is told, with what to do about it.
func TestReasons(t *testing.T) {
	r := newRouter(t)
	target := r.target(reasonsRuleset)
	drop, err := ntuple.Parse("udp4 dport 30 drop")
	if err != nil {
		t.Fatal(err)
	}
	for i := range target.Config.Interfaces {
		target.Config.Interfaces[i].Rules = []ntuple.Rule{drop}
	}
	busy := target
	busy.Config.MaxFlowsPerSource = sourceLimit
	busy.Config.Timeouts.UDPUnreplied = time.Hour // the test may take minutes
	r.in("", func() (err error) {
		// The router is to say nothing of its own.
		if err := os.WriteFile("/proc/sys/net/ipv6/conf/all/disable_ipv6", []byte("1"), 0); err != nil {
			return err
		}
		busy.Running, err = loader.Apply(busy.Config)
		return err
	})
	defer busy.Running.Close()
	r.send("iif lan0 udp 192.168.7.2:1 > 1.1.1.1:10")
	r.awaitFlows(busy, 1)
	r.send("iif lan0 99 192.168.7.2 > 1.1.1.1")
	r.awaitFlows(busy, sourceLimit)
	r.send("iif lan0 udp 192.168.7.5:1 > 1.1.1.1:14")
	r.awaitFlows(busy, sourceLimit+1)
	for _, c := range reasonCases {
		name := c.reason + " " + c.packet + c.frame
		t.Run(name, func(t *testing.T) {
			req, on := Request{Packet: c.packet}, target
			switch c.reason {
			case "drop_nat_exhausted", "drop_flow_clash", "drop_source_limit", "drop_steer", "drop_nat_redirect":
				on = busy
			case "drop_ct_count_full":
				on = busy
				fillMap(t, busy.Config.PinPath+"/policy/l2_conn_counts")
			case "drop_nat_moved":
				on = busy
				r.ip("route add 1.1.1.1 via 192.168.7.2")
				defer r.ip("route del 1.1.1.1")
			case "drop_nat_no_address":
				r.withoutAddresses()
			}
			if c.frame != "" {
				b, err := hex.DecodeString(c.frame)
				if err != nil {
					t.Fatal(err)
				}
				b[10], b[11] = 0, 0
				binary.BigEndian.PutUint16(b[10:], checksum(b[:20], 0))
				req.Frame, req.In = b, "lan0"
				switch c.reason {
				case "drop_fragment":
					req.In, req.Out = "", "wan0"
				case "drop_fragment_overlap", "drop_fragment_duplicate":
					req.Before = [][]byte{firstFragment}
				}
			}
			var e *Explanation
			r.in("", func() (err error) {
				e, err = Run(on, req)
				return err
			})
			if e.Reason != c.reason {
				t.Errorf("%s %q, want %s: %v", e.Verdict, e.Reason, c.reason, e.Stats)
			}
			if e.Reason == "drop_nat_moved" {
				e.Flow.Expires = 0
			}
			var b bytes.Buffer
			if err := e.Write(&b, "firewall.nft", true); err != nil {
				t.Fatal(err)
			}
			if e.Verdict == Rejected {
				return // the answer has a number of its own each time
			}
			golden(t, goldenName(c.reason, c.packet), b.Bytes())
		})
	}
}

// TestEarlyDrop: of what a chain drops that XDP runs before all else, the rule is told.
func TestEarlyDrop(t *testing.T) {
	r := newRouter(t)
	for _, base := range []string{`table inet t { chain c { type filter hook prerouting priority raw; policy accept; `, `table netdev t { chain c { type filter hook ingress device "lan0" priority 0; policy accept; `} {
		target := r.target(base + "udp dport { 40, 67 } drop\nudp dport 41 counter accept; }; }\n")
		r.in("", func() (err error) {
			target.Running, err = loader.Apply(target.Config)
			return err
		})
		for _, c := range []struct {
			dport, path string
			verdict     Verdict
			decided     string
		}{
			{"40", "xdp", Dropped, "udp dport { 40, 67 } drop"},
			{"41", "tc", Forwarded, ""},
			{"67", "tc", Dropped, "udp dport { 40, 67 } drop"}, // who waits for DHCP has seen it
		} {
			var e *Explanation
			r.in("", func() (err error) {
				e, err = Run(target, Request{Packet: "iif lan0 udp 192.168.7.2:1 > 1.1.1.1:" + c.dport})
				return err
			})
			decided := ""
			if e.Decided != nil {
				decided = e.Decided.Text
			}
			if e.Verdict != c.verdict || e.Path != c.path || decided != c.decided || (e.Verdict == Dropped) != (e.Reason == "drop_policy") {
				t.Errorf("%s port %s: %+v, decided by %q", base, c.dport, e, decided)
			}
			if met := len(e.Rules); c.path == "xdp" && met != 1 {
				t.Errorf("%s: met %+v", base, e.Rules)
			}
		}
		r.in("", func() error { return errors.Join(target.Running.Close(), loader.Detach(target.Config.PinPath)) })
	}
}

// fillMap puts entries into a map until there is no room.
func fillMap(t *testing.T, path string) {
	t.Helper()
	m, err := ebpf.LoadPinnedMap(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	value := make([]byte, m.ValueSize())
	value[0] = 1 // a member: the collector leaves it
	for i := uint64(1) << 40; err == nil; i++ {
		err = m.Put(i, value)
	}
	if !errors.Is(err, unix.E2BIG) {
		t.Fatal(err)
	}
}

// awaitFlows waits for so many flows.
func (r *router) awaitFlows(target Target, n int) {
	r.t.Helper()
	var flows []string
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if flows, _, _ = r.state(target); len(flows) == n {
			return
		}
	}
	r.t.Fatalf("want %d flows: %v", n, flows)
}

// withoutAddresses takes the router's addresses of IPv4 away.
func (r *router) withoutAddresses() {
	r.t.Helper()
	for _, args := range []string{"-4 addr flush dev lan0", "-4 addr flush dev wan0", "route replace default dev wan0"} {
		r.ip(args)
	}
}

// ip runs a command of ip in the router.
func (r *router) ip(args string) {
	r.t.Helper()
	if out, err := exec.Command("ip", strings.Fields("-n "+r.name+" "+args)...).CombinedOutput(); err != nil {
		r.t.Fatalf("ip %s: %v\n%s", args, err, out)
	}
}

func goldenName(reason, packet string) string {
	return strings.TrimSuffix(strings.NewReplacer(" ", "_", ":", "_", ">", "to").Replace(reason+"_"+packet), "_")
}

// TestAllReasons: each reason of enum stat has an explanation that is written down, or it
// is said here why there can be none.
func TestAllReasons(t *testing.T) {
	names, err := loader.StatNames()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if !strings.HasPrefix(name, "drop_") {
			continue
		}
		written := false
		for _, c := range reasonCases {
			if c.reason == name {
				_, err := os.Stat("testdata/" + goldenName(c.reason, c.packet) + ".txt")
				written = written || err == nil
			}
		}
		if _, none := unexplained[name]; written == none {
			t.Errorf("%s: written down: %t, cannot be: %t", name, written, none)
		}
	}
	for name := range unexplained {
		if !slices.Contains(names, name) {
			t.Errorf("there is no %s", name)
		}
	}
}

// golden compares a text with what is written down of it.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := "testdata/" + name + ".txt"
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s:\n%s\nwant\n%s", path, got, want)
	}
}

// TestReasonText: each reason of enum stat is told by its name, and no other is.
func TestReasonText(t *testing.T) {
	names, err := loader.StatNames()
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	n := 0
	for _, name := range names {
		if !strings.HasPrefix(name, dropPrefix) {
			continue
		}
		n++
		r, err := ReasonOf(name)
		if err != nil {
			t.Error(err)
		}
		if err := r.Write(&b); err != nil {
			t.Fatal(err)
		}
	}
	golden(t, "reasons", b.Bytes())
	if len(Reasons()) != n {
		t.Errorf("%d reasons, and enum stat has %d", len(Reasons()), n)
	}
	if r, err := ReasonOf("flow clash"); err != nil || r.Name != "drop_flow_clash" { // as l2ctl top has it
		t.Errorf("%+v, %v", r, err)
	}
	if _, err := ReasonOf("nothing"); err == nil || !strings.Contains(err.Error(), "want one of ct_count_full,") {
		t.Error(err)
	}
}
