// SPDX-License-Identifier: GPL-2.0-only

package loader

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestFrames: the chains of an interface see what nothing else of the dataplane
// does: ARP, frames of a VLAN, what packet sockets send.
func TestFrames(t *testing.T) {
	for _, c := range []struct {
		drop                  string
		answered, tagged, raw bool
	}{
		{"", true, true, true},
		{"ingress", false, false, true},
		{"egress", false, true, false},
	} {
		t.Run("drop "+c.drop, func(t *testing.T) {
			t.Parallel()
			r := newRouter(t)
			r.mustApply(r.config(testPolicy{dropFrames: c.drop}))
			var fd int
			r.in("l", func() (err error) {
				fd, err = packetSocket("eth0", unix.ETH_P_ALL)
				return err
			})
			t.Cleanup(func() { unix.Close(fd) })
			f := families[0]

			if _, err := unix.Write(fd, arpRequest(r.mac["l/eth0"], f.lan, f.rlan)); err != nil {
				t.Fatal(err)
			}
			if got := seesFrame(fd, func(b []byte) bool { return b[12] == 8 && b[13] == 6 && b[21] == 2 }); got != c.answered {
				t.Errorf("ARP is answered: %v", got)
			}

			in := r.rawListener(t, "lan0", unix.ETH_P_IP)
			plain := frame(r.mac["l/eth0"], r.mac["r/lan0"], ipPacket(f.lan, f.rlan, unix.IPPROTO_UDP, 64, udpDatagram(at(f.lan, 6001), at(f.rlan, 6000), []byte("tagged"))))
			if _, err := unix.Write(fd, append(append(append([]byte(nil), plain[:12]...), 0x81, 0, 0, 5), plain[12:]...)); err != nil {
				t.Fatal(err)
			}
			if got := receives(t, in, 6000, c.tagged); got != c.tagged {
				t.Errorf("a frame of a VLAN arrives: %v", got)
			}

			out := r.rawListener(t, "lan0", unix.ETH_P_ALL)
			if _, err := unix.Write(out, frame(r.mac["r/lan0"], r.mac["l/eth0"], ipPacket(f.rlan, f.lan, unix.IPPROTO_UDP, 64, udpDatagram(at(f.rlan, 6002), at(f.lan, 6003), nil)))); err != nil && c.raw {
				t.Fatal(err)
			}
			got := seesFrame(fd, func(b []byte) bool {
				p, ok := parsePacket(b[14:])
				return ok && p.dst.Port() == 6003
			})
			if got != c.raw {
				t.Errorf("a frame of a packet socket is sent: %v", got)
			}
		})
	}
}

// arpRequest asks for an address.
func arpRequest(mac net.HardwareAddr, from, to netip.Addr) []byte {
	b := append([]byte{255, 255, 255, 255, 255, 255}, mac...)
	b = append(b, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1)
	b = append(append(b, mac...), from.AsSlice()...)
	return append(append(b, 0, 0, 0, 0, 0, 0), to.AsSlice()...)
}

// seesFrame tells whether a frame arrives at a packet socket within a moment.
func seesFrame(fd int, ok func([]byte) bool) bool {
	buf := make([]byte, 65536)
	for end := time.Now().Add(300 * time.Millisecond); time.Now().Before(end); {
		n, from, err := unix.Recvfrom(fd, buf, 0)
		if err != nil {
			continue // the socket's timeout
		}
		if from.(*unix.SockaddrLinklayer).Pkttype != unix.PACKET_OUTGOING && n > 40 && ok(buf[:n]) {
			return true
		}
	}
	return false
}
