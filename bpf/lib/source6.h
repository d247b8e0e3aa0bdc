/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once

#include "common.h"
#include "device.h"
#include "fib.h"
#include "fib6.h"
#include "iter.h"
#include "kernel.h"
#include "types.h"

/*
 * The address that the router sends with towards another: ipv6_dev_get_saddr() of the
 * kernel, by the rules of RFC 6724, section 5. A function of its own for what a loop
 * does: the verifier goes through each once, and not for each way that leads there.
 */

#pragma clang attribute push(__attribute__((preserve_access_index)), \
			     apply_to = record)

struct ip6addrlbl_entry {
	struct in6_addr prefix;
	int prefixlen;
	int ifindex;
	int addrtype;
	__u32 label;
	struct hlist_node list;
};

/* There if the kernel is built with mobility (CONFIG_IPV6_MIP6), and that is no module. */
struct mip6_report_rate_limiter {
	struct in6_addr src;
};

#pragma clang attribute pop

#define SOURCE_DEVICES 4096 /* that are looked at */
#define ADDRESS_LABELS 1024 /* ip addrlabel; the kernel comes with ten */

#define NO_LABEL 0xffffffff /* IPV6_ADDR_LABEL_DEFAULT */

/* include/net/ipv6.h */
#define IPV6_ADDR_LOOPBACK 0x10
#define IPV6_ADDR_COMPATV4 0x80
#define IPV6_ADDR_MAPPED 0x1000
#define IPV6_ADDR_SCOPE_LINKLOCAL 2
#define IPV6_ADDR_SCOPE_SITELOCAL 5
#define IPV6_ADDR_SCOPE_GLOBAL 14

/* include/uapi/linux/if_addr.h */
#define IFA_F_TEMPORARY 0x01
#define IFA_F_HOMEADDRESS 0x10

/* How many of its bits are 0 before the first that is 1. */
__noinline int leading_zeros(__u64 bits)
{
	int zeros = 0, n;

	if (!bits)
		return 64;
#pragma unroll
	for (n = 32; n; n /= 2) {
		if (bits >> (64 - n))
			continue;
		zeros += n;
		bits <<= n;
	}
	return zeros;
}

/* What of __ipv6_addr_type() an entry of the label table can ask for. */
static __always_inline int address6_kind(const struct address6 *a)
{
	if (a->high || !a->low)
		return 0;
	if (a->low == 1)
		return IPV6_ADDR_LOOPBACK;
	if (!(a->low >> 32))
		return IPV6_ADDR_COMPATV4;
	return a->low >> 32 == 0xffff ? IPV6_ADDR_MAPPED : 0;
}

static __always_inline int address6_scope(const struct address6 *a)
{
	if (address6_is_multicast(a))
		return a->high >> 48 & 0xf;
	if (address6_is_link_local(a) || (!a->high && a->low == 1))
		return IPV6_ADDR_SCOPE_LINKLOCAL;
	if (a->high >> 54 == 0xfec0 >> 6)
		return IPV6_ADDR_SCOPE_SITELOCAL;
	return IPV6_ADDR_SCOPE_GLOBAL;
}

/* RFC 4843: 2001:10::/28 */
static __always_inline int address6_is_orchid(const struct address6 *a)
{
	return a->high >> 36 == 0x2001001;
}

/* An address as in a header, aligned. */
static __always_inline void address6_store(__be64 *to, const struct address6 *a)
{
	to[0] = bpf_cpu_to_be64(a->high);
	to[1] = bpf_cpu_to_be64(a->low);
}

static __always_inline int address6_is(const struct address6 *a,
				       const __be64 *stored)
{
	return a->high == bpf_be64_to_cpu(stored[0]) &&
	       a->low == bpf_be64_to_cpu(stored[1]);
}

/* The search: in p->elem, which no chain uses meanwhile. */
struct source6 {
	struct address6 to, own, best;
	__u64 labels; /* where the table begins */
	__u64 devconf; /* net.ipv6.conf.all */
	__u32 ifindex;
	__u32 label; /* of to */
	__u32 score, high; /* of own and best: more is better */
	__u32 begun; /* high is of an address */
};

static __always_inline struct source6 *source6(struct pkt *p)
{
	_Static_assert(sizeof(struct source6) <= sizeof(p->elem),
		       "does not fit");
	return (struct source6 *)p->elem;
}

/* __ip6addrlbl_match() */
static __always_inline int label_covers(const struct ip6addrlbl_entry *e,
					const struct address6 *a, __u32 ifindex)
{
	struct address6 prefix = address6_at(kernel_address(e, prefix));
	__u64 high = prefix.high ^ a->high, low = prefix.low ^ a->low;
	__u32 n = e->prefixlen, of = e->ifindex, kind = e->addrtype;

	if ((of && of != ifindex) || (kind && kind != address6_kind(a)))
		return 0;
	if (!n)
		return 1;
	if (n <= 64)
		return !(high >> ((64 - n) & 63));
	return !high && !(low >> ((128 - n) & 63));
}

/* ipv6_addr_label() */
__noinline int address6_label(const struct address6 *a, __u64 table,
			      __u32 ifindex)
{
	struct ip6addrlbl_entry *e;
	__u32 label = NO_LABEL;
	__u64 node;

	if (!a)
		return NO_LABEL;
	node = kernel_u64(table);
	repeat(ADDRESS_LABELS)
	{
		if (!node)
			break;
		e = kernel_cast(struct ip6addrlbl_entry,
				node - kernel_offset(struct ip6addrlbl_entry,
						     list));
		if (label_covers(e, a, ifindex)) {
			label = e->label;
			break;
		}
		node = kernel_u64(node);
	}
	return label;
}

/* Rule 2: a scope that is large enough, and of those the smallest. */
static __always_inline __u32 score_scope(const struct source6 *s)
{
	__u32 to = address6_scope(&s->to), own = address6_scope(&s->own);

	return own >= to ? 128 - own : own;
}

/* ipv6_use_optimistic_addr() */
static __always_inline int uses_optimistic(const struct source6 *s,
					   struct inet6_dev *idev)
{
	struct ipv6_devconf *all;

	if (!kernel_has(struct ipv6_devconf, use_optimistic))
		return 0;
	all = kernel_cast(struct ipv6_devconf, s->devconf);
	return (all->optimistic_dad || idev->cnf.optimistic_dad) &&
	       (all->use_optimistic || idev->cnf.use_optimistic);
}

/* Rule 3: neither deprecated nor optimistic. */
static __always_inline int score_preferred(const struct source6 *s,
					   struct inet6_dev *idev, __u32 flags)
{
	__u32 avoid = IFA_F_DEPRECATED;

	if (!uses_optimistic(s, idev))
		avoid |= IFA_F_OPTIMISTIC;
	return address6_kind(&s->own) || !(flags & avoid);
}

/* Rule 8: the bits that are the same, of the prefix at most. */
static __always_inline __u32 score_prefix(const struct source6 *s, __u32 length)
{
	__u32 same = leading_zeros(s->own.high ^ s->to.high);

	if (same == 64)
		same += leading_zeros(s->own.low ^ s->to.low);
	return same < length ? same : length;
}

/*
 * The score of an address by the rules that are decided before labels are looked up,
 * most of which end there; in the bits above those of source6_score_rest().
 */
static __always_inline __u32 source6_score_first(const struct source6 *s,
						 struct inet6_dev *idev,
						 __u32 flags)
{
	__u32 score;

	score = s->own.high == s->to.high && s->own.low == s->to.low;
	score = score << 8 | score_scope(s);
	score = score << 1 | score_preferred(s, idev, flags);
	score = score << 1 |
		(kernel_has(struct mip6_report_rate_limiter, src) &&
		 flags & IFA_F_HOMEADDRESS);
	score = score << 1 | (idev->dev->ifindex == s->ifindex);
	return score << 12;
}

static __always_inline __u32 source6_score_rest(const struct source6 *s,
						struct inet6_dev *idev,
						__u32 flags, __u32 length)
{
	__u32 score, temporary = !!(flags & IFA_F_TEMPORARY);

	score = address6_label(&s->own, s->labels, idev->dev->ifindex) ==
		s->label;
	score = score << 1 | (temporary == (idev->cnf.use_tempaddr >= 2));
	score = score << 1 |
		(address6_is_orchid(&s->own) == address6_is_orchid(&s->to));
	score = score << 8 | score_prefix(s, length);
	return score << 1 | (kernel_has(struct ipv6_devconf, use_optimistic) &&
			     !(flags & IFA_F_OPTIMISTIC));
}

/* Looks at an address: whether it is better than the best of those before. */
__noinline int source6_try(struct pkt *p, __u64 address)
{
	struct inet6_ifaddr *ifa = kernel_cast(struct inet6_ifaddr, address);
	struct inet6_dev *idev = ifa->idev;
	__u32 flags = ifa->flags;
	struct source6 *s;

	if (!p || (flags & IFA_F_TENTATIVE && !(flags & IFA_F_OPTIMISTIC)))
		return 0;
	s = source6(p);
	s->own = address6_at(kernel_address(ifa, addr));
	if ((!s->own.high && !s->own.low) || address6_is_multicast(&s->own))
		return 0;
	s->score = source6_score_first(s, idev, flags);
	if (s->begun && s->score >> 12 < s->high >> 12)
		return 0;
	s->score |= source6_score_rest(s, idev, flags, ifa->prefix_len);
	if (s->begun && s->score <= s->high)
		return 0;
	s->begun = 1;
	s->high = s->score;
	s->best = s->own;
	return 0;
}

/* Looks at the addresses of an interface, if it has IPv6: __ipv6_dev_get_saddr(). */
__noinline int source6_of_device(struct pkt *p, __u64 inet6)
{
	__u64 head, at;

	if (!p || !inet6)
		return 0;
	head = inet6 + kernel_offset(struct inet6_dev, addr_list);
	at = kernel_u64(head);
	repeat(INET6_ADDRESSES)
	{
		if (!at || at == head)
			break;
		source6_try(p,
			    at - kernel_offset(struct inet6_ifaddr, if_list));
		at = kernel_u64(at);
	}
	return 0;
}

/* Of an L3 master device or below one: other routes, other addresses. */
static __always_inline int device_in_vrf(struct net_device *dev)
{
	return device_is_slave(dev) || device_is_master(dev);
}

static __always_inline void source6_of_all(struct pkt *p, struct net *net)
{
	__u64 head = kernel_address(net, dev_base_head);
	__u64 at = kernel_u64(head);
	struct net_device *dev;

	repeat(SOURCE_DEVICES)
	{
		if (!at || at == head)
			break;
		dev = kernel_cast(struct net_device,
				  at - kernel_offset(struct net_device,
						     dev_list));
		if (!device_in_vrf(dev))
			source6_of_device(
				p, kernel_u64(kernel_address(dev, ip6_ptr)));
		at = kernel_u64(at);
	}
}

/* Whether only the addresses of the interface are asked. */
static __always_inline int source6_of_link(const struct source6 *s,
					   struct net_device *dev)
{
	return address6_is_multicast(&s->to) ||
	       address6_scope(&s->to) <= IPV6_ADDR_SCOPE_LINKLOCAL ||
	       (dev->ip6_ptr && dev->ip6_ptr->cnf.use_oif_addrs_only);
}

/*
 * Puts the address of an interface towards the packet's destination into
 * source6(p)->best, or towards its source (FIB_SADDR); 0: it has one.
 */
__noinline int source6_find(struct ctx_buff *ctx, struct pkt *p, __u32 question,
			    __u32 ifindex)
{
	struct net *net = ctx_net(ctx);
	struct net_device *dev;
	struct source6 *s;

	if (!p)
		return -1;
	dev = device_by_index(net, ifindex);
	if (!dev)
		return -1;
	s = source6(p);
	s->to = fib6_address(p, question);
	s->labels = kernel_address(net, ipv6.ip6addrlbl_table.head);
	s->devconf = kernel_u64(kernel_address(net, ipv6.devconf_all));
	s->ifindex = ifindex;
	s->label = address6_label(&s->to, s->labels, ifindex);
	s->begun = 0;
	if (source6_of_link(s, dev))
		source6_of_device(p, kernel_u64(kernel_address(dev, ip6_ptr)));
	else if (device_in_vrf(dev))
		return -1;
	else
		source6_of_all(p, net);
	return s->begun ? 0 : -1;
}
