/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once

#include "common.h"
#include "device.h"
#include "fib4.h"
#include "fib6.h"
#include "forward.h"
#include "kernel.h"
#include "types.h"

/*
 * The fib expression: nft_fib_ipv4.c and nft_fib_ipv6.c of the kernel. Routes
 * are looked up where the kernel has them. Where rules choose the table (ip
 * rule), the kernel is asked, behind the local table; without forwarding it
 * does not answer, and the main table does.
 */

/* NFTA_FIB_F_* */
#define FIB_SADDR (1U << 0)
#define FIB_DADDR (1U << 1)
#define FIB_MARK (1U << 2)
#define FIB_IIF (1U << 3)
#define FIB_OIF (1U << 4)
#define FIB_PRESENT (1U << 5)
#define FIB_NAME (1U << 6) /* not the index of the interface */

/* What is looked up. It lies where new elements of sets are built, which is not
 * at the same time: the stack is too small.
 */
struct route_query {
	struct bpf_fib_lookup fib;
	struct address6 to; /* IPv4: low */
	__u32 oif; /* of a link's address */
	__u32 metric; /* the MTU that the route was given; 0: none */
	__u32 flags; /* of the lookup, besides those of all */
	__u8 tos;
	__u8 v6;
	__u8 found; /* the kernel knows a way, and fib says which */
};

static __always_inline struct route_query *route_query(struct pkt *p)
{
	_Static_assert(sizeof(struct route_query) <= sizeof(p->elem),
		       "does not fit");
	return (struct route_query *)p->elem;
}

/* The interface that a question names. */
static __always_inline __u32 fib_device(const struct pkt *p, __u32 question)
{
	if (question & FIB_IIF)
		return p->iif;
	return question & FIB_OIF ? p->oif : 0;
}

static __always_inline int address6_is_multicast(const struct address6 *a)
{
	return a->high >> 56 == 0xff;
}

/* IPV6_ADDR_LINKLOCAL of ipv6_addr_type(): multicast of that scope, too. */
static __always_inline int address6_is_link_local(const struct address6 *a)
{
	return a->high >> 54 == 0xfe80 >> 6 ||
	       (address6_is_multicast(a) && (a->high >> 48 & 0xf) == 2);
}

static __always_inline struct address6 fib6_address(const struct pkt *p,
						    __u32 question)
{
	const __u8 *at =
		&p->nh[question & FIB_DADDR ? offsetof(struct ipv6hdr, daddr) :
					      offsetof(struct ipv6hdr, saddr)];

	return (struct address6){ bpf_be64_to_cpu(*(__u64 *)at),
				  bpf_be64_to_cpu(*(__u64 *)(at + 8)) };
}

/* What the kernel's rules come to; 0: no route, negative: it does not say. */
static __always_inline int fib_ask(struct ctx_buff *ctx, struct pkt *p,
				   __u32 question, __u32 iif)
{
	struct bpf_fib_lookup *fib;
	const __u8 *to, *from;
	struct address6 src;
	__u32 mark;
	int ret;

	/* Or the compiler works things out ahead of time, and fills the stack. */
	barrier_var(p);
	barrier_var(question);
	fib = &route_query(p)->fib;
	mark = question & FIB_MARK ? p->mark : 0;
	__builtin_memset(fib, 0, sizeof(*fib));
	fib->ifindex = iif;
	if (p->nfproto == NFPROTO_IPV4) {
		from = &p->nh[offsetof(struct iphdr, saddr)];
		to = &p->nh[offsetof(struct iphdr, daddr)];
		if (question & FIB_SADDR) {
			from = &p->nh[offsetof(struct iphdr, daddr)];
			to = &p->nh[offsetof(struct iphdr, saddr)];
		}
		fib->family = AF_INET;
		fib->tos = p->nh[offsetof(struct iphdr, tos)];
		__builtin_memcpy(&fib->ipv4_dst, to, 4);
		/* No route from multicast or broadcast. */
		if ((from[0] & 0xf0) != 0xe0 && *(__u32 *)from != 0xffffffff)
			__builtin_memcpy(&fib->ipv4_src, from, 4);
	} else {
		from = &p->nh[offsetof(struct ipv6hdr, saddr)];
		to = &p->nh[offsetof(struct ipv6hdr, daddr)];
		if (question & FIB_SADDR) {
			from = &p->nh[offsetof(struct ipv6hdr, daddr)];
			to = &p->nh[offsetof(struct ipv6hdr, saddr)];
		}
		fib->family = AF_INET6;
		fib->flowinfo = *(__be32 *)p->nh & bpf_htonl(0x0fffffff);
		fib->l4_protocol = p->l4proto;
		/* The helper takes no source of one link. */
		src = fib6_address(p, question & FIB_SADDR ? FIB_DADDR :
							     FIB_SADDR);
		if (!address6_is_link_local(&src) &&
		    !address6_is_multicast(&src))
			__builtin_memcpy(fib->ipv6_src, from, 16);
		__builtin_memcpy(fib->ipv6_dst, to, 16);
	}
	__builtin_memcpy(fib->smac, &mark, sizeof(mark));
	ret = bpf_fib_lookup(ctx, fib, sizeof(*fib),
			     FIB_LOOKUP_SKIP_NEIGH | FIB_LOOKUP_MARK);
	switch (ret) {
	case BPF_FIB_LKUP_RET_SUCCESS:
		return RTN_UNICAST;
	case BPF_FIB_LKUP_RET_BLACKHOLE:
		return RTN_BLACKHOLE;
	case BPF_FIB_LKUP_RET_UNREACHABLE:
		return RTN_UNREACHABLE;
	case BPF_FIB_LKUP_RET_PROHIBIT:
		return RTN_PROHIBIT;
	case BPF_FIB_LKUP_RET_NOT_FWDED:
		return RTN_UNSPEC;
	}
	return -1;
}

static __always_inline __u32 fib4_address(const struct pkt *p, __u32 question)
{
	return bpf_ntohl(
		*(__be32 *)&p->nh[question & FIB_DADDR ?
					  offsetof(struct iphdr, daddr) :
					  offsetof(struct iphdr, saddr)]);
}

/* The interface that packets to an address go by; 0: none, or not the one that
 * the question names.
 */
static __always_inline __u32 fib4_oif(struct ctx_buff *ctx, struct pkt *p,
				      __u32 question)
{
	__u32 wanted = fib_device(p, question), iif = LOOPBACK_IFINDEX;
	__u32 to = fib4_address(p, question), type;
	__u8 tos = p->nh[offsetof(struct iphdr, tos)];
	struct bpf_fib_lookup *fib = &route_query(p)->fib;
	struct net *net = ctx_net(ctx);
	__u64 trie, alias;
	int custom, ret;

	/* Of a host that has no address yet. */
	if (!fib4_address(p, FIB_SADDR)) {
		__u32 dst = fib4_address(p, FIB_DADDR);

		if (dst == 0xffffffff || dst >> 8 == 0xe00000)
			return p->iif;
	}
	/* Without rules both tables are one. */
	custom = net->ipv4.fib_has_custom_rules;
	trie = custom ? fib4_table(net, RT_TABLE_LOCAL) :
			fib4_trie(net->ipv4.fib_main);
	alias = fib4_find(p, trie, to, tos);
	if (!alias && custom) {
		if (p->hook == NF_INET_FORWARD && question & FIB_IIF &&
		    question & FIB_SADDR)
			iif = p->oif;
		ret = fib_ask(ctx, p, question, iif);
		if (ret == RTN_UNICAST)
			return !wanted || fib->ifindex == wanted ?
				       fib->ifindex :
				       0;
		if (ret >= 0)
			return 0;
		alias = fib4_find(p, fib4_trie(net->ipv4.fib_main), to, tos);
	}
	if (!alias)
		return 0;
	type = fib4_route_type(alias);
	if (type >= RTN_BLACKHOLE || type == RTN_LOCAL)
		return 0;
	return fib4_device(alias, wanted);
}

/* The interface that the route of a link-local address has to have. */
static __always_inline __u32 fib6_scope(const struct pkt *p, __u32 question,
					const struct address6 *a)
{
	__u32 wanted = fib_device(p, question);

	if (!address6_is_link_local(a))
		return 0;
	if (wanted || p->hook == NF_INET_LOCAL_OUT)
		return wanted;
	return p->hook == NF_INET_POST_ROUTING ? p->oif : p->iif;
}

/* The route of the address in question, or its type alone. */
static __always_inline __u64 fib6_route(struct ctx_buff *ctx, struct pkt *p,
					__u32 question, int *type)
{
	struct route_query *q = route_query(p);
	struct net *net = ctx_net(ctx);
	__u64 table, route;
	int main;

	*type = -1;
	q->oif = fib6_scope(p, question, &q->to);
	/* Local, main: one copy of the search for both. */
	for (main = 0; main < 2; main++) {
		barrier_var(net);
		barrier_var(q);
		table = kernel_u64(
			main ? kernel_address(net, ipv6.fib6_main_tbl) :
			       kernel_address(net, ipv6.fib6_local_tbl));
		route = fib6_find(p, net, table, &q->to, q->oif);
		if (route && kernel_cast(struct fib6_info, route)->fib6_type !=
				     RTN_THROW)
			return route;
		if (main || (!net->ipv6.fib6_has_custom_rules &&
			     !net->ipv6.fib6_routes_require_src))
			continue;
		*type = fib_ask(ctx, p, question, LOOPBACK_IFINDEX);
		/* Of a link's own addresses it says nothing. */
		if (*type > RTN_UNSPEC ||
		    (*type == RTN_UNSPEC && !address6_is_link_local(&q->to) &&
		     !address6_is_multicast(&q->to)))
			return 0;
	}
	return 0;
}

/* See fib4_oif(). */
static __always_inline __u32 fib6_oif(struct ctx_buff *ctx, struct pkt *p,
				      __u32 question)
{
	struct bpf_fib_lookup *fib = &route_query(p)->fib;
	__u32 wanted = fib_device(p, question);
	struct address6 src, dst;
	__u64 route;
	int type;

	/* Duplicate address detection. */
	if (p->hook == NF_INET_PRE_ROUTING && p->l4proto == IPPROTO_ICMPV6) {
		src = fib6_address(p, FIB_SADDR);
		dst = fib6_address(p, FIB_DADDR);
		if (!src.high && !src.low && address6_is_link_local(&dst))
			return p->iif;
	}
	route_query(p)->to = fib6_address(p, question);
	route = fib6_route(ctx, p, question, &type);
	if (!route)
		return type == RTN_UNICAST &&
				       (!wanted || fib->ifindex == wanted) ?
			       fib->ifindex :
			       0;
	if (kernel_cast(struct fib6_info, route)->fib6_flags &
	    (RTF_REJECT | RTF_ANYCAST | RTF_LOCAL))
		return 0;
	return fib6_device(route, wanted);
}

/* Whether an interface has an address that is in use. */
static __always_inline int device_has_address6(struct net *net, __u32 ifindex,
					       const struct address6 *a)
{
	struct net_device *dev = device_by_index(net, ifindex);
	struct inet6_ifaddr *ifa;
	struct address6 own;
	__u64 head, at;
	int has = 0;
	__u32 flags;

	if (!dev || !dev->ip6_ptr)
		return 0;
	head = kernel_u64(kernel_address(dev, ip6_ptr)) +
	       kernel_offset(struct inet6_dev, addr_list);
	at = kernel_u64(head);
	repeat(INET6_ADDRESSES)
	{
		if (!at || at == head)
			break;
		ifa = kernel_cast(struct inet6_ifaddr,
				  at - kernel_offset(struct inet6_ifaddr,
						     if_list));
		own = address6_at(kernel_address(ifa, addr));
		if (own.high == a->high && own.low == a->low) {
			flags = ifa->flags;
			has = !(flags & IFA_F_TENTATIVE) ||
			      flags & IFA_F_OPTIMISTIC;
			break;
		}
		at = kernel_u64(at);
	}
	return has;
}

/* The type of an address, for a device if the question names one. */
static __always_inline __u32 fib6_type(struct ctx_buff *ctx, struct pkt *p,
				       __u32 question)
{
	struct address6 *a = &route_query(p)->to, prefix;
	__u32 wanted = fib_device(p, question), flags;
	struct fib6_info *f;
	__u64 route;
	int type;

	*a = fib6_address(p, question);
	route = fib6_route(ctx, p, question, &type);
	if (route) {
		f = kernel_cast(struct fib6_info, route);
		flags = f->fib6_flags;
		if (flags & RTF_REJECT)
			return f->fib6_type >= RTN_BLACKHOLE &&
					       f->fib6_type < RTN_THROW ?
				       f->fib6_type :
				       RTN_UNREACHABLE;
		/* Of a router, or the prefix of a subnet. */
		prefix = address6_at(kernel_address(f, fib6_dst.addr));
		if (flags & RTF_ANYCAST ||
		    (f->fib6_dst.plen < 127 && !(flags & RTF_NONEXTHOP) &&
		     !fib6_has_gateway(f) && prefix.high == a->high &&
		     prefix.low == a->low))
			return RTN_ANYCAST;
		if (!wanted && flags & RTF_LOCAL)
			return RTN_LOCAL;
	} else if (type != RTN_UNICAST) {
		return type > RTN_UNICAST ? type : RTN_UNREACHABLE;
	}
	if (wanted && device_has_address6(ctx_net(ctx), wanted, a))
		return RTN_LOCAL;
	if (address6_is_multicast(a))
		return RTN_MULTICAST;
	return a->high || a->low ? RTN_UNICAST : RTN_UNSPEC;
}

/* Loads the type of an address. */
__noinline int nft_fib_type(struct ctx_buff *ctx, struct pkt *p, __u32 question)
{
	__u32 type;

	if (!p)
		return 0;
	if (p->nfproto == NFPROTO_IPV4)
		type = fib4_type(p, ctx_net(ctx), fib4_address(p, question),
				 fib_device(p, question));
	else
		type = fib6_type(ctx, p, question);
	*(__u64 *)ANSWER(p, question) = type;
	return 1;
}

/* Loads the interface that packets to an address go by. */
__noinline int nft_fib_oif(struct ctx_buff *ctx, struct pkt *p, __u32 question)
{
	__u64 *answer;
	__u32 ifindex;

	if (!p)
		return 0;
	ifindex = p->nfproto == NFPROTO_IPV4 ? fib4_oif(ctx, p, question) :
					       fib6_oif(ctx, p, question);
	answer = ANSWER(p, question);
	if (question & FIB_PRESENT) {
		answer[0] = !!ifindex;
	} else if (question & FIB_NAME) {
		answer[0] = 0;
		answer[1] = 0;
		device_name(ctx_net(ctx), ifindex, (__u8 *)answer);
	} else {
		answer[0] = ifindex;
	}
	return 1;
}
