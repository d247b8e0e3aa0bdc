/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once

#include "awaited.h"
#include "common.h"
#include "half_way.h"
#include "maps.h"
#include "marks.h"
#include "types.h"

/* What the mark of marks.h says at egress, and whether it is one. */

/*
 * What the ingress program wrote. A packet keeps its tc_index on the way from
 * another namespace, where anyone's program may have written it; by a managed
 * interface it came through ours.
 */
static __always_inline int is_ours(struct __sk_buff *skb)
{
	__u32 ifindex = skb->ingress_ifindex;
	struct iface *iface = bpf_map_lookup_elem(&l2_ifaces, &ifindex);

	return iface && iface->flags & IFACE_MANAGED;
}

/* The router's own packet that was sent another way mostly has its socket: on
 * the way from another namespace it would have lost it.
 */
static __always_inline int has_own_socket(struct __sk_buff *skb)
{
	return !skb->ingress_ifindex && skb->sk;
}

static __always_inline int is_done(struct __sk_buff *skb)
{
	return mark_of(skb) == TC_INDEX_DONE &&
	       (is_ours(skb) || has_own_socket(skb));
}

/* Whether the packet of key was sent another way and has none, as resets of
 * IPv6 and what came by an interface without programs.
 */
static __always_inline int is_done_without(struct __sk_buff *skb,
					   const struct tuple *key)
{
	return mark_of(skb) == TC_INDEX_DONE && is_awaited(key);
}

static __always_inline int is_half_done(struct __sk_buff *skb)
{
	return (mark_of(skb) & ~HALF_WAY_SLOTS_MASK) == TC_INDEX_SNAT &&
	       is_ours(skb);
}

/* The mark of an answer of the router's, or 0. */
static __always_inline __u32 answer_mark(struct __sk_buff *skb)
{
	__u32 mark = mark_of(skb);

	switch (answer_kind(mark)) {
	case TC_INDEX_ANSWER:
	case TC_INDEX_ANSWER_RELATED:
	case TC_INDEX_ANSWER_FIRST:
	case TC_INDEX_ANSWER_LATE:
		return is_ours(skb) ? mark : 0;
	}
	return 0;
}
