/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once

#include "answered.h"
#include "common.h"
#include "conntrack.h"
#include "facts.h"
#include "icmp_error.h"
#include "looped.h"
#include "mapping.h"
#include "marks.h"
#include "parse.h"
#include "rewrite.h"
#include "reevaluate.h"
#include "scratch.h"
#include "source.h"
#include "types.h"
#include "written.h"

/* A packet's way at TC: how it begins, and how it meets conntrack. */

/* What the steps of a packet's way share. */
struct way {
	struct ct *ct;
	struct tuple *key; /* the tuple that it came with */
	struct icmp_error *error; /* NULL: the packet is none */
};

static __always_inline int drop(__u32 reason)
{
	count_reason(reason, 1);
	return TCX_DROP;
}

/* Hands the packet to the host. */
static __always_inline int pass(struct __sk_buff *skb)
{
	skb->tc_index = TC_INDEX_NONE;
	return TCX_NEXT;
}

static __always_inline struct scratch *way_begin(struct way *w)
{
	struct scratch *s = scratch();

	if (!s)
		return NULL;
	pkt_begin(&s->pkt);
	__builtin_memset(&s->error, 0, sizeof(s->error));
	__builtin_memset(&s->ct, 0, offsetof(struct ct, back));
	w->ct = &s->ct;
	w->key = &s->key;
	w->error = &s->error;
	return s;
}

static __always_inline int begin(struct __sk_buff *skb, struct pkt *p,
				 struct way *w, const struct iface *iface,
				 int egress)
{
	int ret;

	facts_none();
	p->mark = ctx_mark(skb);
	p->priority = skb->priority;
	p->ct_state = CT_STATE_INVALID; /* to the chains before conntrack */
	p->pkt_type = ctx_pkt_type(skb);
	p->l3_off = link_len(skb, iface);
	/* On the way out it is the header that the packet leaves with. */
	p->ll_len = egress ? 0 : p->l3_off;
	p->protocol = skb->protocol;
	if (p->protocol != bpf_htons(ETH_P_IP) &&
	    p->protocol != bpf_htons(ETH_P_IPV6))
		return PARSE_FOREIGN;
	ctx_pull(skb, ETH_HLEN + sizeof(struct ipv6hdr) + sizeof(p->th));
	ret = parse(skb, p, egress);
	if (ret == PARSE_OK)
		*w->key = p->tuple;
	looped_type(skb, p);
	return ret;
}

/* Conntrack sees what the chains before it have written. */
static __always_inline void see_written(struct pkt *p, struct way *w)
{
	if (!policy_writes)
		return;
	tuple_of_headers(p, &p->tuple);
	parse_ports(p);
	*w->key = p->tuple;
}

static __always_inline void track(struct __sk_buff *skb, struct pkt *p,
				  struct way *w)
{
	struct icmp_error *error = w->error;

	w->error = NULL;
	if (p->ct_state == CT_STATE_UNTRACKED)
		return; /* a chain before said so */
	facts_none();
	if (ct_is_short(p)) {
		ct_invalid(p);
	} else if (ct_untracked(p)) {
		p->ct_state = CT_STATE_UNTRACKED;
	} else if (ct_is_icmp_error(p)) {
		w->error = error;
		icmp_error_track(skb, p, error);
		if (p->ct_state == CT_STATE_INVALID)
			count(STAT_FLOW_INVALID);
	} else {
		ct_in(skb, p, w->key, w->ct);
		reevaluate_begin(p, w->ct, w->key);
	}
}

/* nf_ct_attach(): the answer, whose tuple is key, belongs to the flow of what it
 * answers. Where that translates its source, it has the one of before until it
 * leaves. Returns whether there is a flow: else the answer is tracked by itself.
 * Global: verified once.
 */
__noinline int track_answer(struct __sk_buff *skb, struct pkt *p,
			    struct tuple *key, __u32 mark)
{
	struct scratch *s = scratch();
	const struct answered *a;
	struct endpoints from;
	struct tuple *there;

	if (!p || !key || !s)
		return 0;
	if (answers_untracked(mark)) {
		answered_zone(p, key, mark);
		return 0;
	}
	a = answered_of(key, mark);
	there = &s->error.quoted;
	if (policy_facts & FACTS_CT && a &&
	    answer_kind(mark) != TC_INDEX_ANSWER_RELATED) {
		answered_facts(a);
	} else if (policy_facts) {
		if (ct_is_icmp_error(p))
			icmp_parse_quoted(skb, p, &s->error);
		else
			tuple_reverse(there, (struct endpoints *)key, key, 0);
		if (facts_answer(there, p) < 0 && policy_facts & FACTS_CT && a)
			answered_facts(a);
	}
	p->ct_state = CT_STATE_RELATED;
	if (!a)
		return 1;
	__builtin_memcpy(&from, key, sizeof(from));
	__builtin_memcpy(from.saddr, a->from, sizeof(from.saddr));
	if (p->l4proto == IPPROTO_TCP)
		from.sport = a->port;
	if (!__builtin_memcmp(&from, key, sizeof(from)))
		return 1;
	s->ct.answer = 1;
	translate_src(p, &from);
	return 1;
}

/* The source that the answer in hand leaves with. */
__noinline int answer_leaves(struct pkt *p, struct tuple *key)
{
	struct scratch *s = scratch();

	if (!p || !key || !s || !s->ct.answer)
		return 0;
	return translate_src(p, (struct endpoints *)key);
}

/* The first packet goes no further after all: there is no flow. */
static __always_inline void forget(const struct way *w)
{
	struct scratch *s = scratch();
	struct flow *f;

	if (!w->ct->first || !s)
		return;
	f = bpf_map_lookup_elem(&l2_half_open, w->key);
	if (f) {
		flow_delete(w->key, f, FLOW_END_REFUSED);
		if (s->pkt.iif)
			source_forget(w->key);
	}
	mapping_forget();
}
