/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once

#include "common.h"
#include "dup.h"
#include "marks.h"
#include "types.h"
#include "way.h"
#include "way_send.h"

/* The fwd statement: a frame leaves by another interface. */

/* One hop less, as ip_decrease_ttl() counts it; less than 0: none is left. */
static __always_inline int frame_hop(struct __sk_buff *skb, const struct pkt *p)
{
	__u32 check;
	__u8 hops;

	if (p->protocol == bpf_htons(ETH_P_IPV6)) {
		hops = p->nh[offsetof(struct ipv6hdr, hop_limit)];
		if (hops-- <= 1)
			return -1;
		return bpf_skb_store_bytes(
			skb, L3_OFF(p) + offsetof(struct ipv6hdr, hop_limit),
			&hops, sizeof(hops), BPF_F_RECOMPUTE_CSUM);
	}
	hops = p->nh[offsetof(struct iphdr, ttl)];
	if (hops-- <= 1)
		return -1;
	check = *(__u16 *)&p->nh[offsetof(struct iphdr, check)];
	check += bpf_htons(0x0100);
	check += check >= 0xffff;
	if (bpf_skb_store_bytes(skb, L3_OFF(p) + offsetof(struct iphdr, check),
				&check, sizeof(__u16), BPF_F_RECOMPUTE_CSUM))
		return -1;
	return bpf_skb_store_bytes(skb, L3_OFF(p) + offsetof(struct iphdr, ttl),
				   &hops, sizeof(hops), BPF_F_RECOMPUTE_CSUM);
}

/* Sends the frame as it is, or to the neighbour that a rule names. */
static __always_inline int frame_send(struct __sk_buff *skb,
				      const struct pkt *p)
{
	struct bpf_redir_neigh nh = { .nh_family = p->send_to };

	skb->tc_index = TC_INDEX_DONE;
	sent_begin(skb);
	if (!p->send_to)
		return bpf_redirect(p->send_by, 0);
	if (frame_hop(skb, p) || forget_group(skb, p))
		return drop(STAT_DROP_POLICY);
	if (p->send_to == AF_INET)
		__builtin_memcpy(&nh.ipv4_nh, p->nat_range.min, 4);
	else
		__builtin_memcpy(nh.ipv6_nh, p->nat_range.min, 16);
	return bpf_redirect_neigh(p->send_by, &nh, sizeof(nh), 0);
}
