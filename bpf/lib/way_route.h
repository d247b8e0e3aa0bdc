/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once

#include "common.h"
#include "fib.h"
#include "flow.h"
#include "forward.h"
#include "nat_addr.h"
#include "types.h"
#include "written.h"

/* Where a packet goes from here. */

static __always_inline int lookup_route(struct __sk_buff *skb,
					const struct pkt *p, __u32 iif,
					struct bpf_fib_lookup *fib, __u32 len,
					__u32 flags)
{
	route_fill(fib, p, len);
	fib->ifindex = iif;
	if (policy_writes)
		route_fill_written(fib, p);
	/* In newer headers a union with smac; an output after the call. */
	__builtin_memcpy(fib->smac, &p->mark, sizeof(p->mark));
	return bpf_fib_lookup(skb, fib, sizeof(*fib), flags | FIB_LOOKUP_MARK);
}

static __always_inline enum route
find_route(struct __sk_buff *skb, struct pkt *p, struct bpf_fib_lookup *fib)
{
	int ret, too_big = 0;

	if (is_multicast(p, &p->tuple))
		return ROUTE_LOCAL;
	if (p->nfproto == NFPROTO_IPV6 && is_link_local(p->tuple.daddr))
		return ROUTE_LOCAL;

	ret = lookup_route(skb, p, p->iif, fib, segment_len(skb, p),
			   FIB_LOOKUP_SKIP_NEIGH);
	if (ret == BPF_FIB_LKUP_RET_FRAG_NEEDED) {
		/* Which interface it would have been. */
		ret = lookup_route(skb, p, p->iif, fib, 1,
				   FIB_LOOKUP_SKIP_NEIGH);
		too_big = 1;
	}
	switch (ret) {
	case BPF_FIB_LKUP_RET_SUCCESS:
		/* To a station of its own, in a frame to all: ip_forward()
		 * asks no chain about it.
		 */
		if (p->pkt_type != PACKET_HOST)
			return ROUTE_DROP;
		if (p->nfproto == NFPROTO_IPV6 && is_link_local(p->tuple.saddr))
			return ROUTE_REFUSED;
		p->oif = fib->ifindex;
		return too_big ? ROUTE_TOO_BIG : ROUTE_FORWARD;
	case BPF_FIB_LKUP_RET_NOT_FWDED:
	case BPF_FIB_LKUP_RET_FWD_DISABLED:
		return ROUTE_LOCAL;
	case BPF_FIB_LKUP_RET_BLACKHOLE:
	case BPF_FIB_LKUP_RET_UNREACHABLE:
	case BPF_FIB_LKUP_RET_PROHIBIT:
		return ROUTE_REFUSED;
	}
	return ROUTE_DROP;
}

/*
 * To the router itself: by lo, way_self.h, if the packet is its own. No chain chooses
 * a zone for the answers there.
 */
static __always_inline int route_by_lo(struct pkt *p)
{
	if (!(policy_nat & NAT_OUTPUT) || p->iif || zone_of(p, ZONE_REPLY))
		return STAT_DROP_NAT_LOCAL;
	p->oif = LOOPBACK_IFINDEX;
	return 0;
}

/* Whether the destination is the router's, and not a broadcast address. */
static __always_inline int is_own_dst(struct __sk_buff *skb, struct pkt *p)
{
	return nft_fib_type(skb, p, FIB_DADDR) &&
	       *(__u64 *)ANSWER(p, FIB_DADDR) == RTN_LOCAL;
}

/*
 * The destination was translated after the kernel had routed the packet: the
 * way is another one, as ip_route_me_harder() finds it. In fib->dmac is the
 * neighbour's address, or none if it is not known yet.
 */
static __always_inline int reroute(struct __sk_buff *skb, struct pkt *p,
				   struct bpf_fib_lookup *fib)
{
	/* Without a lookup, which says nothing while forwarding is off. */
	if (policy_nat & NAT_OUTPUT && is_loopback(p, p->tuple.daddr))
		return route_by_lo(p);
	switch (lookup_route(skb, p, p->iif ? p->iif : LOOPBACK_IFINDEX, fib,
			     segment_len(skb, p), 0)) {
	case BPF_FIB_LKUP_RET_SUCCESS:
	case BPF_FIB_LKUP_RET_NO_NEIGH:
		p->oif = fib->ifindex;
		return 0;
	case BPF_FIB_LKUP_RET_NOT_FWDED:
		if (policy_nat & NAT_OUTPUT && !p->iif && !is_own_dst(skb, p))
			return STAT_DROP_NO_ROUTE;
		return route_by_lo(p);
	}
	return STAT_DROP_NO_ROUTE;
}

/* Whether answers to the translated source would stay in the router. */
static __noinline __maybe_unused int answers_by_lo(struct __sk_buff *skb,
						   const struct pkt *p)
{
	struct bpf_fib_lookup fib;

	route_fill(&fib, p, 1);
	fib.ifindex = LOOPBACK_IFINDEX;
	if (p->nfproto == NFPROTO_IPV4)
		__builtin_memcpy(&fib.ipv4_dst, p->tuple.saddr, 4);
	else
		__builtin_memcpy(fib.ipv6_dst, p->tuple.saddr, 16);
	return bpf_fib_lookup(skb, &fib, sizeof(fib), FIB_LOOKUP_SKIP_NEIGH) ==
	       BPF_FIB_LKUP_RET_NOT_FWDED;
}
