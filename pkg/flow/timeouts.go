// SPDX-License-Identifier: GPL-2.0-only

// Package flow reads and changes the connection-tracking tables of the
// dataplane.
package flow

import "time"

// Timeouts says how long a flow lives without a packet. The defaults are those
// of nf_conntrack (net/netfilter/nf_conntrack_proto_*.c), but for the
// established TCP timeout, which is a day, and not five; RFC 5382 REQ-5 asks for at
// least 2 h 4 min. And for streams of UDP, which have a minute more: RFC 4787 REQ-5c
// wants five.
type Timeouts struct {
	TCPSynSent          time.Duration `json:"tcp_syn_sent"`
	TCPSynRecv          time.Duration `json:"tcp_syn_recv"`
	TCPEstablished      time.Duration `json:"tcp_established"`
	TCPFinWait          time.Duration `json:"tcp_fin_wait"`
	TCPCloseWait        time.Duration `json:"tcp_close_wait"`
	TCPLastAck          time.Duration `json:"tcp_last_ack"`
	TCPTimeWait         time.Duration `json:"tcp_time_wait"`
	TCPClose            time.Duration `json:"tcp_close"`
	TCPUnacknowledged   time.Duration `json:"tcp_unacknowledged"`
	TCPRetransmitted    time.Duration `json:"tcp_retransmitted"`
	UDPUnreplied        time.Duration `json:"udp_unreplied"`
	UDPStream           time.Duration `json:"udp_stream"`
	SCTPClosed          time.Duration `json:"sctp_closed"`
	SCTPCookieWait      time.Duration `json:"sctp_cookie_wait"`
	SCTPCookieEchoed    time.Duration `json:"sctp_cookie_echoed"`
	SCTPEstablished     time.Duration `json:"sctp_established"`
	SCTPShutdownSent    time.Duration `json:"sctp_shutdown_sent"`
	SCTPShutdownRecd    time.Duration `json:"sctp_shutdown_recd"`
	SCTPShutdownAckSent time.Duration `json:"sctp_shutdown_ack_sent"`
	SCTPHeartbeatSent   time.Duration `json:"sctp_heartbeat_sent"`
	ICMP                time.Duration `json:"icmp"`
	Generic             time.Duration `json:"generic"`
}

// DefaultTimeouts returns the timeouts of a new configuration.
func DefaultTimeouts() Timeouts {
	return Timeouts{
		TCPSynSent:          120 * time.Second,
		TCPSynRecv:          60 * time.Second,
		TCPEstablished:      24 * time.Hour,
		TCPFinWait:          120 * time.Second,
		TCPCloseWait:        60 * time.Second,
		TCPLastAck:          30 * time.Second,
		TCPTimeWait:         120 * time.Second,
		TCPClose:            10 * time.Second,
		TCPUnacknowledged:   300 * time.Second,
		TCPRetransmitted:    300 * time.Second,
		UDPUnreplied:        30 * time.Second,
		UDPStream:           180 * time.Second,
		SCTPClosed:          10 * time.Second,
		SCTPCookieWait:      3 * time.Second,
		SCTPCookieEchoed:    3 * time.Second,
		SCTPEstablished:     210 * time.Second,
		SCTPShutdownSent:    3 * time.Second,
		SCTPShutdownRecd:    3 * time.Second,
		SCTPShutdownAckSent: 3 * time.Second,
		SCTPHeartbeatSent:   30 * time.Second,
		ICMP:                30 * time.Second,
		Generic:             600 * time.Second,
	}
}

// TCP says what of TCP is believed: the sysctls nf_conntrack_tcp_* of the same
// names.
type TCP struct {
	// BeLiberal takes all segments as in the window.
	BeLiberal bool `json:"tcp_be_liberal"`
	// Loose has connections begin in their middle.
	Loose bool `json:"tcp_loose"`
	// IgnoreInvalidRST does not look at the sequence numbers of resets.
	IgnoreInvalidRST bool `json:"tcp_ignore_invalid_rst"`
	// MaxRetrans is after how many retransmissions without an answer the
	// timeout is that of TCPRetransmitted.
	MaxRetrans uint32 `json:"tcp_max_retrans"`
}

// DefaultTCP returns the settings of a new configuration, which are the
// kernel's.
func DefaultTCP() TCP { return TCP{Loose: true, MaxRetrans: 3} }

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
