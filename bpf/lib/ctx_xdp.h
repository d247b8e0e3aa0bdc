/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once

#include "common.h"
#include "csum.h"

/* The XDP side of the context: the only place, with ctx_skb.h, that knows
 * which one a program is built for.
 */

#define CTX_XDP 1
#define ctx_buff xdp_md

/* A step of a packet's way: here the way is short, and has them inlined. */
#define ctx_step static __always_inline

/* A program without xdp.frags sees one buffer only, and no call is needed. */
static __always_inline __u32 ctx_len(struct ctx_buff *ctx)
{
	return (long)CTX_POINTER(ctx, data_end) - (long)CTX_POINTER(ctx, data);
}

/* XDP sees headers in the first buffer or not at all. */
static __always_inline int ctx_pull(struct ctx_buff *ctx, __u32 len)
{
	return 0;
}

static __always_inline int ctx_load(struct ctx_buff *ctx, __u32 off, void *to,
				    __u32 len)
{
	return bpf_xdp_load_bytes(ctx, off, to, len);
}

static __always_inline __u32 ctx_gso_len(struct ctx_buff *ctx)
{
	return 0;
}

static __always_inline __u32 ctx_mark(struct ctx_buff *ctx)
{
	return 0;
}

static __always_inline __u32 ctx_pkt_type(struct ctx_buff *ctx)
{
	return PACKET_HOST;
}

/* Adds what the pseudo header (addresses) and the ports changed by to the
 * transport checksum at off; both are differences as csum_diff() makes them.
 */
static __always_inline int ctx_csum_update(struct ctx_buff *ctx, __u32 off,
					   __u32 addr_diff, __u32 port_diff,
					   __u64 flags)
{
	void *data = CTX_POINTER(ctx, data);
	void *data_end = CTX_POINTER(ctx, data_end);
	__u16 *csum;

	off &= 0x1ff;
	csum = data + off;
	if ((void *)(csum + 1) > data_end)
		return -1;
	if (flags & BPF_F_MARK_MANGLED_0 && !*csum)
		return 0;
	*csum = csum_apply(*csum, (__u64)addr_diff + port_diff);
	if (flags & BPF_F_MARK_MANGLED_0 && !*csum)
		*csum = 0xffff;
	return 0;
}
