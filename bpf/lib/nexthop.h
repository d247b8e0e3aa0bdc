/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once

#include "common.h"
#include "kernel.h"

/* What IPv4 and IPv6 routes have in common. */

#pragma clang attribute push(__attribute__((preserve_access_index)), \
			     apply_to = record)

struct dst_metrics {
	__u32 metrics[17];
};

struct fib_nh_common {
	struct net_device *nhc_dev;
	__u8 nhc_gw_family; /* 0: on the link */
	unsigned char nhc_flags;
};

struct fib_nh {
	struct fib_nh_common nh_common;
	__u32 nh_tclassid;
};

/* A nexthop that is an object of its own, or a group of those. */
struct nh_info {
	_Bool reject_nh;
	struct fib_nh_common fib_nhc;
};

struct nh_grp_entry {
	struct nexthop *nh;
};

struct nh_group {
	__u16 num_nh;
	struct nh_grp_entry nh_entries[];
};

struct nexthop {
	_Bool is_group;
	struct nh_info *nh_info;
	struct nh_group *nh_grp;
};

#pragma clang attribute pop

#define RT_TABLE_LOCAL 255

/* include/uapi/linux/rtnetlink.h */
#define RTN_UNSPEC 0
#define RTN_UNICAST 1
#define RTN_LOCAL 2
#define RTN_BROADCAST 3
#define RTN_ANYCAST 4
#define RTN_MULTICAST 5
#define RTN_BLACKHOLE 6 /* from here on: errors */
#define RTN_UNREACHABLE 7
#define RTN_PROHIBIT 8
#define RTN_THROW 9
#define RTNH_F_DEAD 1
#define RTAX_MTU 2

#define NEXTHOPS 32 /* of a route, at most */

/* What a search remembers. It lies where keys of sets are built, which is not at
 * the same time: the stack is too small.
 */
struct route_walk {
	__u64 up;
	__u64 child;
	__u64 differ;
	__u64 null;
	__u32 oif;
	__u32 key;
	__u8 tos;
};

static __always_inline struct route_walk *route_walk(struct pkt *p)
{
	_Static_assert(sizeof(struct route_walk) <= sizeof(p->key),
		       "does not fit");
	return (struct route_walk *)p->key;
}

static __always_inline int nexthop_is_blackhole(struct nexthop *nh)
{
	return !nh->is_group && nh->nh_info->reject_nh;
}

/* Those of a group are taken to. */
static __always_inline int nexthop_has_gateway(struct nexthop *nh)
{
	return nh->is_group || nh->nh_info->fib_nhc.nhc_gw_family;
}

/* An interface of a nexthop: see fib4_device(). */
static __always_inline __u32 nexthop_device(struct nexthop *nh, __u32 wanted)
{
	__u64 group;
	__u32 ifindex, found = 0;
	__u64 at;
	int n;

	if (!nh->is_group) {
		ifindex = nh->nh_info->fib_nhc.nhc_dev->ifindex;
		return !wanted || ifindex == wanted ? ifindex : 0;
	}
	group = kernel_u64(kernel_address(nh, nh_grp));
	n = kernel_cast(struct nh_group, group)->num_nh;
	at = group + kernel_offset(struct nh_group, nh_entries);
	repeat(NEXTHOPS)
	{
		if (n-- <= 0)
			break;
		ifindex = kernel_cast(struct nh_grp_entry, at)
				  ->nh->nh_info->fib_nhc.nhc_dev->ifindex;
		if (!wanted || ifindex == wanted) {
			found = ifindex;
			break;
		}
		at += kernel_sizeof(struct nh_grp_entry);
	}
	return found;
}

/* The MTU that a route was given; 0: none. */
static __always_inline __u32 metrics_mtu(struct dst_metrics *m)
{
	return m->metrics[RTAX_MTU - 1];
}
