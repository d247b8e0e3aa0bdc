/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once

#include "common.h"
#include "maps.h"
#include "marks.h"
#include "types.h"

/* Whose the mark of marks.h is. */

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

/* The mark of an answer of the router's, or 0. */
static __always_inline __u32 answer_mark(struct __sk_buff *skb)
{
	__u32 mark = mark_of(skb);

	switch (answer_kind(mark)) {
	case TC_INDEX_ANSWER:
	case TC_INDEX_ANSWER_RELATED:
	case TC_INDEX_ANSWER_FIRST:
	case TC_INDEX_ANSWER_LATE:
	case TC_INDEX_ANSWER_ZONED:
		return is_ours(skb) ? mark : 0;
	}
	return 0;
}
