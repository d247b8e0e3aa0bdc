// SPDX-License-Identifier: GPL-2.0-only

package path

import (
	"container/heap"
	"encoding/binary"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Sizes and places in packets: IPv4 and IPv6 with a TCP header and without options.
const (
	ipv4Header, ipv6Header = 20, 40
	ecnMask                = 3
	ecnMarked              = 3
)

// Packet is what became of a packet of a flow on the way from the sender to the receiver.
type Packet struct {
	At time.Time
	// Port is the sender's.
	Port  uint16
	Bytes int
	// Waits is how long it was in the queue.
	Waits        time.Duration
	Lost, Marked bool
}

// relay takes packets from one TUN device to the other.
type relay struct {
	from, to *os.File
	when     func(now time.Time, packet []byte) (out time.Time, lost bool)

	mu      sync.Mutex
	waiting queue
	wake    chan struct{}
	stopped chan struct{}
	all     sync.WaitGroup
}

// scheduled is a packet on its way.
type scheduled struct {
	out    time.Time
	number int
	data   []byte
}

type queue struct {
	list   []scheduled
	number int
}

func (q *queue) Len() int { return len(q.list) }
func (q *queue) Less(i, j int) bool {
	a, b := q.list[i], q.list[j]
	return a.out.Before(b.out) || a.out.Equal(b.out) && a.number < b.number
}
func (q *queue) Swap(i, j int) { q.list[i], q.list[j] = q.list[j], q.list[i] }
func (q *queue) Push(x any)    { q.list = append(q.list, x.(scheduled)) }
func (q *queue) Pop() any {
	last := q.list[len(q.list)-1]
	q.list = q.list[:len(q.list)-1]
	return last
}

func startRelay(from, to *os.File, when func(time.Time, []byte) (time.Time, bool)) *relay {
	r := &relay{from: from, to: to, when: when, wake: make(chan struct{}, 1), stopped: make(chan struct{})}
	r.all.Go(r.read)
	r.all.Go(r.write)
	return r
}

// stop ends it; what is on its way is lost.
func (r *relay) stop() {
	close(r.stopped)
	_ = r.from.SetReadDeadline(time.Now())
	r.all.Wait()
}

func (r *relay) read() {
	buf := make([]byte, 1<<16)
	for {
		n, err := r.from.Read(buf)
		if err != nil {
			return // closed, or stopped
		}
		data := append([]byte(nil), buf[:n]...)
		out, lost := r.when(time.Now(), data)
		if lost {
			continue
		}
		r.mu.Lock()
		r.waiting.number++
		heap.Push(&r.waiting, scheduled{out, r.waiting.number, data})
		first := r.waiting.list[0].number == r.waiting.number
		r.mu.Unlock()
		if !first {
			continue // the writer waits for an earlier one
		}
		select {
		case r.wake <- struct{}{}:
		default:
		}
	}
}

// next is the packet that is out now, or how long until there is one.
func (r *relay) next() ([]byte, time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.waiting.Len() == 0 {
		return nil, time.Hour
	}
	if wait := time.Until(r.waiting.list[0].out); wait > 0 {
		return nil, wait
	}
	return heap.Pop(&r.waiting).(scheduled).data, 0
}

func (r *relay) write() {
	t := time.NewTimer(0)
	defer t.Stop()
	for {
		data, wait := r.next()
		if data != nil {
			if _, err := r.to.Write(data); err != nil {
				return // closed
			}
			continue
		}
		t.Reset(wait)
		select {
		case <-r.stopped:
			return
		case <-r.wake:
		case <-t.C:
		}
	}
}

// ecn is the field of a packet; 0 if it is no IP.
func ecn(packet []byte) byte {
	switch {
	case len(packet) >= ipv4Header && packet[0]>>4 == 4:
		return packet[1] & ecnMask
	case len(packet) >= ipv6Header && packet[0]>>4 == 6:
		return packet[1] >> 4 & ecnMask
	}
	return 0
}

// mark sets it to congestion experienced.
func mark(packet []byte) {
	if packet[0]>>4 == 6 {
		packet[1] |= ecnMarked << 4
		return
	}
	before := binary.BigEndian.Uint16(packet)
	packet[1] |= ecnMarked
	// RFC 1624: of one 16-bit word.
	sum := uint32(^binary.BigEndian.Uint16(packet[10:])) + uint32(^before) + uint32(binary.BigEndian.Uint16(packet))
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	binary.BigEndian.PutUint16(packet[10:], ^uint16(sum))
}

// sourcePort is that of a TCP packet; 0 of another one.
func sourcePort(packet []byte) uint16 {
	switch {
	case len(packet) > 0 && packet[0]>>4 == 4:
		if n := int(packet[0]&15) * 4; packet[9] == unix.IPPROTO_TCP && len(packet) >= n+2 {
			return binary.BigEndian.Uint16(packet[n:])
		}
	case len(packet) >= ipv6Header+2 && packet[0]>>4 == 6 && packet[6] == unix.IPPROTO_TCP:
		return binary.BigEndian.Uint16(packet[ipv6Header:])
	}
	return 0
}
