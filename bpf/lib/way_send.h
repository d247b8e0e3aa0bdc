/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once

#include "common.h"
#include "csum.h"
#include "icmp_error.h"
#include "rewrite.h"
#include "way.h"
#include "written.h"

/* The headers that a packet leaves with, and its next hop. */

/* What rules have set. */
static __always_inline void write_metadata(struct __sk_buff *skb,
					   const struct pkt *p)
{
	skb->mark = p->mark;
	skb->priority = p->priority;
}

/* The packet came with the tuple from; it leaves with p->tuple, and with ttl one
 * hop less. error as in struct way.
 */
__noinline int write_headers(struct __sk_buff *skb, struct pkt *p,
			     struct tuple *from, struct icmp_error *error,
			     int ttl)
{
	__u32 addr_diff, port_diff;
	struct tuple *to;

	if (!p || !from)
		return -1;
	to = &p->tuple;
	if (error && error->translate && icmp_error_rewrite(skb, p, error) < 0)
		return -1;
	if (policy_writes) {
		/* The packet is as rules have written it, and becomes what the
		 * headers' copies say.
		 */
		if (tuple_of_packet(skb, p, from))
			return -1;
		tuple_of_headers(p, to);
		ttl = ttl && hop_is_pending(skb, p);
	}
	addr_diff = csum_add(csum_addr_diff(from->saddr, to->saddr),
			     csum_addr_diff(from->daddr, to->daddr));
	port_diff = csum_add(csum_port_diff(from->sport, to->sport),
			     csum_port_diff(from->dport, to->dport));
	ctx_pull(skb, ETH_HLEN + sizeof(struct ipv6hdr) + sizeof(p->th));
	write_metadata(skb, p);
	return rewrite(skb, p, addr_diff, port_diff, ttl);
}

/* bpf_redirect_neigh() drops what is to a group on the link it was on. */
static __always_inline int forget_group(struct __sk_buff *skb,
					const struct pkt *p)
{
	__u8 none[ETH_ALEN] = {};

	if (p->l3_off != ETH_HLEN)
		return 0;
	return bpf_skb_store_bytes(skb, offsetof(struct ethhdr, h_dest), none,
				   sizeof(none), 0);
}

/* By the neighbour's address at the moment; unresolved, the kernel resolves it
 * and keeps the packet until then.
 */
static __always_inline int send_by(struct __sk_buff *skb, const struct pkt *p,
				   const struct bpf_fib_lookup *fib, __u32 mark)
{
	struct bpf_redir_neigh nh = { .nh_family = fib->family };
	__u32 ifindex = p->oif;
	struct iface *iface = bpf_map_lookup_elem(&l2_ifaces, &ifindex);

	skb->tc_index = mark;
	if (iface && iface->flags & IFACE_L3)
		return bpf_redirect(ifindex, 0);
	/* From one without a header: room for the one to be written. */
	if (!p->l3_off && bpf_skb_change_head(skb, ETH_HLEN, 0))
		return drop(STAT_DROP_INTERNAL);
	if (fib->family == AF_INET)
		nh.ipv4_nh = fib->ipv4_dst;
	else
		__builtin_memcpy(nh.ipv6_nh, fib->ipv6_dst, 16);
	return bpf_redirect_neigh(ifindex, &nh, sizeof(nh), 0);
}
