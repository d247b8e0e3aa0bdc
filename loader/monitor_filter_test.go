// SPDX-License-Identifier: GPL-2.0-only

package loader

import (
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/net/bpf"
)

// filterCorpus are expressions of pcap-filter(7) that use all kinds of loads,
// comparisons and arithmetic.
var filterCorpus = []string{
	"", "ip", "ip6", "arp", "tcp", "udp", "icmp", "icmp6", "sctp", "not tcp", "vlan 5", "vlan and tcp",
	"host 192.0.2.1", "src host 192.0.2.1", "net 192.0.2.0/24", "ip6 host 2001:db8::1", "dst net 2001:db8::/32",
	"port 53", "tcp dst port 443", "portrange 1000-2000", "udp src portrange 50-60",
	"(tcp or udp) and port 53", "tcp and not (port 80 or port 443) and host 192.0.2.1",
	"tcp[tcpflags] & (tcp-syn|tcp-ack) == tcp-syn", "tcp[13] = 2", "ip[0] & 0xf != 5", "ip[2:2] > 40", "udp[4:2] - 8 = 4",
	"greater 60", "less 60", "len > 100", "ether host 02:00:00:00:00:01", "ether[12:2] = 0x86dd", "ip proto 47", "ip[8] < 64",
	"ip multicast", "ether broadcast", "icmp[icmptype] = icmp-echo", "tcp[((tcp[12] & 0xf0) >> 2):4] = 0x47455420",
	"ip[6:2] & 0x1fff != 0", "len / 2 > 30", "ip[4000] = 1",
}

// filterPackets are frames that these tell apart.
func filterPackets() (list [][]byte) {
	frame := func(typ uint16, body ...byte) []byte {
		f := []byte{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2}
		return append(binary.BigEndian.AppendUint16(f, typ), body...)
	}
	ip4 := func(proto, options, ttl byte, fragment uint16, body ...byte) []byte {
		h := make([]byte, 20+4*options)
		h[0], h[8], h[9] = 0x45+options, ttl, proto
		binary.BigEndian.PutUint16(h[2:], uint16(len(h)+len(body)))
		binary.BigEndian.PutUint16(h[6:], fragment)
		copy(h[12:], []byte{192, 0, 2, 1, 198, 51, 100, 1})
		return append(h, body...)
	}
	ip6 := func(proto byte, body ...byte) []byte {
		h := make([]byte, 40)
		h[0], h[6], h[7] = 0x60, proto, 64
		binary.BigEndian.PutUint16(h[4:], uint16(len(body)))
		copy(h[8:], []byte{0x20, 1, 0xd, 0xb8, 15: 1})
		copy(h[24:], []byte{0x20, 1, 0xd, 0xb8, 15: 2})
		return append(h, body...)
	}
	ports := func(s, d uint16, rest ...byte) []byte {
		return append(binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, s), d), rest...)
	}
	syn := ports(40000, 443, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0, 1, 0, 0, 0, 0)
	get := append(ports(1500, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x60, 0x18, 0, 1, 0, 0, 0, 0, 1, 1, 1, 1), "GET / HTTP/1.1"...)
	dns := ports(55, 53, 0, 12, 0, 0, 1, 2, 3, 4)
	for _, l4 := range []struct {
		proto byte
		body  []byte
	}{{6, syn}, {6, get}, {17, dns}, {1, []byte{8, 0, 0, 0}}, {47, []byte{0}}, {132, ports(1000, 2000, 0, 0, 0, 0, 0, 0, 0, 0)}} {
		list = append(list, frame(0x800, ip4(l4.proto, 0, 64, 0, l4.body...)...), frame(0x800, ip4(l4.proto, 3, 1, 0, l4.body...)...),
			frame(0x800, ip4(l4.proto, 0, 64, 0x2001, l4.body...)...), frame(0x86dd, ip6(l4.proto, l4.body...)...),
			frame(0x8100, append([]byte{0, 5, 8, 0}, ip4(l4.proto, 0, 64, 0, l4.body...)...)...))
	}
	list = append(list, frame(0x86dd, ip6(58, 128, 0, 0, 0)...), frame(0x806, make([]byte, 28)...), frame(0x800), frame(0x800, 0x4f), []byte{1, 2, 3})
	for _, f := range list[:8] { // cut
		list = append(list, f[:len(f)-3], f[:30])
	}
	return append(list, append(frame(0x800, ip4(17, 0, 64, 0, dns...)...), make([]byte, 300)...))
}

// classicOf is an expression as libpcap compiles it.
func classicOf(t *testing.T, expression string) []bpf.RawInstruction {
	t.Helper()
	out, err := exec.Command("tcpdump", "-y", "EN10MB", "-ddd", "--", expression).Output()
	if err != nil {
		t.Fatalf("%q: %v", expression, err)
	}
	var code []bpf.RawInstruction
	for _, line := range strings.Split(strings.TrimSpace(string(out)), "\n")[1:] {
		var i bpf.RawInstruction
		if _, err := fmt.Sscan(line, &i.Op, &i.Jt, &i.Jf, &i.K); err != nil {
			t.Fatal(err)
		}
		code = append(code, i)
	}
	return code
}

// TestMonitorFilterCode: a filter selects in the kernel what classic BPF selects.
func TestMonitorFilterCode(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	if _, err := exec.LookPath("tcpdump"); err != nil {
		t.Skip("needs tcpdump")
	}
	memory, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 2048, MaxEntries: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer memory.Close()
	// Where the map's value is: a program writes it there.
	run := func(code asm.Instructions, args ...uint64) uint32 {
		t.Helper()
		p, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.RawTracepoint, License: "GPL", Instructions: code})
		if err != nil {
			t.Fatalf("%+v", err)
		}
		defer p.Close()
		var context [96]byte
		for i, a := range args {
			binary.NativeEndian.PutUint64(context[8*i:], a)
		}
		ret, err := p.Run(&ebpf.RunOptions{Context: context[:]})
		if err != nil {
			t.Fatal(err)
		}
		return ret
	}
	run(asm.Instructions{
		asm.LoadMapValue(asm.R1, memory.FD(), 0), asm.StoreMem(asm.R1, 0, asm.R1, asm.DWord), asm.Mov.Imm(asm.R0, 0), asm.Return(),
	})
	value := make([]byte, 2048)
	if err := memory.Lookup(uint32(0), &value); err != nil {
		t.Fatal(err)
	}
	address := binary.NativeEndian.Uint64(value)
	packets := filterPackets()
	for _, expression := range filterCorpus {
		raw := classicOf(t, expression)
		classic, ok := bpf.Disassemble(raw)
		if !ok {
			t.Fatalf("%q: not known: %v", expression, raw)
		}
		vm, err := bpf.NewVM(classic)
		if err != nil {
			t.Fatal(err)
		}
		code, err := filterCode("filter", raw)
		if err != nil {
			t.Errorf("%q: %v", expression, err)
			continue
		}
		code = append(asm.Instructions{
			asm.LoadMem(asm.R2, asm.R1, 8, asm.DWord), asm.LoadMem(asm.R3, asm.R1, 16, asm.Word), asm.LoadMem(asm.R1, asm.R1, 0, asm.DWord),
		}, code...)
		selected := 0
		for _, p := range packets {
			if err := memory.Put(uint32(0), append(p, make([]byte, 2048-len(p))...)); err != nil {
				t.Fatal(err)
			}
			want, err := vm.Run(p)
			if err != nil {
				t.Fatal(err)
			}
			got := run(code, address, address+uint64(len(p)), uint64(len(p)))
			if (got != 0) != (want != 0) {
				t.Errorf("%q of %x: %d, classic BPF says %d", expression, p, got, want)
			}
			if want != 0 {
				selected++
			}
		}
		if expression != "" && expression != "ip multicast" && expression != "ether broadcast" && expression != "ip[4000] = 1" && (selected == 0 || selected == len(packets)) {
			t.Errorf("%q selects %d of %d packets", expression, selected, len(packets))
		}
	}
}

// TestMonitorFilterLength: a frame is as long as it is, and not as what of it is in one
// piece.
func TestMonitorFilterLength(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	if _, err := exec.LookPath("tcpdump"); err != nil {
		t.Skip("needs tcpdump")
	}
	code, err := filterCode("filter", classicOf(t, "greater 1000"))
	if err != nil {
		t.Fatal(err)
	}
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.RawTracepoint, License: "GPL", Instructions: append(asm.Instructions{
		asm.Mov.Imm(asm.R1, 0), asm.Mov.Imm(asm.R2, 60), asm.Mov.Imm(asm.R3, 1500),
	}, code...)})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if ret, err := p.Run(&ebpf.RunOptions{Context: make([]byte, 96)}); err != nil || ret == 0 {
		t.Errorf("%d, %v", ret, err)
	}
}
