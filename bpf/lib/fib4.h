/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once

#include "common.h"
#include "kernel.h"
#include "nexthop.h"

/*
 * IPv4 routes where the kernel has them: bpf_fib_lookup() says neither whether
 * an address is local, a broadcast or of no route at all, nor which interfaces
 * a route has, and nothing where forwarding is disabled.
 */

#pragma clang attribute push(__attribute__((preserve_access_index)), \
			     apply_to = record)

struct fib_table {
	struct hlist_node tb_hlist;
	__u32 tb_id;
	unsigned long *tb_data;
};

/* A node of the trie, or a leaf, which has no bits. */
struct key_vector {
	__u32 key;
	unsigned char pos;
	unsigned char bits;
	unsigned char slen;
	struct hlist_head leaf; /* where a node has its children */
};

struct tnode {
	struct key_vector *parent;
	struct key_vector kv[1];
};

/* A route of a leaf's prefix. */
struct fib_alias {
	struct hlist_node fa_list;
	struct fib_info *fa_info;
	__u8 fa_dscp;
	__u8 fa_type;
	__u8 fa_slen;
};

struct fib_info {
	unsigned int fib_flags;
	unsigned char fib_dead;
	struct dst_metrics *fib_metrics;
	int fib_nhs;
	struct nexthop *nh;
	struct fib_nh fib_nh[];
};

#pragma clang attribute pop

#define FIB_TABLE_HASHSZ 256
#define FIB_TABLES 32 /* that share a bucket, at most */
#define FIB4_STEPS 192 /* 32 nodes down, 64 back, and routes of their leaves */
#define FIB4_DSCP_MASK 0x1c /* what the TOS of a route can be about */
#define KEYLENGTH 32

/* The trie of a table; 0: none. */
static __always_inline __u64 fib4_trie(struct fib_table *table)
{
	return (__u64)table->tb_data;
}

static __always_inline __u64 fib4_table(struct net *net, __u32 id)
{
	__u64 node = kernel_u64(kernel_address(net, ipv4.fib_table_hash));
	struct fib_table *table;
	__u64 trie = 0;

	node = kernel_u64(node + 8 * (id & (FIB_TABLE_HASHSZ - 1)));
	repeat(FIB_TABLES)
	{
		if (!node)
			break;
		table = kernel_cast(struct fib_table,
				    node - kernel_offset(struct fib_table,
							 tb_hlist));
		if (table->tb_id == id) {
			trie = fib4_trie(table);
			break;
		}
		node = kernel_u64(node);
	}
	return trie;
}

static __always_inline __u64 fib4_child(__u64 node, __u64 index)
{
	return kernel_u64(node + kernel_offset(struct key_vector, leaf) +
			  8 * index);
}

static __always_inline __u64 fib4_alias_of(__u64 list)
{
	return list ? list - kernel_offset(struct fib_alias, fa_list) : 0;
}

/* Whether a route of a leaf that differs from the address in these bits is one
 * for the packet.
 */
static __always_inline int fib4_fits(__u64 alias, __u64 differ, __u8 tos)
{
	struct fib_alias *fa = kernel_cast(struct fib_alias, alias);

	if (differ >> fa->fa_slen)
		return 0;
	if (fa->fa_dscp && fa->fa_dscp != (tos & FIB4_DSCP_MASK))
		return 0;
	if (fa->fa_info->fib_dead)
		return 0;
	return fa->fa_type >= RTN_BLACKHOLE ||
	       !(fa->fa_info->fib_flags & RTNH_F_DEAD);
}

/*
 * The route of an address, in host order, in a trie; 0: none. As in
 * fib_table_lookup(): down as far as the key goes, then back, through ever
 * shorter prefixes, to where a leaf has a route.
 */
static __always_inline __u64 fib4_find(struct pkt *p, __u64 trie, __u32 key,
				       __u8 tos)
{
	struct route_walk *w = route_walk(p);
	__u64 at, alias = 0, found = 0;
	int back = 0;

	if (!trie)
		return 0;
	w->up = trie;
	w->child = 0;
	w->key = key;
	w->tos = tos;
	at = fib4_child(trie, 0);
	repeat(FIB4_STEPS)
	{
		struct key_vector *n;
		__u64 index;

		barrier_var(w);
		if (alias) {
			if (fib4_fits(alias, w->differ, w->tos)) {
				found = alias;
				break;
			}
			alias = fib4_alias_of(kernel_u64(
				alias +
				kernel_offset(struct fib_alias, fa_list)));
			continue;
		}
		if (at) {
			__u32 prefix;

			n = kernel_cast(struct key_vector, at);
			prefix = n->key;
			w->differ = w->key ^ prefix;
			index = w->differ >> n->pos;
			if (back || index >> n->bits) {
				back = 1;
				if (w->differ & (prefix | -prefix) ||
				    n->slen == n->pos)
					goto up;
				index = 0;
			} else if (n->bits && n->slen > n->pos) {
				w->up = at;
				w->child = index;
			}
			if (n->bits) {
				at = fib4_child(at, index);
			} else {
				alias = fib4_alias_of(fib4_child(at, 0));
				at = 0;
			}
			continue;
		}
up:
		back = 1;
		at = 0;
		index = w->child;
		if (index) {
			index &= index - 1;
			w->child = index;
			at = fib4_child(w->up, index);
			continue;
		}
		n = kernel_cast(struct key_vector, w->up);
		if (n->pos >= KEYLENGTH)
			break;
		index = n->key;
		w->up = kernel_u64(w->up - kernel_offset(struct tnode, kv) +
				   kernel_offset(struct tnode, parent));
		n = kernel_cast(struct key_vector, w->up);
		w->child = (index ^ n->key) >> n->pos;
	}
	return found;
}

/* The type of a route; one that is none for a packet has an error's. */
static __always_inline __u32 fib4_route_type(__u64 alias)
{
	struct fib_alias *fa = kernel_cast(struct fib_alias, alias);

	if (fa->fa_info->nh && nexthop_is_blackhole(fa->fa_info->nh))
		return RTN_BLACKHOLE;
	return fa->fa_type;
}

/* An interface of a route: the given one if it has that, else 0; without one
 * its first.
 */
static __always_inline __u32 fib4_device(__u64 alias, __u32 wanted)
{
	struct fib_alias *fa = kernel_cast(struct fib_alias, alias);
	struct fib_info *info = fa->fa_info;
	__u64 at = kernel_u64(kernel_address(fa, fa_info)) +
		   kernel_offset(struct fib_info, fib_nh);
	__u32 ifindex, found = 0;
	int n = info->fib_nhs;

	if (info->nh)
		return nexthop_device(info->nh, wanted);
	repeat(NEXTHOPS)
	{
		struct fib_nh_common *c = kernel_cast(struct fib_nh_common, at);

		if (n-- <= 0)
			break;
		ifindex = c->nhc_dev->ifindex;
		if (wanted ? ifindex == wanted :
			     !(c->nhc_flags & RTNH_F_DEAD)) {
			found = ifindex;
			break;
		}
		at += kernel_sizeof(struct fib_nh);
	}
	return found;
}

/* The first interface of a route, in whatever state it is. */
static __always_inline __u32 fib4_first_device(__u64 alias)
{
	struct fib_alias *fa = kernel_cast(struct fib_alias, alias);
	struct fib_info *info = fa->fa_info;

	if (info->nh)
		return nexthop_device(info->nh, 0);
	return kernel_cast(struct fib_nh_common,
			   kernel_address(info, fib_nh[0]))
		->nhc_dev->ifindex;
}

/* The type of an address; of a device's alone, if there is one:
 * inet_dev_addr_type().
 */
static __always_inline __u32 fib4_type(struct pkt *p, struct net *net,
				       __u32 address, __u32 ifindex)
{
	__u64 alias;
	__u32 type;

	if (!address || address == 0xffffffff)
		return RTN_BROADCAST;
	if (address >> 28 == 0xe)
		return RTN_MULTICAST;
	alias = fib4_find(p, fib4_table(net, RT_TABLE_LOCAL), address, 0);
	if (!alias)
		return RTN_UNICAST;
	type = fib4_route_type(alias);
	if (type >= RTN_BLACKHOLE ||
	    (ifindex && fib4_first_device(alias) != ifindex))
		return RTN_UNICAST;
	return type;
}
