/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once

#include "awaited.h"
#include "common.h"
#include "scratch.h"
#include "types.h"

/*
 * Answers to the router's own packets. They come in by the interface that the
 * packet would have left by, from where it would have gone: what the kernel
 * does over lo, by a route that is with the packet and that programs cannot
 * give it.
 */

static __always_inline int
reject_to_self(struct __sk_buff *skb, const struct pkt *p, struct scratch *s)
{
	struct tuple *t = &s->answer;
	__u32 ifindex = p->oif;
	struct iface *iface = bpf_map_lookup_elem(&l2_ifaces, &ifindex);
	__u8 mac[ETH_ALEN];

	if (!iface)
		return TCX_DROP;
	__builtin_memset(t, 0, sizeof(*t));
	__builtin_memcpy(t->saddr, s->key.daddr, 16);
	__builtin_memcpy(t->daddr, s->key.saddr, 16);
	t->nfproto = p->nfproto;
	if (REJECT_KIND(p) == REJECT_RESET) {
		t->l4proto = IPPROTO_TCP;
		t->sport = s->key.dport;
		t->dport = s->key.sport;
	} else {
		t->l4proto = p->nfproto == NFPROTO_IPV4 ? IPPROTO_ICMP :
							  IPPROTO_ICMPV6;
	}
	if (await(t))
		return TCX_DROP;
	if (!(iface->flags & IFACE_L3)) {
		__builtin_memcpy(mac, iface->mac, ETH_ALEN);
		if (bpf_skb_store_bytes(skb, offsetof(struct ethhdr, h_dest),
					mac, ETH_ALEN, 0))
			return TCX_DROP;
	}
	return bpf_redirect(ifindex, BPF_F_INGRESS);
}
