/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once

#include "common.h"
#include "looped.h"
#include "parse.h"
#include "policy.h"
#include "scratch.h"
#include "types.h"

/*
 * The hooks of devices, before and behind everything else, for every frame:
 * what is no IP, what is for others, fragments as they are. Of a packet they
 * see what is on the wire, as nft_do_chain_netdev() of the kernel has it; p->nh
 * is the beginning of whatever network packet there is, and p->nfproto is 0
 * where that is no valid IP.
 */

/* nft_set_pktinfo_ipv4_validate() */
static __always_inline void frame_ipv4(struct pkt *p, struct l4_info *l4)
{
	const struct iphdr *ip = (const struct iphdr *)p->nh;
	__u32 len = bpf_ntohs(ip->tot_len), ihl = ip->ihl * 4;

	if (ip->version != 4 || ihl < sizeof(*ip) || len > p->len || len < ihl)
		return;
	p->nfproto = NFPROTO_IPV4;
	l4->off = ihl;
	l4->proto = ip->protocol;
	l4->frag_off = bpf_ntohs(ip->frag_off) & IP_OFFSET;
}

/* nft_set_pktinfo_ipv6_validate() */
static __always_inline void frame_ipv6(struct ctx_buff *ctx, struct pkt *p,
				       struct l4_info *l4)
{
	const struct ipv6hdr *ip = (const struct ipv6hdr *)p->nh;

	if (ip->version != 6 ||
	    sizeof(*ip) + bpf_ntohs(ip->payload_len) > p->len)
		return;
	l4->proto = ip->nexthdr;
	l4->off = p->l3_off + sizeof(*ip);
	l4->len = p->len - sizeof(*ip);
	if (parse_ipv6_ext(ctx, l4) != PARSE_OK)
		return;
	l4->off -= p->l3_off;
	p->nfproto = NFPROTO_IPV6;
}

static __always_inline void frame_view(struct ctx_buff *ctx, struct pkt *p,
				       const struct iface *iface)
{
	struct l4_info l4 = {};
	__u32 n;

	p->now = bpf_ktime_get_coarse_ns();
	p->mark = ctx_mark(ctx);
	p->ct_state = CT_STATE_INVALID;
	p->pkt_type = ctx_pkt_type(ctx);
	p->l3_off = link_len(ctx, iface);
	p->ll_len = p->l3_off;
	p->protocol = ctx->protocol;
	if (ctx_len(ctx) <= p->l3_off)
		return;
	p->len = ctx_len(ctx) - p->l3_off;

	n = p->len;
	if (n > sizeof(p->nh))
		n = sizeof(p->nh);
	if (!in_bounds(n, 1, sizeof(p->nh)) ||
	    ctx_load(ctx, L3_OFF(p), p->nh, n) < 0)
		return;
	looped_type(ctx, p);
	if (p->protocol == bpf_htons(ETH_P_IP))
		frame_ipv4(p, &l4);
	else if (p->protocol == bpf_htons(ETH_P_IPV6))
		frame_ipv6(ctx, p, &l4);
	if (!p->nfproto)
		return;
	p->l4proto = l4.proto;
	p->l4_off = p->l3_off + l4.off;
	if (l4.frag_off || l4.off >= p->len)
		return;
	n = p->len - l4.off;
	if (n > sizeof(p->th))
		n = sizeof(p->th);
	if (!in_bounds(n, 1, sizeof(p->th)) ||
	    ctx_load(ctx, L4_OFF(p), p->th, n) < 0)
		return;
	p->th_len = n;
}

/* Runs the chains of the device that the frame came in by. */
static __always_inline int frame_enters(struct ctx_buff *ctx, struct pkt *p,
					const struct iface *iface)
{
	if (!(policy_phases & PHASE_INGRESS))
		return 1;
	pkt_begin(p);
	facts_none();
	frame_view(ctx, p, iface);
	p->iif = ctx->ifindex;
	return policy_ingress(ctx, p) == NF_ACCEPT;
}

/* Runs the chains of the device that the frame leaves by. */
static __always_inline int frame_leaves(struct ctx_buff *ctx, struct pkt *p,
					const struct iface *iface)
{
	if (!(policy_phases & PHASE_EGRESS))
		return 1;
	pkt_begin(p);
	facts_none();
	frame_view(ctx, p, iface);
	p->oif = ctx->ifindex;
	p->len = ctx_len(ctx); /* there the kernel counts the header, too */
	return policy_egress(ctx, p) == NF_ACCEPT;
}
