/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once

#include "model.h"

/*
 * How marks are answered. By itself a mark is a lost packet, as RFC 3168 has it. If that
 * is set, it is as DCTCP and L4S senders do, in proportion to the share of packets that
 * are marked, with the smoothing and the numbers that BBR's authors had. It is as exact as
 * the feedback is: with classic ECN the receiver repeats a mark until it is
 * acknowledged, AccECN counts them.
 */

#define ECN_ALPHA_SHIFT 4

/* Whether the answer is in proportion. */
static __always_inline bool ecn_scales(const struct bbr3 *b)
{
	return bbr3_tuning.ecn && (!bbr3_tuning.ecn_max_rtt ||
				   b->min_rtt <= bbr3_tuning.ecn_max_rtt);
}

/* More marks than that, per mille, end probing. */
static __always_inline __u32 ecn_threshold(const struct bbr3 *b)
{
	return ecn_scales(b) ? bbr3_tuning.ecn_threshold :
			       bbr3_tuning.loss_threshold;
}

/* Whether the sample's packets were marked more than probing may cause. */
static __always_inline bool ecn_too_high(const struct bbr3 *b)
{
	return b->c.ecn_ok && b->rs.delivered > 0 && b->rs.delivered_ce > 0 &&
	       (__u64)b->rs.delivered_ce * PER_MILLE >
		       (__u64)b->rs.delivered * ecn_threshold(b);
}

/* The share of a round's packets that were marked, and what has become of all rounds'. */
static __always_inline void update_alpha(struct bbr3 *b)
{
	__u32 delivered = b->c.delivered - b->alpha_delivered;
	__u32 marked = b->c.delivered_ce - b->alpha_delivered_ce, share;

	b->alpha_delivered = b->c.delivered;
	b->alpha_delivered_ce = b->c.delivered_ce;
	if (!delivered)
		return;
	share = min((__u64)marked * PER_MILLE / delivered, (__u64)PER_MILLE);
	b->ecn_alpha = b->ecn_alpha - (b->ecn_alpha >> ECN_ALPHA_SHIFT) +
		       (share >> ECN_ALPHA_SHIFT);
	if (!b->full_bw_reached)
		b->ecn_startup_rounds = share > ecn_threshold(b) ?
						b->ecn_startup_rounds + 1 :
						0;
}

STAGE bbr3_update_ecn(struct bbr3 *b)
{
	if (!b || !b->c.ecn_ok)
		return 0;
	b->ecn_in_round |= b->rs.delivered_ce > 0 || b->rs.is_ece;
	if (b->round_start)
		update_alpha(b);
	return 0;
}

/* What a round with marks leaves of an inflight. */
static __always_inline __u32 ecn_cut(const struct bbr3 *b, __u32 inflight)
{
	__u32 cut = per_mille(b->ecn_alpha, bbr3_tuning.ecn_factor);

	return per_mille(inflight, PER_MILLE - min(cut, PER_MILLE));
}
