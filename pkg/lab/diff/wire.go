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
	frames []arrived
	marks  map[int]uint32 // last marker by port
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
	w := &wire{port: map[int]int{}, marks: map[int]uint32{}}
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
	var buf [65536]byte
	for {
		n, from, err := unix.Recvfrom(w.fd, buf[:], 0)
		if err == unix.EAGAIN {
			return nil
		}
		if err != nil {
			return fmt.Errorf("capture: %w", err)
		}
		ll, ok := from.(*unix.SockaddrLinklayer)
		if !ok || n < etherHeader {
			continue
		}
		p, ok := w.port[ll.Ifindex]
		if !ok {
			continue
		}
		f := buf[:n]
		switch binary.BigEndian.Uint16(f[12:]) {
		case etherMarker:
			if n >= etherHeader+4 {
				w.marks[p] = binary.BigEndian.Uint32(f[etherHeader:])
			}
		case unix.ETH_P_IP, unix.ETH_P_IPV6:
			if !isDiscovery(f[etherHeader:]) {
				w.frames = append(w.frames, arrived{p, append([]byte(nil), f...)})
			}
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

var markerNumber uint32

// settle returns when all that was sent to a port, and what the router made of
// it, has arrived where it goes. A negative port: what the router sent itself.
func (r *router) settle(port int) error {
	markerNumber++
	if port >= 0 {
		if err := r.wire.mark(port, markerNumber); err != nil {
			return err
		}
		if err := r.until(func() (bool, error) { return r.local.marked(markerNumber) }); err != nil {
			return fmt.Errorf("to %s: %w", r.ports[port].name, err)
		}
	}
	for i := range r.ports {
		to := &unix.SockaddrLinklayer{Protocol: networkOrder(etherMarker), Ifindex: r.index[i]}
		if err := unix.Sendto(r.local.marker, marker(hostMAC(i), routerMAC(i), markerNumber), 0, to); err != nil {
			return fmt.Errorf("marker from %s: %w", r.ports[i].name, err)
		}
	}
	err := r.until(func() (bool, error) {
		if err := r.wire.read(); err != nil {
			return false, err
		}
		for i := range r.ports {
			if r.wire.marks[i] != markerNumber {
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

func (w *wire) mark(port int, n uint32) error {
	return w.inject(port, marker(routerMAC(port), hostMAC(port), n))
}

// inject sends a frame to the router.
func (w *wire) inject(port int, frame []byte) error {
	if _, err := unix.Write(w.send[port], frame); err != nil {
		return fmt.Errorf("send: %w", err)
	}
	return nil
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

// collect takes what has been seen since it was called last.
func (r *router) collect() (seen, error) {
	s := seen{r.wire.frames, r.local.packets}
	r.wire.frames, r.local.packets = nil, nil
	return s, nil
}
