// SPDX-License-Identifier: GPL-2.0-only

package diff

import (
	"fmt"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Frames are sent and received several to a system call: a packet through both
// routers costs little more than the calls.

// mmsghdr is struct mmsghdr of the kernel.
type mmsghdr struct {
	hdr unix.Msghdr
	len uint32
	_   [4]byte
}

// sendAll sends frames by one packet socket; index has the interface of each,
// nil: the one that the socket is bound to.
func sendAll(fd int, frames [][]byte, index []int) error {
	msgs := make([]mmsghdr, len(frames))
	iovs := make([]unix.Iovec, len(frames))
	to := make([]unix.RawSockaddrLinklayer, len(index))
	for i, f := range frames {
		iovs[i].Base = &f[0]
		iovs[i].SetLen(len(f))
		msgs[i].hdr.Iov = &iovs[i]
		msgs[i].hdr.SetIovlen(1)
		if index != nil {
			to[i] = unix.RawSockaddrLinklayer{Family: unix.AF_PACKET, Protocol: networkOrder(etherMarker), Ifindex: int32(index[i])}
			msgs[i].hdr.Name = (*byte)(unsafe.Pointer(&to[i]))
			msgs[i].hdr.Namelen = unix.SizeofSockaddrLinklayer
		}
	}
	end := time.Now().Add(settleTime)
	for len(msgs) > 0 {
		n, _, err := unix.Syscall6(unix.SYS_SENDMMSG, uintptr(fd), uintptr(unsafe.Pointer(&msgs[0])), uintptr(len(msgs)), 0, 0, 0)
		switch {
		case err == unix.EINTR:
		case err == unix.EAGAIN && time.Now().Before(end):
			// What was sent before is still on its way.
			time.Sleep(time.Millisecond)
		case err != 0:
			return fmt.Errorf("send: %w", err)
		default:
			msgs = msgs[n:]
		}
	}
	return nil
}

const (
	inboxSize = 16   // frames to a system call
	inboxRoom = 4096 // bytes of a frame: more than the MTU of any interface
)

// inbox is where received frames are put.
type inbox struct {
	msgs  [inboxSize]mmsghdr
	iovs  [inboxSize]unix.Iovec
	froms [inboxSize]unix.RawSockaddrLinklayer
	room  [inboxSize][inboxRoom]byte
}

func newInbox() *inbox {
	b := &inbox{}
	for i := range b.msgs {
		b.iovs[i].Base = &b.room[i][0]
		b.iovs[i].SetLen(inboxRoom)
		b.msgs[i].hdr.Iov = &b.iovs[i]
		b.msgs[i].hdr.SetIovlen(1)
		b.msgs[i].hdr.Name = (*byte)(unsafe.Pointer(&b.froms[i]))
	}
	return b
}

// receive takes what waits at a packet socket, up to inboxSize frames.
func (b *inbox) receive(fd int) (int, error) {
	for {
		for i := range b.msgs {
			b.msgs[i].hdr.Namelen = unix.SizeofSockaddrLinklayer
		}
		n, _, err := unix.Syscall6(unix.SYS_RECVMMSG, uintptr(fd), uintptr(unsafe.Pointer(&b.msgs[0])), inboxSize, unix.MSG_DONTWAIT, 0, 0)
		switch err {
		case 0:
			return int(n), nil
		case unix.EAGAIN:
			return 0, nil
		case unix.EINTR:
		default:
			return 0, err
		}
	}
}

// message returns the interface of a received frame, and the frame until the
// next ones are received.
func (b *inbox) message(i int) (index int, frame []byte) {
	return int(b.froms[i].Ifindex), b.room[i][:b.msgs[i].len]
}
