// SPDX-License-Identifier: GPL-2.0-only

package policy

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// command runs a program in the thread's namespace.
func command(t *testing.T, stdin, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v: %s", name, args, err, out)
	}
	return string(out)
}

// ipCommands runs commands of ip, one a line; those of IPv6 begin with -6.
func ipCommands(t *testing.T, lines string) {
	t.Helper()
	for line := range strings.Lines(lines) {
		if line = strings.TrimSpace(line); line != "" {
			command(t, "", "ip", strings.Fields(line)...)
		}
	}
}

func sysctl(t *testing.T, name, value string) {
	t.Helper()
	if err := os.WriteFile("/proc/sys/net/"+name, []byte(value), 0); err != nil {
		t.Fatal(err)
	}
}

// Interfaces wan0, a veth whose other end is in the namespace, too, and br0.
const (
	fibAddresses = `
link set lo up
link set br0 up
link set hs0 up
link set peer up
link set wan0 up
addr add 198.51.100.2/24 brd + dev wan0
addr add 198.51.100.77/32 dev wan0
addr add 192.168.1.1/24 brd + dev br0
addr add 192.168.1.9/24 brd + dev hs0
addr add 2001:db8::2/64 dev wan0 nodad
addr add fd00::1/64 dev br0 nodad
addr add fe80::1/64 dev wan0 nodad
addr add fe80::2/64 dev br0 nodad
`
	fibRoutes = `
route add default via 198.51.100.1 dev wan0
route add blackhole 198.18.1.0/24
route add unreachable 198.18.2.0/24
route add prohibit 198.18.3.0/24
route add throw 198.18.4.0/24
route add local 198.18.5.0/24 dev lo
route add local 198.18.6.0/24 dev wan0 table main
route add broadcast 198.18.7.255 dev wan0
route add anycast 198.18.8.1 dev wan0
route add 198.18.9.0/24 nexthop via 192.168.1.50 dev br0 nexthop via 198.51.100.9 dev wan0
route add 198.18.10.0/24 dev br0 metric 10
route add 198.18.10.0/24 dev wan0 metric 20
route add 198.18.11.0/24 tos 0x10 dev br0
route add 198.18.0.0/16 via 198.51.100.8 dev wan0
route add 198.18.10.128/25 dev wan0
route add 127.1.0.0/16 dev wan0
nexthop add id 1 via 198.51.100.1 dev wan0
nexthop add id 2 via 192.168.1.50 dev br0
nexthop add id 3 group 1/2
nexthop add id 4 blackhole
route add 198.18.12.0/24 nhid 2
route add 198.18.13.0/24 nhid 3
route add 198.18.14.0/24 nhid 4
-6 route add default via 2001:db8::1 dev wan0
-6 route add blackhole 2001:2:1::/48
-6 route add unreachable 2001:2:2::/48
-6 route add prohibit 2001:2:3::/48
-6 route add throw 2001:2:4::/48
-6 route add local 2001:2:5::/64 dev lo
-6 route add 2001:2:9::/64 nexthop via fd00::50 dev br0
-6 route add 2001:2:a::/64 dev br0 metric 10
-6 route add 2001:2:a::/64 dev wan0 metric 20
-6 route add 2001:2::/32 via 2001:db8::8 dev wan0
-6 route add 2001:2:a:0:8000::/65 dev wan0
`
)

var fibHosts = [2]string{`
198.51.100.2 198.51.100.77 198.51.100.9 198.51.100.255 198.51.100.0 192.168.1.1 192.168.1.9 192.168.1.50 192.168.1.255
8.8.8.8 198.18.1.1 198.18.2.1 198.18.3.1 198.18.4.1 198.18.5.1 198.18.6.1 198.18.7.255 198.18.8.1 198.18.9.1 198.18.10.1
198.18.10.200 198.18.11.1 198.18.12.1 198.18.13.1 198.18.14.1 198.18.99.1 127.0.0.1 127.1.0.1 127.255.255.255 0.0.0.0 0.1.2.3
255.255.255.255 224.0.0.1 239.1.2.3 240.0.0.1 198.19.0.1`, `
2001:db8::2 2001:db8::9 2001:db8:: fd00::1 fd00::50 fd00:: fe80::1 fe80::2 fe80::99 2001:2:1::1 2001:2:2::1 2001:2:3::1
2001:2:4::1 2001:2:5::1 2001:2:9::1 2001:2:a::1 2001:2:a:0:8000::1 2001:2:99::1 2606:4700::1111 ::1 :: ff02::1 ff05::2
ff0e::1 fd01::1`}

// fibRules are all questions of a packet that arrives, one a rule.
func fibRules() []string {
	var list []string
	for _, from := range []string{"saddr", "daddr"} {
		for _, mark := range []string{"", " . mark"} {
			for _, iif := range []string{"", " . iif"} {
				q := "fib " + from + mark + iif
				for _, typ := range []string{"unspec", "unicast", "local", "broadcast", "anycast", "multicast", "blackhole", "unreachable", "prohibit"} {
					list = append(list, q+" type "+typ)
				}
				list = append(list, q+" oif missing", q+" oif exists", q+" oif wan0", q+" oif br0", q+` oifname "wan0"`, q+` oifname "br*"`, q+` oifname != "br0"`)
			}
		}
	}
	return list
}

var ruleCount = regexp.MustCompile(`counter packets (\d+) bytes \d+ comment "(\d+)"`)

// kernelMatches reads which rules the kernel has counted.
func kernelMatches(t *testing.T) map[int]int {
	t.Helper()
	matches := map[int]int{}
	for _, m := range ruleCount.FindAllStringSubmatch(command(t, "", "nft", "list", "chain", "inet", "t", "arrive"), -1) {
		n, _ := strconv.Atoi(m[1])
		i, _ := strconv.Atoi(m[2])
		matches[i] = n
	}
	return matches
}

// The kernel's nftables and the programs say the same of all kinds of routes, of
// packets that really arrive.
func TestFibAsTheKernel(t *testing.T) {
	for _, tt := range []struct {
		name, more string
		forwarding bool
	}{
		{"router", "", true},
		{"host", "", false},
		{"rules", "rule add fwmark 0x77 table 100\nrule add to 198.18.99.0/24 table 100\nroute add 198.18.99.0/24 dev br0 table 100\n" +
			"-6 rule add to 2001:2:99::/48 table 100\n-6 route add 2001:2:99::/48 dev br0 table 100\n" +
			// Of routes with several ways the helper knows one: see docs/nftables.md.
			"route del 198.18.9.0/24\nroute del 198.18.13.0/24\n", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inNetns(t)
			value := "0"
			if tt.forwarding {
				value = "1"
			}
			for _, s := range []string{"ipv4/ip_forward", "ipv6/conf/all/forwarding"} {
				sysctl(t, s, value)
			}
			ipCommands(t, fibAddresses+fibRoutes+tt.more)
			compareFib(t)
		})
	}
}

func compareFib(t *testing.T) {
	rules := fibRules()
	var b strings.Builder
	b.WriteString("table inet t { chain arrive { type filter hook prerouting priority -300; policy accept;\n" +
		"meta l4proto != udp accept\n")
	for i, r := range rules {
		fmt.Fprintf(&b, "%s counter comment \"%d\"\n", r, i)
	}
	fmt.Fprintf(&b, "counter comment \"%d\"\n}\n}\n", len(rules))
	file := filepath.Join(t.TempDir(), "fib.nft")
	if err := os.WriteFile(file, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	command(t, "", "nft", "-f", file)
	p := compile(t, b.String())
	h := newHarness(t, p)

	wire := newFibWire(t)
	before, differ := kernelMatches(t), 0
	for _, hosts := range fibHosts {
		list := strings.Fields(hosts)
		for i := range list {
			// Each once as a source, and once as a destination.
			pk := packet{src: list[i], dst: list[(i*7+3)%len(list)], proto: protoUDP, th: udp(1000, 2000), iif: "wan0"}
			if i%5 == 0 {
				pk.tos = 0x10
			}
			wire.send(&pk)
			now := kernelMatches(t)
			for end := time.Now().Add(300 * time.Millisecond); now[len(rules)] == before[len(rules)]; now = kernelMatches(t) {
				if time.Now().After(end) {
					break // not all come to the chain
				}
				time.Sleep(time.Millisecond)
			}
			if now[len(rules)] == before[len(rules)] {
				continue
			}
			matches := h.matches("policy_prerouting_raw", &pk)
			for i, r := range rules {
				if k := now[i] != before[i]; k != matches[i] {
					differ++
					t.Errorf("%s > %s tos %#x: %s: nftables %v, compiled %v", pk.src, pk.dst, pk.tos, r, k, matches[i])
				}
			}
			if differ > 30 {
				t.FailNow()
			}
			before = now
		}
	}
}

// fibWire sends packets to wan0 by its other end.
type fibWire struct {
	t        *testing.T
	fd       int
	from, to *net.Interface
}

func newFibWire(t *testing.T) *fibWire {
	t.Helper()
	w := &fibWire{t: t}
	var err error
	if w.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(w.fd) })
	if w.from, err = net.InterfaceByName("peer"); err != nil {
		t.Fatal(err)
	}
	if w.to, err = net.InterfaceByName("wan0"); err != nil {
		t.Fatal(err)
	}
	return w
}

// send sends a UDP datagram without data.
func (w *fibWire) send(pk *packet) {
	w.t.Helper()
	ip := pk.network()
	pk.len = uint32(len(ip) + len(pk.th))
	pk.th[4], pk.th[5] = 0, byte(len(pk.th))
	frame := append(append([]byte{}, w.to.HardwareAddr...), w.from.HardwareAddr...)
	if pk.v6() {
		frame = append(frame, 0x86, 0xdd)
		ip[4], ip[5] = 0, byte(len(pk.th))
	} else {
		frame = append(frame, 8, 0)
		ip[2], ip[3] = 0, byte(pk.len)
		sum := checksum(ip)
		ip[10], ip[11] = byte(sum>>8), byte(sum)
	}
	frame = append(append(frame, ip...), pk.th...)
	if err := unix.Sendto(w.fd, frame, 0, &unix.SockaddrLinklayer{Ifindex: w.from.Index}); err != nil {
		w.t.Fatal(err)
	}
}

// matches runs a function of the policy and tells which of the first rules counted.
func (h *harness) matches(function string, pk *packet) map[int]bool {
	h.t.Helper()
	count := func() (n []uint64) {
		// The first rule lets what the interfaces talk of themselves go.
		for i := range h.p.Rules[1:] {
			packets, _ := h.counter(uint32(i + 1))
			n = append(n, packets)
		}
		return n
	}
	before := count()
	h.run(function, pk)
	matches := map[int]bool{}
	for i, n := range count() {
		matches[i] = n != before[i]
	}
	return matches
}

// checksum is that of an IPv4 header, whose own is zero.
func checksum(b []byte) uint16 {
	var sum uint32
	for i := 0; i < len(b); i += 2 {
		sum += uint32(b[i])<<8 | uint32(b[i+1])
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}
