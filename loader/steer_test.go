// SPDX-License-Identifier: GPL-2.0-only

package loader

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"github.com/randomizedcoder/l2d/pkg/ntuple"
)

// rules parses rules of ntuple.
func rules(t *testing.T, texts ...string) (list []ntuple.Rule) {
	t.Helper()
	for _, text := range texts {
		r, err := ntuple.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, r)
	}
	return list
}

func hits(t *testing.T, d *Dataplane, ifindex int) []uint64 {
	t.Helper()
	n, err := d.SteeringHits(ifindex)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestSteerDrop: the first rule that matches decides, before everything else, about
// frames of its interface.
func TestSteerDrop(t *testing.T) {
	t.Parallel()
	r := newRouter(t)
	cfg := r.config(testPolicy{masquerade: true})
	f, f6 := families[0], families[1]
	cfg.Interfaces[0].Rules = rules(t,
		"udp4 src 192.168.7.3 dport 7001 queue 0", // what the NIC decides about is left alone
		"udp dport 7001 drop", "udp4 src 192.168.7.0/24 sport 7100 drop", "ip6 dst "+f6.wan.String()+" drop", "icmp drop")
	d := r.mustApply(cfg)
	for _, f := range families {
		for _, port := range []uint16{7001, 7002} {
			r.echoUDP(t, "w", at(f.wan, port))
		}
	}
	index := r.index("lan0")
	reaches := func(src netip.AddrPort, dst netip.AddrPort) bool {
		return exchangeUDP(r.udp(t, "l", src), dst, []byte("x")) == nil
	}
	for _, c := range []struct {
		src, dst netip.AddrPort
		reaches  bool
		rule     int // that decides, -1: none
	}{
		{at(f.lan, 0), at(f.wan, 7002), true, -1},
		{at(f.lan, 0), at(f.wan, 7001), false, 1},
		{at(f.lan2, 0), at(f.wan, 7001), true, 0},
		{at(f.lan, 7100), at(f.wan, 7002), false, 2},
		{at(f6.lan, 0), at(f6.wan, 7002), false, 3},
		{at(f6.lan, 0), at(f6.wan, 7001), false, 1},
	} {
		before := hits(t, d, index)
		if got := reaches(c.src, c.dst); got != c.reaches {
			t.Errorf("%s to %s: %v", c.src, c.dst, got)
		}
		after := hits(t, d, index)
		for i := range after {
			// An exchange may be tried again.
			if (after[i] > before[i]) != (i == c.rule) {
				t.Errorf("%s to %s: rule %d has %d hits", c.src, c.dst, i, after[i]-before[i])
			}
		}
	}
	if err := r.host("l", "ping", "-n", "-c", "1", "-W", "1", f.wan.String()).Run(); err == nil {
		t.Error("a ping gets through")
	}
	if err := r.host("w", "ping", "-n", "-c", "1", "-W", "5", f.rwan.String()).Run(); err != nil {
		t.Errorf("a ping by the other interface: %v", err)
	}
	if n := stat(t, d, "drop_steer"); n == 0 {
		t.Error("no drop is counted")
	}

	// Other rules take their place in one step, none at all has no code.
	cfg.Interfaces[0].Rules = rules(t, "udp dport 7002 drop")
	r.in("r", func() error { return d.Replace(cfg) })
	if !reaches(at(f.lan, 0), at(f.wan, 7001)) || reaches(at(f.lan, 0), at(f.wan, 7002)) {
		t.Error("the rules before are in force")
	}
	before := hits(t, d, index)
	r.in("r", func() error { return d.Replace(cfg) })
	if after := hits(t, d, index); len(before) != 1 || before[0] == 0 || after[0] < before[0] {
		t.Errorf("hits of the same rules: %v, then %v", before, after)
	}
	cfg.Interfaces[0].Rules = nil
	r.in("r", func() error { return d.Replace(cfg) })
	if !reaches(at(f.lan, 0), at(f.wan, 7002)) || len(hits(t, d, index)) != 0 {
		t.Error("rules that are gone are in force")
	}
}

// TestSteerBadRules: what XDP cannot do is refused, and what runs goes on.
func TestSteerBadRules(t *testing.T) {
	t.Parallel()
	r := newRouter(t)
	cfg := r.config(testPolicy{masquerade: true})
	d := r.mustApply(cfg)
	for _, c := range []struct {
		rules []string
		xdp   string
		want  string
	}{
		{[]string{"udp dport 1 drop", "udp dport 1 cpu 0"}, XDPAuto, "another rule before it matches the same"},
		{[]string{"udp dport 1 cpu 0-64"}, XDPAuto, "XDP takes 64 CPUs"},
		{[]string{"udp dport 1 drop"}, XDPOff, "interface lan0: its rules of ntuple need XDP: XDP is off"},
	} {
		cfg.Interfaces[0].Rules, cfg.Interfaces[0].XDP = rules(t, c.rules...), c.xdp
		err := r.do("r", func() error { return d.Replace(cfg) })
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: %v, not %s", c.rules, err, c.want)
		}
	}
	var many []string
	for i := range steerMasksMax + 1 {
		many = append(many, fmt.Sprintf("ip4 dst 10.0.0.0/%d drop", 9+i))
	}
	cfg.Interfaces[0].Rules, cfg.Interfaces[0].XDP = rules(t, many...), XDPAuto
	if err := r.do("r", func() error { return d.Replace(cfg) }); err == nil || !strings.Contains(err.Error(), "16 kinds of rules") {
		t.Errorf("%v", err)
	}
}

// cpuCounter counts packets that come to TC by the CPU that they come on and by their
// destination port, before the dataplane.
func cpuCounter(t *testing.T, r *router, links ...string) *ebpf.Map {
	t.Helper()
	m, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.PerCPUArray, KeySize: 4, ValueSize: 8, MaxEntries: 65536})
	if err != nil {
		t.Fatal(err)
	}
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.SchedCLS, License: "GPL", Instructions: asm.Instructions{
		asm.Mov.Reg(asm.R6, asm.R1),
		asm.Mov.Imm(asm.R2, 14+20), // both ports of IPv4 without options
		asm.Mov.Reg(asm.R3, asm.RFP), asm.Add.Imm(asm.R3, -8), asm.Mov.Imm(asm.R4, 4),
		asm.FnSkbLoadBytes.Call(),
		asm.JNE.Imm(asm.R0, 0, "out"),
		asm.LoadMem(asm.R1, asm.RFP, -8, asm.Half), asm.HostTo(asm.BE, asm.R1, asm.Half),
		asm.LoadMem(asm.R2, asm.RFP, -6, asm.Half), asm.HostTo(asm.BE, asm.R2, asm.Half),
		// The lower one, which is the server's in these tests.
		asm.JLE.Reg(asm.R1, asm.R2, "key"), asm.Mov.Reg(asm.R1, asm.R2),
		asm.StoreMem(asm.RFP, -8, asm.R1, asm.Word).WithSymbol("key"),
		asm.LoadMapPtr(asm.R1, m.FD()), asm.Mov.Reg(asm.R2, asm.RFP), asm.Add.Imm(asm.R2, -8),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, "out"),
		asm.LoadMem(asm.R1, asm.R0, 0, asm.DWord), asm.Add.Imm(asm.R1, 1), asm.StoreMem(asm.R0, 0, asm.R1, asm.DWord),
		asm.Mov.Imm(asm.R0, -1).WithSymbol("out"), asm.Return(),
	}})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range links {
		r.in("r", func() error {
			l, err := link.AttachTCX(link.TCXOptions{Program: p, Interface: r.index(name), Attach: ebpf.AttachTCXIngress, Anchor: link.Head()})
			if err == nil {
				t.Cleanup(func() { l.Close() })
			}
			return err
		})
	}
	t.Cleanup(func() { m.Close(); p.Close() })
	return m
}

// perCPU are the packets of a port by CPU.
func perCPU(t *testing.T, m *ebpf.Map, port uint16) []uint64 {
	t.Helper()
	var n []uint64
	if err := m.Lookup(uint32(port), &n); err != nil {
		t.Fatal(err)
	}
	return n
}

// TestSteerCPU: packets are handled by the CPU that a rule names; of several, flows
// have one each, which is the same in both directions, though NAT has changed them.
func TestSteerCPU(t *testing.T) {
	online, err := os.ReadFile("/sys/devices/system/cpu/online")
	if err != nil || !strings.Contains(string(online), "-") {
		t.Skip("needs two CPUs")
	}
	t.Parallel()
	f := families[0]
	for cpu := range 2 {
		t.Run("cpu "+strconv.Itoa(cpu), func(t *testing.T) {
			r := newRouter(t)
			cfg := r.config(testPolicy{masquerade: true})
			cfg.Interfaces[0].Rules = rules(t, "udp dport 7003 cpu "+strconv.Itoa(cpu))
			d := r.mustApply(cfg)
			m := cpuCounter(t, r, "lan0")
			r.echoUDP(t, "w", at(f.wan, 7003))
			for range 8 {
				if err := exchangeUDP(r.udp(t, "l", at(f.lan, 0)), at(f.wan, 7003), make([]byte, 100)); err != nil {
					t.Fatal(err)
				}
			}
			n := perCPU(t, m, 7003)
			if n[cpu] < 8 || n[1-cpu] != 0 {
				t.Errorf("CPUs have had %v", n)
			}
			if h := hits(t, d, r.index("lan0")); h[0] < 8 {
				t.Errorf("hits %v", h)
			}
		})
	}
	t.Run("flows", func(t *testing.T) {
		r := newRouter(t)
		r.offload(false)
		cfg := r.config(testPolicy{masquerade: true})
		for i := range cfg.Interfaces {
			cfg.Interfaces[i].Rules = rules(t, "all cpu 0-1")
		}
		d := r.mustApply(cfg)
		m := cpuCounter(t, r, "lan0", "wan0")
		used := [2]int{}
		for port := uint16(7010); port < 7026; port++ {
			r.echoUDP(t, "w", at(f.wan, port))
			c := r.udp(t, "l", at(f.lan, 0))
			for range 4 {
				if err := exchangeUDP(c, at(f.wan, port), make([]byte, 100)); err != nil {
					t.Fatal(err)
				}
			}
			n := perCPU(t, m, port)
			if (n[0] == 0) == (n[1] == 0) || n[0]+n[1] < 8 {
				t.Errorf("port %d: not on one CPU: %v", port, n)
			}
			if n[0] == 0 {
				used[1]++
			} else {
				used[0]++
			}
		}
		if used[0] == 0 || used[1] == 0 {
			t.Errorf("flows of CPUs: %v", used)
		}
		// Connections, fragments and pings get through.
		l := r.listen(t, "w", at(f.wan, 8000))
		if err := transfer(r.mustDial(t, "l", at(f.lan, 0), at(f.wan, 8000)), l, 1<<20); err != nil {
			t.Error(err)
		}
		if err := exchangeUDP(r.udp(t, "l", at(f.lan, 0)), at(f.wan, 7010), make([]byte, 4000)); err != nil {
			t.Errorf("in fragments: %v", err)
		}
		eventually(t, 20*time.Second, "pings", func() bool {
			return r.host("l", "ping", "-n", "-c", "2", "-i", "0.1", "-W", "2", f.wan.String()).Run() == nil
		})
		if n := stat(t, d, "drop_internal"); n != 0 {
			t.Errorf("drop_internal: %d", n)
		}
	})
}

// tagged is a frame with an 802.1Q tag.
func tagged(frame []byte, id uint16) []byte {
	tag := binary.BigEndian.AppendUint16([]byte{0x81, 0x00}, id)
	return append(append(append([]byte(nil), frame[:12]...), tag...), frame[12:]...)
}

// TestSteerParse runs the program on frames: tags, options, fragments, extension
// headers.
func TestSteerParse(t *testing.T) {
	t.Parallel()
	needRoot(t)
	r := newRouter(t)
	cfg := r.config(testPolicy{masquerade: true})
	cfg.Interfaces[0].Rules = rules(t, "udp dport 7001 drop", "vlan 7 drop", "sctp4 drop", "ip6 proto 50 drop", "ip4 dst 198.51.7.9 drop")
	r.mustApply(cfg)
	run := loadedXDP(t, r)
	ip4 := func(proto byte, dst string, flags uint16, options int, body []byte) []byte {
		h := make([]byte, 20+options)
		h[0], h[8], h[9] = 0x45+byte(options/4), 64, proto
		binary.BigEndian.PutUint16(h[2:], uint16(len(h)+len(body)))
		binary.BigEndian.PutUint16(h[6:], flags)
		copy(h[12:], []byte{192, 168, 7, 2})
		a := netip.MustParseAddr(dst).As4()
		copy(h[16:], a[:])
		return append(append(make([]byte, 12), 0x08, 0x00), append(h, body...)...)
	}
	ip6 := func(next byte, body []byte) []byte {
		h := make([]byte, 40)
		h[0], h[6], h[7] = 0x60, next, 64
		binary.BigEndian.PutUint16(h[4:], uint16(len(body)))
		return append(append(make([]byte, 12), 0x86, 0xdd), append(h, body...)...)
	}
	udp := func(dport uint16) []byte {
		b := make([]byte, 16)
		binary.BigEndian.PutUint16(b, 5000)
		binary.BigEndian.PutUint16(b[2:], dport)
		return b
	}
	for _, c := range []struct {
		what  string
		frame []byte
		drop  bool
	}{
		{"UDP", ip4(17, "198.51.7.2", 0, 0, udp(7001)), true},
		{"UDP to another port", ip4(17, "198.51.7.2", 0, 0, udp(7002)), false},
		{"UDP with options", ip4(17, "198.51.7.2", 0, 8, udp(7001)), true},
		{"TCP", ip4(6, "198.51.7.2", 0, 0, udp(7001)), false},
		{"first fragment", ip4(17, "198.51.7.2", 0x2000, 0, udp(7001)), false},
		{"later fragment", ip4(17, "198.51.7.2", 1, 0, udp(7001)), false},
		{"fragment by its address", ip4(17, "198.51.7.9", 0x2000, 0, udp(7002)), true},
		{"cut off", ip4(17, "198.51.7.2", 0, 0, []byte{1, 2}), false},
		{"SCTP", ip4(132, "198.51.7.2", 0, 0, udp(1)), true},
		{"UDP in a VLAN", tagged(ip4(17, "198.51.7.2", 0, 0, udp(7001)), 9), true},
		{"VLAN", tagged(ip4(17, "198.51.7.2", 0, 0, udp(7002)), 7), true},
		{"VLAN with a priority", tagged(ip4(17, "198.51.7.2", 0, 0, udp(7002)), 0xa007), true},
		{"another VLAN", tagged(ip4(17, "198.51.7.2", 0, 0, udp(7002)), 8), false},
		{"ARP in the VLAN", tagged(append(make([]byte, 12), append([]byte{8, 6}, make([]byte, 46)...)...), 7), true},
		{"IPv6", ip6(17, udp(7001)), true},
		{"behind extension headers", ip6(0, append([]byte{60, 0, 1, 4, 0, 0, 0, 0, 17, 0, 1, 4, 0, 0, 0, 0}, udp(7001)...)), true},
		{"behind as many extension headers as are walked", ip6(60, append(bytes.Repeat([]byte{60, 0, 1, 4, 0, 0, 0, 0}, 6), append([]byte{17, 0, 1, 4, 0, 0, 0, 0}, udp(7001)...)...)), true},
		{"behind too many", ip6(60, append(bytes.Repeat([]byte{60, 0, 1, 4, 0, 0, 0, 0}, 7), append([]byte{17, 0, 1, 4, 0, 0, 0, 0}, udp(7001)...)...)), false},
		{"an extension header beyond the packet", ip6(60, append([]byte{17, 9, 1, 4, 0, 0, 0, 0}, udp(7001)...)), false},
		{"whole datagram in a fragment header", ip6(44, append([]byte{17, 0, 0, 0, 0, 0, 0, 9}, udp(7001)...)), true},
		{"fragment of IPv6", ip6(44, append([]byte{17, 0, 0, 1, 0, 0, 0, 9}, udp(7001)...)), false},
		{"ESP", ip6(50, udp(1)), true},
		{"ESP of IPv4", ip4(50, "198.51.7.2", 0, 0, udp(1)), false},
		{"ARP", append(make([]byte, 12), append([]byte{8, 6}, make([]byte, 46)...)...), false},
	} {
		const drop = 1
		if got := run(c.frame) == drop; got != c.drop {
			t.Errorf("%s: dropped: %v", c.what, got)
		}
		read := ntuple.ReadFrame(c.frame)
		if got := ntuple.First(cfg.Interfaces[0].Rules, &read) != nil; got != c.drop {
			t.Errorf("%s: read as %+v, a rule matches: %v", c.what, read, got)
		}
	}
}

// loadedXDP runs the program of a router as for frames that come in by lan0.
func loadedXDP(t *testing.T, r *router) func(frame []byte) uint32 {
	t.Helper()
	p, err := ebpf.LoadPinnedProgram(r.pin+"/"+dirPrograms+"/l2_xdp", nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	index := uint32(r.index("lan0"))
	return func(frame []byte) (ret uint32) {
		ctx := make([]byte, 24) // struct xdp_md
		binary.NativeEndian.PutUint32(ctx[4:], uint32(len(frame)))
		binary.NativeEndian.PutUint32(ctx[12:], index)
		r.in("r", func() (err error) {
			ret, err = p.Run(&ebpf.RunOptions{Data: frame, Context: ctx})
			return err
		})
		return ret
	}
}
