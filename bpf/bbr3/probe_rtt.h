/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once

#include "probe_bw.h"

/* The shortest RTT, and ProbeRTT, which empties the queue to see it. */

#define PROBE_RTT_GAIN (GAIN_UNIT / 2)

/* ProbeRTTCwnd */
static __always_inline __u32 probe_rtt_cwnd(const struct bbr3 *b)
{
	return max(bdp_multiple(b, b->bw, PROBE_RTT_GAIN), MIN_PIPE_CWND);
}

/* SaveCwnd */
static __always_inline void save_cwnd(struct bbr3 *b)
{
	if (!b->c.in_recovery && b->state != BBR3_PROBE_RTT)
		b->prior_cwnd = b->c.cwnd;
	else
		b->prior_cwnd = max(b->prior_cwnd, b->c.cwnd);
}

/* RestoreCwnd */
static __always_inline void restore_cwnd(struct bbr3 *b)
{
	b->c.cwnd = max(b->c.cwnd, b->prior_cwnd);
}

/* UpdateMinRTT */
static __always_inline void update_min_rtt(struct bbr3 *b)
{
	b->probe_rtt_expired =
		b->c.now >
		b->probe_rtt_min_stamp + bbr3_tuning.probe_rtt_interval;
	/* A delayed ACK has the receiver's delay in it: it does not replace what expires. */
	if (b->rs.rtt >= 0 &&
	    (b->rs.rtt < b->probe_rtt_min ||
	     (b->probe_rtt_expired && !b->rs.is_ack_delayed))) {
		b->probe_rtt_min = b->rs.rtt;
		b->probe_rtt_min_stamp = b->c.now;
	}
	if (b->probe_rtt_min < b->min_rtt ||
	    b->c.now > b->min_rtt_stamp + bbr3_tuning.min_rtt_window) {
		b->min_rtt = b->probe_rtt_min;
		b->min_rtt_stamp = b->probe_rtt_min_stamp;
	}
}

/* CheckProbeRTTDone and ExitProbeRTT */
static __always_inline void check_probe_rtt_done(struct bbr3 *b)
{
	if (!b->probe_rtt_done_stamp || b->c.now <= b->probe_rtt_done_stamp)
		return;
	b->probe_rtt_min_stamp = b->c.now;
	restore_cwnd(b);
	reset_shortterm(b);
	if (b->full_bw_reached) {
		start_down(b);
		b->state = BBR3_CRUISE;
	} else {
		enter_startup(b);
	}
}

/* HandleProbeRTT. What is measured meanwhile does not count as the path's. */
static __always_inline void handle_probe_rtt(struct bbr3 *b)
{
	b->c.app_limited = max(b->c.delivered + b->c.inflight, 1U);
	if (!b->probe_rtt_done_stamp) {
		if (b->c.inflight > probe_rtt_cwnd(b))
			return;
		b->probe_rtt_done_stamp =
			b->c.now + bbr3_tuning.probe_rtt_duration;
		b->probe_rtt_round_done = 0;
		start_round(b);
		return;
	}
	b->probe_rtt_round_done |= b->round_start;
	if (b->probe_rtt_round_done)
		check_probe_rtt_done(b);
}

/* UpdateMinRTT and CheckProbeRTT */
STAGE bbr3_update_rtt(struct bbr3 *b)
{
	if (!b)
		return 0;
	update_min_rtt(b);
	if (b->state != BBR3_PROBE_RTT && b->probe_rtt_expired &&
	    !b->idle_restart) {
		save_cwnd(b);
		b->state = BBR3_PROBE_RTT;
		b->probe_rtts++;
		b->probe_rtt_done_stamp = 0;
		b->acks = ACKS_STOPPING;
		start_round(b);
	}
	if (b->state == BBR3_PROBE_RTT)
		handle_probe_rtt(b);
	if (b->rs.delivered > 0)
		b->idle_restart = 0;
	return 0;
}
