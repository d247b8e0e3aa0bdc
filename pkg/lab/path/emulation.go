// SPDX-License-Identifier: GPL-2.0-only

package path

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Emulation is a path that is up, between two namespaces of its own.
type Emulation struct {
	spec             Spec
	sender, receiver *end
	there, back      *relay

	mu      sync.Mutex
	packets []Packet
}

// Start brings a path up. The seed decides its random faults.
func Start(s Spec, seed uint64) (e *Emulation, err error) {
	if err := s.Check(); err != nil {
		return nil, err
	}
	e = &Emulation{spec: s}
	defer func() {
		if err != nil {
			err = errors.Join(err, e.Close())
		}
	}()
	if e.sender, err = newEnd(senderAddr, sender6); err != nil {
		e.sender = nil
		return e, fmt.Errorf("sender: %w", err)
	}
	if e.receiver, err = newEnd(receiverAddr, receiver6); err != nil {
		e.receiver = nil
		return e, fmt.Errorf("receiver: %w", err)
	}
	neck := newBottleneck(s, seed)
	e.there = startRelay(e.sender.tun, e.receiver.tun, func(now time.Time, data []byte) (time.Time, bool) {
		f := neck.accept(now, len(data), ecn(data) != 0)
		if f.marked {
			mark(data)
		}
		if port := sourcePort(data); port != 0 {
			e.mu.Lock()
			e.packets = append(e.packets, Packet{now, port, len(data), f.waits, f.lost, f.marked})
			e.mu.Unlock()
		}
		return f.out, f.lost
	})
	e.back = startRelay(e.receiver.tun, e.sender.tun, func(now time.Time, _ []byte) (time.Time, bool) { return s.back(now), false })
	return e, nil
}

// Close takes it down, with its namespaces.
func (e *Emulation) Close() error {
	var errs []error
	for _, r := range []*relay{e.there, e.back} {
		if r != nil {
			r.stop()
		}
	}
	for _, end := range []*end{e.sender, e.receiver} {
		if end != nil {
			errs = append(errs, end.close())
		}
	}
	e.there, e.back, e.sender, e.receiver = nil, nil, nil, nil
	return errors.Join(errs...)
}

// Sysctl sets one of both namespaces, by its path below /proc/sys.
func (e *Emulation) Sysctl(name, value string) error {
	set := func() error { return sysctl(name, value) }
	return errors.Join(e.sender.do(set), e.receiver.do(set))
}

// Sender runs f in the sender's namespace.
func (e *Emulation) Sender(f func() error) error { return e.sender.do(f) }

// Packets are those of flows that have come to the path so far, in order.
func (e *Emulation) Packets() []Packet {
	e.mu.Lock()
	defer e.mu.Unlock()
	return append([]Packet(nil), e.packets...)
}

// Flow is one that sends as much as it can.
type Flow struct {
	CongestionControl string `json:"congestion_control"`
	// After is when it begins.
	After time.Duration `json:"after_ns,omitempty"`
	// IPv6 has it use that.
	IPv6 bool `json:"ipv6,omitempty"`
}

// dctcp needs ECN: its SYN is capable of ECN, which Linux answers with ECN where the listener has it, too.
const dctcp = "dctcp"

// Dial makes a connection over the path whose other end reads all.
func (e *Emulation) Dial(ctx context.Context, f Flow) (*net.TCPConn, error) {
	addr := receiverAddr
	if f.IPv6 {
		addr = receiver6
	}
	var l net.Listener
	err := e.receiver.do(func() (err error) {
		var lc net.ListenConfig
		lc.SetMultipathTCP(false)
		if f.CongestionControl == dctcp {
			lc.Control = f.choose
		}
		l, err = lc.Listen(ctx, "tcp", netip.AddrPortFrom(addr.Addr(), 0).String())
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("congestion control %s: %w", f.CongestionControl, err)
	}
	go func() {
		c, err := l.Accept()
		l.Close()
		if err != nil {
			return // closed below
		}
		_, _ = io.Copy(io.Discard, c)
		c.Close()
	}()
	var c net.Conn
	err = e.sender.do(func() (err error) {
		d := net.Dialer{Control: f.choose}
		c, err = d.DialContext(ctx, "tcp", l.Addr().String())
		return err
	})
	if err != nil {
		l.Close()
		return nil, fmt.Errorf("congestion control %s: %w", f.CongestionControl, err)
	}
	return c.(*net.TCPConn), nil
}

// choose gives a socket the flow's congestion control.
func (f Flow) choose(_, _ string, raw syscall.RawConn) (err error) {
	return errors.Join(raw.Control(func(fd uintptr) {
		err = unix.SetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION, f.CongestionControl)
	}), err)
}
