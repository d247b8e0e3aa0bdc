// SPDX-License-Identifier: GPL-2.0-only

package explain

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
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

// TestCapture: packets of files in both formats.
func TestCapture(t *testing.T) {
	want, err := hex.DecodeString("0200000000010200000000020800450000140001000040013ce7c0000201c0000202")
	if err != nil {
		t.Fatal(err)
	}
	info := gopacket.CaptureInfo{Timestamp: time.Unix(1, 0), CaptureLength: len(want), Length: len(want)}
	var old, ng bytes.Buffer
	w := pcapgo.NewWriter(&old)
	if err := w.WriteFileHeader(65535, layers.LinkTypeEthernet); err != nil {
		t.Fatal(err)
	}
	nw, err := pcapgo.NewNgWriter(&ng, layers.LinkTypeEthernet)
	if err != nil {
		t.Fatal(err)
	}
	first := make([]byte, len(want))
	for _, b := range [][]byte{first, want} {
		if err := w.WritePacket(info, b); err != nil {
			t.Fatal(err)
		}
		if err := nw.WritePacket(info, b); err != nil {
			t.Fatal(err)
		}
	}
	if err := nw.Flush(); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{"a.pcap": old.Bytes(), "a.pcapng": ng.Bytes()} {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := ReadCapture(path, 2)
		if err != nil || !got.Ethernet || !bytes.Equal(got.Frame, want) || got.Before != nil {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
		if _, err := ReadCapture(path, 3); err == nil || !strings.Contains(err.Error(), "there are 2") {
			t.Errorf("%s: packet 3: %v", name, err)
		}
	}
}

// TestCaptureFragments: the fragments of a datagram that came before are there, too.
func TestCaptureFragments(t *testing.T) {
	frames := [][]byte{
		fragment(7, 0, true), fragment(8, 0, true), fragment(7, 8, true), {0x60}, fragment(7, 16, false),
	}
	var b bytes.Buffer
	w := pcapgo.NewWriter(&b)
	if err := w.WriteFileHeader(65535, layers.LinkTypeRaw); err != nil {
		t.Fatal(err)
	}
	for _, f := range frames {
		if err := w.WritePacket(gopacket.CaptureInfo{Timestamp: time.Unix(1, 0), CaptureLength: len(f), Length: len(f)}, f); err != nil {
			t.Fatal(err)
		}
	}
	c, err := readCapture(&b, 5)
	if err != nil || len(c.Before) != 2 || !bytes.Equal(c.Before[0], frames[0]) || !bytes.Equal(c.Before[1], frames[2]) {
		t.Errorf("%+v, %v", c, err)
	}
}

// fragment is one of IPv4 and UDP with 24 bytes of data, from the IP header on.
func fragment(id, offset uint16, more bool) []byte {
	f := make([]byte, 44)
	copy(f, []byte{0x45, 0, 0, 44, 0, 0, 0, 0, 64, 17, 0, 0, 192, 168, 7, 2, 198, 51, 7, 9})
	binary.BigEndian.PutUint16(f[4:], id)
	binary.BigEndian.PutUint16(f[6:], offset/8)
	if more {
		f[6] |= 0x20
	}
	copy(f[20:], []byte{0, 1, 0, 2, 0, 56})
	binary.BigEndian.PutUint16(f[10:], checksum(f[:20], 0))
	return f
}

// FuzzCapture: no file makes the reader fail otherwise than by an error, nor keep more than it may.
func FuzzCapture(f *testing.F) {
	for _, ng := range []bool{false, true} {
		var b bytes.Buffer
		p := fragment(7, 0, true)
		info := gopacket.CaptureInfo{Timestamp: time.Unix(1, 0), CaptureLength: len(p), Length: len(p)}
		if ng {
			w, err := pcapgo.NewNgWriter(&b, layers.LinkTypeRaw)
			if err != nil {
				f.Fatal(err)
			}
			if err := errors.Join(w.WritePacket(info, p), w.WritePacket(info, p), w.Flush()); err != nil {
				f.Fatal(err)
			}
		} else {
			w := pcapgo.NewWriter(&b)
			if err := errors.Join(w.WriteFileHeader(65535, layers.LinkTypeRaw), w.WritePacket(info, p), w.WritePacket(info, p)); err != nil {
				f.Fatal(err)
			}
		}
		f.Add(b.Bytes(), 2)
	}
	f.Fuzz(func(t *testing.T, b []byte, number int) {
		c, err := readCapture(bytes.NewReader(b), number)
		if err != nil {
			return
		}
		if len(c.Before) > mostBefore {
			t.Errorf("%d fragments are kept", len(c.Before))
		}
		if c.Ethernet {
			describe(append(c.Frame, make([]byte, etherLen)...))
			addressesIn(c.Frame)
		} else if f, err := withHeader(c.Frame); err == nil {
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
