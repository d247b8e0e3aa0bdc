// SPDX-License-Identifier: GPL-2.0-only

package diff

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

const (
	etherHeader = 14
	// etherMarker is the type of frames that only say that all before them
	// have arrived: IEEE's for local experiments.
	etherMarker = 0x88b5
	// settleTime is what a frame takes at most on a busy machine.
	settleTime = 5 * time.Second
)

// wire is the far end of all of a router's interfaces.
type wire struct {
	fd     int
	send   []int       // a socket for each port
	port   map[int]int // by interface index
	inbox  *inbox
	frames []arrived
	marks  []uint32 // last marker by port
}

// arrived is a frame that a router sent.
type arrived struct {
	port  int
	frame []byte
}

func networkOrder(v uint16) uint16 { return v<<8 | v>>8 }

// packetSocket opens a packet socket; index 0 is every interface.
func packetSocket(etherType uint16, index int) (int, error) {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return -1, fmt.Errorf("packet socket: %w", err)
	}
	err = errors.Join(
		unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1),
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 16<<20),
		unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: networkOrder(etherType), Ifindex: index}))
	if err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("packet socket: %w", err)
	}
	return fd, nil
}

// openWire opens the far ends in the thread's namespace.
func openWire(index []int) (*wire, error) {
	w := &wire{port: map[int]int{}, inbox: newInbox(), marks: make([]uint32, len(index))}
	var err error
	if w.fd, err = packetSocket(unix.ETH_P_ALL, 0); err != nil {
		return nil, err
	}
	for i, n := range index {
		w.port[n] = i
		fd, err := packetSocket(0, n)
		if err != nil {
			w.close()
			return nil, err
		}
		w.send = append(w.send, fd)
	}
	return w, nil
}

func (w *wire) close() {
	unix.Close(w.fd)
	for _, fd := range w.send {
		unix.Close(fd)
	}
}

// read takes what has arrived.
func (w *wire) read() error {
	for {
		n, err := w.inbox.receive(w.fd)
		if err != nil {
			return fmt.Errorf("capture: %w", err)
		}
		for i := range n {
			index, f := w.inbox.message(i)
			p, ok := w.port[index]
			if !ok || len(f) < etherHeader {
				continue
			}
			switch binary.BigEndian.Uint16(f[12:]) {
			case etherMarker:
				if len(f) >= etherHeader+4 {
					w.marks[p] = binary.BigEndian.Uint32(f[etherHeader:])
				}
			case unix.ETH_P_IP, unix.ETH_P_IPV6:
				if !isDiscovery(f[etherHeader:]) {
					w.frames = append(w.frames, arrived{p, append([]byte(nil), f...)})
				}
			}
		}
		if n < inboxSize {
			return nil
		}
	}
}

// isDiscovery tells the neighbour and listener discovery that the router's
// stack does by itself.
func isDiscovery(ip []byte) bool {
	if len(ip) < 41 || ip[0]>>4 != 6 {
		return false
	}
	next, icmp := ip[6], ip[40:]
	if next == 0 && len(icmp) > 8 { // router alert
		next, icmp = icmp[0], icmp[8:]
	}
	return next == unix.IPPROTO_ICMPV6 && (icmp[0] >= 130 && icmp[0] <= 137 || icmp[0] == 143)
}

func marker(dst, src []byte, n uint32) []byte {
	f := append(append(make([]byte, 0, 60), dst...), src...)
	f = binary.BigEndian.AppendUint16(f, etherMarker)
	f = binary.BigEndian.AppendUint32(f, n)
	return append(f, make([]byte, 60-len(f))...)
}

// settle sends frames to a port, and returns when what the router made of them
// has arrived where it goes. A negative port: what the router sent itself.
func (r *router) settle(port int, frames ...[]byte) error {
	r.marker++
	if port >= 0 {
		frames = append(frames, marker(routerMAC(port), hostMAC(port), r.marker))
		if err := sendAll(r.wire.send[port], frames, nil); err != nil {
			return fmt.Errorf("to %s: %w", r.ports[port].name, err)
		}
		if err := r.until(func() (bool, error) { return r.local.marked(r.marker) }); err != nil {
			return fmt.Errorf("to %s: %w", r.ports[port].name, err)
		}
	}
	var out [maxPorts][]byte
	for i := range r.ports {
		out[i] = marker(hostMAC(i), routerMAC(i), r.marker)
	}
	if err := sendAll(r.local.marker, out[:len(r.ports)], r.index); err != nil {
		return fmt.Errorf("markers: %w", err)
	}
	err := r.until(func() (bool, error) {
		if err := r.wire.read(); err != nil {
			return false, err
		}
		for _, n := range r.wire.marks {
			if n != r.marker {
				return false, nil
			}
		}
		return true, nil
	})
	if err != nil {
		return fmt.Errorf("from the router with %s: %w", r.name, err)
	}
	return r.local.read()
}

func (r *router) until(done func() (bool, error)) error {
	var end time.Time
	for i := 0; ; i++ {
		ok, err := done()
		if ok || err != nil {
			return err
		}
		switch {
		case i == 0:
			end = time.Now().Add(r.patience)
		case time.Now().After(end):
			return errors.New("a marker frame did not arrive")
		case i > 100:
			time.Sleep(50 * time.Microsecond)
		}
	}
}

// seen is what one packet made a router do.
type seen struct {
	frames []arrived
	local  []delivered
}

// toSelf has what the router has sent itself come by lo: see [Differences].
func (s *seen) toSelf() {
	for i := range s.local {
		s.local[i].ifindex = loopback
	}
}

// collect takes what has been seen since it was called last.
func (r *router) collect() seen {
	s := seen{r.wire.frames, r.local.packets}
	r.wire.frames, r.local.packets = nil, nil
	return s
}
