// SPDX-License-Identifier: GPL-2.0-only

package loader

import (
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
