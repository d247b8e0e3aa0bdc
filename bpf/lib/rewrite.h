/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once

#include "common.h"
#include "csum.h"
#include "frag.h"
#include "icmp.h"
#include "ports.h"
#include "sctp_csum.h"
#include "types.h"

/* Writing a packet's headers: addresses, ports, TTL and their checksums. */

/* Destination part of a flow's translation, for the chains that follow. */
ctx_step int translate_dst(struct pkt *p, const struct endpoints *out)
{
	if (!p || !out)
		return 0;
	addr_copy(p->tuple.daddr, out->daddr);
	p->tuple.dport = out->dport;
	if (p->nfproto == NFPROTO_IPV4)
		*(__be32 *)(p->nh + offsetof(struct iphdr, daddr)) =
			*(__be32 *)out->daddr;
	else
		addr_copy(p->nh + offsetof(struct ipv6hdr, daddr), out->daddr);
	if (has_ports(p->l4proto))
		*(__be16 *)&p->th[2] = out->dport;
	else if (icmp_is_answer(p) && !icmp_keeps_id(p->l4proto, p->th[0]))
		*(__be16 *)&p->th[4] = out->dport;
	return 0;
}

/* Source part, likewise. */
ctx_step int translate_src(struct pkt *p, const struct endpoints *out)
{
	if (!p || !out)
		return 0;
	addr_copy(p->tuple.saddr, out->saddr);
	p->tuple.sport = out->sport;
	if (p->nfproto == NFPROTO_IPV4)
		*(__be32 *)(p->nh + offsetof(struct iphdr, saddr)) =
			*(__be32 *)out->saddr;
	else
		addr_copy(p->nh + offsetof(struct ipv6hdr, saddr), out->saddr);
	if (has_ports(p->l4proto))
		*(__be16 *)&p->th[0] = out->sport;
	else if (icmp_is_query(p) && !icmp_keeps_id(p->l4proto, p->th[0]))
		*(__be16 *)&p->th[4] = out->sport;
	return 0;
}

/* Writes the ports, or a query's id, in place. */
static __always_inline int rewrite_ports(struct ctx_buff *ctx,
					 const struct pkt *p)
{
	void *data = CTX_POINTER(ctx, data);
	void *data_end = CTX_POINTER(ctx, data_end);
	__be16 *th = data + L4_OFF(p);

	if ((void *)(th + 4) > data_end)
		return -1;
	switch (p->l4proto) {
	case IPPROTO_TCP:
	case IPPROTO_UDP:
	case IPPROTO_UDPLITE:
		th[0] = p->tuple.sport;
		th[1] = p->tuple.dport;
		break;
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		th[2] = icmp_is_query(p) ? p->tuple.sport : p->tuple.dport;
		break;
#if !CTX_XDP
	case IPPROTO_SCTP:
		return sctp_set_ports(ctx, p);
#endif
	}
	return 0;
}

/* One hop less, seen as the 16 bits that the TTL begins. */
#define TTL_DIFF csum_diff16(bpf_htons(0x0100), 0)

static __always_inline int rewrite_ipv4(struct ctx_buff *ctx,
					const struct pkt *p, __u32 addr_diff,
					int ttl)
{
	void *data_end = CTX_POINTER(ctx, data_end);
	struct iphdr *ip = CTX_POINTER(ctx, data) + L3_OFF(p);
	__u64 diff = addr_diff;

	if ((void *)(ip + 1) > data_end)
		return -1;
	if (addr_diff) {
		__builtin_memcpy(&ip->saddr, p->tuple.saddr, 4);
		__builtin_memcpy(&ip->daddr, p->tuple.daddr, 4);
	}
	if (ttl) {
		ip->ttl--;
		diff += TTL_DIFF;
	}
	if (diff)
		ip->check = csum_apply(ip->check, diff);
	return 0;
}

static __always_inline int rewrite_ipv6(struct ctx_buff *ctx,
					const struct pkt *p, __u32 addr_diff,
					int ttl)
{
	void *data_end = CTX_POINTER(ctx, data_end);
	struct ipv6hdr *ip = CTX_POINTER(ctx, data) + L3_OFF(p);

	if ((void *)(ip + 1) > data_end)
		return -1;
	if (addr_diff) {
		addr_copy(&ip->saddr, p->tuple.saddr);
		addr_copy(&ip->daddr, p->tuple.daddr);
	}
	if (ttl)
		ip->hop_limit--;
	return 0;
}

/*
 * Gives the packet the addresses and ports of p->tuple, which are other ones
 * by these checksum differences; with ttl, one hop less. Invalidates packet
 * pointers.
 */
ctx_step int rewrite(struct ctx_buff *ctx, const struct pkt *p, __u32 addr_diff,
		     __u32 port_diff, int ttl)
{
	__u64 flags = 0;
	__u32 off;
	int err;

	if (!p)
		return -1;
	off = L4_OFF(p);
	if (p->nfproto == NFPROTO_IPV4) {
		err = rewrite_ipv4(ctx, p, addr_diff, ttl);
	} else {
		err = rewrite_ipv6(ctx, p, addr_diff, ttl);
#if !CTX_XDP
		flags = csum_ipv6_flag;
#endif
	}
	if (err)
		return err;
	/* A later fragment has no transport header to write to. */
	if (!(addr_diff | port_diff) || is_later_fragment(p))
		return 0;
	if (icmp_keeps_id(p->l4proto, p->th[0]))
		port_diff = 0;
	if (port_diff && rewrite_ports(ctx, p) < 0)
		return -1;

	switch (p->l4proto) {
	case IPPROTO_TCP:
		off += offsetof(struct tcphdr, check);
		break;
	case IPPROTO_UDP:
	case IPPROTO_UDPLITE:
		off += offsetof(struct udphdr, check);
		flags |= BPF_F_MARK_MANGLED_0;
		break;
	case IPPROTO_ICMP:
		off += ICMP_CSUM_OFF;
		addr_diff = 0; /* no pseudo header */
		break;
	case IPPROTO_ICMPV6:
		off += ICMP_CSUM_OFF;
		break;
	default:
		return 0; /* by address: no checksum that we know of */
	}
	return ctx_csum_update(ctx, off, addr_diff, port_diff, flags);
}
