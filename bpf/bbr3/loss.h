/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once

#include "probe_rtt.h"

/* Losses: what they say of the path, and what is taken back if there were none. */

/* SaveStateUponLoss */
static __always_inline void save_state(struct bbr3 *b)
{
	save_cwnd(b);
	b->undo_state = BBR3_NONE;
	b->undo_bw_shortterm = b->bw_shortterm;
	b->undo_inflight_shortterm = b->inflight_shortterm;
	b->undo_inflight_longterm = b->inflight_longterm;
}

/* NoteLoss. The state to go back to is that before recovery: as what probing has lost makes
 * it begin a new round, more losses of the same recovery must not save what the first
 * ones have changed.
 */
static __always_inline void note_loss(struct bbr3 *b)
{
	if (!b->loss_in_round) {
		b->loss_round_delivered = b->c.delivered;
		if (!b->c.in_recovery)
			save_state(b);
	}
	b->loss_in_round = 1;
}

/* InflightAtLoss: with how much of them in flight the losses became too many */
static __always_inline __u32 inflight_at_loss(const struct bbr3 *b)
{
	__u32 thresh = min(bbr3_tuning.loss_threshold, PER_MILLE - 1);
	__u32 size = b->marked.size;
	__u32 inflight = b->marked.tx_in_flight > size ?
				 b->marked.tx_in_flight - size :
				 0;
	__u32 lost = b->marked.lost > size ? b->marked.lost - size : 0;
	__u64 allowed = (__u64)inflight * thresh, had = (__u64)lost * PER_MILLE;

	return inflight +
	       (allowed > had ? (allowed - had) / (PER_MILLE - thresh) : 0);
}

/* HandleLostPacket, for all that an ACK has marked */
STAGE bbr3_lost(struct bbr3 *b)
{
	if (!b)
		return 0;
	note_loss(b);
	if (b->probe_sample &&
	    loss_too_high(b, b->marked.lost, b->marked.tx_in_flight))
		inflight_too_high(b, inflight_at_loss(b),
				  b->marked.is_app_limited);
	return 0;
}

/* UpdateLatestDeliverySignals */
static __always_inline void update_latest(struct bbr3 *b)
{
	b->loss_round_start = 0;
	if (!has_sample(b))
		return;
	b->bw_latest = max(b->bw_latest, b->sample_bw);
	b->inflight_latest = max(b->inflight_latest, (__u32)b->rs.delivered);
	if (!before(b->rs.prior_delivered, b->loss_round_delivered)) {
		b->loss_round_delivered = b->c.delivered;
		b->loss_round_start = 1;
	}
}

/* What may be in flight before a round's congestion: all, or what an earlier round has
 * left. A timeout's window of one packet says nothing of the path.
 */
static __always_inline __u32 inflight_before(const struct bbr3 *b)
{
	if (b->inflight_shortterm != NO_INFLIGHT)
		return b->inflight_shortterm;
	return b->c.in_recovery ? max(b->c.cwnd, b->prior_cwnd) : b->c.cwnd;
}

/* InitLowerBounds, LossLowerBounds, and what marks do */
static __always_inline void lower_bounds(struct bbr3 *b)
{
	__u32 inflight = inflight_before(b);
	__u64 bw = b->bw_shortterm == NO_BW ? max_bw(b) : b->bw_shortterm;

	b->inflight_shortterm = inflight;
	if (b->loss_in_round || !ecn_scales(b)) {
		b->bw_shortterm =
			max(b->bw_latest, bw * bbr3_tuning.beta / PER_MILLE);
		b->inflight_shortterm =
			max(b->inflight_latest,
			    per_mille(inflight, bbr3_tuning.beta));
	}
	if (b->ecn_in_round && ecn_scales(b))
		b->inflight_shortterm =
			min(b->inflight_shortterm, ecn_cut(b, inflight));
}

/* AdaptLowerBoundsFromCongestion */
STAGE bbr3_adapt_lower_bounds(struct bbr3 *b)
{
	if (!b || !b->loss_round_start)
		return 0;
	if (!is_probing(b) && (b->loss_in_round || b->ecn_in_round))
		lower_bounds(b);
	b->loss_in_round = 0;
	b->ecn_in_round = 0;
	return 0;
}

/* AdvanceLatestDeliverySignals */
static __always_inline void advance_latest(struct bbr3 *b)
{
	if (!b->loss_round_start)
		return;
	b->bw_latest = b->sample_bw;
	b->inflight_latest = b->rs.delivered;
}

/* HandleSpuriousLossDetection */
STAGE bbr3_undo(struct bbr3 *b)
{
	__u8 state;

	if (!b)
		return 0;
	restore_cwnd(b);
	b->loss_in_round = 0;
	reset_full_bw(b, 0);
	b->bw_shortterm = max(b->bw_shortterm, b->undo_bw_shortterm);
	b->inflight_shortterm =
		max(b->inflight_shortterm, b->undo_inflight_shortterm);
	b->inflight_longterm =
		max(b->inflight_longterm, b->undo_inflight_longterm);
	state = b->undo_state;
	b->undo_state = BBR3_NONE;
	if (state == BBR3_STARTUP && b->state != BBR3_STARTUP) {
		b->full_bw_reached = 0;
		if (b->state != BBR3_PROBE_RTT)
			enter_startup(b);
	} else if (state == BBR3_UP && b->state != BBR3_UP &&
		   b->state != BBR3_PROBE_RTT) {
		start_refill(b);
	}
	return 0;
}
