/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once

#include "common.h"

/* The TC side of the context: the only place, with ctx_xdp.h, that knows which
 * one a program is built for.
 */

#define CTX_XDP 0
#define ctx_buff __sk_buff

/* A step of a packet's way. Here it is a global function: the kernel verifies it
 * once, and not for each way that leads to it.
 */
#define ctx_step __noinline

/* BPF_F_IPV6 exists from kernel 6.16 on; set by the loader. */
volatile const __u64 csum_ipv6_flag = 0;

static __always_inline __u32 ctx_len(struct ctx_buff *ctx)
{
	return ctx->len;
}

/* Makes the first len bytes, as far as the packet has them, directly readable. */
static __always_inline int ctx_pull(struct ctx_buff *ctx, __u32 len)
{
	if (likely(CTX_POINTER(ctx, data) + len <= CTX_POINTER(ctx, data_end)))
		return 0;
	return bpf_skb_pull_data(ctx, len < ctx->len ? len : ctx->len);
}

static __always_inline int ctx_load(struct ctx_buff *ctx, __u32 off, void *to,
				    __u32 len)
{
	return bpf_skb_load_bytes(ctx, off, to, len);
}

/* Payload bytes of each segment of an aggregated packet; 0: not one. */
static __always_inline __u32 ctx_gso_len(struct ctx_buff *ctx)
{
	return ctx->gso_size;
}

static __always_inline __u32 ctx_mark(struct ctx_buff *ctx)
{
	return ctx->mark;
}

static __always_inline __u32 ctx_pkt_type(struct ctx_buff *ctx)
{
	return ctx->pkt_type;
}

/*
 * Adds what the pseudo header (addresses) and the ports changed by to the
 * transport checksum at off; both are differences as csum_diff() makes them.
 * Two steps, because a CHECKSUM_PARTIAL packet carries the sum of the pseudo
 * header only, and a CHECKSUM_COMPLETE one a sum over the packet that the
 * ports and the checksum leave as it is. Invalidates packet pointers.
 */
static __always_inline int ctx_csum_update(struct ctx_buff *ctx, __u32 off,
					   __u32 addr_diff, __u32 port_diff,
					   __u64 flags)
{
	if (addr_diff && bpf_l4_csum_replace(ctx, off, 0, addr_diff,
					     flags | BPF_F_PSEUDO_HDR) < 0)
		return -1;
	if (port_diff &&
	    bpf_l4_csum_replace(ctx, off, 0, port_diff, flags & ~CSUM_IPV6) < 0)
		return -1;
	return 0;
}
