/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once

#include "common.h"
#include "conntrack.h"
#include "mapping.h"
#include "nat_addr.h"
#include "ports.h"
#include "scratch.h"
#include "source.h"
#include "types.h"

/*
 * NAT and the birth of flows: nf_nat_core.c. What a NAT statement asks for is in
 * p->nat and p->nat_range. The destination is decided first. The source comes
 * last, for every flow: its reverse key is the reservation of its translated
 * port. Inserting it, if it does not exist, is the test whether the port is
 * free. Flows of the router itself go the same way, so all share one port space.
 */

/*
 * Ports that are tried in a row; then half as many from elsewhere, and so on: as
 * many as STAT_NAT_TRIES_248 says.
 */
#define NAT_TRIES 128
#define NAT_TRIES_LEAST 8
/* Ports that are tried for a mapping; then the flow has one of its own. */
#define NAT_TRIES_MAPPING 64

static __always_inline int nat_has_ports(const struct pkt *p)
{
	return has_ports(p->l4proto) || p->l4proto == IPPROTO_ICMP ||
	       p->l4proto == IPPROTO_ICMPV6;
}

/* Whether the settings keep NAT from a port. Global: to the verifier, searches go
 * on alike whatever the port.
 */
__noinline int nat_is_reserved(__be16 port)
{
	__u32 zero = 0, number = bpf_ntohs(port);
	struct reserved_ports *r;

	r = bpf_map_lookup_elem(&l2_nat_reserved, &zero);
	return r && r->bits[number / 64 & 1023] >> (number & 63) & 1;
}

/* The settings are about the ports that a NAT statement gives clients. */
static __always_inline int nat_has_settings(const struct pkt *p)
{
	return p->iif && p->nat &&
	       (p->l4proto == IPPROTO_TCP || p->l4proto == IPPROTO_UDP);
}

/* Whether the settings let a flow have a port. A range that a rule gives goes
 * before that of the settings.
 */
__noinline int nat_may_have(const struct pkt *p, __be16 port)
{
	const struct settings *s = settings();

	if (!p || !s || !nat_has_settings(p))
		return 1;
	if (s->nat_reserves && nat_is_reserved(port))
		return 0;
	return p->nat & NAT_PORTS || !s->nat_port_max ||
	       (bpf_ntohs(port) >= s->nat_port_min &&
		bpf_ntohs(port) <= s->nat_port_max);
}

static __always_inline int nat_has_port(const struct pkt *p, __be16 port)
{
	const struct nat_range *r = &p->nat_range;

	if (!(p->nat & NAT_PORTS) || !nat_has_ports(p))
		return 1;
	return bpf_ntohs(port) >= bpf_ntohs(r->port_min) &&
	       bpf_ntohs(port) <= bpf_ntohs(r->port_max);
}

/* Without ports of its own a search stays in the class of the original, or in
 * the range of the settings.
 */
static __always_inline void nat_port_range(const struct pkt *p, __be16 port,
					   struct nat_search *s)
{
	const struct settings *set = settings();
	__u32 min = bpf_ntohs(p->nat_range.port_min);
	__u32 max = bpf_ntohs(p->nat_range.port_max);

	if (p->nat & NAT_PORTS) {
		s->first = min < max ? min : max;
		s->size = (min < max ? max - min : min - max) + 1;
	} else if (p->l4proto == IPPROTO_ICMP || p->l4proto == IPPROTO_ICMPV6) {
		s->first = 0;
		s->size = 65536;
	} else if (set && set->nat_port_max && s->settings) {
		s->first = set->nat_port_min;
		s->size = (set->nat_port_max - set->nat_port_min & 0xffff) + 1;
	} else if (bpf_ntohs(port) < 512) {
		s->first = 1;
		s->size = 511;
	} else if (bpf_ntohs(port) < 1024) {
		s->first = 600;
		s->size = 424;
	} else {
		s->first = 1024;
		s->size = 64512;
	}
}

static __always_inline __be16 nat_next_port(struct nat_search *s)
{
	__be16 port = bpf_htons(s->first + s->next);

	s->next += s->step > 1 ? 2 : 1;
	if (s->next >= s->size)
		s->next = s->odd;
	return port;
}

/* Whether a living flow has the key. */
static __noinline int nat_is_taken(const struct tuple *key, __u32 now)
{
	struct flow *f = bpf_map_lookup_elem(&l2_flows, key);

	if (!f)
		f = bpf_map_lookup_elem(&l2_half_open, key);
	return f && !ticks_after(now, READ_ONCE(f->expires));
}

/* The last ports of a row, of which closed connections give theirs up. */
#define NAT_TRIES_HARDER 32

/*
 * Ends the closed connection that has the reply key, and whose source is translated, for
 * a SYN with numbers that are further on: what the old one's ends still send is not in the
 * new one's window. nf_nat_used_tuple_harder(). Returns whether it has.
 */
__noinline int nat_evict(const struct tuple *rkey)
{
	struct scratch *sc = scratch();
	struct flow *f, *twin;
	__u8 half;

	if (!sc || !rkey || rkey->l4proto != IPPROTO_TCP ||
	    sc->ct.state != TCP_SYN_SENT)
		return 0;
	f = ct_find_entry(rkey, &half);
	if (!f || !(f->flags & FLOW_REPLY) || f->state < TCP_TIME_WAIT ||
	    (f->out.dport == rkey->dport &&
	     !__builtin_memcmp(f->out.daddr, rkey->daddr, 16)))
		return 0;
	twin = flow_twin(rkey, f, half);
	if (!twin || !seq_after(sc->seen[0].end, twin->seen.end))
		return 0;
	return flow_delete(rkey, f, FLOW_END_REOPENED) > 0;
}

/* Whether the try with the number is one of the last ones. */
static __always_inline int nat_tries_harder(const struct nat_search *s, __u32 i)
{
	return i + NAT_TRIES_HARDER >= s->row;
}

/* The search of the flow that is being made; NULL: none. The callbacks of loops
 * find it there, and not on the stack.
 */
static __always_inline struct nat_search *nat_search_begun(void)
{
	struct scratch *s = scratch();

	return s ? &s->search : NULL;
}

/* Whether what has the reply key is what is left of the flow that is being made, of which
 * somebody is ending the other half.
 */
static __always_inline int nat_is_rest(const struct flow *f,
				       const struct flow *rev)
{
	struct scratch *s = scratch();

	return s && f->zone == rev->zone &&
	       !__builtin_memcmp(&f->out, &rev->out, sizeof(f->out)) &&
	       !bpf_map_lookup_elem(&l2_flows, &s->key);
}

/*
 * Takes rkey for the reply direction rev. Looks into the confirmed table before
 * and after: a flow on its way from one tier to the other is in both.
 */
static __always_inline int nat_reserve(const struct tuple *rkey,
				       const struct flow *rev, __u32 now)
{
	struct flow *f;
	int err;

	f = bpf_map_lookup_elem(&l2_flows, rkey);
	if (f) {
		if (!ticks_after(now, READ_ONCE(f->expires)) &&
		    !nat_is_rest(f, rev))
			return -1;
		flow_delete(rkey, f, FLOW_END_EXPIRED);
	}
	err = bpf_map_update_elem(&l2_half_open, rkey, rev, BPF_NOEXIST);
	if (err) {
		f = bpf_map_lookup_elem(&l2_half_open, rkey);
		if (!f)
			return -1;
		/* Ours, whose other half was evicted, or long dead. */
		if ((f->zone != rev->zone ||
		     __builtin_memcmp(&f->out, &rev->out, sizeof(f->out))) &&
		    !ticks_after(now, READ_ONCE(f->expires)))
			return -1;
		if (bpf_map_update_elem(&l2_half_open, rkey, rev, BPF_ANY))
			return -1;
	}
	if (bpf_map_lookup_elem(&l2_flows, rkey)) {
		bpf_map_delete_elem(&l2_half_open, rkey);
		return -1;
	}
	return 0;
}

/* Takes rkey for the flow that is being made. */
__noinline int nat_take(const struct tuple *rkey, __u32 now)
{
	struct scratch *s = scratch();

	if (!s || !rkey)
		return -1;
	flow_set_diffs(&s->rev, rkey);
	return nat_reserve(rkey, &s->rev, now);
}

/* Whether what the search has come to is free, and, of a source, taken now. */
static __always_inline int nat_found(const struct nat_search *s)
{
	return s->is_dst ? !nat_is_taken(&s->rkey, s->now) :
			   !nat_take(&s->rkey, s->now);
}

static long nat_try_port(__u32 i, void *unused)
{
	struct nat_search *s = nat_search_begun();
	__be16 port;

	if (!s)
		return 1;
	port = nat_next_port(s);
	s->tries++;
	if (s->settings && nat_is_reserved(port))
		return 0;
	if (s->is_dst)
		s->rkey.sport = port;
	else
		s->rkey.dport = port;
	s->found = nat_found(s) || (nat_tries_harder(s, i) &&
				    nat_evict(&s->rkey) && nat_found(s));
	return s->found;
}

/*
 * Has the search try its ports, in rows of which each is half as long as the one before,
 * and from elsewhere.
 */
__noinline int nat_search_rows(void)
{
	struct nat_search *s = nat_search_begun();
	__u32 tries;

	if (!s)
		return 0;
	for (tries = NAT_TRIES; tries >= NAT_TRIES_LEAST; tries /= 2) {
		s->row = s->size < tries ? s->size : tries;
		bpf_loop(s->row, nat_try_port, NULL, 0);
		if (s->found || s->size <= tries)
			break;
		s->next = bpf_get_prandom_u32() % s->size;
	}
	return 0;
}

/*
 * A destination port of the range. One that no flow of these two ends has, the
 * first one unless it is to be random; if there is none, the source's port has to
 * make the difference.
 */
__noinline int nat_pick_dst_port(struct pkt *p)
{
	struct nat_search *s = nat_search_begun();
	struct tuple *t;

	if (!p || !s)
		return 0;
	__builtin_memset(s, 0, sizeof(*s));
	t = &p->tuple;
	s->is_dst = 1;
	s->now = ns_to_ticks(p->now);
	tuple_reverse(&s->rkey, (struct endpoints *)t, t,
		      zone_of(p, ZONE_REPLY));
	if (!(p->nat & NAT_RANDOM) && nat_has_port(p, t->dport) &&
	    (p->nat_range.port_min == p->nat_range.port_max ||
	     !nat_is_taken(&s->rkey, s->now)))
		return 0;
	nat_port_range(p, t->dport, s);
	if (p->nat & NAT_RANDOM)
		s->next = bpf_get_prandom_u32() % s->size;
	nat_search_rows();
	t->dport = s->rkey.sport;
	return 0;
}

/* Gives p->tuple the destination that a NAT statement asks for. Returns a drop
 * reason or 0.
 */
static __always_inline int nat_destination(struct ctx_buff *ctx, struct pkt *p)
{
	if (policy_nat & p->nat & NAT_REDIRECT && nat_redirect(ctx, p) < 0)
		return STAT_DROP_NAT_NO_ADDRESS;
	nat_pick_address(p, 1);
	if (policy_nat & p->nat & NAT_PORTS && has_ports(p->l4proto))
		nat_pick_dst_port(p);
	return 0;
}

/* How many ports were tried before one was found. */
static __always_inline void nat_count_tries(const struct nat_search *s)
{
	count_by(STAT_NAT_TRIES, s->tries);
	if (s->found)
		count(s->tries <= 8  ? STAT_NAT_TRIES_8 :
		      s->tries <= 64 ? STAT_NAT_TRIES_64 :
				       STAT_NAT_TRIES_248);
}

/*
 * Searches the range for a free source port. nf_nat_l4proto_unique_tuple() begins
 * anywhere, but for an identifier that no rule has asked for: that comes with the
 * destination's translation, and is the lowest one. Returns a drop reason or 0.
 */
static __always_inline int nat_search_port(const struct pkt *p,
					   struct nat_search *s)
{
	int lowest = !has_ports(p->l4proto) &&
		     !(p->nat & (NAT_ADDRESS | NAT_PORTS | NAT_RANDOM));

	s->next = lowest ? 0 : bpf_get_prandom_u32() % s->size;
	nat_search_rows();
	nat_count_tries(s);
	return s->found ? 0 : STAT_DROP_NAT_EXHAUSTED;
}

/* Takes what rkey has as its destination for the flow that is being made, and as
 * its mapping.
 */
__noinline int nat_take_mapping(const struct tuple *rkey, __u32 now,
				int in_range)
{
	struct scratch *s = scratch();
	int claim;

	if (!s || !rkey)
		return -1;
	__builtin_memcpy(s->outside.addr, rkey->daddr, 16);
	s->outside.port = rkey->dport;
	claim = mapping_claim(s);
	if (claim < 0)
		return claim;
	if (nat_take(rkey, now)) {
		if (claim)
			bpf_map_delete_elem(&l2_mappings, &s->outside);
		return -1;
	}
	mapping_keep(s, rkey, in_range);
	s->search.fresh = claim;
	return 0;
}

static long nat_try_mapping(__u32 i, void *unused)
{
	struct nat_search *s = nat_search_begun();
	int err;

	if (!s)
		return 1;
	s->rkey.dport = nat_next_port(s);
	s->tries++;
	if (s->settings && nat_is_reserved(s->rkey.dport))
		return 0;
	err = nat_take_mapping(&s->rkey, s->now, s->in_range);
	s->found = !err;
	return !err || err == -E2BIG;
}

/*
 * Searches the range for a port that is nobody's. That of a UDP socket keeps its
 * parity, if there is one, and comes behind that of the even port below it: RTP and
 * RTCP.
 */
static __always_inline void nat_search_mapping(const struct pkt *p,
					       struct nat_search *s)
{
	__u32 port = bpf_ntohs(p->tuple.sport);
	struct scratch *sc = scratch();
	struct mapping *below;

	nat_port_range(p, p->tuple.sport, s);
	s->next = bpf_get_prandom_u32() % s->size;
	if (p->l4proto == IPPROTO_UDP && !(p->nat & NAT_PORTS)) {
		s->step = 2;
		s->odd = (s->first ^ port) & 1;
		s->next = (s->next & ~1U) | s->odd;
		if (port & 1 && sc) {
			sc->inside.port = bpf_htons(port - 1);
			below = bpf_map_lookup_elem(&l2_mappings, &sc->inside);
			sc->inside.port = p->tuple.sport;
			if (below &&
			    !__builtin_memcmp(below->addr, s->rkey.daddr, 16))
				s->next = bpf_ntohs(below->port) + 1 - s->first;
		}
		if (s->next >= s->size)
			s->next = s->odd;
	}
	if (s->next < s->size)
		bpf_loop(NAT_TRIES_MAPPING, nat_try_mapping, NULL, 0);
	if (!s->found && s->step) {
		s->step = 0;
		s->odd = 0;
		s->next = bpf_get_prandom_u32() % s->size;
		bpf_loop(NAT_TRIES_MAPPING, nat_try_mapping, NULL, 0);
	}
	nat_count_tries(s);
}

/*
 * Takes the source of a mapping: the one that the client's socket has, or its own
 * port, or another. Returns 0, or -1 if there is none to be had, with everything
 * as it was before.
 */
__noinline int nat_mapping(struct pkt *p, int keep)
{
	struct scratch *sc = scratch();
	struct nat_search *s;
	struct mapping *m;
	struct tuple *t;

	if (!sc || !p)
		return -1;
	t = &p->tuple;
	s = &sc->search;
	sc->rev.flags |= FLOW_MAPPED_SRC;
	m = bpf_map_lookup_elem(&l2_mappings, &sc->inside);
	if (m && nat_has_address(p, m->addr) && nat_has_port(p, m->port) &&
	    nat_may_have(p, m->port)) {
		__builtin_memcpy(s->rkey.daddr, m->addr, 16);
		s->rkey.dport = m->port;
		if (!nat_take_mapping(&s->rkey, s->now, s->in_range))
			goto taken;
		s->rkey.dport = t->sport;
	}
	__builtin_memcpy(s->rkey.daddr, t->saddr, 16);
	if (keep && nat_has_address(p, t->saddr) &&
	    !nat_take_mapping(&s->rkey, s->now, s->in_range))
		goto taken;
	if (p->nat & NAT_ADDRESS) {
		nat_pick_address(p, 0);
		__builtin_memcpy(s->rkey.daddr, t->saddr, 16);
		if (keep && !nat_take_mapping(&s->rkey, s->now, s->in_range))
			goto taken;
	}
	nat_search_mapping(p, s);
	if (s->found) {
		if (keep)
			count(STAT_NAT_COLLISION);
		goto taken;
	}
	__builtin_memcpy(t->saddr, sc->inside.addr, 16);
	__builtin_memcpy(s->rkey.daddr, t->saddr, 16);
	s->rkey.dport = t->sport;
	s->tries = 0;
	s->step = 0;
	s->odd = 0;
	sc->rev.flags &= ~FLOW_MAPPED_SRC;
	count(STAT_NAT_MAPPING_FULL);
	return -1;
taken:
	__builtin_memcpy(t->saddr, s->rkey.daddr, 16);
	return 0;
}

/* Whether the ruleset has NAT chains: without, the kernel gives no flow another
 * port.
 */
static __always_inline int nat_is_there(const struct pkt *p)
{
	return policy_nat &
	       (p->nfproto == NFPROTO_IPV4 ? NAT_CHAINS4 : NAT_CHAINS6);
}

/*
 * nf_nat_used_tuple_new(): whether what has the reply key is the same flow seen from
 * the other end, of which nothing was translated. Only zones of one direction keep
 * one from being found as the other's answer. Of protocols that may clash
 * (allow_clash), the kernel takes the key for free then, and drops the packet where it
 * confirms the flow.
 */
__noinline int nat_is_reverse(const struct pkt *p)
{
	struct scratch *s = scratch();
	const struct tuple *rkey;
	struct flow *f;
	__u8 half;

	if (!s || !p ||
	    (p->l4proto != IPPROTO_UDP && p->l4proto != IPPROTO_UDPLITE) ||
	    !is_same_dst((const struct endpoints *)&p->tuple,
			 (const struct endpoints *)&s->key))
		return 0;
	rkey = &s->search.rkey;
	f = ct_find_entry(rkey, &half);
	return f && !(f->flags & FLOW_REPLY) && flow_is_plain(rkey, f);
}

/*
 * Takes a source for the flow that s->rkey is the reply key of: as it is, if the
 * range and the other flows allow it, or with an address of the range, or with
 * another port. Returns a drop reason or 0.
 */
static __noinline int nat_source(struct pkt *p, struct nat_search *s)
{
	struct tuple *t = &p->tuple;
	int keep = !(p->nat & NAT_RANDOM) || !nat_has_ports(p);

	keep = keep && nat_has_port(p, t->sport) && nat_may_have(p, t->sport);
	if (nat_has_ports(p) && mapping_wanted(p) && !nat_mapping(p, keep))
		return 0;
	if (keep && nat_has_address(p, t->saddr)) {
		if (!nat_take(&s->rkey, s->now))
			return 0;
		if (nat_is_reverse(p))
			return STAT_DROP_FLOW_CLASH;
	}
	if (p->nat & NAT_ADDRESS) {
		nat_pick_address(p, 0);
		__builtin_memcpy(s->rkey.daddr, t->saddr, 16);
		if (keep && !nat_take(&s->rkey, s->now))
			return 0;
	}
	if (!nat_has_ports(p) || !nat_is_there(p))
		return STAT_DROP_FLOW_CLASH;
	if (keep)
		count(STAT_NAT_COLLISION);
	nat_port_range(p, t->sport, s);
	return nat_search_port(p, s);
}

/*
 * Begins the flow of key, whose packets go to p->tuple's destination. Their
 * source becomes what p->nat asks for, and is put into p->tuple. Returns a drop
 * reason or 0.
 */
__noinline int flow_begin(struct pkt *p, const struct tuple *key, __u8 state)
{
	struct scratch *sc = scratch();
	struct nat_search *s;
	struct flow *fwd;
	struct tuple *t;
	int reason;

	if (!sc || !p || !key)
		return STAT_DROP_INTERNAL;
	if (p->iif && !source_admits(key))
		return STAT_DROP_SOURCE_LIMIT;
	t = &p->tuple;
	s = &sc->search;
	__builtin_memset(s, 0, sizeof(*s));
	s->now = ns_to_ticks(p->now);
	s->settings = nat_has_settings(p);
	s->in_range = p->nat & NAT_ADDRESS &&
		      __builtin_memcmp(p->nat_range.min, p->nat_range.max, 16);
	fwd = &sc->fwd;
	__builtin_memset(fwd, 0, sizeof(*fwd));
	fwd->state = state;
	fwd->zone = zone_of(p, ZONE_REPLY);
	if (sc->ct.mapped)
		fwd->flags = FLOW_MAPPED_DST;
	if (policy_nat & p->nat & NAT_MASQUERADE)
		fwd->flags |= FLOW_MASQUERADED;
	if (policy_nat & p->nat & (NAT_RANDOM | NAT_PORTS))
		fwd->flags |= FLOW_ASKED_PORT;
	facts_begin(fwd);
	if (has_connections(p->l4proto)) {
		fwd->seen = sc->seen[0];
		fwd->last = sc->last;
	}
	flow_set_created(fwd, p->now);
	flow_live(fwd, p->now,
		  p->l4proto == IPPROTO_TCP ? tcp_first_timeout(fwd) :
					      flow_timeout(fwd, p->l4proto));
	flow_reverse(&sc->rev, fwd, key);
	/* Answers, as far as one can tell, go where the packet came from. */
	flow_goes_by(fwd, p->oif);
	flow_goes_by(&sc->rev, p->iif);
	if (has_connections(p->l4proto))
		sc->rev.seen = sc->seen[1];
	tuple_reverse(&s->rkey, (struct endpoints *)t, key, fwd->zone);
	mapping_begin(p, key, fwd->zone, s->now);

	reason = nat_source(p, s);
	if (reason) {
		if (p->iif)
			source_forget(key);
		return reason;
	}
	t->sport = s->rkey.dport;
	__builtin_memcpy(&fwd->out, t, sizeof(fwd->out));
	fwd->flags |= sc->rev.flags & FLOW_MAPPED_SRC;
	flow_set_diffs(fwd, key);
	fwd->packets = 1;
	fwd->bytes = p->len;
	bpf_map_update_elem(&l2_half_open, key, fwd, BPF_ANY);
	count(STAT_FLOW_NEW);
	flow_report(key, fwd, &sc->rev, 1, FLOW_EVENT_NEW);
	return 0;
}
