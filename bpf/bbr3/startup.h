/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once

#include "model.h"

/* Startup and Drain, and the search for the rate where a path is full. */

#define FULL_BW_ROUNDS 3
#define STARTUP_LOSS_EVENTS 6
#define STARTUP_ECN_ROUNDS 2
#define DRAIN_ROUNDS 3

/* ResetFullBW */
static __always_inline void reset_full_bw(struct bbr3 *b, __u64 baseline)
{
	b->full_bw = baseline;
	b->full_bw_count = 0;
	b->full_bw_now = 0;
}

/* CheckFullBWReached: three rounds that grow by less than a quarter */
static __always_inline void check_full_bw(struct bbr3 *b)
{
	if (b->full_bw_now || !b->round_start || b->rs.is_app_limited)
		return;
	if (b->sample_bw >= b->full_bw + (b->full_bw >> 2)) {
		reset_full_bw(b, b->sample_bw);
		return;
	}
	b->full_bw_now = ++b->full_bw_count >= FULL_BW_ROUNDS;
	b->full_bw_reached |= b->full_bw_now;
}

static __always_inline void enter_startup(struct bbr3 *b)
{
	b->state = BBR3_STARTUP;
}

static __always_inline void enter_drain(struct bbr3 *b)
{
	b->state = BBR3_DRAIN;
	b->drain_start_round = b->round_count;
}

/* Whether a round of losses says that the path is full (CheckStartupHighLoss).
 * Each ACK that marks losses stands for a range of its own.
 */
static __always_inline bool startup_loses(struct bbr3 *b)
{
	bool high = false;

	if (b->rs.newly_lost && b->loss_events < 255)
		b->loss_events++;
	if (!b->c.has_sack)
		return b->c.in_fast_recovery && b->rs.newly_lost;
	if (!b->loss_round_start)
		return false;
	if (b->c.in_fast_recovery && b->loss_events >= STARTUP_LOSS_EVENTS)
		high = (__u64)b->rs.lost * PER_MILLE >
		       (__u64)b->rs.tx_in_flight * bbr3_tuning.loss_threshold;
	b->loss_events = 0;
	return high;
}

/* CheckStartupDone */
STAGE bbr3_check_startup(struct bbr3 *b)
{
	if (!b || b->full_bw_reached)
		goto done;
	if (startup_loses(b) || b->ecn_startup_rounds >= STARTUP_ECN_ROUNDS) {
		b->undo_state = BBR3_STARTUP;
		b->full_bw_reached = 1;
		b->full_bw_now = 1;
		b->inflight_longterm =
			max(bdp_multiple(b, max_bw(b), GAIN_UNIT),
			    b->inflight_latest);
	}
done:
	if (b && b->state == BBR3_STARTUP && b->full_bw_reached)
		enter_drain(b);
	return 0;
}
