// SPDX-License-Identifier: GPL-2.0-only

package loader

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/randomizedcoder/l2d/pkg/nft"
	"github.com/randomizedcoder/l2d/pkg/policy"
)

// compiledFor is a real ruleset that may have chains of the router's interfaces.
func (r *router) compiledFor(text string) *policy.Program {
	r.t.Helper()
	file := filepath.Join(r.t.TempDir(), "test.nft")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		r.t.Fatal(err)
	}
	links, indexes := []nft.Link{}, map[string]int{}
	for _, name := range []string{"lan0", "wan0"} {
		indexes[name] = r.index(name)
		links = append(links, nft.Link{Name: name, Index: indexes[name]})
	}
	rs, err := nft.ReadFile(context.Background(), file, links)
	if err != nil {
		r.t.Fatal(err)
	}
	p, err := policy.Compile(rs, policy.Options{Links: indexes})
	if err != nil {
		r.t.Fatal(err)
	}
	return p
}

// packetsAt are the packets that a rule of the chain c has counted.
func packetsAt(t *testing.T, d *Dataplane, p *policy.Program, text string) uint64 {
	t.Helper()
	return counterAt(t, d, p, text).Packets
}

func counterAt(t *testing.T, d *Dataplane, p *policy.Program, text string) Counter {
	t.Helper()
	all, err := d.Counters()
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range p.Rules {
		if r.Chain == "c" && r.Text == text {
			return all[r.Index]
		}
	}
	t.Fatalf("no rule %q in %+v", text, p.Rules)
	return Counter{}
}

// TestEarly: what the earliest chains drop does not leave the driver, of any flow or none;
// what they accept is counted once, by XDP or by TC. DHCP gets to packet sockets.
func TestEarly(t *testing.T) {
	t.Parallel()
	const rules = `udp dport { 67, 546, 7000 } drop
		meta l4proto udp counter
		meta l4proto udp accept
	}
}
`
	for _, base := range []string{
		`table netdev t { chain c { type filter hook ingress device "lan0" priority 0; policy accept; ` + rules,
		`table inet t { chain c { type filter hook prerouting priority raw; policy accept; ` + rules,
		`table inet t { chain c { type filter hook prerouting priority raw; policy accept; ` + rules +
			`table inet f { chain f { type filter hook forward priority 0; ip ttl set 63; }; }`, // by TC
	} {
		r := newRouter(t)
		p := r.compiledFor(base)
		d := r.mustApply(r.config(p))
		lan, wan := r.tap(t, "l"), r.tap(t, "w")
		in := r.rawListener(t, "lan0", unix.ETH_P_ALL)
		inFamilies(t, func(t *testing.T, f family) {
			drops, dropped := stat(t, d, "drop_policy"), packetsAt(t, d, p, "udp dport { 67, 546, 7000 } drop")
			accepted, passed := packetsAt(t, d, p, "meta l4proto udp accept"), packetsAt(t, d, p, "meta l4proto udp counter")
			send := func(port uint16) {
				lan.send(ipPacket(f.lan, f.wan, unix.IPPROTO_UDP, 64, udpDatagram(at(f.lan, 6001), at(f.wan, port), []byte("x"))))
			}
			send(7000)
			eventually(t, patience, "the drop", func() bool { return stat(t, d, "drop_policy") == drops+1 })
			if receives(t, in, 7000, false) {
				t.Error("a packet socket sees what the chains drop")
			}
			dhcp := pick[uint16](f, 67, 546)
			send(dhcp)
			if !receives(t, in, dhcp, true) {
				t.Error("a packet socket does not see DHCP")
			}
			if n := packetsAt(t, d, p, "udp dport { 67, 546, 7000 } drop") - dropped; n != 2 {
				t.Errorf("two packets were dropped, the rule counts %d", n)
			}
			// A flow begins at TC, and goes on at XDP.
			const packets = 6
			forwarded := func() uint64 { return stat(t, d, "xdp_forwarded") }
			before := forwarded()
			for i := range packets {
				from, to, out, host := at(f.lan, 6001), at(f.wan, 7001), wan, lan
				if i == 1 {
					from, to, out, host = to, from, lan, wan
				}
				payload := fmt.Sprint("packet", i)
				host.send(ipPacket(from.Addr(), to.Addr(), unix.IPPROTO_UDP, 64, udpDatagram(from, to, []byte(payload))))
				out.receive(payload, func(p packet) bool { return p.proto == unix.IPPROTO_UDP && string(p.l4[8:]) == payload })
			}
			fromLAN := uint64(packets)
			if base[6] == 'n' { // of lan0
				fromLAN--
			}
			if n := packetsAt(t, d, p, "meta l4proto udp accept") - accepted; n != fromLAN {
				t.Errorf("%d packets were accepted, the verdict counts %d", fromLAN, n)
			}
			if n := packetsAt(t, d, p, "meta l4proto udp counter") - passed; n != fromLAN {
				t.Errorf("%d packets were accepted, the rule counts %d", fromLAN, n)
			}
			if n, want := forwarded()-before, len(p.TCOnly) == 0; n > 0 != want {
				t.Errorf("%d packets went by XDP, some are to be: %v", n, want)
			}
		})
	}
}

// TestEarlyPadding: chains of an interface see what is behind a packet in its frame, for XDP
// to count and to match on as for TC; others do not.
func TestEarlyPadding(t *testing.T) {
	t.Parallel()
	r := newRouter(t)
	ingress := r.compiledFor(`table netdev t { chain c { type filter hook ingress device "lan0" priority 0; policy accept; udp dport 7000 meta length 46 @th,64,32 0x2a2a2a2a drop; }; }`)
	raw := r.compiledFor(`table inet t { chain c { type filter hook prerouting priority raw; policy accept; udp dport 7000 meta length 28 drop; }; }`)
	f := families[0]
	for _, c := range []struct {
		p     *policy.Program
		text  string
		bytes uint64
	}{
		{ingress, "udp dport 7000 meta length 46 @th,64,32 0x2a2a2a2a drop", 46},
		{raw, "udp dport 7000 meta length 28 drop", 28},
	} {
		d := r.mustApply(r.config(c.p))
		in := r.rawListener(t, "lan0", unix.ETH_P_ALL)
		ip := ipPacket(f.lan, f.wan, unix.IPPROTO_UDP, 64, udpDatagram(at(f.lan, 6001), at(f.wan, 7000), nil))
		r.tap(t, "l").send(append(ip, bytes.Repeat([]byte{0x2a}, 18)...))
		eventually(t, patience, "the drop", func() bool { return packetsAt(t, d, c.p, c.text) == 1 })
		if n := counterAt(t, d, c.p, c.text).Bytes; n != c.bytes {
			t.Errorf("%s: %d bytes, want %d", c.text, n, c.bytes)
		}
		if receives(t, in, 7000, false) {
			t.Errorf("%s: not at XDP", c.text)
		}
	}
}
