// SPDX-License-Identifier: GPL-2.0-only

package explain

import (
	"encoding/hex"
	"net"
	"strings"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
)

// TestParsePacket: packets as they are written, and what is read of their bytes by
// another implementation.
func TestParsePacket(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"iif br0 tcp 192.168.1.50:40000 > 1.1.1.1:443 syn", "IPv4 192.168.1.50>1.1.1.1 TCP 40000>443 S"},
		{"iif br0, tcp 192.168.1.50:40000 > 1.1.1.1:443 syn ack 7 seq 8", "IPv4 192.168.1.50>1.1.1.1 TCP 40000>443 SA 7"},
		{"oif wan0 udp [2001:db8::1]:1 > [2001:db8::2]:99 length 9 ttl 3", "IPv6 2001:db8::1>2001:db8::2 UDP 1>99 17"},
		{"icmp 192.0.2.1 > 192.0.2.2 type echo-reply id 7", "IPv4 192.0.2.1>192.0.2.2 ICMPv4 EchoReply"},
		{"icmpv6 fe80::1 > ff02::1 type nd-neighbor-solicit length 16", "IPv6 fe80::1>ff02::1 ICMPv6 NeighborSolicitation"},
		{"47 192.0.2.1 > 192.0.2.2 payload 0x00000800", "IPv4 192.0.2.1>192.0.2.2 GRE"},
	} {
		pkt, err := ParsePacket(c.text)
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
			continue
		}
		frame := pkt.Frame(make(net.HardwareAddr, 6), make(net.HardwareAddr, 6))
		if got := decoded(frame); got != c.want {
			t.Errorf("%s: %s, want %s (%x)", c.text, got, c.want, frame)
		}
	}
}

// decoded says what another decoder finds, with right checksums.
func decoded(frame []byte) string {
	p := gopacket.NewPacket(frame, layers.LayerTypeEthernet, gopacket.DecodeOptions{SkipDecodeRecovery: true})
	if p.ErrorLayer() != nil {
		return p.ErrorLayer().Error().Error()
	}
	if _, bad := p.VerifyChecksums(); len(bad) > 0 {
		return "checksum of layer is wrong"
	}
	n := p.NetworkLayer()
	out := n.LayerType().String() + " " + n.NetworkFlow().Src().String() + ">" + n.NetworkFlow().Dst().String()
	for _, l := range p.Layers()[2:] {
		switch l := l.(type) {
		case *layers.TCP:
			out += " TCP " + l.TransportFlow().Src().String() + ">" + l.TransportFlow().Dst().String() + " "
			if l.SYN {
				out += "S"
			}
			if l.ACK {
				out += "A 7"
			}
		case *layers.UDP:
			out += " UDP " + l.TransportFlow().Src().String() + ">" + l.TransportFlow().Dst().String() + " 17"
			if l.Length != 17 {
				out += "?"
			}
		case *layers.ICMPv4:
			out += " ICMPv4 " + l.TypeCode.String()
		case *layers.ICMPv6:
			out += " ICMPv6 " + strings.TrimSuffix(l.TypeCode.String(), "()")
		case *layers.GRE:
			out += " GRE"
		}
	}
	return out
}

// TestSyntaxErrors: what is wrong is named with its column and what would be right.
func TestSyntaxErrors(t *testing.T) {
	for _, c := range []struct {
		text   string
		column int
		want   string
	}{
		{"", 1, "protocol"},
		{"iif", 4, "the name of an interface"},
		{"iif br0 http 1.2.3.4:1 > 1.2.3.5:2", 9, "tcp, udp"},
		{"tcp 1.2.3.4 > 1.2.3.5:2", 5, "an address and a port"},
		{"tcp 1.2.3.4:1 1.2.3.5:2", 15, `">"`},
		{"tcp 1.2.3.4:1 > [::1]:2", 17, "same family"},
		{"icmp ::1 > ::2", 12, "icmpv6"},
		{"udp 1.2.3.4:1 > 1.2.3.5:2 syn", 27, "length N"},
		{"tcp 1.2.3.4:1 > 1.2.3.5:2 win 70000", 31, "0 to 65535"},
		{"udp 1.2.3.4:1 > 1.2.3.5:2 length 9000", 34, "at most 1400"},
		{"udp 1.2.3.4:1 > 1.2.3.5:2 payload xyz", 35, "hexadecimal"},
		{"tcp 1.2.3.4:1 > 1.2.3.5:2 seq", 30, "a number"},
	} {
		_, err := ParsePacket(c.text)
		e, ok := err.(*SyntaxError)
		if !ok || e.Column != c.column || !strings.Contains(e.Error(), c.want) {
			t.Errorf("%q: %v: want column %d and %q", c.text, err, c.column, c.want)
		}
	}
}

// FuzzFrame: no frame makes what tells of it fail.
func FuzzFrame(f *testing.F) {
	p, err := hex.DecodeString("0200000000010200000000020800450000140001000040013ce7c0000201c0000202")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(p)
	f.Fuzz(func(_ *testing.T, b []byte) {
		describe(append(b, make([]byte, etherLen)...))
		addressesIn(b)
		if f, err := withHeader(b); err == nil {
			describe(f)
			addressesIn(f)
		}
	})
}

// FuzzPacket: what is a packet in words makes a frame.
func FuzzPacket(f *testing.F) {
	f.Add("iif br0 tcp 192.168.1.50:40000 > 1.1.1.1:443 syn")
	f.Add("oif wan0 icmp6 2001:db8::1 > 2001:db8::2 echo-request ttl 3 mark 0x1f")
	f.Fuzz(func(t *testing.T, text string) {
		p, err := ParsePacket(text)
		if err != nil {
			return
		}
		if frame := p.Frame(make([]byte, 6), make([]byte, 6)); len(frame) < etherLen+20 {
			t.Errorf("%q is %x", text, frame)
		}
	})
}
