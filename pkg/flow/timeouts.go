// SPDX-License-Identifier: GPL-2.0-only

// Package flow reads and changes the connection-tracking tables of the
// dataplane.
package flow

import "time"

// Timeouts says how long a flow lives without a packet. The defaults are those
// of nf_conntrack (net/netfilter/nf_conntrack_proto_*.c), but for the
// established TCP timeout, which is a day; RFC 5382 REQ-5 asks for at least
// 2 h 4 min.
type Timeouts struct {
	TCPSynSent        time.Duration
	TCPSynRecv        time.Duration
	TCPEstablished    time.Duration
	TCPFinWait        time.Duration
	TCPCloseWait      time.Duration
	TCPLastAck        time.Duration
	TCPTimeWait       time.Duration
	TCPClose          time.Duration
	TCPUnacknowledged time.Duration
	UDPUnreplied      time.Duration
	UDPStream         time.Duration
	ICMP              time.Duration
	Generic           time.Duration
}

// DefaultTimeouts returns the timeouts of a new configuration.
func DefaultTimeouts() Timeouts {
	return Timeouts{
		TCPSynSent:        120 * time.Second,
		TCPSynRecv:        60 * time.Second,
		TCPEstablished:    24 * time.Hour,
		TCPFinWait:        120 * time.Second,
		TCPCloseWait:      60 * time.Second,
		TCPLastAck:        30 * time.Second,
		TCPTimeWait:       120 * time.Second,
		TCPClose:          10 * time.Second,
		TCPUnacknowledged: 300 * time.Second,
		UDPUnreplied:      30 * time.Second,
		UDPStream:         180 * time.Second,
		ICMP:              30 * time.Second,
		Generic:           600 * time.Second,
	}
}

// tickShift is TICK_SHIFT of bpf/lib/common.h: flow entries count time in
// units of 2^27 ns.
const tickShift = 27

// Ticks converts a duration to the dataplane's coarse unit, rounded up, so that
// a positive duration is never zero.
func Ticks(d time.Duration) uint32 {
	return uint32((uint64(d) + 1<<tickShift - 1) >> tickShift)
}

// FromTicks converts the dataplane's coarse unit to a duration.
func FromTicks(t uint32) time.Duration {
	return time.Duration(t) << tickShift
}
