/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once

#include "common.h"
#include "flow.h"
#include "frag.h"
#include "scratch.h"
#include "sctp_track.h"
#include "tcp_track.h"
#include "types.h"

/* Discovery of neighbours, of multicast listeners and routers is not tracked:
 * nf_conntrack_proto_icmpv6.c.
 */
static __always_inline int ct_untracked(const struct pkt *p)
{
	if (p->l4proto != IPPROTO_ICMPV6 || p->nfproto != NFPROTO_IPV6)
		return 0;
	return (p->th[0] >= 130 && p->th[0] <= 136) || p->th[0] == 143 ||
	       p->th[0] == 151 || p->th[0] == 152;
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

static __always_inline int ct_invalid(struct pkt *p)
{
	p->ct_state = CT_STATE_INVALID;
	count(STAT_FLOW_INVALID);
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
	case IPPROTO_SCTP:
		*state = sctp_first(ctx, p);
		return *state != SCTP_NONE;
	case IPPROTO_UDP:
		return udp_header_valid(p);
	case IPPROTO_UDPLITE:
		return udplite_header_valid(p);
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
	if (p->l4proto == IPPROTO_SCTP)
		return state == SCTP_ESTABLISHED;
	return p->l4proto != IPPROTO_TCP || state == TCP_ESTABLISHED;
}

/* What is not the key of the other direction of an entry has bits that are set. Without
 * a branch, for the verifier.
 */
static __always_inline __u32 flow_strangeness(const struct flow *f,
					      const struct tuple *key)
{
	const __u32 *src = (const __u32 *)key->saddr;
	const __u32 *dst = (const __u32 *)key->daddr;
	const __u32 *out_src = (const __u32 *)f->out.saddr;
	const __u32 *out_dst = (const __u32 *)f->out.daddr;
	__u32 i, diff;

	diff = (key->sport ^ f->out.dport) | (key->dport ^ f->out.sport) |
	       (key->zone ^ f->zone);
	for (i = 0; i < 4; i++)
		diff |= (src[i] ^ out_dst[i]) | (dst[i] ^ out_src[i]);
	return diff;
}

/* Whether an entry, or NULL, is the other direction of the one with key and these flags:
 * two CPUs that have begun a flow at once may have left one that only thinks so.
 */
static __always_inline int flow_is_twin(const struct flow *twin,
					const struct tuple *key, __u8 flags)
{
	return twin && !flow_strangeness(twin, key) &&
	       !(policy_turns_zones && flow_is_alien(flags, twin));
}

/* Takes the other direction, if it is that, out of a tier. Returns how many are gone. */
static __always_inline int flow_delete_twin(void *tier,
					    const struct tuple *rkey,
					    const struct tuple *key, __u8 flags)
{
	return flow_is_twin(bpf_map_lookup_elem(tier, rkey), key, flags) &&
	       !bpf_map_delete_elem(tier, rkey);
}

/* Ends a flow. Of several CPUs that do so at once one reports it. Returns how many
 * entries are gone.
 */
__noinline int flow_delete(const struct tuple *key, struct flow *f,
			   enum flow_end end)
{
	struct flow *twin, *half_open;
	struct flow_event *e;
	struct tuple rkey;
	int gone, entries = 0;
	__u8 flags;

	if (!key || !f)
		return 0;
	flags = f->flags;
	tuple_reverse(&rkey, &f->out, key, f->zone);
	half_open = bpf_map_lookup_elem(&l2_half_open, key);
	twin = half_open ? bpf_map_lookup_elem(&l2_half_open, &rkey) :
			   bpf_map_lookup_elem(&l2_flows, &rkey);
	if (!flow_is_twin(twin, key, flags))
		twin = NULL;
	e = flow_event_begin(key, f, twin, !!half_open, FLOW_EVENT_DESTROY,
			     end);
	entries += !bpf_map_delete_elem(&l2_flows, key);
	entries += !bpf_map_delete_elem(&l2_half_open, key);
	gone = entries;
	flow_event_end(e, gone);
	entries += flow_delete_twin(&l2_flows, &rkey, key, flags);
	entries += flow_delete_twin(&l2_half_open, &rkey, key, flags);
	return entries;
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
		s->rev.flags |= twin->flags & FLOW_STALE;
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

/* The packets of the entry with the key go another way than those before. That ends a
 * flow that is bound to its way, as nf_nat_oif_changed() does: the next packet begins one
 * with the address of the new way. Returns whether it has.
 */
__noinline int ct_goes_by(const struct tuple *key, __u32 ifindex)
{
	struct flow *f;
	__u8 half;

	if (!key)
		return 0;
	f = ct_find_entry(key, &half);
	if (!f)
		return 0;
	if (flow_is_bound(f)) {
		flow_delete(key, f, FLOW_END_MOVED);
		return 1;
	}
	flow_goes_by(f, ifindex);
	return 0;
}

/* Protocols whose packets are judged by what both ends have sent before. */
static __always_inline int has_connections(__u8 l4proto)
{
	return l4proto == IPPROTO_TCP || l4proto == IPPROTO_SCTP;
}

/* tcp_packet() or sctp_packet() with the entries of both directions. */
static __always_inline int
ct_connection(struct ctx_buff *ctx, const struct pkt *p,
	      const struct tuple *key, struct flow *f, int half, struct ct *ct)
{
	struct flow *twin;

	tuple_reverse(&ct->back, &f->out, key, f->zone);
	twin = flow_entry(&ct->back, half);
	if (!twin) {
		/* Evicted, and its window with it. */
		flow_sync(key, f, half, FLOW_SAME);
		twin = flow_entry(&ct->back, half);
		if (!twin)
			return TCP_IGNORE;
		f->seen.flags |= SEEN_LIBERAL;
		twin->seen.flags |= SEEN_LIBERAL | SEEN_SACK;
	}
	if (is_later_fragment(p)) {
		if (p->l4proto == IPPROTO_TCP)
			tcp_later_fragment(p, &f->seen);
		return TCP_IGNORE;
	}
	return p->l4proto == IPPROTO_TCP ?
		       tcp_packet(ctx, p, f, twin, &ct->change) :
		       sctp_packet(ctx, p, f, twin, &ct->change);
}

/*
 * Finds the packet's flow, moves its state on and sets p->ct_state, as
 * nf_conntrack_in() does; ct says nothing before. A TCP connection is confirmed
 * when its handshake is complete, an association of SCTP when it is established,
 * anything else by its first reply.
 */
__noinline int ct_in(struct ctx_buff *ctx, struct pkt *p, struct tuple *key,
		     struct ct *ct)
{
	__u8 half, flags, refused;
	enum flow_change changed;
	struct flow *f, *confirmed;
	struct tcp_change *change;
	int verdict = TCP_KEEP;

	if (!p || !key || !ct)
		return 0;
	change = &ct->change;
	f = ct_find(key, p, &half);
	if (f && ticks_after(ns_to_ticks(p->now), READ_ONCE(f->expires))) {
		flow_delete(key, f, FLOW_END_EXPIRED);
		count(STAT_FLOW_EXPIRED);
		f = NULL;
	}
	if (f && flow_contradicts(f, p))
		return ct_invalid(p);
	if (f) {
		change->state = f->state;
		change->flags = f->flags;
		change->keep_expiry = 0;
		if (has_connections(p->l4proto)) {
			verdict = ct_connection(ctx, p, key, f, half, ct);
		} else {
			if (flow_assures(f, p->l4proto, p->now))
				WRITE_ONCE(f->flags, f->flags | FLOW_ASSURED);
			change->timeout = flow_timeout(f, p->l4proto);
		}
		if (verdict == TCP_INVALID)
			return ct_invalid(p);
		if (verdict == TCP_REOPEN) {
			flow_delete(key, f, FLOW_END_REOPENED);
			f = NULL;
		}
	}
	if (!f) {
		key->zone = zone_of(p, ZONE_ORIGINAL);
		if (!ct_may_begin(ctx, p, &ct->state))
			return ct_invalid(p);
		p->ct_state = CT_STATE_NEW;
		ct->first = 1;
		facts_first(key, zone_of(p, ZONE_REPLY));
		facts_count_first(p->len);
		return 0;
	}

	flags = f->flags;
	refused = verdict == TCP_KEEP && p->l4proto == IPPROTO_TCP &&
		  !is_later_fragment(p) && tcp_flags(p) & TH_RST &&
		  !(flags & FLOW_SEEN_REPLY);
	if (flags & FLOW_REPLY)
		flags |= FLOW_SEEN_REPLY;
	changed = change->state != f->state || flags != change->flags ?
			  FLOW_CHANGED :
			  FLOW_SAME;
	if (changed) {
		WRITE_ONCE(f->state, change->state);
		WRITE_ONCE(f->flags, flags);
	}
	if (half && ct_is_confirmed_by(p, change->state, flags) &&
	    !flow_confirm(key, f)) {
		confirmed = bpf_map_lookup_elem(&l2_flows, key);
		if (confirmed) {
			f = confirmed;
			half = 0;
			changed = FLOW_CONFIRMED;
		}
	}
	if (verdict == TCP_IGNORE || change->keep_expiry) {
		if (changed)
			flow_sync(key, f, half, changed);
	} else if (refused) {
		flow_count(f, p);
	} else {
		flow_touch(key, f, p, half, changed, change->timeout);
	}
	ct->found = 1;
	ct->out = f->out;
	ct->via = f->hop.via;
	if (policy_rejects)
		ct->flags = flags;
	facts_flow(key, f, f->flags);
	if (refused) {
		/* A reset before any reply: there is no connection, and the
		 * next packet is of none. This one still is of the flow.
		 */
		WRITE_ONCE(f->expires, ns_to_ticks(p->now) - 1);
		flow_sync(key, f, half, changed);
		facts_dying();
	}
	p->ct_state = flags & FLOW_SEEN_REPLY ? CT_STATE_ESTABLISHED :
						CT_STATE_NEW;
	return 0;
}
