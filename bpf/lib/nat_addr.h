/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once

#include "common.h"
#include "fib.h"
#include "forward.h"
#include "iter.h"
#include "kernel.h"
#include "source6.h"
#include "types.h"
#include "written.h"

/* Which address a NAT statement means. */

/* Big-endian, as memcmp(); addresses are aligned. */
static __always_inline int addr_before(const __u8 *a, const __u8 *b)
{
	const __u64 *x = (const __u64 *)a, *y = (const __u64 *)b;

	if (x[0] != y[0])
		return bpf_be64_to_cpu(x[0]) < bpf_be64_to_cpu(y[0]);
	return bpf_be64_to_cpu(x[1]) < bpf_be64_to_cpu(y[1]);
}

static __always_inline int nat_has_address(const struct pkt *p,
					   const __u8 *addr)
{
	const struct nat_range *r = &p->nat_range;

	return !(p->nat & NAT_ADDRESS) ||
	       (!addr_before(addr, r->min) && !addr_before(r->max, addr));
}

static __always_inline __u32 rotate(__u32 v, int bits)
{
	return v << bits | v >> (32 - bits);
}

/* Bob Jenkins's lookup3 of an address, as jhash2() of the kernel. */
static __always_inline __u32 hash_addr(const __u32 *k, __u32 initval)
{
	__u32 a, b, c;

	a = b = c = 0xdeadbeef + 16 + initval;
	a += k[0];
	b += k[1];
	c += k[2];
	a = (a - c) ^ rotate(c, 4);
	c += b;
	b = (b - a) ^ rotate(a, 6);
	a += c;
	c = (c - b) ^ rotate(b, 8);
	b += a;
	a = (a - c) ^ rotate(c, 16);
	c += b;
	b = (b - a) ^ rotate(a, 19);
	a += c;
	c = (c - b) ^ rotate(b, 4);
	b += a;

	a += k[3];
	c = (c ^ b) - rotate(b, 14);
	a = (a ^ c) - rotate(c, 11);
	b = (b ^ a) - rotate(a, 25);
	c = (c ^ b) - rotate(b, 16);
	a = (a ^ c) - rotate(c, 4);
	b = (b ^ a) - rotate(a, 14);
	return (c ^ b) - rotate(b, 24);
}

/* The NAT_* that statements of the ruleset can ask for, and NAT_CHAINS*. */
volatile const __u32 policy_nat = ~0U;

/* A prefix, and the host's bits of the packet's address: both ends become the
 * one address.
 */
static __always_inline void nat_map_prefix(struct nat_range *r,
					   const __u8 *addr)
{
	const __u64 *from = (const __u64 *)addr;
	__u64 *min = (__u64 *)r->min, *max = (__u64 *)r->max;
	__u64 host;
	int i;

	for (i = 0; i < 2; i++) {
		host = min[i] ^ max[i];
		min[i] = (min[i] & ~host) | (from[i] & host);
		max[i] = min[i];
	}
}

/*
 * Puts an address of the range into p->tuple, as the destination or as the
 * source. Which one is the kernel's choice: a client gets the same from either,
 * and with NAT_PERSISTENT whatever it sends to, and in whatever zone.
 */
__noinline int nat_pick_address(struct pkt *p, int is_dst)
{
	int i, words, below = 0;
	const __u32 *min, *max;
	__u32 hash, first, size;
	struct nat_range *r;
	__u32 *dst, *to;

	if (!p || !(p->nat & NAT_ADDRESS))
		return 0;
	r = &p->nat_range;
	min = (__u32 *)r->min;
	max = (__u32 *)r->max;
	dst = (__u32 *)p->tuple.daddr;
	to = is_dst ? dst : (__u32 *)p->tuple.saddr;
	words = p->nfproto == NFPROTO_IPV4 ? 1 : 4;
	if (p->nat & NAT_PREFIX)
		nat_map_prefix(r, (__u8 *)to);
	if (!__builtin_memcmp(r->min, r->max, 16)) {
		__builtin_memcpy(to, r->min, 16);
		return 0;
	}
	hash = hash_addr((__u32 *)p->tuple.saddr,
			 p->nat & NAT_PERSISTENT ?
				 0 :
				 (words == 1 ? dst[0] : dst[3]) ^ p->zone);
	for (i = 0; i < 4; i++) {
		if (i >= words)
			break;
		/* Below the last address of the words so far, any will do. */
		first = below ? 0 : bpf_ntohl(min[i]);
		size = below ? ~0U : bpf_ntohl(max[i]) - first + 1;
		to[i] = bpf_htonl(first + ((__u64)hash * size >> 32));
		if (to[i] != max[i])
			below = 1;
		if (!(p->nat & NAT_PERSISTENT))
			hash ^= dst[i];
	}
	return 0;
}

static __always_inline int nat_one_address(struct pkt *p, const __u8 *addr,
					   __u32 len)
{
	struct nat_range *r = &p->nat_range;

	__builtin_memset(r->min, 0, sizeof(r->min));
	__builtin_memcpy(r->min, addr, len);
	__builtin_memcpy(r->max, r->min, sizeof(r->max));
	p->nat |= NAT_ADDRESS;
	return 0;
}

#pragma clang attribute push(__attribute__((preserve_access_index)), \
			     apply_to = record)

struct in_ifaddr {
	struct in_ifaddr *ifa_next;
	__be32 ifa_local;
	__be32 ifa_address;
	__be32 ifa_mask;
	__u32 ifa_flags;
	unsigned char ifa_scope; /* RT_SCOPE_* */
};

struct in_device {
	struct in_ifaddr *ifa_list;
};

#pragma clang attribute pop

#define MASQUERADE_ADDRS 64 /* of an interface that are looked at */
/* include/uapi/linux/if_addr.h */
#define IFA_F_SECONDARY 0x01

/*
 * inet_select_addr(): the first address in the network of the next hop, or the
 * first of the interface at all, if it is one of the whole world and no secondary
 * one. What source a route prefers is no matter. Returns 0 without one.
 */
static __always_inline __be32 nat_select_ipv4(struct ctx_buff *ctx,
					      const struct pkt *p, __be32 hop)
{
	struct net_device *dev = device_by_index(ctx_net(ctx), p->oif);
	struct in_ifaddr *ifa;
	struct in_device *in;
	__be32 first = 0;
	__u64 e;

	if (!dev)
		return 0;
	in = kernel_cast(struct in_device,
			 kernel_u64(kernel_address(dev, ip_ptr)));
	e = kernel_u64(kernel_address(in, ifa_list));
	repeat(MASQUERADE_ADDRS)
	{
		if (!e)
			break;
		ifa = kernel_cast(struct in_ifaddr, e);
		e = kernel_u64(kernel_address(ifa, ifa_next));
		if (ifa->ifa_flags & IFA_F_SECONDARY || ifa->ifa_scope)
			continue;
		if (!((hop ^ ifa->ifa_address) & ifa->ifa_mask)) {
			first = ifa->ifa_local;
			break;
		}
		if (!first)
			first = ifa->ifa_local;
	}
	return first;
}

/* Asks for the route of a packet that comes in by iif, or of one that leaves by oif. */
static __always_inline int source_lookup(struct ctx_buff *ctx,
					 const struct pkt *p,
					 struct bpf_fib_lookup *fib, __u32 iif,
					 __u32 mark)
{
	__u32 flags = FIB_LOOKUP_SKIP_NEIGH | FIB_LOOKUP_SRC | FIB_LOOKUP_MARK;

	route_fill(fib, p, 1); /* of any length: the MTU is no matter here */
	if (policy_writes)
		route_fill_written(fib, p);
	__builtin_memcpy(fib->smac, &mark, sizeof(mark));
	if (!iif) {
		flags |= BPF_FIB_LOOKUP_OUTPUT;
		fib->ifindex = p->oif;
	}
	return bpf_fib_lookup(ctx, fib, sizeof(*fib), flags) ||
	       fib->ifindex != p->oif;
}

/* The address of the search, as the one of the statement. */
static __always_inline int nat_source6(struct pkt *p)
{
	__be64 to[2];

	address6_store(to, &source6(p)->best);
	return nat_one_address(p, (__u8 *)to, sizeof(to));
}

/*
 * The address that the interface p->oif sends with towards the packet's next hop:
 * what masquerade means. Looked for with each new flow, so that a new address is used
 * at once. The routing table is asked as the packet was routed, by the interface that
 * it came by and the mark of then, or, of the router's own, the one that a rule has
 * given it.
 */
static __noinline int nat_masquerade_by_route(struct ctx_buff *ctx,
					      struct pkt *p)
{
	struct bpf_fib_lookup fib;
	__be32 addr, hop;
	__u32 mark;
	int known;

	if (p->nfproto != NFPROTO_IPV4 &&
	    !source6_find(ctx, p, FIB_DADDR, p->oif))
		return nat_source6(p);
	mark = ctx_mark(ctx);
	known = !source_lookup(ctx, p, &fib, p->iif, p->iif ? mark : p->mark) ||
		!source_lookup(ctx, p, &fib, 0, mark);
	if (p->nfproto != NFPROTO_IPV4)
		return known ? nat_one_address(p, (__u8 *)fib.ipv6_src, 16) :
			       -1;
	hop = *(__be32 *)(p->nh + offsetof(struct iphdr, daddr));
	if (known && fib.family == AF_INET)
		hop = fib.ipv4_dst; /* the gateway, if there is one */
	addr = nat_select_ipv4(ctx, p, hop);
	if (!addr && known) /* of another interface */
		addr = fib.ipv4_src;
	return addr ? nat_one_address(p, (__u8 *)&addr, 4) : -1;
}

/* Likewise, with the route that the packet has, or NULL: it says the gateway. */
__noinline int nat_masquerade(struct ctx_buff *ctx, struct pkt *p,
			      const struct bpf_fib_lookup *route)
{
	__be32 addr;

	if (!p)
		return -1;
	if (route && !policy_writes && p->nfproto == NFPROTO_IPV4 &&
	    route->family == AF_INET) {
		addr = nat_select_ipv4(ctx, p, route->ipv4_dst);
		if (addr)
			return nat_one_address(p, (__u8 *)&addr, 4);
	}
	return nat_masquerade_by_route(ctx, p);
}

/* The scope of an address, 0 for those of the whole world. */
static __always_inline int addr_scope(const __u8 *addr)
{
	if (addr[0] == 0xff)
		switch (addr[1] & 0x0f) {
		case 1:
			return 1;
		case 2:
			return 2;
		case 5:
			return 5;
		default:
			return 0;
		}
	if (addr[0] == 0xfe && addr[1] & 0x80)
		return addr[1] & 0x40 ? 5 : 2; /* site-local, link-local */
	return 0;
}

#define REDIRECT_ADDRS 64 /* of an interface that are looked at */

/* nf_nat_redirect_ipv6(): the first that is in use, and of the scope. */
static __always_inline int nat_redirect_ipv6(struct pkt *p,
					     struct net_device *dev)
{
	int scope = addr_scope(p->tuple.daddr);
	struct inet6_ifaddr *ifa;
	struct inet6_dev *idev;
	struct in6_addr addr;
	__u64 head, e;

	idev = kernel_cast(struct inet6_dev,
			   kernel_u64(kernel_address(dev, ip6_ptr)));
	head = kernel_address(idev, addr_list);
	e = kernel_u64(head);
	repeat(REDIRECT_ADDRS)
	{
		if (!e || e == head)
			return -1;
		ifa = kernel_cast(struct inet6_ifaddr,
				  e - kernel_offset(struct inet6_ifaddr,
						    if_list));
		addr = ifa->addr;
		if ((!(ifa->flags & IFA_F_TENTATIVE) ||
		     ifa->flags & IFA_F_OPTIMISTIC) &&
		    (!scope || scope == addr_scope((__u8 *)&addr)))
			return nat_one_address(p, (__u8 *)&addr, 16);
		e = kernel_u64(e);
	}
	return -1;
}

/* Of the router's own packets: to itself. */
static __always_inline int nat_redirect_own(struct pkt *p)
{
	__u8 lo4[4] = { 127, 0, 0, 1 }, lo6[16] = { [15] = 1 };

	if (p->nfproto == NFPROTO_IPV4)
		return nat_one_address(p, lo4, sizeof(lo4));
	return nat_one_address(p, lo6, sizeof(lo6));
}

/*
 * The first address of the interface that the packet came in by: what redirect
 * means. Asked for each new flow, too.
 */
__noinline int nat_redirect(struct ctx_buff *ctx, struct pkt *p)
{
	struct net_device *dev = ctx_device(ctx);
	struct in_ifaddr *ifa;
	struct in_device *in;
	__be32 addr;

	if (!p)
		return -1;
	if (!p->iif)
		return nat_redirect_own(p);
	if (p->nfproto != NFPROTO_IPV4)
		return nat_redirect_ipv6(p, dev);
	in = kernel_cast(struct in_device,
			 kernel_u64(kernel_address(dev, ip_ptr)));
	ifa = kernel_cast(struct in_ifaddr,
			  kernel_u64(kernel_address(in, ifa_list)));
	addr = ifa->ifa_local;
	return addr ? nat_one_address(p, (__u8 *)&addr, 4) : -1;
}
