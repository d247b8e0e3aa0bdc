/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once

#include "common.h"
#include "types.h"

/*
 * A rule has rejected a packet at XDP, which cannot send the answer through the
 * output chains: the TC program makes it, and no rule counts a second time. It
 * learns of it by metadata before the packet. Another namespace could write
 * such metadata, too, and would have its own packet rejected.
 */
struct handover {
	__u32 magic;
	__u32 reject; /* pkt.reject */
	__u32 hook; /* REJECT_* */
	__u32 ct_state;
	__u32 translated; /* its destination was, by then */
	__u32 unique; /* GRO puts packets together whose metadata is the same */
};

#define HANDOVER_MAGIC 0x6c326472 /* "l2dr" */

#if CTX_XDP

/* Whether the driver has room for metadata; else data_meta is behind data. */
static __always_inline int handover_possible(struct xdp_md *ctx)
{
	void *meta = CTX_POINTER(ctx, data_meta);

	return meta <= CTX_POINTER(ctx, data);
}

/* Of a packet of the flow f. */
static __always_inline int handover(struct xdp_md *ctx, const struct pkt *p,
				    const struct flow *f)
{
	struct handover *h;

	if (bpf_xdp_adjust_meta(ctx, -(int)sizeof(*h))) {
		count(STAT_DROP_INTERNAL);
		return XDP_DROP;
	}
	h = CTX_POINTER(ctx, data_meta);
	if ((void *)(h + 1) > CTX_POINTER(ctx, data))
		return XDP_DROP;
	h->magic = HANDOVER_MAGIC;
	h->reject = p->reject;
	h->hook = p->oif ? REJECT_FORWARD : REJECT_PREROUTING;
	h->ct_state = p->ct_state;
	h->translated = p->tuple.dport == f->out.dport &&
			!__builtin_memcmp(p->tuple.daddr, f->out.daddr, 16);
	h->unique = bpf_get_prandom_u32();
	return XDP_PASS;
}

#else

static __always_inline int handed_over(struct __sk_buff *skb,
				       struct handover *to)
{
	struct handover *h = CTX_POINTER(skb, data_meta);

	if ((void *)(h + 1) > CTX_POINTER(skb, data) ||
	    h->magic != HANDOVER_MAGIC)
		return 0;
	*to = *h;
	return 1;
}

#endif
