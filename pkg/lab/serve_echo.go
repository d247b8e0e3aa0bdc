// SPDX-License-Identifier: GPL-2.0-only

package lab

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"
)

// serveEcho sends back what it gets: over TCP byte by byte, over UDP after a line
// with the address that the datagram came from.
func serveEcho(ctx context.Context, addrs []netip.AddrPort, ready func()) error {
	errc := make(chan error, 2*len(addrs))
	for _, a := range addrs {
		udp, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(a))
		if err != nil {
			return err
		}
		defer udp.Close()
		if err := roomy(udp); err != nil {
			return err
		}
		go func() { errc <- echoUDP(udp) }()
		tcp, err := net.Listen("tcp", a.String())
		if err != nil {
			return err
		}
		defer tcp.Close()
		go func() { errc <- serveTCP(tcp, func(c net.Conn) { _, _ = io.Copy(c, c) }) }()
	}
	ready()
	return firstError(ctx, errc)
}

// roomy gives a socket a receive buffer that a busy machine does not overrun:
// what the checks count as lost, the router has lost.
func roomy(conn *net.UDPConn) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var set error
	err = raw.Control(func(fd uintptr) {
		set = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 8<<20)
	})
	return errors.Join(err, wrap(set, "receive buffer"))
}

func echoUDP(conn *net.UDPConn) error {
	buf := make([]byte, 65536)
	for {
		n, from, err := conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			return err
		}
		_, _ = conn.WriteToUDPAddrPort(append([]byte(from.String()+"\n"), buf[:n]...), from)
	}
}

// serveSSH accepts connections and greets as an SSH server does.
func serveSSH(ctx context.Context, addrs []netip.AddrPort, ready func()) error {
	errc := make(chan error, len(addrs))
	for _, a := range addrs {
		network := "tcp4"
		if a.Addr().Is6() {
			network = "tcp6"
		}
		listener, err := net.Listen(network, a.String())
		if err != nil {
			return err
		}
		defer listener.Close()
		go func() { errc <- serveTCP(listener, greet) }()
	}
	ready()
	return firstError(ctx, errc)
}

// sshBanner is what serveSSH says.
const sshBanner = "SSH-2.0-lab\r\n"

func greet(conn net.Conn) {
	if _, err := io.WriteString(conn, sshBanner); err == nil {
		_, _ = io.Copy(io.Discard, conn)
	}
}

// serveTCP handles every connection in a goroutine of its own.
func serveTCP(listener net.Listener, handle func(net.Conn)) error {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer conn.Close()
			handle(conn)
		}()
	}
}
