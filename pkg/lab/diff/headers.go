// SPDX-License-Identifier: GPL-2.0-only

package diff

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// Protocols that x/sys/unix does not name.
const (
	protoDCCP   = 33
	protoIPComp = 108
	protoMH     = 135
)

// What rules can look into beyond the first bytes of the common headers: options,
// extension headers, and protocols without NAT of their ports. Each packet has a
// source of its own, so that NAT has nothing to choose.
func init() {
	alone("TCP with options", func(t *trial, o *odd) []byte {
		o.h.proto = unix.IPPROTO_TCP
		options := t.tcpOptions()
		th := tcpSegment(t.freshPort(), o.dport, t.Uint32(), 0, syn, nil)
		th[12] = byte(5+len(options)/4) << 4
		return o.h.packetOf(append(append(th, options...), "data of a SYN"[:t.IntN(14)]...))
	})
	alone("UDP with data", func(t *trial, o *odd) []byte {
		o.h.proto = unix.IPPROTO_UDP
		data := make([]byte, t.IntN(64))
		for i := range data {
			data[i] = byte(t.IntN(3))
		}
		return o.h.packetOf(udpDatagram(t.freshPort(), o.dport, data))
	})
	alone("IPv6 extension headers", func(t *trial, o *odd) []byte {
		if o.v == 0 {
			return nil
		}
		o.h.proto = choose(t, []byte{unix.IPPROTO_UDP, unix.IPPROTO_TCP, unix.IPPROTO_UDP})
		th := udpDatagram(t.freshPort(), o.dport, []byte("behind headers"))
		if o.h.proto == unix.IPPROTO_TCP {
			th = append(tcpSegment(t.freshPort(), o.dport, t.Uint32(), 0, syn, nil), "data"...)
		}
		return t.extend(o, o.h.packetOf(th))
	})
	alone("valid options of IPv4", func(t *trial, o *odd) []byte {
		if o.v == 1 || t.rejects {
			return nil // the kernel's ICMP errors answer options with options
		}
		o.h.proto, o.h.options = unix.IPPROTO_UDP, t.ipv4Options()
		return o.h.packetOf(udpDatagram(t.freshPort(), o.dport, []byte("options")))
	})
	// Of some the kernel knows ports, or less, than l2d, or another kernel does.
	// Without packets the other way, and without NAT, that is the same.
	protocol := func(name string, proto byte, message func(t *trial, o *odd) []byte) {
		alone(name, func(t *trial, o *odd) []byte {
			toRouter := o.h.dst == t.ports[o.port].addrs[o.v].Addr()
			if toRouter || t.ports[o.other].wan || o.h.dst.Less(o.h.src) || proto == protoMH && o.v == 0 ||
				proto == protoDCCP && tracksDCCP() {
				return nil
			}
			o.h.proto = proto
			return o.h.packetOf(message(t, o))
		})
	}
	// Of a VLAN that the routers have no interface for, only the chains of
	// interfaces see it; of none, with a priority, it is a packet like others.
	single("a VLAN tag", 7, func(t *trial) error {
		o := t.newOdd()
		o.h.proto = unix.IPPROTO_UDP
		frame := frameOf(routerMAC(o.port), hostMAC(o.port), o.h.packetOf(udpDatagram(t.freshPort(), o.dport, []byte("tagged"))))
		frame = slices.Insert(frame, 12, 0x81, 0, byte(t.IntN(8))<<5, byte(t.IntN(4)))
		var saw [2]seen
		for i, r := range t.routers {
			if err := r.settle(o.port, frame); err != nil {
				return err
			}
			saw[i] = r.collect()
		}
		a, b := saw[0], saw[1]
		if len(a.frames) != len(b.frames) || len(a.local) != len(b.local) {
			return fmt.Errorf("frame %x: nftables %v, l2d %v", frame, a.describe(t.routers[0]), b.describe(t.routers[1]))
		}
		return nil
	})
	protocol("SCTP", unix.IPPROTO_SCTP, func(t *trial, o *odd) []byte { return t.sctpInit(o) })
	protocol("UDP-Lite", unix.IPPROTO_UDPLITE, func(t *trial, o *odd) []byte {
		return udpDatagram(o.sport, o.dport, []byte("lite"))
	})
	protocol("DCCP", protoDCCP, func(t *trial, o *odd) []byte {
		return append(ports(o.sport, o.dport), 4, 0, 0, 0, byte(t.IntN(10))<<1, 1, 2, 3, 0, 0, 0, 0)
	})
	protocol("AH", unix.IPPROTO_AH, func(t *trial, o *odd) []byte {
		if o.v == 1 {
			o.sport, o.dport = 9, 9 // nf_conntrack looks behind it
		}
		return append([]byte{unix.IPPROTO_UDP, 1, 0, 0, 0, 0, 0, byte(t.IntN(4)), 0, 0, 0, byte(t.IntN(4))}, udpDatagram(o.sport, o.dport, nil)...)
	})
	protocol("ESP", unix.IPPROTO_ESP, func(t *trial, o *odd) []byte {
		return []byte{0, 0, 0, byte(t.IntN(4)), 0, 0, 0, byte(t.IntN(4)), 1, 2, 3, 4, 5, 6, 7, 8}
	})
	protocol("IPComp", protoIPComp, func(t *trial, o *odd) []byte {
		return []byte{unix.IPPROTO_UDP, byte(t.IntN(2)), 0, byte(t.IntN(4)), 1, 2, 3, 4}
	})
	protocol("IGMP", unix.IPPROTO_IGMP, func(t *trial, o *odd) []byte {
		return []byte{choose(t, []byte{0x11, 0x16, 0x22}), byte(t.IntN(2)), 0, 0, 224, 0, 0, byte(t.IntN(3))}
	})
	protocol("mobility", protoMH, func(t *trial, o *odd) []byte {
		return []byte{59, 0, byte(t.IntN(6)), 0, 0, 0, 0, 0}
	})
}

// tracksDCCP tells whether the kernel's connection tracking knows the states of DCCP,
// as it does before Linux 6.17, and l2d does not.
func tracksDCCP() bool {
	_, err := os.Stat("/proc/sys/net/netfilter/nf_conntrack_dccp_loose")
	return err == nil
}

// freshPort is a source port that no session has.
func (t *trial) freshPort() uint16 {
	t.client++
	return 1024 + t.client%60000
}

// tcpOptions returns a random list of options, in whole words.
func (t *trial) tcpOptions() []byte {
	var b []byte
	for range t.IntN(6) {
		mss := uint16(choose(t, []int{0, 536, 1200, 1360, 1460, 9000}))
		o := choose(t, [][]byte{
			{1},
			{1, 1},
			binary.BigEndian.AppendUint16([]byte{2, 4}, mss),
			{3, 3, byte(t.IntN(15))},
			{4, 2},
			{5, 10, 0, 0, 0, byte(t.IntN(4)), 0, 0, 0, 9},
			{5, 18, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, byte(t.IntN(4)), 0, 0, 0, 4},
			{8, 10, 0, 0, 0, byte(t.IntN(4)), 0, 0, 0, 0},
			{30, 4, byte(t.IntN(3)) << 4, 0},
			{34, 2 + 2, 1, byte(t.IntN(3))},
			{2, byte(t.IntN(6))}, // a length that is not true
			{8, 40},
		})
		if o[0] == 2 && len(b)%2 != 0 {
			b = append(b, 1) // see Differences
		}
		b = append(b, o...)
	}
	b = b[:min(len(b), 40)]
	for len(b)%4 != 0 {
		b = append(b, byte(t.IntN(2)))
	}
	return b
}

// ipv4Options returns options that the kernel forwards as they are: recorded
// routes and timestamps without room, and router alerts.
func (t *trial) ipv4Options() []byte {
	b := bytes.Join([][]byte{
		choose(t, [][]byte{nil, {1}, {1, 1, 1}}),
		choose(t, [][]byte{nil, {7, 3, 4}, {7, 7, 8, 1, 2, 3, 4}}),
		choose(t, [][]byte{nil, {148, 4, 0, 0}, {148, 4, 0, 1}}),
		choose(t, [][]byte{nil, {68, 4, 5, 3}, {130, 5, 1, 2, 3}}),
		choose(t, [][]byte{nil, {0, 9, 9}, {1}}),
	}, nil)
	if i := bytes.IndexByte(b, 9); i > 0 {
		b = append(b[:i], 0, 0) // what follows the end is made the end
	}
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

// extend puts extension headers behind the header of an IPv6 packet. Only those
// for another host have a routing header: the stack would act on it.
func (t *trial) extend(o *odd, ip []byte) []byte {
	options := func(n int) []byte { // of n units of 8 bytes: padding, and one to be skipped
		return append([]byte{0, byte(n - 1), 1, 4, 0, 0, 0, 0}, []byte{0x1e, 6, 1, 2, 3, 4, 5, 6}[:8*(n-1)]...)
	}
	type header struct {
		proto byte
		data  []byte
	}
	var list []header
	if t.IntN(2) == 0 {
		list = append(list, header{unix.IPPROTO_HOPOPTS, options(1 + t.IntN(2))})
	}
	if t.IntN(2) == 0 {
		list = append(list, header{unix.IPPROTO_DSTOPTS, options(1 + t.IntN(2))})
	}
	if t.IntN(2) == 0 && o.h.dst != t.ports[o.port].addrs[1].Addr() {
		rt := append([]byte{0, 2, choose(t, []byte{0, 2, 3, 4}), byte(t.IntN(2)), 0, 0, 0, byte(t.IntN(3))}, o.h.dst.AsSlice()...)
		list = append(list, header{unix.IPPROTO_ROUTING, rt})
	}
	if t.IntN(4) == 0 {
		list = append(list, header{unix.IPPROTO_DSTOPTS, options(1)})
	}
	next, data := ip[6], ip[40:]
	for i := len(list) - 1; i >= 0; i-- {
		h := list[i]
		h.data[0] = next
		next, data = h.proto, append(h.data, data...)
	}
	out := append(bytes.Clone(ip[:40]), data...)
	out[6] = next
	binary.BigEndian.PutUint16(out[4:], uint16(len(data)))
	return out
}

// sctpInit returns the first packet of an association, with more chunks.
func (t *trial) sctpInit(o *odd) []byte {
	b := append(ports(o.sport, o.dport), 0, 0, 0, 0, 0, 0, 0, 0)
	b = append(b, 1, 0, 0, 20, 0, 0, 0, 7, 0, 0, 0x10, 0, 0, byte(t.IntN(4)), 0, 4, 0, 0, 0, byte(t.IntN(4)))
	return b
}
