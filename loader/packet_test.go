// SPDX-License-Identifier: GPL-2.0-only

package loader

import (
	"encoding/binary"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// Packets as bytes: made by hand, and checked without the kernel's help.

const (
	flagFIN = 1 << iota
	flagSYN
	flagRST
	flagPSH
	flagACK
	flagURG
)

// sum16 is the one's complement sum of RFC 1071.
func sum16(parts ...[]byte) uint16 {
	var sum uint32
	for _, p := range parts {
		for i := 0; i+1 < len(p); i += 2 {
			sum += uint32(binary.BigEndian.Uint16(p[i:]))
		}
		if len(p)%2 == 1 {
			sum += uint32(p[len(p)-1]) << 8
		}
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return uint16(sum)
}

// pseudo is the pseudo header of a transport checksum.
func pseudo(src, dst netip.Addr, proto uint8, length int) []byte {
	p := append(src.AsSlice(), dst.AsSlice()...)
	p = binary.BigEndian.AppendUint32(p, uint32(length))
	return append(p, 0, 0, 0, proto)
}

// checksumOffset is where a transport header has its checksum; ok is false for
// a protocol that has none.
func checksumOffset(proto uint8) (offset int, ok bool) {
	switch proto {
	case unix.IPPROTO_TCP:
		return 16, true
	case unix.IPPROTO_UDP:
		return 6, true
	case unix.IPPROTO_ICMP, unix.IPPROTO_ICMPV6:
		return 2, true
	}
	return 0, false
}

// withChecksum sets the checksum of a transport packet.
func withChecksum(src, dst netip.Addr, proto uint8, l4 []byte) []byte {
	if offset, ok := checksumOffset(proto); ok {
		l4[offset], l4[offset+1] = 0, 0
		sum := ^transportSum(src, dst, proto, l4)
		if proto == unix.IPPROTO_UDP && sum == 0 {
			sum = 0xffff
		}
		binary.BigEndian.PutUint16(l4[offset:], sum)
	}
	return l4
}

// transportSum is 0xffff for a packet whose checksum is right.
func transportSum(src, dst netip.Addr, proto uint8, l4 []byte) uint16 {
	if proto == unix.IPPROTO_ICMP {
		return sum16(l4)
	}
	return sum16(pseudo(src, dst, proto, len(l4)), l4)
}

func tcpSegment(src, dst netip.AddrPort, flags byte) []byte {
	h := binary.BigEndian.AppendUint16(nil, src.Port())
	h = binary.BigEndian.AppendUint16(h, dst.Port())
	h = append(h, 0, 0, 0, 1, 0, 0, 0, 1, 0x50, flags, 0x10, 0, 0, 0, 0, 0)
	return withChecksum(src.Addr(), dst.Addr(), unix.IPPROTO_TCP, h)
}

func udpDatagram(src, dst netip.AddrPort, payload []byte) []byte {
	h := binary.BigEndian.AppendUint16(nil, src.Port())
	h = binary.BigEndian.AppendUint16(h, dst.Port())
	h = binary.BigEndian.AppendUint16(h, uint16(8+len(payload)))
	h = append(append(h, 0, 0), payload...)
	return withChecksum(src.Addr(), dst.Addr(), unix.IPPROTO_UDP, h)
}

func icmpProto(a netip.Addr) uint8 {
	if a.Is4() {
		return unix.IPPROTO_ICMP
	}
	return unix.IPPROTO_ICMPV6
}

// icmpMessage is any ICMP or ICMPv6 message.
func icmpMessage(src, dst netip.Addr, typ, code uint8, rest uint32, payload []byte) []byte {
	h := binary.BigEndian.AppendUint32([]byte{typ, code, 0, 0}, rest)
	return withChecksum(src, dst, icmpProto(src), append(h, payload...))
}

// ipPacket puts a network header before a transport packet.
func ipPacket(src, dst netip.Addr, proto, ttl uint8, l4 []byte) []byte {
	if src.Is4() {
		h := binary.BigEndian.AppendUint16([]byte{0x45, 0}, uint16(20+len(l4)))
		h = append(h, 0, 1, 0, 0, ttl, proto, 0, 0)
		h = append(append(h, src.AsSlice()...), dst.AsSlice()...)
		binary.BigEndian.PutUint16(h[10:], ^sum16(h))
		return append(h, l4...)
	}
	h := binary.BigEndian.AppendUint16([]byte{0x60, 0, 0, 0}, uint16(len(l4)))
	h = append(h, proto, ttl)
	h = append(append(h, src.AsSlice()...), dst.AsSlice()...)
	return append(h, l4...)
}

// packet is a received one, taken apart.
type packet struct {
	src, dst netip.AddrPort // without ports: 0
	proto    uint8
	ttl      uint8
	raw      []byte // from the network header on, without padding
	l4       []byte
	fragment bool
}

// parsePacket returns false for what is not IP.
func parsePacket(b []byte) (p packet, ok bool) {
	if len(b) < 20 {
		return p, false
	}
	var src, dst netip.Addr
	switch b[0] >> 4 {
	case 4:
		n, ihl := int(binary.BigEndian.Uint16(b[2:])), int(b[0]&15)*4
		if ihl < 20 || n < ihl {
			return p, false
		}
		p.raw = b[:min(n, len(b))] // a quote may be cut off
		p.fragment = binary.BigEndian.Uint16(b[6:])&0x3fff != 0
		p.proto, p.ttl = b[9], b[8]
		src, dst = netip.AddrFrom4([4]byte(b[12:])), netip.AddrFrom4([4]byte(b[16:]))
		p.l4 = p.raw[min(ihl, len(p.raw)):]
	case 6:
		if len(b) < 40 {
			return p, false
		}
		n := 40 + int(binary.BigEndian.Uint16(b[4:]))
		p.raw = b[:min(n, len(b))]
		p.proto, p.ttl = b[6], b[7]
		src, dst = netip.AddrFrom16([16]byte(b[8:])), netip.AddrFrom16([16]byte(b[24:]))
		p.l4 = p.raw[40:]
		if p.proto == unix.IPPROTO_FRAGMENT && len(p.l4) >= 8 {
			p.proto, p.l4, p.fragment = p.l4[0], p.l4[8:], true
		}
	default:
		return p, false
	}
	var sport, dport uint16
	if (p.proto == unix.IPPROTO_TCP || p.proto == unix.IPPROTO_UDP) && len(p.l4) >= 4 && !p.fragment {
		sport, dport = binary.BigEndian.Uint16(p.l4), binary.BigEndian.Uint16(p.l4[2:])
	}
	p.src, p.dst = netip.AddrPortFrom(src, sport), netip.AddrPortFrom(dst, dport)
	return p, true
}

// checksum is the transport checksum as the packet carries it.
func (p packet) checksum() uint16 {
	offset, _ := checksumOffset(p.proto)
	return binary.BigEndian.Uint16(p.l4[offset:])
}

// wrongChecksum says which of a packet's checksums is wrong, "" if none is.
func (p packet) wrongChecksum() string {
	if p.src.Addr().Is4() && sum16(p.raw[:int(p.raw[0]&15)*4]) != 0xffff {
		return "IPv4 header"
	}
	if p.fragment {
		return ""
	}
	if _, ok := checksumOffset(p.proto); !ok {
		return ""
	}
	if p.proto == unix.IPPROTO_UDP && p.checksum() == 0 {
		if p.src.Addr().Is4() {
			return ""
		}
		return "UDP: none over IPv6"
	}
	if transportSum(p.src.Addr(), p.dst.Addr(), p.proto, p.l4) != 0xffff {
		return "transport header"
	}
	return ""
}

// wire is a packet socket at eth0 of a host: below its IP stack.
type wire struct {
	t      *testing.T
	fd     int
	frames chan packet
	from   net.HardwareAddr
	router net.HardwareAddr
}

// tap opens a wire at a host, l or w.
func (r *router) tap(t *testing.T, ns string) *wire {
	t.Helper()
	w := &wire{t: t, frames: make(chan packet, 65536), from: r.mac[ns+"/eth0"], router: r.mac["r/lan0"]}
	if ns == "w" {
		w.router = r.mac["r/wan0"]
	}
	r.in(ns, func() (err error) {
		w.fd, err = packetSocket("eth0", unix.ETH_P_ALL)
		return err
	})
	done := make(chan struct{})
	t.Cleanup(func() {
		unix.Shutdown(w.fd, unix.SHUT_RDWR)
		<-done
		unix.Close(w.fd)
	})
	stop := make(chan struct{})
	t.Cleanup(func() { close(stop) })
	go func() {
		defer close(done)
		buf := make([]byte, 1<<17)
		for {
			n, from, err := unix.Recvfrom(w.fd, buf, 0)
			select {
			case <-stop:
				return
			default:
			}
			if err != nil {
				continue // the socket's timeout
			}
			if from.(*unix.SockaddrLinklayer).Pkttype == unix.PACKET_OUTGOING || n < 14 {
				continue
			}
			if p, ok := parsePacket(append([]byte(nil), buf[14:n]...)); ok {
				select {
				case w.frames <- p:
				default: // nobody is interested
				}
			}
		}
	}()
	return w
}

// packetSocket is bound to an interface of the thread's namespace.
func packetSocket(dev string, etherType uint16) (int, error) {
	proto := etherType<<8 | etherType>>8
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(proto))
	if err != nil {
		return 0, err
	}
	i, err := net.InterfaceByName(dev)
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: proto, Ifindex: i.Index})
	}
	if err == nil {
		err = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 20_000})
	}
	if err == nil {
		err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 64<<20)
	}
	if err != nil {
		unix.Close(fd)
		return 0, err
	}
	return fd, nil
}

// frame puts an Ethernet header before a packet.
func frame(from, to net.HardwareAddr, ip []byte) []byte {
	etherType := []byte{8, 0}
	if ip[0]>>4 == 6 {
		etherType = []byte{0x86, 0xdd}
	}
	return append(append(append(append([]byte(nil), to...), from...), etherType...), ip...)
}

// send gives a packet to the router.
func (w *wire) send(ip []byte) {
	w.t.Helper()
	if _, err := unix.Write(w.fd, frame(w.from, w.router, ip)); err != nil {
		w.t.Fatal(err)
	}
}

// receive waits for a packet, and skips others.
func (w *wire) receive(what string, ok func(packet) bool) packet {
	w.t.Helper()
	timeout := time.After(patience)
	for {
		select {
		case p := <-w.frames:
			if ok(p) {
				return p
			}
		case <-timeout:
			w.t.Fatalf("not received: %s", what)
		}
	}
}

// drain returns what has come in until now.
func (w *wire) drain() []packet {
	// What is on its way waits for the softirqs of a busy machine. One on which this
	// process itself has to wait is busy.
	const quiet, busy = 100 * time.Millisecond, 20 * time.Millisecond
	var all []packet
	for end := time.Now().Add(patience); ; {
		began := time.Now()
		select {
		case p := <-w.frames:
			all = append(all, p)
		case <-time.After(quiet):
			if time.Since(began) < quiet+busy || time.Now().After(end) {
				return all
			}
		}
	}
}

// noAggregates has the hosts see each packet as it is on the wire. An interface
// of a host takes the router's XDP frames if it has GRO, or, as here, a
// program.
func (r *router) noAggregates(t *testing.T) {
	t.Helper()
	pass, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: "pass", Type: ebpf.XDP, License: "GPL",
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 2), asm.Return()},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pass.Close() })
	for _, ns := range []string{"l", "w"} {
		r.in(ns, func() error {
			eth0, err := net.InterfaceByName("eth0")
			if err != nil {
				return err
			}
			l, err := link.AttachXDP(link.XDPOptions{Program: pass, Interface: eth0.Index})
			if err == nil {
				t.Cleanup(func() { l.Close() })
			}
			return err
		})
		r.must("ip", "netns", "exec", r.name+ns, "ethtool", "-K", "eth0", "gro", "off")
	}
}
