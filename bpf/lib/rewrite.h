/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once

#include "common.h"
#include "csum.h"
#include "frag.h"
#include "types.h"

/* Writing a packet's headers: addresses, ports, TTL and their checksums. */

/* Destination part of a flow's translation, for the chains that follow. */
static __always_inline void translate_dst(struct pkt *p,
					  const struct endpoints *out)
{
	__builtin_memcpy(p->tuple.daddr, out->daddr, 16);
	p->tuple.dport = out->dport;
	if (p->nfproto == NFPROTO_IPV4)
		__builtin_memcpy(p->nh + offsetof(struct iphdr, daddr),
				 out->daddr, 4);
	else
		__builtin_memcpy(p->nh + offsetof(struct ipv6hdr, daddr),
				 out->daddr, 16);
	if (p->l4proto == IPPROTO_TCP || p->l4proto == IPPROTO_UDP)
		*(__be16 *)&p->th[2] = out->dport;
}

/* Source part, likewise. */
static __always_inline void translate_src(struct pkt *p,
					  const struct endpoints *out)
{
	__builtin_memcpy(p->tuple.saddr, out->saddr, 16);
	p->tuple.sport = out->sport;
	if (p->nfproto == NFPROTO_IPV4)
		__builtin_memcpy(p->nh + offsetof(struct iphdr, saddr),
				 out->saddr, 4);
	else
		__builtin_memcpy(p->nh + offsetof(struct ipv6hdr, saddr),
				 out->saddr, 16);
	if (p->l4proto == IPPROTO_TCP || p->l4proto == IPPROTO_UDP)
		*(__be16 *)&p->th[0] = out->sport;
}

/* Writes the ports, or a query's id, in place; sets what they changed by. */
static __always_inline int rewrite_ports(struct ctx_buff *ctx,
					 const struct pkt *p,
					 const struct tuple *from, __u32 *diff)
{
	const struct tuple *to = &p->tuple;
	void *data = CTX_POINTER(ctx, data);
	void *data_end = CTX_POINTER(ctx, data_end);
	__u8 *th = data + L4_OFF(p);

	if (from->sport == to->sport && from->dport == to->dport)
		return 0;
	if ((void *)(th + 8) > data_end)
		return -1;
	switch (p->l4proto) {
	case IPPROTO_TCP:
	case IPPROTO_UDP:
		*(__be16 *)&th[0] = to->sport;
		*(__be16 *)&th[2] = to->dport;
		break;
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		*(__be16 *)&th[4] = from->sport != to->sport ? to->sport :
							       to->dport;
		break;
	}
	*diff = csum_add(csum_diff16(from->sport, to->sport),
			 csum_diff16(from->dport, to->dport));
	return 0;
}

/*
 * Makes the packet, which is as from says, what p->tuple says; with ttl, one
 * hop on. Invalidates packet pointers.
 */
static __always_inline int rewrite(struct ctx_buff *ctx, const struct pkt *p,
				   const struct tuple *from, int ttl)
{
	void *data = CTX_POINTER(ctx, data);
	void *data_end = CTX_POINTER(ctx, data_end);
	const struct tuple *to = &p->tuple;
	__u32 addr_diff = 0, port_diff = 0, off = L4_OFF(p);
	__u64 flags = 0;

	if (p->nfproto == NFPROTO_IPV4) {
		struct iphdr *ip = data + L3_OFF(p);
		__u32 saddr, daddr, diff = 0;
		__u16 before;

		if ((void *)(ip + 1) > data_end)
			return -1;
		__builtin_memcpy(&saddr, to->saddr, 4);
		__builtin_memcpy(&daddr, to->daddr, 4);
		if (ip->saddr != saddr) {
			addr_diff = csum_diff(&ip->saddr, &saddr, 1);
			ip->saddr = saddr;
		}
		if (ip->daddr != daddr) {
			addr_diff = csum_add(addr_diff,
					     csum_diff(&ip->daddr, &daddr, 1));
			ip->daddr = daddr;
		}
		if (ttl) {
			before = *(__u16 *)&ip->ttl;
			ip->ttl--;
			diff = csum_diff16(before, *(__u16 *)&ip->ttl);
		}
		diff = csum_add(diff, addr_diff);
		if (diff)
			ip->check = csum_apply(ip->check, diff);
	} else {
		struct ipv6hdr *ip = data + L3_OFF(p);

		if ((void *)(ip + 1) > data_end)
			return -1;
		if (__builtin_memcmp(from->saddr, to->saddr, 16)) {
			addr_diff = csum_diff(from->saddr, to->saddr, 4);
			__builtin_memcpy(&ip->saddr, to->saddr, 16);
		}
		if (__builtin_memcmp(from->daddr, to->daddr, 16)) {
			addr_diff = csum_add(addr_diff,
					     csum_diff(from->daddr, to->daddr,
						       4));
			__builtin_memcpy(&ip->daddr, to->daddr, 16);
		}
		if (ttl)
			ip->hop_limit--;
#if !CTX_XDP
		flags = csum_ipv6_flag;
#endif
	}

	if (is_later_fragment(p))
		return 0; /* the transport header is in another fragment */
	if (rewrite_ports(ctx, p, from, &port_diff) < 0)
		return -1;
	if (!(addr_diff | port_diff))
		return 0;

	switch (p->l4proto) {
	case IPPROTO_TCP:
		off += offsetof(struct tcphdr, check);
		break;
	case IPPROTO_UDP:
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
