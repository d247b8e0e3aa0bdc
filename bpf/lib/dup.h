/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once

#include "common.h"
#include "kernel.h"
#include "marks.h"
#include "scratch.h"
#include "types.h"

/*
 * Frames that rules send by another interface. Its egress program lets them meet
 * the chains of the interface alone. That it has such a frame in hand is not to be
 * seen from the frame, which others can write as well: the program that sends it
 * says so, on the same CPU.
 */

/* 1: rules send frames, or copies of them. */
volatile const __u32 policy_sends = 0;

/*
 * Sends a copy of the frame by an interface. Called by generated code, at the
 * hooks of devices. The egress program of the interface runs inside this call, and
 * for its chains has working memory of its own.
 */
__noinline int nft_dup(struct ctx_buff *ctx, struct pkt *p, __u32 ifindex)
{
	struct sending *s = policy_sends ? sending() : NULL;

	if (!p || !s || s->nested >= FRAMES_NESTED)
		return 0;
#if !CTX_XDP
	s->nested++;
	s->copy = 1;
	bpf_clone_redirect(ctx, ifindex, 0);
	s->copy = 0;
	s->nested--;
#endif
	barrier(); /* or the compiler leaves the call out, and it with that */
	return 0;
}

#if !CTX_XDP

static __always_inline __u64 skb_address(struct __sk_buff *skb)
{
	return (__u64)(void *)bpf_cast_to_kern_ctx(skb);
}

/* The frame is going to be sent, by an egress program that runs next. */
static __always_inline void sent_begin(struct __sk_buff *skb)
{
	struct sending *s = policy_sends ? sending() : NULL;

	if (s)
		s->frame = skb_address(skb);
}

/* Whether the egress program has been called for a frame that a rule sends. Of one
 * that has waited for its neighbour the mark alone tells: is_done().
 */
static __always_inline int sent_arrives(struct __sk_buff *skb)
{
	struct sending *s = policy_sends ? sending() : NULL;

	if (!s)
		return 0;
	if (s->copy) {
		s->copy = 0;
		return 1;
	}
	if (!s->frame || s->frame != skb_address(skb) ||
	    mark_of(skb) != TC_INDEX_DONE)
		return 0;
	s->frame = 0;
	return 1;
}

#endif
