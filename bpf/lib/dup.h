/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once

#include "common.h"
#include "facts.h"
#include "kernel.h"
#include "marks.h"
#include "scratch.h"
#include "types.h"

/*
 * Frames that rules send by another interface, and copies of packets. The egress
 * program of the interface lets a frame meet the chains of the interface alone, and
 * a copy those of what the router itself sends. That it has one in hand is not to be
 * seen from it, which others can write as well: the program that sends it
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
	s->copy = COPY_FRAME;
	bpf_clone_redirect(ctx, ifindex, 0);
	s->copy = 0;
	s->nested--;
#endif
	barrier(); /* or the compiler leaves the call out, and it with that */
	return 0;
}

/*
 * Sends a copy of the packet, as it is in this moment, to the address in the slots
 * that the question names: nf_dup_ipv4(), nf_dup_ipv6(). The egress program of the
 * interface that the packet is at makes it of the clone, and has the same memory.
 * Not of a datagram that came in fragments: of the packet in hand it has the length,
 * and nothing more that is sure.
 */
__noinline int nft_dup_to(struct ctx_buff *ctx, struct pkt *p, __u32 question,
			  __u32 device)
{
	struct sending *s = policy_sends ? sending() : NULL;

	if (!p || !s || s->routed || p->fragment)
		return 0;
#if !CTX_XDP
	__u32 mark = mark_of(ctx);

	if (scratch_copy(SCRATCH_MAIN, SCRATCH_KEPT))
		return 0;
	facts_copy(0, 1);
	__builtin_memcpy(s->gateway, ANSWER(p, question), sizeof(s->gateway));
	s->device = device;
	s->routed = 1;
	s->copy = COPY_PACKET;
	ctx->tc_index = TC_INDEX_NONE;
	bpf_clone_redirect(ctx, ctx->ifindex, 0);
	ctx->tc_index = mark;
	s->copy = 0;
	s->routed = 0;
	facts_copy(1, 0);
	scratch_copy(SCRATCH_KEPT, SCRATCH_MAIN);
#endif
	barrier(); /* see nft_dup() */
	return 0;
}

#if !CTX_XDP

/* The packet in hand is a copy of one. */
static __always_inline int is_copy(void)
{
	struct sending *s = policy_sends ? sending() : NULL;

	return s && s->routed;
}

/*
 * The interface that a packet has come in by, to the chains of postrouting: of a copy,
 * the one that it was to leave by when it was made. nf_dup_ipv4_route() puts it there,
 * and ip_output() takes it for the former.
 */
static __always_inline __u32 copy_came_by(const struct pkt *p)
{
	struct sending *s = policy_sends ? sending() : NULL;

	return s && s->routed ? s->routed_by : p->iif;
}

/* The question for the way to a copy's gateway, and its flags: nf_dup_ipv4_route(),
 * nf_dup_ipv6_route().
 */
static __always_inline __u32 copy_query(struct bpf_fib_lookup *fib,
					const struct pkt *p,
					const struct sending *c, __u32 len)
{
	__builtin_memset(fib, 0, sizeof(*fib));
	fib->tot_len = len;
	if (p->nfproto == NFPROTO_IPV4) {
		fib->family = AF_INET;
		fib->tos = p->nh[offsetof(struct iphdr, tos)];
		__builtin_memcpy(&fib->ipv4_dst, c->gateway, 4);
	} else {
		fib->family = AF_INET6;
		fib->flowinfo = *(__be32 *)p->nh & bpf_htonl(0x000fffff);
		__builtin_memcpy(fib->ipv6_dst, c->gateway, 16);
	}
	fib->ifindex = c->device ? c->device : LOOPBACK_IFINDEX;
	return FIB_LOOKUP_SKIP_NEIGH | (c->device ? BPF_FIB_LOOKUP_OUTPUT : 0);
}

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

/* What the egress program has been called for: COPY_PACKET, COPY_FRAME, which any
 * frame is that a rule sends, or 0. Of one that has waited for its neighbour the mark alone tells: is_done().
 */
static __always_inline int sent_arrives(struct __sk_buff *skb)
{
	struct sending *s = policy_sends ? sending() : NULL;

	if (!s)
		return 0;
	if (s->copy) {
		__u32 copy = s->copy;

		s->copy = 0;
		return copy;
	}
	if (!s->frame || s->frame != skb_address(skb) ||
	    mark_of(skb) != TC_INDEX_DONE)
		return 0;
	s->frame = 0;
	return COPY_FRAME;
}

#endif
