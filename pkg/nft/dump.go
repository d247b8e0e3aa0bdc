// SPDX-License-Identifier: GPL-2.0-only

package nft

import (
	"fmt"
	"syscall"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// dumpBuffer is larger than what the kernel puts into a message of a dump, which
// is as long as the receiver's buffer, up to 32 KiB. It walks a set from its
// beginning for each message: short ones make a large set take minutes.
const dumpBuffer = 64 << 10

// dumpElements calls fn with the attributes of each message about a set's
// elements.
func dumpElements(s *Set, fn func(attrs []byte) error) error {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	attrs, err := netlink.MarshalAttributes([]netlink.Attribute{
		{Type: unix.NFTA_SET_ELEM_LIST_TABLE, Data: cstring(s.Table.Name)},
		{Type: unix.NFTA_SET_ELEM_LIST_SET, Data: cstring(s.Name)},
	})
	if err != nil {
		return err
	}
	request, err := netlink.Message{
		Header: netlink.Header{
			Length: uint32(unix.NLMSG_HDRLEN + nfgenmsgLen + len(attrs)),
			Type:   unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_GETSETELEM,
			Flags:  netlink.Request | netlink.Dump,
		},
		Data: append([]byte{byte(s.Table.Family), unix.NFNETLINK_V0, 0, 0}, attrs...),
	}.MarshalBinary()
	if err != nil {
		return err
	}
	if err := unix.Sendto(fd, request, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return err
	}
	buf := make([]byte, dumpBuffer)
	for {
		n, _, err := unix.Recvfrom(fd, buf, 0)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		done, err := dumped(buf[:n], fn)
		if done || err != nil {
			return err
		}
	}
}

// dumped handles a datagram of a dump; done tells that it was the last.
func dumped(b []byte, fn func(attrs []byte) error) (done bool, err error) {
	// What fn keeps of it has to be its own.
	msgs, err := syscall.ParseNetlinkMessage(append([]byte(nil), b...))
	if err != nil {
		return false, err
	}
	for _, m := range msgs {
		switch {
		case m.Header.Flags&unix.NLM_F_DUMP_INTR != 0:
			return false, ErrChanged
		case m.Header.Type == unix.NLMSG_DONE || m.Header.Type == unix.NLMSG_ERROR:
			if len(m.Data) >= 4 {
				if code := int32(hostEndian.Uint32(m.Data)); code != 0 {
					return true, unix.Errno(-code)
				}
			}
			return true, nil
		case len(m.Data) < nfgenmsgLen:
			return false, fmt.Errorf("reply of %d bytes", len(m.Data))
		}
		if err := fn(m.Data[nfgenmsgLen:]); err != nil {
			return false, err
		}
	}
	return false, nil
}
