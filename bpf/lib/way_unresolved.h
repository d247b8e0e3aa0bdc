/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once

#include "common.h"
#include "marks.h"
#include "policy.h"
#include "way_lo.h"
#include "way_mark.h"

/*
 * The router's own packets that rules send by another interface than the kernel has
 * chosen, to a neighbour whose address is not known yet. The neighbour keeps them until it
 * is, and neigh_update() then asks the route that the packet still has for a neighbour: the
 * one at the old interface, where nobody answers. So they go there by lo, which takes
 * that route from them.
 */

/* Whether the packet has to, by what reroute() has found. */
static __always_inline int is_unresolved(const struct pkt *p,
					 const struct bpf_fib_lookup *fib)
{
	const __u8 none[ETH_ALEN] = {};
	__u32 ifindex = p->oif;
	struct iface *iface;

	if (!(policy_nat & NAT_OUTPUT) &&
	    !(policy_phases & (PHASE_ROUTE | PHASE_INPUT_NAT)))
		return 0;
	if (is_copy() || __builtin_memcmp(fib->dmac, none, sizeof(none)))
		return 0;
	iface = bpf_map_lookup_elem(&l2_ifaces, &ifindex);
	return !iface || !(iface->flags & IFACE_L3);
}

static __always_inline int send_unresolved(struct __sk_buff *skb,
					   const struct pkt *p,
					   const struct bpf_fib_lookup *fib)
{
	struct lo_frame frame = { .proto = skb->protocol,
				  .priority = skb->priority };

	frame.family = fib->family;
	frame.oif = p->oif;
	skb->cb[0] = fib->ipv6_dst[0];
	skb->cb[1] = fib->ipv6_dst[1];
	skb->cb[2] = fib->ipv6_dst[2];
	skb->cb[3] = fib->ipv6_dst[3];
	return send_into_lo(skb, p, &frame, TC_INDEX_UNRESOLVED);
}

/* At lo. */
static __always_inline int unresolved_sent(struct __sk_buff *skb)
{
	struct bpf_redir_neigh nh = {};
	struct lo_frame frame;

	if (bpf_skb_load_bytes(skb, 0, &frame, sizeof(frame)))
		return drop(STAT_DROP_INTERNAL);
	nh.nh_family = frame.family;
	nh.ipv6_nh[0] = skb->cb[0];
	nh.ipv6_nh[1] = skb->cb[1];
	nh.ipv6_nh[2] = skb->cb[2];
	nh.ipv6_nh[3] = skb->cb[3];
	skb->priority = frame.priority;
	return bpf_redirect_neigh(frame.oif, &nh, sizeof(nh), 0);
}

/* Whether it has come to the interface, with nothing left to do. No packet of another
 * namespace has come in by lo.
 */
static __always_inline int unresolved_arrives(struct __sk_buff *skb)
{
	return mark_of(skb) == TC_INDEX_UNRESOLVED &&
	       skb->ingress_ifindex == LOOPBACK_IFINDEX;
}
