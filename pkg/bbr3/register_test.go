// SPDX-License-Identifier: GPL-2.0-only

package bbr3

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// registration is one of the test's own: names are the whole kernel's.
func registration(t *testing.T) Registration {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	r := Registration{Dir: fmt.Sprintf("/sys/fs/bpf/bbr3-test-%d", os.Getpid()), Name: fmt.Sprintf("b3t%d", os.Getpid())}
	t.Cleanup(func() {
		if err := r.Unregister(true); err != nil {
			t.Error(err)
		}
	})
	return r
}

// available tells whether the kernel knows a congestion control.
func available(t *testing.T, name string) bool {
	t.Helper()
	b, err := os.ReadFile("/proc/sys/net/ipv4/tcp_available_congestion_control")
	if err != nil {
		t.Fatal(err)
	}
	for _, have := range strings.Fields(string(b)) {
		if have == name {
			return true
		}
	}
	return false
}

// within waits for a state.
func within(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !is(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("not within 30 s: " + what)
		}
	}
}

// namespace puts the goroutine into a network namespace of its own, with a loopback.
func namespace(t *testing.T) {
	t.Helper()
	runtime.LockOSThread() // never unlocked: the namespace ends with the thread
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	ifr, err := unix.NewIfreq("lo")
	if err != nil {
		t.Fatal(err)
	}
	ifr.SetUint16(unix.IFF_UP)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, ifr); err != nil {
		t.Fatal(err)
	}
}

// dial makes a connection with a congestion control within the namespace, whose other end
// reads all.
func dial(t *testing.T, network, congestionControl string) *net.TCPConn {
	t.Helper()
	address := map[string]string{"tcp4": "127.0.0.1:0", "tcp6": "[::1]:0"}[network]
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(io.Discard, c)
				c.Close()
			}()
		}
	}()
	d := net.Dialer{Control: func(_, _ string, c syscall.RawConn) (err error) {
		return errors.Join(c.Control(func(fd uintptr) {
			err = unix.SetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION, congestionControl)
		}), err)
	}}
	c, err := d.Dial(network, l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c.(*net.TCPConn)
}

func send(t *testing.T, c net.Conn, bytes int) {
	t.Helper()
	if err := c.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write(make([]byte, bytes)); err != nil {
		t.Fatal(err)
	}
}

func status(t *testing.T, r Registration) Status {
	t.Helper()
	s, err := r.Status()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// A congestion control is registered, used by connections of either family, replaced
// while they use it, and not taken from them.
func TestRegister(t *testing.T) {
	r := registration(t)
	c, err := r.Register(Settings{})
	if err != nil {
		t.Fatal(err)
	}
	if !c.Made || c.Replaced || !available(t, r.Name) {
		t.Fatalf("registered: %+v", c)
	}
	for _, w := range c.Without {
		if !optional[w] {
			t.Errorf("left out: %s", w)
		}
	}
	if c, err := r.Register(Settings{}); err != nil || c.Made || c.Replaced {
		t.Fatalf("registered again: %+v, %v", c, err)
	}
	namespace(t)
	four, six := dial(t, "tcp4", r.Name), dial(t, "tcp6", r.Name)
	send(t, four, 8<<20)
	send(t, six, 8<<20)
	if s := status(t, r); s.Connections != 2 || s.WithoutState != 0 {
		t.Fatalf("two connections: %+v", s)
	}
	changed := DefaultSettings
	changed.LossThreshold = 30
	if c, err := r.Register(changed); err != nil || c.Made || !c.Replaced {
		t.Fatalf("replaced: %+v, %v", c, err)
	}
	if s := status(t, r); s.Connections != 2 || !s.Has(changed) || s.Has(Settings{}) {
		t.Fatalf("after the replacement: %+v", s)
	}
	send(t, four, 8<<20)
	send(t, dial(t, "tcp4", r.Name), 8<<20)
	if err := r.Unregister(false); !errors.Is(err, ErrInUse) {
		t.Fatalf("in use: %v", err)
	}
	if err := r.Unregister(true); err != nil {
		t.Fatal(err)
	}
	within(t, "the name is gone", func() bool { return !available(t, r.Name) })
	send(t, six, 8<<20) // it has begun with it, and goes on
	if err := r.Unregister(false); err != nil {
		t.Fatalf("again: %v", err)
	}
}

// Connections end in the statistics, too.
func TestConnectionsEnd(t *testing.T) {
	r := registration(t)
	if _, err := r.Register(Settings{}); err != nil {
		t.Fatal(err)
	}
	namespace(t)
	c := dial(t, "tcp4", r.Name)
	send(t, c, 1<<20)
	c.Close()
	within(t, "no connection", func() bool { return status(t, r).Connections == 0 })
	if err := r.Unregister(false); err != nil {
		t.Fatal(err)
	}
}

// A name that is another's is refused.
func TestTaken(t *testing.T) {
	r := registration(t)
	other := Registration{Dir: r.Dir + "-other", Name: "reno"}
	if _, err := other.Register(Settings{}); !errors.Is(err, ErrTaken) {
		t.Fatalf("reno: %v", err)
	}
	if _, err := os.Stat(other.Dir); err == nil {
		t.Error("its directory is left")
	}
	if _, err := (Registration{Dir: r.Dir, Name: "far-too-long-a-name"}).Register(Settings{}); err == nil {
		t.Error("a long name is taken")
	}
	if _, err := r.Register(Settings{LossThreshold: 900, ProbeRTTInterval: time.Second}); err == nil {
		t.Error("a loss threshold of 90 % is taken")
	}
}

// A registration that fails on the way leaves nothing.
func TestRegisterFails(t *testing.T) {
	r := registration(t)
	inTheWay := filepath.Join(r.pin(socksPin), "x") // no map is pinned in its place
	if err := os.MkdirAll(inTheWay, 0o700); err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(r.Dir)
	if _, err := r.Register(Settings{}); err == nil || !strings.Contains(err.Error(), r.pin(socksPin)) {
		t.Fatalf("%v", err)
	}
	if left, err := os.ReadDir(r.Dir); err != nil || len(left) != 1 || available(t, r.Name) {
		t.Errorf("left: %v, %v, registered %v", left, err, available(t, r.Name))
	}
}

// Without memory for their state, connections do as Reno does, and are counted.
func TestWithoutState(t *testing.T) {
	r := registration(t)
	if _, err := r.Register(Settings{}); err != nil {
		t.Fatal(err)
	}
	namespace(t)
	const limit = "/proc/sys/net/core/optmem_max"
	if err := os.WriteFile(limit, []byte("0"), 0); err != nil {
		t.Skip("before Linux 6.9 it is the whole host's: ", err)
	}
	send(t, dial(t, "tcp4", r.Name), 16<<20)
	if s := status(t, r); s.WithoutState != 1 {
		t.Fatalf("%+v", s)
	}
}
