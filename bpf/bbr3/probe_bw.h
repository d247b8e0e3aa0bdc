/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once

#include "ecn.h"
#include "startup.h"

/* The cycle of ProbeBW: DOWN, CRUISE, REFILL, UP. */

#define PROBE_WAIT (2 * USEC_PER_SEC) /* and up to another second */
#define RENO_ROUNDS 63U
#define PROBE_UP_ROUNDS 30

/* StartProbeBW_DOWN, with PickProbeWait */
static __always_inline void start_down(struct bbr3 *b)
{
	reset_congestion(b);
	b->probe_up_acked_per_inc = NO_INFLIGHT;
	b->rounds_since_probe = b->c.random >> 31;
	b->probe_wait = PROBE_WAIT + (b->c.random & 0x7fffffff) % USEC_PER_SEC;
	b->c.random = 0;
	b->cycle_stamp = b->c.now;
	b->acks = ACKS_STOPPING;
	start_round(b);
	b->state = BBR3_DOWN;
}

/* StartProbeBW_REFILL */
static __always_inline void start_refill(struct bbr3 *b)
{
	reset_shortterm(b);
	b->probe_up_rounds = 0;
	b->probe_up_acked = 0;
	b->probe_precautionary = 0;
	b->acks = ACKS_REFILLING;
	start_round(b);
	b->state = BBR3_REFILL;
}

/* RaiseInflightLongtermSlope: growth doubles each round */
static __always_inline void raise_slope(struct bbr3 *b)
{
	__u32 growth = 1U << (b->probe_up_rounds & 31);

	b->probe_up_rounds =
		min(b->probe_up_rounds + 1, (__u32)PROBE_UP_ROUNDS);
	b->probe_up_acked_per_inc = max(b->c.cwnd / growth, 1U);
}

/* StartProbeBW_UP */
static __always_inline void start_up(struct bbr3 *b)
{
	b->acks = ACKS_STARTING;
	start_round(b);
	reset_full_bw(b, b->sample_bw);
	b->state = BBR3_UP;
	raise_slope(b);
}

/* Whether inflight_longterm, and nothing else, holds the connection back. */
static __always_inline bool longterm_limits(const struct bbr3 *b)
{
	return b->c.is_cwnd_limited && b->c.cwnd >= b->inflight_longterm;
}

/* ProbeInflightLongtermUpward */
static __always_inline void probe_upward(struct bbr3 *b)
{
	__u32 per_inc = max(b->probe_up_acked_per_inc, 1U), steps;

	if (!longterm_limits(b))
		return;
	b->probe_up_acked += b->rs.newly_acked;
	if (b->probe_up_acked >= per_inc) {
		steps = b->probe_up_acked / per_inc;
		b->probe_up_acked -= steps * per_inc;
		b->inflight_longterm += steps;
	}
	if (b->round_start)
		raise_slope(b);
}

/* HandleInflightTooHigh: once for each probe */
static __always_inline void
inflight_too_high(struct bbr3 *b, __u32 tx_in_flight, bool is_app_limited)
{
	b->probe_too_high = 1;
	b->probe_sample = 0;
	if (!is_app_limited)
		b->inflight_longterm =
			max(tx_in_flight,
			    per_mille(target_inflight(b), bbr3_tuning.beta));
	if (b->state == BBR3_UP) {
		b->undo_state = BBR3_UP;
		start_down(b);
	}
}

static __always_inline bool loss_too_high(const struct bbr3 *b, __u32 lost,
					  __u32 tx_in_flight)
{
	return (__u64)lost * PER_MILLE >
		       (__u64)tx_in_flight * bbr3_tuning.loss_threshold ||
	       (lost && !b->c.has_sack);
}

/* AdaptLongTermModel: true if it has decided what the state is */
static __always_inline bool adapt_longterm(struct bbr3 *b)
{
	if (b->acks == ACKS_STARTING && b->round_start)
		b->acks = ACKS_FEEDBACK;
	if (b->acks == ACKS_STOPPING && b->round_start) {
		b->probe_sample = 0;
		b->acks = ACKS_INIT;
		if (in_probe_bw(b)) {
			if (!b->rs.is_app_limited)
				advance_max_bw(b);
			/* The cautious probe went well: a real one at once. */
			if (b->probe_precautionary && !b->probe_too_high) {
				start_refill(b);
				return true;
			}
		}
	}
	if (ecn_too_high(b) ||
	    loss_too_high(b, b->rs.lost, b->rs.tx_in_flight)) {
		/* The draft asks that of lost packets alone. The sample of an ACK knows
		 * of losses from just before the probe, too.
		 */
		if (!b->probe_sample)
			return false;
		inflight_too_high(b, b->rs.tx_in_flight, b->rs.is_app_limited);
		return b->state == BBR3_DOWN;
	}
	if (b->inflight_longterm == NO_INFLIGHT)
		return false;
	b->inflight_longterm = max(b->inflight_longterm, b->rs.tx_in_flight);
	if (b->state == BBR3_UP)
		probe_upward(b);
	return false;
}

/* IsTimeToProbeBW: wall clock, or as many rounds as Reno would take */
static __always_inline bool time_to_probe(const struct bbr3 *b)
{
	return b->c.now > b->cycle_stamp + b->probe_wait ||
	       b->rounds_since_probe >= min(target_inflight(b), RENO_ROUNDS);
}

/* IsTimeToCruise */
static __always_inline bool time_to_cruise(const struct bbr3 *b)
{
	return b->c.inflight <= inflight_with_headroom(b) &&
	       b->c.inflight <= inflight_at(b, max_bw(b), GAIN_UNIT);
}

/* What was in flight when the ACK came. Now there is always room for what it has taken
 * out, and a window as large as a limit does not seem to reach it.
 */
static __always_inline __u32 inflight_before_ack(const struct bbr3 *b)
{
	return b->c.inflight + b->rs.newly_acked + b->rs.newly_lost;
}

/* IsTimeToGoDown */
static __always_inline bool time_to_go_down(struct bbr3 *b)
{
	if (b->probe_too_high &&
	    inflight_before_ack(b) >= b->inflight_longterm) {
		b->probe_precautionary = 1;
		return true;
	}
	if (longterm_limits(b)) {
		reset_full_bw(b, b->sample_bw);
		return false;
	}
	return b->full_bw_now;
}

/* CheckDrainDone */
static __always_inline void check_drain(struct bbr3 *b)
{
	if (b->state != BBR3_DRAIN)
		return;
	if (b->c.inflight <= inflight_at(b, b->bw, GAIN_UNIT) ||
	    b->round_count > b->drain_start_round + DRAIN_ROUNDS)
		start_down(b);
}

/* CheckDrainDone and UpdateProbeBWCyclePhase */
STAGE bbr3_update_cycle(struct bbr3 *b)
{
	if (!b || !b->full_bw_reached)
		return 0;
	check_drain(b);
	if (adapt_longterm(b))
		return 0;
	switch (b->state) {
	case BBR3_DOWN:
		if (time_to_probe(b))
			start_refill(b);
		else if (time_to_cruise(b))
			b->state = BBR3_CRUISE;
		break;
	case BBR3_CRUISE:
		if (time_to_probe(b))
			start_refill(b);
		break;
	case BBR3_REFILL:
		if (b->round_start) {
			b->probe_sample = 1;
			start_up(b);
		}
		break;
	case BBR3_UP:
		if (time_to_go_down(b)) {
			b->probe_too_high = 0;
			start_down(b);
		}
		break;
	}
	return 0;
}
