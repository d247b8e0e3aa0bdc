// SPDX-License-Identifier: GPL-2.0-only

package loader

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// tunnel is a TUN device of the router: an interface without Ethernet headers,
// as those of PPP and WireGuard are.
func (r *router) tunnel(t *testing.T, name string) *os.File {
	t.Helper()
	var f *os.File
	r.in("r", func() error {
		fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
		if err != nil {
			return err
		}
		req, err := unix.NewIfreq(name)
		if err != nil {
			return err
		}
		req.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
		if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, req); err != nil {
			unix.Close(fd)
			return err
		}
		f = os.NewFile(uintptr(fd), name)
		return nil
	})
	t.Cleanup(func() { f.Close() })
	return f
}

// next is the next packet from the tunnel that ok takes.
func next(t *testing.T, f *os.File, ok func(packet) bool) packet {
	t.Helper()
	if err := f.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 2048)
	for {
		n, err := f.Read(b)
		if err != nil {
			t.Fatalf("tunnel: %v", err)
		}
		if p, parsed := parsePacket(b[:n:n]); parsed && ok(p) {
			return p
		}
	}
}

// TestTunnel has the WAN on an interface without Ethernet headers.
func TestTunnel(t *testing.T) {
	t.Parallel()
	r := newRouter(t)
	tun := r.tunnel(t, "tun0")
	r.batch("r", "addr add 203.0.113.1/24 dev tun0", "addr add 2001:db8:71::1/64 dev tun0 nodad", "link set tun0 up")
	cfg := r.config(testPolicy{masquerade: true})
	cfg.Interfaces = append(cfg.Interfaces, Interface{Name: "tun0", Index: r.index("tun0"), XDP: XDPOff})
	r.mustApply(cfg)

	inFamilies(t, func(t *testing.T, f family) {
		local := pick(f, netip.MustParseAddr("203.0.113.1"), netip.MustParseAddr("2001:db8:71::1"))
		peer := at(pick(f, netip.MustParseAddr("203.0.113.2"), netip.MustParseAddr("2001:db8:71::2")), 4000)
		c := r.udp(t, "l", at(f.lan, 5000))
		for range 3 {
			if _, err := c.WriteToUDPAddrPort([]byte("question"), peer); err != nil {
				t.Fatal(err)
			}
			p := next(t, tun, func(p packet) bool { return p.dst == peer })
			if want := at(local, 5000); p.src != want {
				t.Errorf("the tunnel's end sees %v, not %v", p.src, want)
			}
			if wrong := p.wrongChecksum(); wrong != "" {
				t.Error(wrong)
			}
			answer := udpDatagram(peer, at(local, 5000), []byte("answer"))
			if _, err := tun.Write(ipPacket(peer.Addr(), local, unix.IPPROTO_UDP, 64, answer)); err != nil {
				t.Fatal(err)
			}
			if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
				t.Fatal(err)
			}
			b := make([]byte, 64)
			n, from, err := c.ReadFromUDPAddrPort(b)
			if err != nil {
				t.Fatal(err)
			}
			if string(b[:n]) != "answer" || from != peer {
				t.Errorf("%q from %v", b[:n], from)
			}
		}
	})
}

// mss is the value of the option of a SYN, 0 without it.
func (p packet) mss() uint16 {
	for o := p.l4[20 : p.l4[12]>>4*4]; len(o) > 1; {
		switch {
		case o[0] == 1:
			o = o[1:]
		case o[0] == 2 && len(o) >= 4:
			return binary.BigEndian.Uint16(o[2:])
		case o[0] == 0 || o[1] < 2 || int(o[1]) > len(o):
			return 0
		default:
			o = o[o[1]:]
		}
	}
	return 0
}

// TestClampMSS: a ruleset has TCP segments fit a WAN that is smaller than the
// LAN, in both directions; and never makes them larger.
func TestClampMSS(t *testing.T) {
	t.Parallel()
	const mtu = 1400
	for _, c := range []struct {
		rule string
		want [2]uint16 // by family
	}{
		{"tcp option maxseg size set rt mtu", [2]uint16{mtu - 40, mtu - 60}},
		{"tcp option maxseg size set 1300", [2]uint16{1300, 1300}},
		{"tcp option maxseg size set 9000", [2]uint16{1460, 1440}},
	} {
		t.Run(c.rule, func(t *testing.T) {
			t.Parallel()
			r := newRouter(t)
			tun := r.tunnel(t, "tun0")
			r.batch("r", "addr add 203.0.113.1/24 dev tun0", "addr add 2001:db8:71::1/64 dev tun0 nodad", fmt.Sprintf("link set tun0 mtu %d up", mtu))
			cfg := r.config(compiled(t, "table inet t {\n\tchain forward {\n\t\ttype filter hook forward priority mangle;\n\t\ttcp flags syn / syn,rst "+c.rule+"\n\t}\n}\n"))
			cfg.Interfaces = append(cfg.Interfaces, Interface{Name: "tun0", Index: r.index("tun0"), XDP: XDPOff})
			r.mustApply(cfg)
			lan := r.tap(t, "l")
			inFamilies(t, func(t *testing.T, f family) {
				want := pick(f, c.want[0], c.want[1])
				client, server := at(f.lanless, 5401), at(pick(f, netip.MustParseAddr("203.0.113.2"), netip.MustParseAddr("2001:db8:71::2")), 80)
				mss := pick[uint16](f, 1460, 1440)
				lan.send(synWith(client, server, flagSYN, mss))
				out := next(t, tun, func(p packet) bool { return p.dst == server })
				if _, err := tun.Write(synWith(server, client, flagSYN|flagACK, mss)); err != nil {
					t.Fatal(err)
				}
				in := lan.receive("answer", func(p packet) bool { return p.dst == client })
				for _, p := range []packet{out, in} {
					if got := p.mss(); got != want {
						t.Errorf("%v says %d, not %d", p.src, got, want)
					}
					if wrong := p.wrongChecksum(); wrong != "" {
						t.Error(wrong)
					}
				}
			})
		})
	}
}
