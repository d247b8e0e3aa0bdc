/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once

#include "common.h"
#include "kernel.h"
#include "nexthop.h"

/* IPv6 routes where the kernel has them: see fib4.h. */

#pragma clang attribute push(__attribute__((preserve_access_index)), \
			     apply_to = record)

struct fib6_node {
	struct fib6_node *parent;
	struct fib6_node *left;
	struct fib6_node *right;
	struct fib6_info *leaf;
	__u16 fn_bit;
	__u16 fn_flags;
};

struct fib6_table {
	struct fib6_node tb6_root;
};

struct rt6key {
	struct in6_addr addr;
	int plen;
};

struct fib6_nh {
	struct fib_nh_common nh_common;
};

struct fib6_info {
	struct fib6_info *fib6_next;
	unsigned int fib6_nsiblings;
	struct dst_metrics *fib6_metrics;
	struct rt6key fib6_dst;
	__u32 fib6_flags;
	__u32 fib6_metric;
	__u8 fib6_type;
	struct nexthop *nh;
	struct fib6_nh fib6_nh[];
};

#pragma clang attribute pop

#define INET6_ADDRESSES 256 /* of an interface, at most */

/* include/uapi/linux/if_addr.h */

#define FIB6_STEPS 320 /* 128 nodes down, 128 back, and their routes */

#define RTN_ROOT 2 /* fn_flags */
#define RTN_RTINFO 4

/* fib6_flags */
#define RTF_GATEWAY 0x0002
#define RTF_REJECT 0x0200
#define RTF_ANYCAST 0x00100000
#define RTF_NONEXTHOP 0x00200000
#define RTF_CACHE 0x01000000
#define RTF_LOCAL 0x80000000

/* An address in host order. */
struct address6 {
	__u64 high;
	__u64 low;
};

static __always_inline struct address6 address6_at(__u64 kernel)
{
	return (struct address6){
		bpf_be64_to_cpu(kernel_u64(kernel)),
		bpf_be64_to_cpu(kernel_u64(kernel + 8)),
	};
}

static __always_inline int fib6_covers(__u64 route, const struct address6 *a)
{
	struct fib6_info *f = kernel_cast(struct fib6_info, route);
	struct address6 p = address6_at(kernel_address(f, fib6_dst.addr));
	__u32 n = f->fib6_dst.plen;
	__u64 high = p.high ^ a->high, low = p.low ^ a->low;

	if (n == 0)
		return 1;
	if (n <= 64)
		return !(high >> ((64 - n) & 63));
	return !high && !(low >> ((128 - n) & 63));
}

static __always_inline __u32 fib6_device_of(struct fib6_info *f)
{
	return kernel_cast(struct fib_nh_common,
			   kernel_address(f, fib6_nh[0].nh_common))
		->nhc_dev->ifindex;
}

static __always_inline int fib6_has_gateway(struct fib6_info *f)
{
	if (f->nh)
		return nexthop_has_gateway(f->nh);
	return !!kernel_cast(struct fib_nh_common,
			     kernel_address(f, fib6_nh[0].nh_common))
			 ->nhc_gw_family;
}

/* Whether a route goes by an interface. A link's own addresses have no route of
 * a group of nexthops.
 */
static __always_inline int fib6_by(__u64 route, __u32 oif)
{
	struct fib6_info *f = kernel_cast(struct fib6_info, route);

	if (f->nh)
		return !f->nh->is_group &&
		       f->nh->nh_info->fib_nhc.nhc_dev->ifindex == oif;
	return fib6_device_of(f) == oif;
}

/*
 * The route of an address in a table, only by oif if that is given; 0: none.
 * As in ip6_pol_route_lookup(): of the node with the longest prefix that has
 * one.
 */
static __always_inline __u64 fib6_find(struct pkt *p, struct net *net,
				       __u64 table, const struct address6 *a,
				       __u32 oif)
{
	struct route_walk *w = route_walk(p);
	__u64 at, next, route = 0, found = 0;
	int up = 0;

	if (!table)
		return 0;
	w->null = kernel_u64(kernel_address(net, ipv6.fib6_null_entry));
	w->oif = oif;
	at = table + kernel_offset(struct fib6_table, tb6_root);
	repeat(FIB6_STEPS)
	{
		struct fib6_node *fn = kernel_cast(struct fib6_node, at);
		__u32 bit = fn->fn_bit;

		barrier_var(w);
		barrier_var(a);

		if (route) {
			if (!w->oif || fib6_by(route, w->oif)) {
				found = route;
				break;
			}
			route = kernel_u64(
				route +
				kernel_offset(struct fib6_info, fib6_next));
			if (route)
				continue;
			goto parent;
		}
		if (!up && bit < 128) {
			__u64 word = bit < 64 ? a->high : a->low;

			next = word >> (63 - (bit & 63)) & 1 ?
				       kernel_address(fn, right) :
				       kernel_address(fn, left);
			next = kernel_u64(next);
			if (next) {
				at = next;
				continue;
			}
		}
		up = 1;
		if (fn->fn_flags & RTN_RTINFO) {
			route = kernel_u64(kernel_address(fn, leaf));
			if (route == w->null ||
			    (route && !fib6_covers(route, a)))
				route = 0;
			if (route)
				continue;
		}
parent:
		if (fn->fn_flags & RTN_ROOT)
			break;
		at = kernel_u64(kernel_address(fn, parent));
		if (!at)
			break;
	}
	return found;
}

/* An interface of a route, of its siblings too: see fib4_device(). */
static __always_inline __u32 fib6_device(__u64 route, __u32 wanted)
{
	struct fib6_info *f = kernel_cast(struct fib6_info, route);
	__u32 ifindex, found = 0, metric = f->fib6_metric;
	int n = f->fib6_nsiblings;

	if (f->nh)
		return nexthop_device(f->nh, wanted);
	repeat(NEXTHOPS)
	{
		f = kernel_cast(struct fib6_info, route);
		if (n-- < 0 || f->fib6_metric != metric)
			break;
		ifindex = fib6_device_of(f);
		if (!wanted || ifindex == wanted) {
			found = ifindex;
			break;
		}
		route = kernel_u64(kernel_address(f, fib6_next));
		if (!route)
			break;
	}
	return found;
}
