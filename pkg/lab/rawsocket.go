// SPDX-License-Identifier: GPL-2.0-only

package lab

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// tap sends frames on an interface and counts those that arrive there.
type tap struct {
	fd      int
	link    string
	matched atomic.Uint64
	stop    atomic.Bool
	ended   sync.WaitGroup
}

// openTap opens a packet socket on an interface of a namespace. match is called
// for every arriving packet that parseFrame understands; nil counts nothing.
func (l *Lab) openTap(ns, link string, match func(packet) bool) (*tap, error) {
	t := &tap{fd: -1, link: link}
	err := l.ns[ns].Do(func() error {
		ifi, err := net.InterfaceByName(link)
		if err != nil {
			return err
		}
		all := binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, unix.ETH_P_ALL))
		t.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		if err := unix.SetsockoptTimeval(t.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 50_000}); err != nil {
			return err
		}
		return unix.Bind(t.fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: ifi.Index})
	})
	if err != nil {
		if t.fd >= 0 {
			unix.Close(t.fd)
		}
		return nil, fmt.Errorf("%s: packet socket on %s: %w", ns, link, err)
	}
	if match != nil {
		t.ended.Go(func() { t.receive(match) })
	}
	return t, nil
}

func (t *tap) receive(match func(packet) bool) {
	buf := make([]byte, 65536)
	for !t.stop.Load() {
		n, from, err := unix.Recvfrom(t.fd, buf, 0)
		if err != nil {
			if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) {
				continue
			}
			return
		}
		if ll, ok := from.(*unix.SockaddrLinklayer); ok && ll.Pkttype == unix.PACKET_OUTGOING {
			continue
		}
		if p, ok := parseFrame(buf[:n]); ok && match(p) {
			t.matched.Add(1)
		}
	}
}

// send puts a frame on the wire as it is.
func (t *tap) send(frame []byte) error {
	if _, err := unix.Write(t.fd, frame); err != nil {
		return fmt.Errorf("send on %s: %w", t.link, err)
	}
	return nil
}

// close ends the tap; the count stays.
func (t *tap) close() {
	t.stop.Store(true)
	t.ended.Wait()
	unix.Close(t.fd)
}
