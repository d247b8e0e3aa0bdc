/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once

#include "common.h"
#include "marks.h"
#include "types.h"
#include "way.h"

/* Ways of the router's own packets through lo, which takes the route from them that the
 * kernel had found: skb_scrub_packet().
 */

/* An Ethernet header, with notes in place of its addresses. A frame to a group would
 * not be forwarded: family, which is even, comes first.
 */
struct lo_frame {
	__u16 family; /* of the next hop, which is in the socket buffer's cb */
	__u16 unused;
	__u32 oif;
	__u32 priority; /* which lo takes, too */
	__be16 proto;
} __attribute__((packed));

_Static_assert(sizeof(struct lo_frame) == ETH_HLEN, "an Ethernet header");

/* Has the packet, whose headers are written, come in by lo. */
static __always_inline int send_into_lo(struct __sk_buff *skb,
					const struct pkt *p,
					const struct lo_frame *frame,
					__u32 mark)
{
	if (!p->l3_off && bpf_skb_change_head(skb, ETH_HLEN, 0))
		return drop(STAT_DROP_INTERNAL);
	if (bpf_skb_store_bytes(skb, 0, frame, sizeof(*frame), 0))
		return drop(STAT_DROP_INTERNAL);
	skb->tc_index = mark;
	return bpf_redirect(LOOPBACK_IFINDEX, BPF_F_INGRESS);
}
