/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once

#include "answer.h"
#include "common.h"
#include "csum.h"
#include "dup.h"
#include "scratch.h"
#include "types.h"
#include "way_send.h"

/* The copy of a packet begins its way, as the router's own: dup.h. */

/* The headers as they were at the hook, where a translation, and the hop that this
 * router is, may not be in the packet yet. Copies that have arrived have one hop
 * less, and those of IPv4 are not to be fragmented.
 */
static __always_inline int copy_headers(struct __sk_buff *skb, struct pkt *p,
					struct scratch *s,
					const struct pkt *was)
{
	struct iphdr *ip = (struct iphdr *)s->buffer;
	__u32 len = p->l4_off - p->l3_off;
	int arrived = was->hook == NF_INET_PRE_ROUTING ||
		      was->hook == NF_INET_LOCAL_IN;

	__builtin_memcpy(p->nh, was->nh, sizeof(p->nh));
	__builtin_memcpy(p->th, was->th, sizeof(p->th));
	p->tuple = was->tuple;
	p->mark = was->mark;
	p->priority = was->priority;
	if (write_headers(skb, p, &s->key, NULL, 0) < 0)
		return -1;
	s->key = p->tuple;
	if (p->nfproto == NFPROTO_IPV6) {
		p->nh[offsetof(struct ipv6hdr, hop_limit)] -= arrived;
		return bpf_skb_store_bytes(
			skb, L3_OFF(p) + offsetof(struct ipv6hdr, hop_limit),
			&p->nh[offsetof(struct ipv6hdr, hop_limit)], 1,
			BPF_F_RECOMPUTE_CSUM);
	}
	if (!in_bounds(len, sizeof(*ip), 60))
		return -1;
	__builtin_memset(s->buffer, 0, 60);
	if (ctx_load(skb, L3_OFF(p), s->buffer, len) < 0)
		return -1;
	ip->ttl = p->nh[offsetof(struct iphdr, ttl)] - arrived;
	ip->frag_off |= bpf_htons(IP_DF);
	ip->check = 0;
	ip->check =
		~csum_fold(bpf_csum_diff(NULL, 0, (__be32 *)s->buffer, 60, 0));
	__builtin_memcpy(p->nh, ip, sizeof(*ip));
	return bpf_skb_store_bytes(skb, L3_OFF(p), ip, sizeof(*ip),
				   BPF_F_RECOMPUTE_CSUM);
}

/* The route to the gateway, in s->route. Returns 0, or less when there is none. */
static __always_inline int copy_route(struct __sk_buff *skb, struct pkt *p,
				      struct scratch *s, struct sending *c)
{
	struct bpf_fib_lookup *fib = route_of(s);
	__u32 flags = copy_query(fib, p, c, segment_len(skb, p));

	if (bpf_fib_lookup(skb, fib, sizeof(*fib), flags) !=
	    BPF_FIB_LKUP_RET_SUCCESS)
		return -1;
	p->oif = fib->ifindex;
	c->routed_by = p->oif;
	return 0;
}

/* Returns 0, or less when there is nothing to send. Global: verified once, and off
 * the way of other packets.
 */
__noinline int copy_begin(struct __sk_buff *skb, struct pkt *p)
{
	struct sending *c = sending();
	struct scratch *s = scratch(), *kept;
	__u32 slot = SCRATCH_KEPT;

	kept = bpf_map_lookup_elem(&l2_scratch, &slot);
	if (!p || !s || !c || !kept)
		return -1;
	p->ct_state = CT_STATE_UNTRACKED;
	p->ll_len = kept->pkt.ll_len; /* it has the link's header, too */
	if (copy_headers(skb, p, s, &kept->pkt))
		return -1;
	return copy_route(skb, p, s, c);
}
