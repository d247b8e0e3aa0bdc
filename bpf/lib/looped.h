/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once

#include "common.h"
#include "policy.h"
#include "types.h"

/*
 * What the host sends to a group that it is in itself, or to all, comes in again
 * by the interface that it is about to leave by: dev_loopback_xmit(). It has no
 * link header then.
 */
static __always_inline int is_looped(struct ctx_buff *ctx)
{
	return ctx_pkt_type(ctx) == PACKET_LOOPBACK;
}

/* Where the network header is. */
static __always_inline __u16 link_len(struct ctx_buff *ctx,
				      const struct iface *iface)
{
	return iface->flags & IFACE_L3 || is_looped(ctx) ? 0 : ETH_HLEN;
}

/* What rules call the type of such a packet: nft_meta_get_eval_pkttype_slow(). */
static __always_inline void looped_type(struct ctx_buff *ctx, struct pkt *p)
{
	int all = p->protocol == bpf_htons(ETH_P_IP) &&
		  (p->nh[offsetof(struct iphdr, daddr)] & 0xf0) != 0xe0;

	if (is_looped(ctx))
		p->pkt_type = all ? PACKET_BROADCAST : PACKET_MULTICAST;
}
