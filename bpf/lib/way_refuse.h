/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once

#include "common.h"
#include "marks.h"
#include "reject.h"
#include "reject_local.h"
#include "way.h"
#include "way_send.h"

/* What rules do not let through. */

/*
 * A rule has rejected the packet. The answer goes out as the router's own
 * packet, through the output and postrouting chains: nf_ct_attach() makes it
 * related to the flow, if there is one. An answer to the router itself goes to
 * its sockets, as if from outside. Global: verified once, for all callers.
 */
__noinline int reject(struct __sk_buff *skb, struct pkt *p, __u32 hook,
		      __u32 first)
{
	struct scratch *s = scratch();
	__u32 mark = TC_INDEX_ANSWER;

	if (!p || !s || reject_make(skb, p, hook))
		return TCX_DROP;
	if (p->ct_state & (CT_STATE_NEW | CT_STATE_ESTABLISHED)) {
		mark = TC_INDEX_ANSWER_RELATED;
		if (REJECT_KIND(p) == REJECT_RESET)
			reject_close(p, &s->key);
	}
	if (hook == REJECT_OUTPUT) {
		skb->tc_index = TC_INDEX_ANSWER_LOCAL;
		return reject_to_self(skb, p, s);
	}
	return send_by(skb, p, route_of(s),
		       first ? TC_INDEX_ANSWER_FIRST : mark);
}

/* A rule or a policy has dropped the packet. */
static __always_inline int refuse(struct __sk_buff *skb, struct pkt *p,
				  const struct way *w, __u32 hook)
{
	count(STAT_DROP_POLICY);
	if (!policy_rejects || !REJECT_KIND(p))
		return TCX_DROP;
	return reject(skb, p, hook,
		      w->ct->first && !(p->reject & REJECT_AFTER_NAT));
}

/* A step of NAT has ended the packet's way. */
static __always_inline int refuse_nat(struct __sk_buff *skb, struct pkt *p,
				      const struct way *w, __u32 hook,
				      __u32 reason)
{
	if (reason == STAT_DROP_POLICY)
		return refuse(skb, p, w, hook);
	return drop(reason);
}

/* A chain behind the NAT has dropped the packet. */
static __always_inline int refuse_late(const struct way *w)
{
	forget(w);
	return drop(STAT_DROP_POLICY);
}
