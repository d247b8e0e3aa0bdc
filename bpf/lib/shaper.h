/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once

#include "common.h"
#include "maps.h"
#include "marks.h"
#include "stats.h"
#include "types.h"

/*
 * Shaping of what comes in: before all else, a frame leaves by one end of a pair
 * of veth, where a qdisc holds it back, and comes in again, as its interface's,
 * when it has arrived at the other end. What XDP drops has not been there.
 */

/* By the interface that is shaped: where its frames wait. The kernel takes an
 * entry out with the device, so that no frame is sent to one that has gone.
 */
struct {
	__uint(type, BPF_MAP_TYPE_DEVMAP_HASH);
	__uint(max_entries, 256);
	__type(key, __u32);
	__type(value, __u32);
} l2_shapers SEC(".maps");

/* Whether it comes in again by these programs' own doing. A packet from another
 * namespace can claim that: then it does not wait, and meets the rules as ever.
 */
static __always_inline int comes_again(struct __sk_buff *skb)
{
	__u32 mark = mark_of(skb);

	return mark == TC_INDEX_SHAPED || mark == TC_INDEX_ANSWER_LOCAL ||
	       mark - TC_INDEX_RELEASED < REASM_SLOTS;
}

/* A device of veth takes frames alone. The header goes with the way back. */
static __always_inline int shaper_header(struct __sk_buff *skb)
{
	struct ethhdr eth = { .h_proto = skb->protocol };

	return bpf_skb_change_head(skb, ETH_HLEN, 0) ||
	       bpf_skb_store_bytes(skb, 0, &eth, sizeof(eth), 0);
}

/* Sends a frame on its way to the shaper, or from there to the interface that it is
 * of. TCX_NEXT: it has that behind itself, or there is no shaper. Global: verified
 * once.
 */
__noinline int shape(struct __sk_buff *skb, __u32 flags, __u32 parent)
{
	__u32 ifindex = skb->ifindex, *device;

	if (flags & IFACE_SHAPER) {
		/* The device's own are nobody's. */
		if (mark_of(skb) != TC_INDEX_SHAPED)
			return TCX_DROP;
		return bpf_redirect(parent, BPF_F_INGRESS);
	}
	if (comes_again(skb))
		return TCX_NEXT;
	device = bpf_map_lookup_elem(&l2_shapers, &ifindex);
	if (!device)
		return TCX_NEXT;
	ifindex = *device;
	if (flags & IFACE_L3 && shaper_header(skb))
		return drop(STAT_DROP_INTERNAL);
	count(STAT_SHAPED);
	skb->tc_index = TC_INDEX_SHAPED;
	return bpf_redirect(ifindex, 0);
}
