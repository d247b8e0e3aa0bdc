/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once

#include "common.h"
#include "kernel.h"
#include "maps.h"
#include "types.h"

static __always_inline void log_packet(struct ctx_buff *ctx,
				       const struct pkt *p, struct log_event *e)
{
	__u32 n = p->len;

	if (n > sizeof(e->data))
		n = sizeof(e->data);
	if (!in_bounds(n, 1, sizeof(e->data)) ||
	    ctx_load(ctx, L3_OFF(p), e->data, n) < 0)
		n = 0;
	e->data_len = n;
	/* Of what is no IP, at any hook: its type is there. */
	if ((p->iif || !p->nfproto) && p->l3_off >= ETH_HLEN &&
	    ctx_load(ctx, L3_OFF(p) - ETH_HLEN, e->mac, ETH_HLEN) == 0)
		e->flags |= LOG_MAC;
}

/* Reports the packet to user space; never waits, a full buffer is counted. */
__noinline int nft_log(struct ctx_buff *ctx, struct pkt *p, __u32 what)
{
	struct log_event *e;

	if (!p)
		return 0;
	e = bpf_ringbuf_reserve(&l2_events, sizeof(*e), 0);
	if (!e) {
		count(STAT_LOG_LOST);
		return 0;
	}
	e->now = p->now;
	e->log = what & LOG_INDEX;
	e->rule = p->rule;
	e->iif = p->iif;
	e->oif = p->oif;
	e->len = p->len;
	e->mark = p->mark;
	e->ct_state = p->ct_state;
	e->nfproto = p->nfproto;
	e->l4proto = p->l4proto;
	e->th_len = p->th_len;
	e->flags = 0;
	e->l4_off = p->l4_off - p->l3_off;
	__builtin_memcpy(e->nh, p->nh, sizeof(e->nh));
	__builtin_memcpy(e->th, p->th, sizeof(e->th));
	if (what & LOG_HAS_SOCKET) {
		what &= ~LOG_HAS_SOCKET;
		e->flags = LOG_SOCKET;
		e->uid = *(__u32 *)ANSWER(p, what);
		e->gid = *(__u32 *)ANSWER(p, what + (1U << ANSWER_SHIFT));
	}
	log_packet(ctx, p, e);
	bpf_ringbuf_submit(e, 0);
	return 0;
}
