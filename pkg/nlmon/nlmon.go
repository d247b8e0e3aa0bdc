// SPDX-License-Identifier: GPL-2.0-only

// Package nlmon captures netlink messages of the network namespace, as tcpdump does packets.
package nlmon

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/mdlayher/genetlink"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// linkName is the interface that is there during a capture. Only one is: it gets all messages.
const linkName = "l2nlmon"

// Stats are what a capture came to.
type Stats struct {
	Messages uint64 `json:"messages"` // that were written
	Missed   uint64 `json:"missed"`   // that came too fast
}

// maxMessage is the longest datagram that is kept whole.
const maxMessage = 256 << 10

// Capture writes the messages of a family of generic netlink, and what is asked about
// families, as a file for Wireshark and tcpdump (pcap, LINKTYPE_NETLINK). It ends with ctx, or after
// count datagrams if that is not 0, and leaves no interface behind. Ready is called when it hears of all.
func Capture(ctx context.Context, family string, count uint64, w io.Writer, ready func()) (s Stats, err error) {
	id, err := familyID(family)
	if err != nil {
		return s, err
	}
	link, err := addLink()
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, netlink.LinkDel(link)) }()
	sock, fd, err := listen(link.Attrs().Index)
	if err != nil {
		return s, err
	}
	defer sock.Close()
	stop := context.AfterFunc(ctx, func() { _ = sock.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	out := bufio.NewWriter(w)
	if _, err := out.Write(fileHeader()); err != nil {
		return s, err
	}
	if err := out.Flush(); err != nil {
		return s, err
	}
	ready()
	err = capture(ctx, sock, id, count, out, &s)
	if st, e := unix.GetsockoptTpacketStats(fd, unix.SOL_PACKET, unix.PACKET_STATISTICS); e == nil {
		s.Missed = uint64(st.Drops)
	}
	return s, errors.Join(err, out.Flush())
}

// capture writes what comes by a socket.
func capture(ctx context.Context, sock *os.File, id uint16, count uint64, out *bufio.Writer, s *Stats) error {
	raw, err := sock.SyscallConn()
	if err != nil {
		return err
	}
	buf := make([]byte, maxMessage)
	for count == 0 || s.Messages < count {
		var n int
		var from unix.Sockaddr
		var e error
		err := raw.Read(func(fd uintptr) bool {
			n, from, e = unix.Recvfrom(int(fd), buf, unix.MSG_TRUNC)
			return e != unix.EAGAIN
		})
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil || e != nil:
			return fmt.Errorf("netlink capture: %w", errors.Join(err, e))
		}
		ll, ok := from.(*unix.SockaddrLinklayer)
		if !ok {
			continue
		}
		protocol := ntohs(ll.Protocol)
		data := buf[:min(n, len(buf))]
		if !wanted(protocol, data, id) {
			continue
		}
		s.Messages++
		if err := writePacket(out, time.Now(), ll.Pkttype, protocol, data, n); err != nil {
			return err
		}
		if err := out.Flush(); err != nil { // it may be read while it is written
			return err
		}
	}
	return nil
}

// wanted tells whether a datagram begins with a message of a family, or of the one that
// tells of families.
func wanted(protocol uint16, data []byte, id uint16) bool {
	if protocol != unix.NETLINK_GENERIC || len(data) < unix.NLMSG_HDRLEN {
		return false
	}
	kind := binary.NativeEndian.Uint16(data[4:])
	return kind == id || kind == unix.GENL_ID_CTRL
}

func familyID(name string) (uint16, error) {
	c, err := genetlink.Dial(nil)
	if err != nil {
		return 0, fmt.Errorf("generic netlink: %w", err)
	}
	defer func() { _ = c.Close() }()
	f, err := c.GetFamily(name)
	if errors.Is(err, os.ErrNotExist) {
		return 0, fmt.Errorf("this kernel has no %s: there is no driver of a radio", name)
	}
	if err != nil {
		return 0, fmt.Errorf("family %s of generic netlink: %w", name, err)
	}
	return f.ID, nil
}

// addLink makes the interface that gets all messages.
func addLink() (netlink.Link, error) {
	link := &netlink.GenericLink{LinkAttrs: netlink.LinkAttrs{Name: linkName}, LinkType: "nlmon"}
	switch err := netlink.LinkAdd(link); {
	case errors.Is(err, unix.EOPNOTSUPP):
		return nil, errors.New("this kernel has no interfaces of the kind nlmon (CONFIG_NLMON)")
	case errors.Is(err, unix.EEXIST):
		return nil, fmt.Errorf("another capture runs, or has left its interface: ip link del %s", linkName)
	case err != nil:
		return nil, fmt.Errorf("interface %s: %w", linkName, err)
	}
	made, err := netlink.LinkByName(linkName)
	if err == nil {
		err = netlink.LinkSetUp(made)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("interface %s: %w", linkName, err), netlink.LinkDel(link))
	}
	return made, nil
}

// receiveBuffer is room for a burst of messages, such as the results of a scan.
const receiveBuffer = 8 << 20

// listen opens a socket for all that an interface gets.
func listen(index int) (*os.File, int, error) {
	all := ntohs(unix.ETH_P_ALL)
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, 0, fmt.Errorf("packet socket: %w", err)
	}
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer) // what is missed is counted
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: index}); err != nil {
		_ = unix.Close(fd)
		return nil, 0, fmt.Errorf("packet socket: %w", err)
	}
	return os.NewFile(uintptr(fd), linkName), fd, nil
}

// ntohs is a number of 16 bits in the other byte order: that of the network.
func ntohs(v uint16) uint16 {
	var b [2]byte
	binary.NativeEndian.PutUint16(b[:], v)
	return binary.BigEndian.Uint16(b[:])
}
