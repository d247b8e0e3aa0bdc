/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once

#include "common.h"
#include "dup.h"
#include "fib.h"
#include "kernel.h"
#include "scratch.h"
#include "types.h"

/*
 * The rt expression: nft_rt.c of the kernel. What the host sends has its route
 * where the egress program sees it. For what is forwarded, before there is one,
 * it is looked up. A copy of a packet has the route to its gateway.
 */

/* NFT_RT_* */
#define RT_NEXTHOP4 1
#define RT_NEXTHOP6 2
#define RT_XFRM 4
#define RT_KEY 7

#pragma clang attribute push(__attribute__((preserve_access_index)), \
			     apply_to = record)

struct lwtunnel_state {
	__u16 headroom;
};

struct dst_entry {
	struct net_device *dev;
	unsigned long _metrics;
	unsigned long expires;
	struct xfrm_state *xfrm;
	unsigned short flags;
	__u32 tclassid;
	struct lwtunnel_state *lwtstate;
};

struct rtable {
	struct dst_entry dst;
	__u8 rt_uses_gateway;
	__u8 rt_gw_family;
	__be32 rt_gw4;
	__u32 rt_mtu_locked : 1, rt_pmtu : 31;
};

struct rt6_info {
	struct dst_entry dst;
	struct rt6key rt6i_dst;
	struct in6_addr rt6i_gateway;
	__u32 rt6i_flags;
};

#pragma clang attribute pop

#define SKB_DST_NOREF 1UL
#define DST_METADATA 0x0080
#define DST_METRICS_FLAGS 3UL

#define IP_MAX_MTU 0xfff0
#define IP6_MAX_MTU (0xffff + 40)
#define IPV6_MIN_MTU 1280

/* The route that the packet has; 0: none yet. */
static __always_inline __u64 ctx_route(struct ctx_buff *ctx)
{
#if CTX_XDP
	return 0;
#else
	struct sk_buff *skb = bpf_cast_to_kern_ctx(ctx);
	__u64 dst = skb->_skb_refdst & ~SKB_DST_NOREF;

	if (!dst || kernel_cast(struct dst_entry, dst)->flags & DST_METADATA)
		return 0;
	return dst;
#endif
}

/* IPv4's of an interface, or IPv6's. */
static __always_inline __u32 device_mtu(const struct net_device *dev, int v6)
{
	struct inet6_dev *inet6;
	__u32 mtu;

	if (!v6) {
		mtu = dev->mtu;
		return mtu < IP_MAX_MTU ? mtu : IP_MAX_MTU;
	}
	inet6 = dev->ip6_ptr;
	mtu = inet6 ? inet6->cnf.mtu6 : IPV6_MIN_MTU;
	return mtu < IP6_MAX_MTU ? mtu : IP6_MAX_MTU;
}

/* dst_mtu() */
static __always_inline __u32 route_mtu(__u64 route, int v6)
{
	struct dst_entry *dst = kernel_cast(struct dst_entry, route);
	__u64 metrics = dst->_metrics & ~DST_METRICS_FLAGS;
	__u32 mtu = 0, max = v6 ? IP6_MAX_MTU : IP_MAX_MTU;

	if (!v6) {
		/* Without the bit beside it. */
		mtu = kernel_bits(struct rtable, route, rt_pmtu);
		/* As time_before(): the difference's sign. */
		if (mtu && (__s64)(bpf_jiffies64() - dst->expires) >= 0)
			mtu = 0;
	}
	if (!mtu)
		mtu = metrics_mtu(kernel_cast(struct dst_metrics, metrics));
	if (!mtu)
		mtu = device_mtu(dst->dev, v6);
	if (mtu > max)
		mtu = max;
	if (kernel_u64(kernel_address(dst, lwtstate)))
		mtu -= dst->lwtstate->headroom;
	return mtu;
}

/* The route in the tables; 0: none, or it depends on rules. Global, as nft_rt_mtu(): the
 * kernel verifies each search once, and not for each way that leads to it.
 */
__noinline __u64 nft_rt_route(struct ctx_buff *ctx, struct pkt *p)
{
	__u64 table, route = 0;
	struct route_query *q;
	struct net *net;
	int main;

	if (!p)
		return 0;
	q = route_query(p);
	net = ctx_net(ctx);
	q->metric = 0;
	if (q->v6) {
		for (main = 0; main < 2; main++) {
			barrier_var(net);
			barrier_var(q);
			table = kernel_u64(
				main ? kernel_address(net, ipv6.fib6_main_tbl) :
				       kernel_address(net,
						      ipv6.fib6_local_tbl));
			route = fib6_find(p, net, table, &q->to, 0);
			if (route || net->ipv6.fib6_has_custom_rules ||
			    net->ipv6.fib6_routes_require_src)
				break;
		}
		if (route)
			q->metric =
				metrics_mtu(kernel_cast(struct fib6_info, route)
						    ->fib6_metrics);
		return route;
	}
	table = net->ipv4.fib_has_custom_rules ?
			fib4_table(net, RT_TABLE_LOCAL) :
			fib4_trie(net->ipv4.fib_main);
	route = fib4_find(p, table, q->to.low, q->tos);
	if (route)
		q->metric = metrics_mtu(kernel_cast(struct fib_alias, route)
						->fa_info->fib_metrics);
	return route;
}

static __always_inline int rt_is_local(__u64 route, int v6)
{
	return v6 ? !!(kernel_cast(struct fib6_info, route)->fib6_flags &
		       (RTF_LOCAL | RTF_ANYCAST)) :
		    fib4_route_type(route) == RTN_LOCAL;
}

/* Asks the kernel for a way; returns whether there is one. */
static __always_inline int rt_lookup(struct ctx_buff *ctx,
				     struct route_query *q)
{
	return bpf_fib_lookup(ctx, &q->fib, sizeof(q->fib),
			      FIB_LOOKUP_SKIP_NEIGH | FIB_LOOKUP_MARK |
				      q->flags) == BPF_FIB_LKUP_RET_SUCCESS;
}

/*
 * The MTU of a way; 0: there is none. The kernel says that of the interface, or
 * what it has learned of the path, and not what the route itself was given.
 */
__noinline __u32 nft_rt_mtu(struct ctx_buff *ctx, struct pkt *p)
{
	__u32 ifindex = 0, mtu, of_device;
	struct route_query *q;
	struct net_device *dev;
	struct net *net;
	__u64 route;

	if (!p)
		return 0;
	q = route_query(p);
	net = ctx_net(ctx);
	route = nft_rt_route(ctx, p);
	if (route && rt_is_local(route, q->v6))
		return device_mtu(net->loopback_dev, q->v6);
	q->found = rt_lookup(ctx, q);
	mtu = q->fib.mtu_result;
	if (q->found)
		ifindex = q->fib.ifindex;
	else if (route)
		ifindex = q->v6 ? fib6_device(route, 0) : fib4_device(route, 0);
	dev = ifindex ? device_by_index(net, ifindex) : NULL;
	if (!dev)
		return 0;
	of_device = device_mtu(dev, q->v6);
	if (q->found && mtu != of_device)
		return mtu;
	return q->metric ? q->metric : of_device;
}

/* A copy that no chain has sent another way; NULL: the packet is none. */
static __always_inline const struct sending *rt_copy(const struct pkt *p)
{
#if CTX_XDP
	return NULL;
#else
	return is_copy() && !p->send_by ? sending() : NULL;
#endif
}

/*
 * The route that the kernel has given the packet and that is still its own; 0: it is to
 * be looked up. What arrives may have one of a tunnel, and what is sent may have got
 * another destination or mark since.
 */
static __always_inline __u64 rt_dst(struct ctx_buff *ctx, const struct pkt *p)
{
	const struct scratch *s = scratch();

	if (!s || p->hook == NF_INET_LOCAL_IN || p->send_by || rt_copy(p) ||
	    __builtin_memcmp(s->key.daddr, p->tuple.daddr, 16))
		return 0;
	return ctx_route(ctx);
}

/* The mark that the packet is routed with: chains behind that may change it. */
static __always_inline __u32 rt_mark(struct ctx_buff *ctx, const struct pkt *p)
{
	__u32 mark = ctx_mark(ctx);

	barrier_var(mark); /* and not one address of both */
	return p->iif ? mark : p->mark;
}

/* rt_forth() of a copy. Returns whether the packet is one. */
static __always_inline int rt_forth_copy(struct pkt *p, struct route_query *q)
{
#if CTX_XDP
	return 0;
#else
	const struct sending *c = rt_copy(p);

	if (!c)
		return 0;
	q->flags = copy_query(&q->fib, p, c, 1);
	if (q->v6) {
		q->to.high = bpf_be64_to_cpu(*(__u64 *)c->gateway);
		q->to.low = bpf_be64_to_cpu(*(__u64 *)(c->gateway + 8));
	} else {
		q->to.low = bpf_ntohl(*(__be32 *)c->gateway);
	}
	return 1;
#endif
}

static __always_inline void rt_forth(struct ctx_buff *ctx, struct pkt *p)
{
	__u32 mark = rt_mark(ctx, p);
	struct route_query *q;

	barrier_var(p); /* see fib_ask() */
	q = route_query(p);
	q->flags = 0;
	q->tos = p->nh[offsetof(struct iphdr, tos)];
	q->v6 = p->nfproto == NFPROTO_IPV6;
	if (rt_forth_copy(p, q))
		return;
	route_fill(&q->fib, p, 1);
	if (!p->iif) /* an answer of the router's own */
		q->fib.ifindex = LOOPBACK_IFINDEX;
	__builtin_memcpy(q->fib.smac, &mark, sizeof(mark));
	if (q->v6)
		q->to = fib6_address(p, FIB_DADDR);
	else
		q->to.low = fib4_address(p, FIB_DADDR);
}

static __always_inline void rt_back(struct pkt *p)
{
	struct route_query *q;

	barrier_var(p); /* see fib_ask() */
	q = route_query(p);
	__builtin_memset(q, 0, sizeof(*q));
	q->fib.ifindex = LOOPBACK_IFINDEX;
	q->fib.tot_len = 1;
	q->v6 = p->nfproto == NFPROTO_IPV6;
	if (q->v6) {
		q->to = fib6_address(p, FIB_SADDR);
		q->fib.family = AF_INET6;
		__builtin_memcpy(q->fib.ipv6_dst,
				 &p->nh[offsetof(struct ipv6hdr, saddr)], 16);
	} else {
		q->to.low = fib4_address(p, FIB_SADDR);
		q->fib.family = AF_INET;
		__builtin_memcpy(&q->fib.ipv4_dst,
				 &p->nh[offsetof(struct iphdr, saddr)], 4);
	}
}

/* Loads the largest segment that fits both ways: get_tcpmss(). Returns whether
 * there is one.
 */
__noinline int nft_tcpmss(struct ctx_buff *ctx, struct pkt *p, __u32 question)
{
	__u32 headers, mss = TCP_MSS_DEFAULT, mtu = 0, way;
	int back, v6;
	__u64 dst;

	if (!p || p->hook == NF_INET_PRE_ROUTING)
		return 0;
	dst = rt_dst(ctx, p);
	v6 = p->nfproto == NFPROTO_IPV6;
	headers = v6 ? 60 : 40;
	for (back = 0; back < 2; back++) {
		barrier_var(p);
		if (back)
			rt_back(p);
		else
			rt_forth(ctx, p);
		way = !back && dst ? route_mtu(dst, v6) : nft_rt_mtu(ctx, p);
		if (!back || (way && way < mtu))
			mtu = way;
	}
	if (mtu > headers && mtu <= 0xffff)
		mss = mtu - headers;
	*(__u64 *)ANSWER(p, question) = mss;
	return 1;
}

/* The neighbour that the packet goes to next; returns whether it is known. */
static __always_inline int rt_nexthop(struct ctx_buff *ctx, struct pkt *p,
				      __u64 dst, __u8 *to)
{
	struct bpf_fib_lookup *fib = &route_query(p)->fib;

	if (p->nfproto == NFPROTO_IPV4) {
		__builtin_memcpy(to, &p->nh[offsetof(struct iphdr, daddr)], 4);
		if (dst) {
			struct rtable *rt = kernel_cast(struct rtable, dst);

			if (rt->rt_gw_family == AF_INET)
				*(__be32 *)to = rt->rt_gw4;
			return 1;
		}
	} else {
		__builtin_memcpy(to, &p->nh[offsetof(struct ipv6hdr, daddr)],
				 16);
		if (dst) {
			struct rt6_info *rt = kernel_cast(struct rt6_info, dst);
			__u64 at = kernel_address(rt, rt6i_gateway);

			if (!(rt->rt6i_flags & RTF_GATEWAY)) {
				if (!(rt->rt6i_flags & RTF_CACHE))
					return 1;
				at = kernel_address(rt, rt6i_dst.addr);
			}
			*(__u64 *)to = kernel_u64(at);
			*(__u64 *)(to + 8) = kernel_u64(at + 8);
			return 1;
		}
	}
	/* To the host itself. */
	if (p->hook == NF_INET_LOCAL_IN)
		return 1;
	rt_forth(ctx, p);
	if (!rt_lookup(ctx, route_query(p)))
		return 0;
	if (p->nfproto == NFPROTO_IPV6)
		__builtin_memcpy(to, fib->ipv6_dst, 16);
	else if (fib->family == AF_INET)
		__builtin_memcpy(to, &fib->ipv4_dst, 4);
	return 1;
}

/* The realm that a route gives, if it has one way only. */
static __always_inline __u32 fib4_realm(__u64 alias)
{
	struct fib_info *info = kernel_cast(struct fib_alias, alias)->fa_info;

	if (info->nh || info->fib_nhs != 1)
		return 0;
	return kernel_cast(struct fib_nh, kernel_address(info, fib_nh[0]))
		->nh_tclassid;
}

/* As rt_set_nexthop() puts the realms of both ends together; an answer of the
 * router's own has that of its destination.
 */
static __always_inline __u32 realms_of_ends(struct pkt *p, struct net *net)
{
	__u64 trie = fib4_trie(net->ipv4.fib_main), alias;
	__u8 tos = p->nh[offsetof(struct iphdr, tos)];
	__u32 realm, realms = 0;
	const struct sending *copy = rt_copy(p);
	__u32 address;
	int back;

	/* One copy of the search for the source and the destination. */
	for (back = !p->iif || copy; back < 2; back++) {
		barrier_var(p);
		if (back && p->hook == NF_INET_LOCAL_IN)
			break;
		address = copy ? bpf_ntohl(*(__be32 *)copy->gateway) :
				 fib4_address(p, back ? FIB_DADDR : FIB_SADDR);
		alias = fib4_find(p, trie, address, tos);
		realm = alias ? fib4_realm(alias) : 0;
		if (!back) {
			realms = realm << 16;
			continue;
		}
		if (realm & 0xffff)
			realms |= realm & 0xffff;
		if (realm >> 16)
			realms = (realms & 0xffff) | (realm & 0xffff0000);
	}
	return realms;
}

/*
 * Loads the realms of the route, dst_entry.tclassid; returns whether there is a
 * route. Without realms in the tables they are 0, and always for IPv6. What
 * arrives has no route yet that says so: where rules choose tables, and may have
 * realms of their own, there is no answer.
 */
__noinline int nft_realms(struct ctx_buff *ctx, struct pkt *p, __u32 question)
{
	__u32 realms = 0;
	struct net *net;
	__u64 dst;

	if (!p || p->hook == NF_INET_PRE_ROUTING)
		return 0;
	if (p->nfproto == NFPROTO_IPV4 &&
	    kernel_has(struct netns_ipv4, fib_num_tclassid_users)) {
		net = ctx_net(ctx);
		dst = rt_dst(ctx, p);
		if (dst)
			realms = kernel_cast(struct dst_entry, dst)->tclassid;
		else if (net->ipv4.fib_num_tclassid_users.counter) {
			if (net->ipv4.fib_has_custom_rules)
				return 0;
			realms = realms_of_ends(p, net);
		}
	}
	*(__u32 *)ANSWER(p, question) = realms;
	return 1;
}

/* Loads a property of the route; returns whether there is one. */
__noinline int nft_rt(struct ctx_buff *ctx, struct pkt *p, __u32 question)
{
	__u64 dst;

	if (!p || p->hook == NF_INET_PRE_ROUTING)
		return 0;
	dst = rt_dst(ctx, p);
	switch (question & RT_KEY) {
	case RT_NEXTHOP4:
	case RT_NEXTHOP6:
		return ((question & RT_KEY) == RT_NEXTHOP4) ==
			       (p->nfproto == NFPROTO_IPV4) &&
		       rt_nexthop(ctx, p, dst, ANSWER(p, question));
	case RT_XFRM:
		/* What the programs forward, IPsec does not see. */
		*(__u64 *)ANSWER(p, question) =
			dst && kernel_has(struct dst_entry, xfrm) &&
			kernel_u64(dst + kernel_offset(struct dst_entry, xfrm));
		return 1;
	}
	return 0;
}
