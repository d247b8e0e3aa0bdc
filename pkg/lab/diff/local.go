// SPDX-License-Identifier: GPL-2.0-only

package diff

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// local is what is inside a router: raw sockets get a copy of every packet that
// the input chains let through, and send packets that meet the output chains.
type local struct {
	marker  int
	receive []rawSocket
	poll    []unix.PollFd // of receive
	send    [2]int        // by family
	last    uint32
	packets []delivered
	byLo    bool // keep what comes by lo
}

type rawSocket struct {
	fd      int
	version int
	proto   byte
}

// delivered is a packet that the router received: for IPv4 with its header.
type delivered struct {
	version  int
	proto    byte
	src, dst netip.Addr // IPv6 only
	ifindex  int
	data     []byte
}

// loopback is the index of lo.
const loopback = 1

// protoOther is a protocol without ports, IANA's for experiments.
const protoOther = 253

func openLocal() (*local, error) {
	l := &local{}
	var err error
	if l.marker, err = packetSocket(etherMarker, 0); err != nil {
		return nil, err
	}
	for _, s := range []struct {
		version, proto int
	}{
		{0, unix.IPPROTO_TCP}, {0, unix.IPPROTO_UDP}, {0, unix.IPPROTO_ICMP}, {0, protoOther}, {0, unix.IPPROTO_SCTP}, {0, unix.IPPROTO_UDPLITE},
		{1, unix.IPPROTO_TCP}, {1, unix.IPPROTO_UDP}, {1, unix.IPPROTO_ICMPV6}, {1, protoOther}, {1, unix.IPPROTO_SCTP}, {1, unix.IPPROTO_UDPLITE},
	} {
		fd, err := rawIP(s.version, s.proto)
		if err != nil {
			l.close()
			return nil, err
		}
		l.receive = append(l.receive, rawSocket{fd, s.version, byte(s.proto)})
		l.poll = append(l.poll, unix.PollFd{Fd: int32(fd), Events: unix.POLLIN})
	}
	for v := range l.send {
		if l.send[v], err = rawIP(v, unix.IPPROTO_RAW); err != nil {
			l.close()
			return nil, err
		}
	}
	return l, nil
}

func rawIP(version, proto int) (int, error) {
	family, level, option := unix.AF_INET, unix.IPPROTO_IP, unix.IP_PKTINFO
	if version == 1 {
		family, level, option = unix.AF_INET6, unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO
	}
	fd, err := unix.Socket(family, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, proto)
	if err != nil {
		return -1, fmt.Errorf("raw socket: %w", err)
	}
	err = errors.Join(
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 4<<20),
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_BROADCAST, 1),
		unix.SetsockoptInt(fd, level, option, 1))
	if err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("raw socket: %w", err)
	}
	return fd, nil
}

func (l *local) close() {
	unix.Close(l.marker)
	for _, s := range l.receive {
		unix.Close(s.fd)
	}
	for _, fd := range l.send {
		unix.Close(fd)
	}
}

// marked tells whether marker n has arrived.
func (l *local) marked(n uint32) (bool, error) {
	var buf [128]byte
	for l.last != n {
		got, _, err := unix.Recvfrom(l.marker, buf[:], 0)
		if err == unix.EAGAIN {
			return false, nil
		}
		if err != nil {
			return false, fmt.Errorf("marker: %w", err)
		}
		if got >= etherHeader+4 {
			l.last = binary.BigEndian.Uint32(buf[etherHeader:])
		}
	}
	return true, nil
}

// read takes what has been delivered.
func (l *local) read() error {
	if n, err := unix.Poll(l.poll, 0); n == 0 || err != nil && err != unix.EINTR {
		return err
	}
	var buf [65536]byte
	var oob [256]byte
	for i, s := range l.receive {
		for l.poll[i].Revents != 0 {
			n, on, _, from, err := unix.Recvmsg(s.fd, buf[:], oob[:], 0)
			if err == unix.EAGAIN {
				break
			}
			if err != nil {
				return fmt.Errorf("raw socket: %w", err)
			}
			d := delivered{version: s.version, proto: s.proto, data: append([]byte(nil), buf[:n]...)}
			if a, ok := from.(*unix.SockaddrInet6); ok {
				d.src = netip.AddrFrom16(a.Addr)
			}
			if err := d.info(oob[:on]); err != nil {
				return err
			}
			if d.ifindex == loopback && !l.byLo || d.isDiscovery() {
				continue // lo is not filtered
			}
			l.packets = append(l.packets, d)
		}
	}
	return nil
}

func (d *delivered) isDiscovery() bool {
	return d.proto == unix.IPPROTO_ICMPV6 && len(d.data) > 0 && (d.data[0] >= 130 && d.data[0] <= 137 || d.data[0] == 143)
}

// info reads struct in_pktinfo or in6_pktinfo.
func (d *delivered) info(oob []byte) error {
	list, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return fmt.Errorf("raw socket: %w", err)
	}
	for _, m := range list {
		switch {
		case m.Header.Level == unix.IPPROTO_IP && m.Header.Type == unix.IP_PKTINFO && len(m.Data) >= 12:
			d.ifindex = int(binary.NativeEndian.Uint32(m.Data))
		case m.Header.Level == unix.IPPROTO_IPV6 && m.Header.Type == unix.IPV6_PKTINFO && len(m.Data) >= 20:
			d.dst = netip.AddrFrom16([16]byte(m.Data))
			d.ifindex = int(binary.NativeEndian.Uint32(m.Data[16:]))
		}
	}
	return nil
}

// originate sends a whole IP packet as the router. A packet that the ruleset
// refuses is no error.
func (l *local) originate(ip []byte) error {
	var err error
	if ip[0]>>4 == 4 {
		err = unix.Sendto(l.send[0], ip, 0, &unix.SockaddrInet4{Addr: [4]byte(ip[16:20])})
	} else {
		err = unix.Sendto(l.send[1], ip, 0, &unix.SockaddrInet6{Addr: [16]byte(ip[24:40])})
	}
	switch {
	case err == nil, errors.Is(err, unix.EPERM), errors.Is(err, unix.ENOBUFS), errors.Is(err, unix.EAGAIN):
		return nil
	}
	return fmt.Errorf("send as the router: %w", err)
}
