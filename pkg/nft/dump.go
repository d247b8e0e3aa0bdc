// SPDX-License-Identifier: GPL-2.0-only

package nft

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"syscall"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// message is a reply of nf_tables.
type message struct {
	family Family
	attrs  []byte
}

const nfgenmsgLen = 4

// dumpBuffer is what is read at once. The kernel fills up to 32 KiB of it if it
// may: for each part of a dump it walks through a set from its beginning, so that
// small parts would make the dump of a large set endless.
const dumpBuffer = 64 << 10

// dump asks for every object of a kind; family 0 is all of them.
func dump(conn *netlink.Conn, msg int, family Family, attrs []netlink.Attribute) ([]message, error) {
	var msgs []message
	_, err := dumpUntil(conn, msg, family, attrs, func(m message) (bool, error) {
		msgs = append(msgs, m)
		return false, nil
	})
	return msgs, err
}

// dumpUntil is [dump] with each object given to visit, which tells whether that was
// enough. Then it returns false, and the connection is of no use any more: the kernel
// has more to say.
func dumpUntil(conn *netlink.Conn, msg int, family Family, attrs []netlink.Attribute, visit func(message) (enough bool, err error)) (complete bool, err error) {
	data, err := netlink.MarshalAttributes(attrs)
	if err != nil {
		return false, err
	}
	request, err := conn.Send(netlink.Message{
		Header: netlink.Header{
			Type:  messageType(msg),
			Flags: netlink.Request | netlink.Dump,
		},
		Data: append([]byte{byte(family), unix.NFNETLINK_V0, 0, 0}, data...),
	})
	if err != nil {
		return false, err
	}
	buf := make([]byte, dumpBuffer)
	for {
		n, err := receive(conn, buf)
		if err != nil {
			return false, err
		}
		// What is decoded points into it.
		replies, err := syscall.ParseNetlinkMessage(bytes.Clone(buf[:n]))
		if err != nil {
			return false, fmt.Errorf("reply of %d bytes: %w", n, err)
		}
		for _, r := range replies {
			switch {
			case r.Header.Seq != request.Header.Sequence:
			case r.Header.Type == unix.NLMSG_DONE || r.Header.Type == unix.NLMSG_ERROR:
				return true, result(r.Data)
			case len(r.Data) < nfgenmsgLen:
				return false, fmt.Errorf("reply of %d bytes", len(r.Data))
			default:
				enough, err := visit(message{Family(r.Data[0]), r.Data[nfgenmsgLen:]})
				if enough || err != nil {
					return false, err
				}
			}
		}
	}
}

// result is the error, if any, that the end of a dump tells of.
func result(b []byte) error {
	if len(b) < 4 {
		return nil
	}
	if code := int32(binary.NativeEndian.Uint32(b)); code < 0 {
		return unix.Errno(-code)
	}
	return nil
}

func receive(conn *netlink.Conn, buf []byte) (n int, err error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0, err
	}
	var recvErr error
	err = raw.Read(func(fd uintptr) bool {
		for recvErr = unix.EINTR; recvErr == unix.EINTR; {
			n, _, recvErr = unix.Recvfrom(int(fd), buf, 0)
		}
		return recvErr != unix.EAGAIN
	})
	if err == nil {
		err = recvErr
	}
	return n, err
}
