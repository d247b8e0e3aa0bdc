// SPDX-License-Identifier: GPL-2.0-only

package loader

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// pppoeMTU is Ethernet's without the headers of PPPoE: RFC 2516, 7.
const pppoeMTU = 1492

// pppoe has the router call a server of PPPoE in the WAN's namespace. The session's
// ends are pppw there and here, with the addresses of the WAN's side.
func (r *router) pppoe(t *testing.T) {
	t.Helper()
	for _, tool := range []string{"pppd", "pppoe-server"} {
		if _, err := exec.LookPath(tool); err != nil {
			if *needLinks {
				t.Fatal(err)
			}
			t.Skip(err)
		}
	}
	exec.Command("modprobe", "pppoe").Run() // or it is built in
	if _, err := os.Stat("/dev/ppp"); err != nil {
		if *needLinks {
			t.Fatal(err)
		}
		t.Skipf("needs a kernel with PPPoE: %v", err)
	}
	local, peer := wanSide.ends(families[0])
	common := []string{
		"noauth", "nodefaultroute", "noipdefault", "ifname pppw", "+ipv6", "nopersist",
		fmt.Sprintf("mtu %d", pppoeMTU), fmt.Sprintf("mru %d", pppoeMTU),
		"lcp-max-configure 60", "ipcp-max-configure 60", // a few seconds each: a machine may be slow
	}
	dir := t.TempDir()
	options, log := filepath.Join(dir, "options"), filepath.Join(dir, "log")
	if err := os.WriteFile(options, []byte(strings.Join(append(common, "logfile "+log, ""), "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if said, err := os.ReadFile(log); t.Failed() {
			t.Logf("the server's pppd: %s, %v", said, err)
		}
	})
	r.serve(t, "w", "pppoe-server", "-F", "-k", "-g", "rp-pppoe.so", "-I", "eth0", "-N", "1", "-L", peer.String(), "-R", local.String(), "-O", options)
	ended := r.serve(t, "r", append([]string{"pppd", "plugin", "rp-pppoe.so", "nic-wan0", "nodetach"}, strings.Fields(strings.Join(common, " "))...)...)
	eventually(t, 3*time.Minute, "a session of PPPoE", func() bool {
		select {
		case <-ended:
			t.Fatal("pppd has ended")
		default:
		}
		for _, ns := range []string{"r", "w"} {
			if out, _ := r.host(ns, "ip", "-4", "address", "show", "dev", "pppw").Output(); !bytes.Contains(out, []byte("inet ")) {
				return false
			}
		}
		return true
	})
	for i, ns := range []string{"r", "w"} {
		r.batch(ns, fmt.Sprintf("addr add %s%d/64 dev pppw nodad", wanSide.networks[1], i+1))
	}
}

// serve runs a program in a namespace until the test ends. What it says is shown if
// that fails. The channel is closed when the program ends.
func (r *router) serve(t *testing.T, ns string, args ...string) <-chan struct{} {
	t.Helper()
	cmd := r.host(ns, args...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	// What it starts is of its group, and ends with it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		cmd.Wait()
		close(ended)
	}()
	t.Cleanup(func() {
		unix.Kill(-cmd.Process.Pid, unix.SIGTERM)
		select {
		case <-ended:
		case <-time.After(patience):
			unix.Kill(-cmd.Process.Pid, unix.SIGKILL)
			<-ended
		}
		if t.Failed() {
			t.Logf("%v:\n%s", args, out.Bytes())
		}
	})
	return ended
}

// TestPPPoE: the WAN is a session of PPPoE, with masquerading, segments that fit it
// and errors about packets that do not.
func TestPPPoE(t *testing.T) {
	r := newRouter(t)
	r.pppoe(t)
	cfg := r.config(compiled(t, `table inet t {
	chain forward {
		type filter hook forward priority mangle;
		tcp flags syn / syn,rst tcp option maxseg size set rt mtu
	}
	chain postrouting {
		type nat hook postrouting priority srcnat;
		masquerade
	}
}
`))
	cfg.Interfaces = append(cfg.Interfaces, Interface{Name: "pppw", Index: r.index("pppw"), XDP: XDPOff})
	d := r.mustApply(cfg)
	r.batch("l", "route add 203.0.113.0/24 via "+families[0].rlan.String(), "route add 2001:db8:71::/64 via "+families[1].rlan.String())
	inFamilies(t, func(t *testing.T, f family) {
		f.rwan, f.wan = wanSide.ends(f)
		r.carries(t, f, pppoeMTU)
		syn := r.savedSYN(t, f)
		if got, want := syn.mss(), uint16(pppoeMTU-pick(f, 40, 60)); got != want {
			t.Errorf("the server is asked for segments of %d bytes, not %d", got, want)
		}
		if syn.src.Addr() != f.rwan {
			t.Errorf("from %v, not %v", syn.src, f.rwan)
		}
	})
	for _, reason := range []string{"drop_malformed", "drop_internal", "drop_flow_clash", "drop_nat_no_address", "drop_policy"} {
		if n := stat(t, d, reason); n != 0 {
			t.Errorf("%s: %d packets", reason, n)
		}
	}
}

// savedSYN connects a client and returns the SYN that its server has got.
func (r *router) savedSYN(t *testing.T, f family) packet {
	t.Helper()
	server := at(f.wan, 8010)
	var plain net.ListenConfig
	plain.SetMultipathTCP(false) // its sockets keep no SYN
	var l *net.TCPListener
	r.in("w", func() error {
		listener, err := plain.Listen(t.Context(), "tcp", server.String())
		if err == nil {
			l = listener.(*net.TCPListener)
		}
		return err
	})
	defer l.Close()
	control(t, l, func(fd int) error { return unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_SAVE_SYN, 1) })
	r.mustDial(t, "l", netip.AddrPortFrom(f.lan, 0), server)
	c, err := l.AcceptTCP()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	saved, size := make([]byte, 256), uint32(256)
	control(t, c, func(fd int) error {
		_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.IPPROTO_TCP, unix.TCP_SAVED_SYN,
			uintptr(unsafe.Pointer(&saved[0])), uintptr(unsafe.Pointer(&size)), 0)
		if errno != 0 {
			return errno
		}
		return nil
	})
	p, ok := parsePacket(saved[:size])
	if !ok {
		t.Fatalf("no packet: % x", saved[:size])
	}
	return p
}

// control runs f with the file descriptor of a socket.
func control(t *testing.T, c syscall.Conn, f func(fd int) error) {
	t.Helper()
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var failed error
	if err := raw.Control(func(fd uintptr) { failed = f(int(fd)) }); err != nil || failed != nil {
		t.Fatal(err, failed)
	}
}
