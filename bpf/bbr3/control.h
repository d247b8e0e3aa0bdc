/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once

#include "loss.h"

/* What the model comes to: pacing rate and congestion window. */

#define STARTUP_PACING_GAIN (GAIN_UNIT * 277 / 100 + 1)
#define DRAIN_PACING_GAIN (GAIN_UNIT / 2)
#define DOWN_PACING_GAIN (GAIN_UNIT * 90 / 100)
#define UP_PACING_GAIN (GAIN_UNIT * 5 / 4)
#define CWND_GAIN (GAIN_UNIT * 2)
#define UP_CWND_GAIN (GAIN_UNIT * 9 / 4)
#define PACING_MARGIN_PERCENT 1

static __always_inline void set_gains(struct bbr3 *b)
{
	b->pacing_gain = GAIN_UNIT;
	b->cwnd_gain = CWND_GAIN;
	switch (b->state) {
	case BBR3_STARTUP:
		b->pacing_gain = STARTUP_PACING_GAIN;
		break;
	case BBR3_DRAIN:
		b->pacing_gain = DRAIN_PACING_GAIN;
		break;
	case BBR3_DOWN:
		b->pacing_gain = DOWN_PACING_GAIN;
		break;
	case BBR3_UP:
		b->pacing_gain = UP_PACING_GAIN;
		b->cwnd_gain = UP_CWND_GAIN;
		break;
	case BBR3_PROBE_RTT:
		b->cwnd_gain = PROBE_RTT_GAIN;
		break;
	}
}

/* Bytes a second */
static __always_inline __u64 pacing_rate(const struct bbr3 *b, __u64 bw,
					 __u32 gain)
{
	__u64 rate = bw * b->c.mss * gain >> GAIN_SCALE;

	rate *= USEC_PER_SEC / 100 * (100 - PACING_MARGIN_PERCENT);
	return min(rate >> BW_SCALE, b->c.max_pacing_rate);
}

/* InitPacingRate: the first window within an RTT, or within 1 ms before one is known */
static __always_inline void init_pacing_rate(struct bbr3 *b)
{
	__u64 rtt = USEC_PER_MSEC;

	if (b->c.srtt) {
		rtt = b->c.srtt;
		b->has_rtt = 1;
	}
	b->c.pacing_rate = pacing_rate(b, ((__u64)b->c.cwnd << BW_SCALE) / rtt,
				       STARTUP_PACING_GAIN);
}

/* SetPacingRateWithGain */
static __always_inline void set_pacing_rate(struct bbr3 *b, __u32 gain)
{
	__u64 rate = pacing_rate(b, b->bw, gain);

	if (!b->has_rtt && b->c.srtt)
		init_pacing_rate(b);
	/* None would be no pacing at all. */
	if (rate && (b->full_bw_reached || rate > b->c.pacing_rate))
		b->c.pacing_rate = rate;
}

/* SetSendQuantum, as tcp_tso_autosize() comes to it */
static __always_inline void set_send_quantum(struct bbr3 *b)
{
	__u32 shift = b->c.rtt_min >> QUANTUM_RTT_SHIFT;
	__u64 bytes = b->c.pacing_rate >> QUANTUM_PACING_SHIFT;

	if (shift < 32)
		bytes += b->c.gso_max >> shift;
	b->send_quantum =
		max((__u32)min(bytes, (__u64)max(b->c.gso_max, QUANTUM_MAX)),
		    2 * b->c.mss);
}

/* BoundCwndForModel */
static __always_inline __u32 cwnd_cap(const struct bbr3 *b)
{
	__u32 cap = NO_INFLIGHT;

	if (b->state == BBR3_PROBE_RTT || b->state == BBR3_CRUISE)
		cap = inflight_with_headroom(b);
	else if (in_probe_bw(b))
		cap = b->inflight_longterm;
	return max(min(cap, b->inflight_shortterm), MIN_PIPE_CWND);
}

/* SetCwnd */
static __always_inline void set_cwnd(struct bbr3 *b)
{
	__u32 target = with_budget(b, bdp_multiple(b, b->bw, b->cwnd_gain) +
					      extra_acked(b));
	__u32 cwnd = b->c.cwnd;

	if (b->full_bw_reached)
		cwnd = min(cwnd + b->rs.newly_acked, target);
	else if (cwnd < target || b->c.delivered < b->c.initial_cwnd)
		cwnd += b->rs.newly_acked;
	cwnd = max(cwnd, MIN_PIPE_CWND);
	if (b->state == BBR3_PROBE_RTT)
		cwnd = min(cwnd, probe_rtt_cwnd(b));
	b->c.cwnd = min(min(cwnd, cwnd_cap(b)), b->c.cwnd_clamp);
}

/* UpdateControlParameters */
STAGE bbr3_update_control(struct bbr3 *b)
{
	if (!b)
		return 0;
	set_gains(b);
	set_pacing_rate(b, b->pacing_gain);
	set_send_quantum(b);
	set_cwnd(b);
	return 0;
}
