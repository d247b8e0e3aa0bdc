// SPDX-License-Identifier: GPL-2.0-only

package kea_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/randomizedcoder/l2d/internal/servicetest"
	"github.com/randomizedcoder/l2d/pkg/kea"
)

// server is the server of a family, with a client that it can hear.
type server struct {
	*servicetest.Host
	t      *testing.T
	family int
	// name is that of the service, and key that of its part of the configuration.
	name, key, program string
	// address is the router's; pool and other are pools of it, and detail says that nobody has an address of pool.
	address, pool, other, detail string
	// udp has DHCPv4 on a UDP socket, whose port can be taken.
	udp bool
	// given has a client get an address of pool.
	given func()
}

// eachFamily runs a test with the servers of both.
func eachFamily(t *testing.T, test func(t *testing.T, s *server)) {
	t.Run("DHCPv4", func(t *testing.T) {
		l := newLAN(t)
		test(t, &server{
			Host: l.Host, t: t, name: "kea-dhcp4", key: "kea_dhcp4", program: l.kea4, family: 4,
			address: "192.168.1.1/24", pool: "192.168.1.100-192.168.1.200", other: "192.168.1.150-192.168.1.160",
			detail: "0 of 101 addresses",
			given:  func() { l.ask().bound("192.168.1.1") },
		})
	})
	t.Run("DHCPv6", func(t *testing.T) {
		client := lan6(t)
		servicetest.Run(t, "ip", "addr", "add", "fd00::1/64", "dev", "br0", "nodad")
		test(t, &server{
			Host: servicetest.NewHost(t, kea.New(6)), t: t, name: "kea-dhcp6", key: "kea_dhcp6", program: servicetest.Program(t, "kea-dhcp6"), family: 6,
			address: "fd00::1/64", pool: "fd00::1000-fd00::1fff", other: "fd00::2000-fd00::20ff",
			detail: "0 of 4096 addresses",
			given:  func() { asks(t, client, "-N", "BOUND6 fd00::1") },
		})
	})
}

// config declares the server with a pool.
func (s *server) config(pool string) string {
	more := ""
	if s.udp {
		more = "socket: udp"
	}
	return fmt.Sprintf(`
network: {lan: {interface: br0, addresses: [%q], domain: home.arpa}}
services:
  %s:
    mode: child
    binary: %s
    lease_file: %s
    lifetime: 60s
    %s
    pools: [%q]
`, s.address, s.key, s.program, s.leases(), more, pool)
}

func (s *server) leases() string { return filepath.Join(s.Dir, "kea", "leases.csv") }

// well waits until it is.
func (s *server) well(detail string) {
	s.t.Helper()
	servicetest.Eventually(s.t, func() error {
		if got := s.Status(s.name); got.Error != "" || got.Detail != detail {
			return fmt.Errorf("%+v, want %s", got, detail)
		}
		return nil
	})
}

// gone wants nothing to be left of it.
func (s *server) gone() {
	s.t.Helper()
	if list := s.Manager.Statuses(s.t.Context()); len(list) != 0 {
		s.t.Errorf("not undone: %+v", list)
	}
}

// TestHangs: a server that does not answer when it is to reload is an error, and the one of before
// runs afterwards.
func TestHangs(t *testing.T) {
	eachFamily(t, func(t *testing.T, s *server) {
		s.Must(s.config(s.pool))
		if err := syscall.Kill(s.Status(s.name).PID, syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		err := s.Apply(s.config(s.other))
		if err == nil || !strings.Contains(err.Error(), "no answer") {
			t.Errorf("a server that is stopped: %v", err)
		}
		s.well(s.detail)
	})
}

// TestPortTaken: a server that hears nobody is not well, and says why.
func TestPortTaken(t *testing.T) {
	eachFamily(t, func(t *testing.T, s *server) {
		port := 547
		if s.family == 4 {
			s.udp, port = true, 67
		}
		conn, err := net.ListenUDP(fmt.Sprint("udp", s.family), &net.UDPAddr{Port: port})
		if err != nil {
			t.Fatal(err)
		}
		err = s.Apply(s.config(s.pool))
		if err == nil || !strings.Contains(err.Error(), "hears no client") || !strings.Contains(err.Error(), fmt.Sprintf("port=%d", port)) {
			t.Errorf("port %d is taken: %v", port, err)
		}
		s.gone()
		conn.Close()
		s.Must(s.config(s.pool))
	})
}

// TestLeaseFileCorrupt: what is no line of a lease is passed over, with the leases that are.
func TestLeaseFileCorrupt(t *testing.T) {
	eachFamily(t, func(t *testing.T, s *server) {
		s.Must(s.config(s.pool))
		s.given()
		before := s.one()
		f, err := os.OpenFile(s.leases(), os.O_WRONLY|os.O_APPEND, 0)
		if err != nil {
			t.Fatal(err)
		}
		_, err = f.WriteString("192.168.1.1xx,\x00\xff,garbage\n\nfd00::1001,02:00:5e:10:00")
		if err := errors.Join(err, f.Close()); err != nil {
			t.Fatal(err)
		}
		if after := s.one(); after.Prefix != before.Prefix {
			t.Errorf("as l2d reads it: %+v, before %+v", after, before)
		}
		pid := s.Status(s.name).PID
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		servicetest.Eventually(t, func() error {
			if got := s.Status(s.name); got.Error != "" || got.PID == pid || !strings.HasPrefix(got.Detail, "1 of ") {
				return fmt.Errorf("with a lease file that is broken: %+v", got)
			}
			return nil
		})
		if after := s.one(); after.Prefix != before.Prefix {
			t.Errorf("after a start: %+v, before %+v", after, before)
		}
	})
}

// TestLeaseFileRubbish: a file that is none of leases is named, in words that a terminal does not obey; when it is gone the
// server can start.
func TestLeaseFileRubbish(t *testing.T) {
	eachFamily(t, func(t *testing.T, s *server) {
		s.Must(s.config(s.pool))
		s.Must("")
		if err := os.WriteFile(s.leases(), []byte("\x1b[2J\x00\xff"+strings.Repeat("x", 5000)+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		err := s.Apply(s.config(s.pool))
		if err == nil || !strings.Contains(err.Error(), s.leases()+": want Kea's leases") || strings.ContainsAny(err.Error(), "\x1b\x00") || !utf8.ValidString(err.Error()) || len(err.Error()) > 1500 {
			t.Errorf("a lease file of rubbish: %q", err)
		}
		s.gone()
		if err := os.Remove(s.leases()); err != nil {
			t.Fatal(err)
		}
		s.Must(s.config(s.pool))
	})
}

// one is the one lease of the file.
func (s *server) one() *kea.Lease {
	s.t.Helper()
	list, err := kea.ReadFile(s.leases())
	if err != nil || len(list) != 1 || !list[0].Active(time.Now()) {
		s.t.Fatalf("%+v %v", list, err)
	}
	return &list[0]
}

// TestNoLeaseFile: a file of something else is refused by the daemon, which is said, and nothing is left.
func TestNoLeaseFile(t *testing.T) {
	eachFamily(t, func(t *testing.T, s *server) {
		if err := os.MkdirAll(filepath.Dir(s.leases()), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(s.leases(), []byte("this is not\na file of leases\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		servicetest.Run(t, "chown", "_kea", s.leases())
		err := s.Apply(s.config(s.pool))
		if err == nil || !strings.Contains(err.Error(), "leases.csv") {
			t.Errorf("a file of something else: %v", err)
		}
		s.gone()
		if _, err := kea.ReadFile(s.leases()); err == nil || !strings.Contains(err.Error(), "no file of leases") {
			t.Errorf("read: %v", err)
		}
	})
}

// TestDiskFull: no lease can be written down, and so none is given; that is said. Clients get theirs when
// there is room. Files of the server's that do not fit are an error, and nothing is left of them.
func TestDiskFull(t *testing.T) {
	eachFamily(t, func(t *testing.T, s *server) {
		fill, room := servicetest.SmallDisk(t, s.Run)
		fill()
		if err := s.Apply(s.config(s.pool)); err == nil || !strings.Contains(err.Error(), "no space left") {
			t.Errorf("a disk that is full: %v", err)
		}
		s.gone()
		room()

		fill, room = servicetest.SmallDisk(t, filepath.Dir(s.leases()))
		s.Must(s.config(s.pool))
		fill()
		if got := s.Status(s.name); !strings.Contains(got.Error, "is full: no lease") {
			t.Errorf("status: %+v", got)
		}
		room()
		s.given()
		if got := s.Status(s.name); got.Error != "" {
			t.Errorf("with room: %+v", got)
		}
	})
}

// TestFaults: programs that cannot run in the place of the server, and its end by force.
func TestFaults(t *testing.T) {
	eachFamily(t, func(t *testing.T, s *server) {
		good := s.program
		s.Faults(s.name, good, "-t", func(program string) string {
			s.program = program
			return s.config(s.pool)
		})
		s.Killed(s.name)
	})
}
