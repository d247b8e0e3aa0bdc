/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once

#include "common.h"

/* Tells the egress program of the way that a packet has behind it. tc_index
 * stays with a packet through neighbour resolution and fragmentation, and is
 * nobody else's since the tcindex classifier has gone.
 */
#define TC_INDEX_NONE 0
#define TC_INDEX_DONE 0x12d0 /* forwarded: nothing left to do */
/* Accepted, its source is still to translate: with a slot of half_way.h. */
#define TC_INDEX_SNAT 0x2000
/* The answer to a packet, and so the router's own: to one without tracking, and
 * to the router itself.
 */
#define TC_INDEX_ANSWER 0x12d2
#define TC_INDEX_ANSWER_LOCAL 0x12d3
/* To a packet of a flow, and to one that would have begun a flow, before and after
 * the NAT of its source: with a slot of answered.h.
 */
#define TC_INDEX_ANSWER_RELATED 0x3000
#define TC_INDEX_ANSWER_FIRST 0x3400
#define TC_INDEX_ANSWER_LATE 0x3800
/* To one that is not tracked yet, and that a rule has chosen a zone for. */
#define TC_INDEX_ANSWER_ZONED 0x3c00
#define ANSWER_SLOTS_MASK 0xff
/* Has been where it was held back, or is on its way there: shaper.h. */
#define TC_INDEX_SHAPED 0x12d4
/* The router's own, to itself by NAT, on its way into lo: way_self.h. */
#define TC_INDEX_SELF 0x12d5
/* The router's own, on its way through lo to a neighbour: way_unresolved.h. */
#define TC_INDEX_UNRESOLVED 0x12d6
/* A fragment of a datagram that is whole: with a slot of reasm.h. */
#define TC_INDEX_RELEASED 0x4000

#if !CTX_XDP
/* The mark. The compiler must not calculate its address for several reads: the
 * verifier takes no access by such an address.
 */
static __always_inline __u32 mark_of(struct __sk_buff *skb)
{
	barrier_var(skb);
	return skb->tc_index;
}

/* Of what the answer is one: TC_INDEX_ANSWER_*. */
static __always_inline __u32 answer_kind(__u32 mark)
{
	if (mark == TC_INDEX_ANSWER)
		return mark;
	return mark & ~ANSWER_SLOTS_MASK;
}

/* Whether what it answers was of no flow. */
static __always_inline int answers_untracked(__u32 mark)
{
	return mark == TC_INDEX_ANSWER ||
	       answer_kind(mark) == TC_INDEX_ANSWER_ZONED;
}
#endif
