/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once

#include "types.h"

/*
 * What was lost and in flight when a packet was sent. BBRv3 wants both with each
 * packet, as its authors' kernel has them. A stock kernel notes only how much had
 * been delivered by then. From that:
 *
 * - what had been lost by then follows from when losses were noticed, counted by
 *   deliveries: the last LOSS_STEPS such times are kept;
 * - what was in flight then has been delivered or lost since, as long as the path keeps
 *   packets in order.
 *
 * How far that is from the truth is measured: see docs/bbr3.md.
 */

#define LOSS_STEPS 64 /* a power of two */

struct loss_step {
	__u32 delivered; /* packets sent from then on know of the loss */
	__u32 before; /* all that was lost until it */
};

struct snapshots {
	struct loss_step steps[LOSS_STEPS];
	__u32 next;
	__u32 lost; /* all that is known of */
};

/* Note what has been lost by now, when so much is delivered. */
static __always_inline void note_lost(struct snapshots *s, __u32 delivered,
				      __u32 lost)
{
	struct loss_step *step;

	if (lost == s->lost)
		return;
	step = &s->steps[s->next++ % LOSS_STEPS];
	step->delivered = delivered;
	step->before = s->lost;
	s->lost = lost;
}

/* What was lost when a packet was sent, by what was delivered then. Of losses that are
 * too long ago it is what was lost before the oldest that is known.
 */
static __noinline __u32 lost_at(struct snapshots *s, __u32 delivered)
{
	__u32 lost;
	int i;

	if (!s)
		return 0;
	lost = s->lost;
	for (i = 1; i <= LOSS_STEPS && i <= s->next; i++) {
		struct loss_step *step = &s->steps[(s->next - i) % LOSS_STEPS];

		if (!before(delivered, step->delivered))
			break;
		lost = step->before;
	}
	return lost;
}
