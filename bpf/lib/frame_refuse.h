/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once

#include "common.h"
#include "frame_send.h"
#include "handover.h"
#include "marks.h"
#include "reject.h"
#include "scratch.h"
#include "types.h"
#include "way.h"
#include "written.h"

/* What the chains of a device do not let in. */

/*
 * The frame goes back as the answer to itself, from where it went to, by the
 * interface that it came by: nft_reject_netdev.c. Other than one of IP's chains it
 * looks at no route and keeps to no limit. Global: verified once.
 */
__noinline int reject_frame(struct __sk_buff *skb, struct pkt *p)
{
	struct scratch *s = scratch();
	__u8 macs[2 * ETH_ALEN], back[2 * ETH_ALEN];

	if (!p || !s || p->l3_off != ETH_HLEN || !p->nfproto)
		return TCX_DROP;
	if (ctx_load(skb, 0, macs, sizeof(macs)) < 0 || macs[0] & 1)
		return TCX_DROP;
	__builtin_memset(&s->key, 0, sizeof(s->key));
	s->key.l4proto = p->l4proto;
	s->key.nfproto = p->nfproto;
	tuple_of_headers(p, &s->key);
	if (reject_make_frame(skb, p, s))
		return TCX_DROP;
	if (skb->vlan_present && bpf_skb_vlan_pop(skb))
		return TCX_DROP;
	__builtin_memcpy(back, macs + ETH_ALEN, ETH_ALEN);
	__builtin_memcpy(back + ETH_ALEN, macs, ETH_ALEN);
	if (bpf_skb_store_bytes(skb, 0, back, sizeof(back), 0))
		return TCX_DROP;
	skb->tc_index = TC_INDEX_DONE;
	return bpf_redirect(skb->ifindex, 0);
}

/* What to do with a frame that the chains of its device have not accepted; TCX_NEXT:
 * it is to be rejected as a packet, as h says.
 */
static __always_inline int frame_refused(struct __sk_buff *skb, struct pkt *p,
					 struct handover *h)
{
	if (p->send_by)
		return frame_send(skb, p);
	if (!policy_rejects || !REJECT_KIND(p))
		return drop(STAT_DROP_POLICY);
	if (p->reject & REJECT_FRAME) {
		count(STAT_DROP_POLICY);
		return reject_frame(skb, p);
	}
	h->reject = p->reject;
	h->hook = REJECT_PREROUTING;
	h->ct_state = CT_STATE_INVALID;
	return TCX_NEXT;
}
