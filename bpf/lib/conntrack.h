/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once

#include "common.h"
#include "flow.h"
#include "frag.h"
#include "scratch.h"
#include "tcp_track.h"
#include "types.h"

/* What conntrack knows of the packet in hand. */
struct ct {
	struct flow *flow; /* NULL: none (yet) */
	__u8 half; /* the flow is in the half-open tier */
	__u8 first; /* the packet begins a flow, if the ruleset accepts it */
	__u8 state; /* TCP state that the flow begins with */
};

/* Neighbour and multicast listener discovery is not tracked:
 * nf_conntrack_proto_icmpv6.c.
 */
static __always_inline int ct_untracked(const struct pkt *p)
{
	if (p->l4proto != IPPROTO_ICMPV6 || p->nfproto != NFPROTO_IPV6)
		return 0;
	return (p->th[0] >= 130 && p->th[0] <= 136) || p->th[0] == 143;
}

/* Without what makes a tuple, or its like. */
static __always_inline int ct_is_short(const struct pkt *p)
{
	switch (p->l4proto) {
	case IPPROTO_TCP:
	case IPPROTO_UDP:
	case IPPROTO_UDPLITE:
	case IPPROTO_SCTP:
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		return p->th_len < 8;
	}
	return 0;
}

static __always_inline int ct_is_icmp_error(const struct pkt *p)
{
	if (p->l4proto == IPPROTO_ICMPV6 && p->nfproto == NFPROTO_IPV6)
		return p->th[0] < 128;
	if (p->l4proto != IPPROTO_ICMP || p->nfproto != NFPROTO_IPV4)
		return 0;
	switch (p->th[0]) {
	case ICMP_DEST_UNREACH:
	case ICMP_SOURCE_QUENCH:
	case ICMP_REDIRECT:
	case ICMP_TIME_EXCEEDED:
	case ICMP_PARAMETERPROB:
		return 1;
	}
	return 0;
}

/* Whether the packet may begin a flow. */
static __always_inline int ct_may_begin(struct ctx_buff *ctx,
					const struct pkt *p, __u8 *state)
{
	struct scratch *s;

	switch (p->l4proto) {
	case IPPROTO_TCP:
		s = scratch();
		if (!s)
			return 0;
		*state = tcp_first(ctx, p, &s->seen[0], &s->seen[1], &s->last);
		return *state != TCP_NONE;
	case IPPROTO_UDP:
		return udp_header_valid(p);
	case IPPROTO_ICMP:
		switch (p->th[0]) {
		case ICMP_ECHO:
		case ICMP_TIMESTAMP:
		case ICMP_INFO_REQUEST:
		case ICMP_ADDRESS:
			return 1;
		}
		return 0;
	case IPPROTO_ICMPV6:
		return p->th[0] == ICMPV6_ECHO_REQUEST ||
		       p->th[0] == ICMPV6_NI_QUERY;
	}
	return 1;
}

static __always_inline int ct_is_confirmed_by(const struct pkt *p, __u8 state,
					      __u8 flags)
{
	if (!(flags & FLOW_SEEN_REPLY))
		return 0;
	return p->l4proto != IPPROTO_TCP || state == TCP_ESTABLISHED;
}

__noinline int flow_delete(const struct tuple *key, struct flow *f)
{
	struct tuple rkey;

	if (!key || !f)
		return 0;
	tuple_reverse(&rkey, &f->out, key, f->zone);
	bpf_map_delete_elem(&l2_flows, key);
	bpf_map_delete_elem(&l2_flows, &rkey);
	bpf_map_delete_elem(&l2_half_open, key);
	bpf_map_delete_elem(&l2_half_open, &rkey);
	return 0;
}

/*
 * Moves a flow from the tier that may be evicted to the one that may not.
 * Confirmed first, then gone from the other: an allocator that looks for a
 * free port always sees it in one of them. Fails when the table is full; the
 * flow then works on where it is.
 */
__noinline int flow_confirm(const struct tuple *key, struct flow *f)
{
	struct scratch *s = scratch();
	struct tuple rkey;
	struct flow *twin;
	int err;

	if (!s || !key || !f)
		return -1;
	tuple_reverse(&rkey, &f->out, key, f->zone);
	s->fwd = *f;
	flow_reverse(&s->rev, f, key);
	twin = bpf_map_lookup_elem(&l2_half_open, &rkey);
	if (twin) {
		s->rev.packets = twin->packets;
		s->rev.bytes = twin->bytes;
		s->rev.seen = twin->seen;
		s->rev.last = twin->last;
		s->rev.hop.via = twin->hop.via;
	}

	err = bpf_map_update_elem(&l2_flows, &rkey, &s->rev, BPF_NOEXIST);
	if (!err)
		err = bpf_map_update_elem(&l2_flows, key, &s->fwd, BPF_NOEXIST);
	if (err == -17) /* EEXIST: another CPU does the same */
		return 0;
	if (err) {
		bpf_map_delete_elem(&l2_flows, &rkey);
		count(STAT_FLOW_TABLE_FULL);
		return err;
	}
	bpf_map_delete_elem(&l2_half_open, key);
	bpf_map_delete_elem(&l2_half_open, &rkey);
	count(STAT_FLOW_CONFIRMED);
	return 0;
}

static __always_inline struct flow *ct_find_entry(const struct tuple *key,
						  __u8 *half)
{
	struct flow *f = bpf_map_lookup_elem(&l2_flows, key);

	*half = !f;
	return f ? f : bpf_map_lookup_elem(&l2_half_open, key);
}

/*
 * The entry of the packet with this tuple. The key's zone is that of the
 * original direction, or of the reply direction if such an entry is found.
 */
static __always_inline struct flow *ct_find(struct tuple *key,
					    const struct pkt *p, __u8 *half)
{
	__u16 original = zone_of(p, ZONE_ORIGINAL);
	__u16 reply = zone_of(p, ZONE_REPLY);
	struct flow *f;

	key->zone = original;
	f = ct_find_entry(key, half);
	if (likely(original == reply))
		return f;
	if (f && !(f->flags & FLOW_REPLY))
		return f;
	key->zone = reply;
	f = ct_find_entry(key, half);
	if (f && f->flags & FLOW_REPLY)
		return f;
	key->zone = original;
	return NULL;
}

/* tcp_packet() with the entries of both directions. */
static __always_inline int ct_tcp(struct ctx_buff *ctx, const struct pkt *p,
				  const struct tuple *key, struct flow *f,
				  int half, struct tcp_change *change)
{
	struct flow *twin = flow_twin(key, f, half);

	if (!twin) {
		/* Evicted, and its window with it. */
		flow_sync(key, f, half);
		twin = flow_twin(key, f, half);
		if (!twin)
			return TCP_IGNORE;
		f->seen.flags |= SEEN_LIBERAL;
		twin->seen.flags |= SEEN_LIBERAL | SEEN_SACK;
	}
	if (is_later_fragment(p)) {
		tcp_later_fragment(p, &f->seen);
		return TCP_IGNORE;
	}
	return tcp_packet(ctx, p, f, twin, change);
}

/*
 * Finds the packet's flow, moves its state on and sets p->ct_state, as
 * nf_conntrack_in() does. A TCP connection is confirmed when its handshake is
 * complete, anything else by its first reply.
 */
static __always_inline void ct_in(struct ctx_buff *ctx, struct pkt *p,
				  struct tuple *key, struct ct *ct)
{
	struct tcp_change change = {};
	struct flow *f, *confirmed;
	__u8 flags, changed, refused;
	int verdict = TCP_KEEP;

	f = ct_find(key, p, &ct->half);
	if (f && ticks_after(ns_to_ticks(p->now), READ_ONCE(f->expires))) {
		flow_delete(key, f);
		count(STAT_FLOW_EXPIRED);
		f = NULL;
	}
	if (f && flow_contradicts(f, p)) {
		p->ct_state = CT_STATE_INVALID;
		return;
	}
	if (f) {
		change.state = f->state;
		if (p->l4proto == IPPROTO_TCP) {
			verdict = ct_tcp(ctx, p, key, f, ct->half, &change);
		} else {
			change.timeout = flow_timeout(f, p->l4proto,
						      ns_to_ticks(p->now));
		}
		if (verdict == TCP_INVALID) {
			p->ct_state = CT_STATE_INVALID;
			return;
		}
		if (verdict == TCP_REOPEN) {
			flow_delete(key, f);
			f = NULL;
		}
	}
	if (!f) {
		key->zone = zone_of(p, ZONE_ORIGINAL);
		if (!ct_may_begin(ctx, p, &ct->state)) {
			p->ct_state = CT_STATE_INVALID;
			return;
		}
		p->ct_state = CT_STATE_NEW;
		ct->first = 1;
		return;
	}

	flags = f->flags;
	refused = verdict == TCP_KEEP && p->l4proto == IPPROTO_TCP &&
		  !is_later_fragment(p) && tcp_flags(p) & TH_RST &&
		  !(flags & FLOW_SEEN_REPLY);
	if (flags & FLOW_REPLY)
		flags |= FLOW_SEEN_REPLY;
	changed = change.state != f->state || flags != f->flags;
	if (changed) {
		WRITE_ONCE(f->state, change.state);
		WRITE_ONCE(f->flags, flags);
	}
	if (ct->half && ct_is_confirmed_by(p, change.state, flags) &&
	    !flow_confirm(key, f)) {
		confirmed = bpf_map_lookup_elem(&l2_flows, key);
		if (confirmed) {
			f = confirmed;
			ct->half = 0;
			changed = 1;
		}
	}
	if (verdict == TCP_IGNORE || change.keep_expiry) {
		if (changed)
			flow_sync(key, f, ct->half);
	} else {
		flow_touch(key, f, p, ct->half, changed, change.timeout);
	}
	if (refused) {
		/* A reset before any reply: there is no connection, and the
		 * next packet is of none. This one still is of the flow.
		 */
		WRITE_ONCE(f->expires, ns_to_ticks(p->now) - 1);
		flow_sync(key, f, ct->half);
	}
	ct->flow = f;
	p->ct_state = flags & FLOW_SEEN_REPLY ? CT_STATE_ESTABLISHED :
						CT_STATE_NEW;
}
