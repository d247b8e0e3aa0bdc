/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once

#include "types.h"

/* The path: its bandwidth, how much ACKs come in bursts, and how much fits in. */

#define MIN_PIPE_CWND 4U
/* tcp_tso_autosize() of the kernel decides how large bursts are. */
#define QUANTUM_PACING_SHIFT 10
#define QUANTUM_RTT_SHIFT 9
#define QUANTUM_MAX (64U << 10)
#define EXTRA_ACKED_ROUNDS \
	5 /* in each of two slots: a window of 5 to 10 rounds */
#define LONGEST_INTERVAL \
	(100 * USEC_PER_SEC) /* that a product of cannot overflow */

static __always_inline __u64 max_bw(const struct bbr3 *b)
{
	return max(b->max_bw[0], b->max_bw[1]);
}

static __always_inline __u32 extra_acked(const struct bbr3 *b)
{
	return max(b->extra_acked[0], b->extra_acked[1]);
}

/* AdvanceMaxBwFilter. A cycle without a sample does not count. */
static __always_inline void advance_max_bw(struct bbr3 *b)
{
	if (!b->max_bw[1])
		return;
	b->max_bw[0] = b->max_bw[1];
	b->max_bw[1] = 0;
}

/* UpdateRound and UpdateMaxBw */
STAGE bbr3_update_max_bw(struct bbr3 *b)
{
	if (!b)
		return 0;
	b->round_start = 0;
	b->sample_bw = 0;
	if (!has_sample(b))
		return 0;
	if (!before(b->rs.prior_delivered, b->next_round_delivered)) {
		start_round(b);
		b->round_count++;
		b->rounds_since_probe++;
		b->round_start = 1;
	}
	b->sample_bw = ((__u64)(__u32)b->rs.delivered << BW_SCALE) /
		       (__u64)b->rs.interval;
	if (b->sample_bw &&
	    (!b->rs.is_app_limited || b->sample_bw >= max_bw(b)))
		b->max_bw[1] = max(b->max_bw[1], b->sample_bw);
	return 0;
}

/* UpdateACKAggregation */
STAGE bbr3_update_extra_acked(struct bbr3 *b)
{
	__u64 passed, expected, extra;
	__u32 rounds, slot;

	if (!b || !has_sample(b))
		return 0;
	if (b->round_start) {
		rounds = b->full_bw_reached ? EXTRA_ACKED_ROUNDS : 1;
		if (++b->extra_acked_rounds >= rounds) {
			b->extra_acked_rounds = 0;
			b->extra_acked_slot = !b->extra_acked_slot;
			b->extra_acked[b->extra_acked_slot & 1] = 0;
		}
	}
	passed = min(b->c.now - b->extra_acked_start, LONGEST_INTERVAL);
	expected = b->bw * passed >> BW_SCALE;
	if (b->extra_acked_delivered <= expected) {
		b->extra_acked_delivered = 0;
		b->extra_acked_start = b->c.now;
		expected = 0;
	}
	b->extra_acked_delivered += b->rs.newly_acked;
	extra = min((__u64)b->extra_acked_delivered - expected,
		    (__u64)b->c.cwnd);
	slot = b->extra_acked_slot & 1;
	b->extra_acked[slot] = max(b->extra_acked[slot], (__u32)extra);
	return 0;
}

/* BDPMultiple, rounded up */
static __always_inline __u32 bdp_multiple(const struct bbr3 *b, __u64 bw,
					  __u32 gain)
{
	__u64 packets;

	if (b->min_rtt == NO_RTT)
		return b->c.initial_cwnd;
	packets = ((bw * b->min_rtt >> GAIN_SCALE) * gain + BW_UNIT - 1) >>
		  BW_SCALE;
	return min(packets, (__u64)(NO_INFLIGHT / 2));
}

/* QuantizationBudget: what bursts of the sender and the receiver need beside it */
static __always_inline __u32 with_budget(const struct bbr3 *b, __u32 inflight)
{
	__u32 budget = 3 * (b->send_quantum / max(b->c.mss, 1U));

	inflight = max(max(inflight, budget), MIN_PIPE_CWND);
	return b->state == BBR3_UP ? inflight + 2 : inflight;
}

/* Inflight */
static __always_inline __u32 inflight_at(const struct bbr3 *b, __u64 bw,
					 __u32 gain)
{
	return with_budget(b, bdp_multiple(b, bw, gain));
}

/* TargetInflight */
static __always_inline __u32 target_inflight(const struct bbr3 *b)
{
	return min(bdp_multiple(b, b->bw, GAIN_UNIT), b->c.cwnd);
}

/* InflightWithHeadroom */
static __always_inline __u32 inflight_with_headroom(const struct bbr3 *b)
{
	__u32 headroom;

	if (b->inflight_longterm == NO_INFLIGHT)
		return NO_INFLIGHT;
	headroom =
		max(per_mille(b->inflight_longterm, bbr3_tuning.headroom), 1U);
	if (b->inflight_longterm <= headroom)
		return MIN_PIPE_CWND;
	return max(b->inflight_longterm - headroom, MIN_PIPE_CWND);
}

/* ResetCongestionSignals */
static __always_inline void reset_congestion(struct bbr3 *b)
{
	b->loss_in_round = 0;
	b->ecn_in_round = 0;
	b->bw_latest = 0;
	b->inflight_latest = 0;
}

/* ResetShortTermModel */
static __always_inline void reset_shortterm(struct bbr3 *b)
{
	b->bw_shortterm = NO_BW;
	b->inflight_shortterm = NO_INFLIGHT;
}
