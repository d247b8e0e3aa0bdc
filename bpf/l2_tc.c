//go:build ignore
// SPDX-License-Identifier: GPL-2.0-only

/*
 * The whole way, at TC (TCX): what comes in by an interface, and what the host
 * itself sends.
 */

#include "lib/ctx_skb.h"

#include "lib/forward.h"
#include "lib/frame.h"
#include "lib/frame_refuse.h"
#include "lib/frame_send.h"
#include "lib/gc.h"
#include "lib/half_way.h"
#include "lib/handover.h"
#include "lib/marks.h"
#include "lib/parse.h"
#include "lib/policy.h"
#include "lib/reject_local.h"
#include "lib/release.h"
#include "lib/rewrite.h"
#include "lib/shaper.h"
#include "lib/way.h"
#include "lib/way_copy.h"
#include "lib/way_fragment.h"
#include "lib/way_looped.h"
#include "lib/way_mark.h"
#include "lib/way_nat.h"
#include "lib/way_refuse.h"
#include "lib/way_route.h"
#include "lib/way_self.h"
#include "lib/way_send.h"
#include "lib/way_unresolved.h"

char LICENSE[] SEC("license") = "GPL";

/*
 * The input chain dropped a packet that daemons with a packet socket are
 * waiting for. Under nftables they see it all the same; so they do here: the
 * stack itself does not take a frame for another host.
 */
static __always_inline int is_dhcp(const struct pkt *p)
{
	__be16 port = p->tuple.dport;

	return p->nfproto == NFPROTO_IPV4 && p->l4proto == IPPROTO_UDP &&
	       (port == bpf_htons(67) || port == bpf_htons(68));
}

static __always_inline int deliver(struct __sk_buff *skb, struct pkt *p,
				   struct way *w)
{
	int reason;

	if (is_alien_answer(skb, p, w))
		return drop(STAT_DROP_MARTIAN);
	if (!policy_accepts(INPUT, input, skb, p)) {
		if (!is_dhcp(p) || bpf_skb_change_type(skb, PACKET_OTHERHOST))
			return refuse(skb, p, w, REJECT_INPUT);
		count(STAT_DROP_POLICY);
		return accept(skb, p, pass(skb));
	}
	reason = to_src(skb, p, w, 1, NULL);
	if (reason)
		return refuse_nat(skb, p, w, REJECT_INPUT, reason);
	if (w->ct->first &&
	    __builtin_memcmp(w->key->saddr, p->tuple.saddr, 16) &&
	    answers_by_lo(skb, p)) {
		forget(w);
		return drop(STAT_DROP_NAT_LOCAL);
	}
	if (!policy_accepts(INPUT_LATE, input_late, skb, p)) {
		forget(w);
		return refuse(skb, p, w, REJECT_INPUT);
	}
	if (w->ct->clash)
		return drop(STAT_DROP_FLOW_CLASH);
	if (write_headers(skb, p, w->key, w->error, 0) < 0)
		return drop(STAT_DROP_INTERNAL);
	count(STAT_LOCAL_IN);
	return accept(skb, p, pass(skb));
}

/*
 * Accepted, but the kernel has to answer (expired TTL, path MTU) or to
 * fragment. It gets the packet as it came, but for the destination of a
 * translated flow, without which it would take the packet for its own. The
 * source's translation is left to the egress program; an answer is none.
 */
static __always_inline int to_kernel(struct __sk_buff *skb, struct pkt *p,
				     struct way *w)
{
	struct endpoints arrived;
	__u32 mark = TC_INDEX_DONE;
	int snat;

	__builtin_memcpy(&arrived, w->key, sizeof(arrived));
	snat = p->tuple.sport != arrived.sport ||
	       __builtin_memcmp(p->tuple.saddr, arrived.saddr, 16);
	if (snat)
		mark = TC_INDEX_SNAT + half_way_keep(w->key);
	if (snat || !policy_writes)
		translate_src(p, &arrived);
	if (write_headers(skb, p, w->key, w->error, 0) < 0)
		return drop(STAT_DROP_INTERNAL);
	count(STAT_TO_KERNEL);
	skb->tc_index = mark;
	return accept(skb, p, TCX_NEXT);
}

static __always_inline int forward(struct __sk_buff *skb, struct pkt *p,
				   struct way *w,
				   const struct bpf_fib_lookup *fib,
				   int too_big)
{
	int reason, expires = ttl_expires(p);

	if (!expires)
		ttl_count(p);
	if (p->nfproto == NFPROTO_IPV4)
		p->priority = tos_priority(p->nh[offsetof(struct iphdr, tos)]);
	if (!policy_accepts(FORWARD, forward, skb, p))
		return refuse(skb, p, w, REJECT_FORWARD);
	if (!policy_accepts(POSTROUTING, postrouting, skb, p))
		return drop_policy(w);
	if (is_martian_source(p))
		return drop(STAT_DROP_MARTIAN);
	reason = to_src(skb, p, w, 0, fib);
	if (reason)
		return drop(reason);
	if (!policy_accepts(POSTROUTING_LATE, postrouting_late, skb, p))
		return refuse_late(w);
	if (w->ct->clash)
		return drop(STAT_DROP_FLOW_CLASH);
	if (too_big || expires)
		return to_kernel(skb, p, w);
	if (write_headers(skb, p, w->key, w->error, 1) < 0)
		return drop(STAT_DROP_INTERNAL);
	count(STAT_TC_FORWARDED);
	return accept(skb, p, send_by(skb, p, fib, TC_INDEX_DONE));
}

static __always_inline __u32 vlan_id(const struct __sk_buff *skb)
{
	return skb->vlan_present ? skb->vlan_tci & 0xfff : 0;
}

/* A released fragment has met the chains of the interface: what only claims to be
 * one gets nowhere.
 */
SEC("tcx/ingress")
int l2_ingress(struct __sk_buff *skb)
{
	__u32 ifindex = skb->ifindex;
	struct bpf_fib_lookup *fib;
	struct iface *iface;
	enum route route;
	struct scratch *s;
	struct way w;
	struct pkt *p;
	int answer, rejected = 0, reason;
	struct handover h;

	iface = bpf_map_lookup_elem(&l2_ifaces, &ifindex);
	if (!iface || !(iface->flags & (IFACE_MANAGED | IFACE_SHAPER)))
		return TCX_NEXT;
	if (unlikely(iface->flags & (IFACE_SHAPED | IFACE_SHAPER))) {
		reason = shape(skb, iface->flags, iface->parent);
		if (reason != TCX_NEXT)
			return reason;
	}
	s = scratch();
	if (!s)
		return drop(STAT_DROP_INTERNAL);
	answer = policy_rejects && mark_of(skb) == TC_INDEX_ANSWER_LOCAL;
	s->slot = released_slot(skb);
	skb->tc_index = TC_INDEX_NONE;
	if (s->slot < 0 && !frame_enters(skb, &s->pkt, iface)) {
		if (is_looped(skb)) /* nobody to answer */
			return drop(STAT_DROP_POLICY);
		reason = frame_refused(skb, &s->pkt, &h);
		if (reason != TCX_NEXT)
			return reason;
		rejected = 1;
	}
	/* Of a VLAN: it comes again by the VLAN's device. For another host:
	 * the stack does not take it.
	 */
	if (!rejected && (vlan_id(skb) || skb->pkt_type == PACKET_OTHERHOST))
		return s->slot < 0 ? TCX_NEXT : TCX_DROP;
	/* Of none, with a priority: the stack takes it as if it had no tag. */
	if (skb->vlan_present && bpf_skb_vlan_pop(skb))
		return drop(STAT_DROP_INTERNAL);
	s = way_begin(&w);
	if (!s)
		return drop(STAT_DROP_INTERNAL);
	p = &s->pkt;
	if (policy_rejects && !rejected)
		rejected = handed_over(skb, &h);
	switch (begin(skb, p, &w, iface, 0)) {
	case PARSE_OK:
		if (unlikely(s->slot >= 0))
			return drop(STAT_DROP_MALFORMED);
		break;
	case PARSE_FOREIGN:
		if (rejected)
			return drop(STAT_DROP_POLICY);
		return s->slot < 0 ? TCX_NEXT : TCX_DROP;
	case PARSE_FRAGMENT:
		if (rejected)
			return drop(STAT_DROP_POLICY);
		if (is_looped(skb)) /* cannot be released: release.h */
			return drop(STAT_DROP_FRAGMENT);
		reason = fragment(skb, p);
		if (reason != FRAGMENT_GOES_ON)
			return reason;
		break;
	default:
		return drop(STAT_DROP_MALFORMED);
	}
	p->iif = ifindex;
	if (unlikely(is_looped(skb)))
		return deliver_looped(skb, p, &w);
	if (answer && !rejected && is_awaited(&s->key))
		return pass(skb);
	if (rejected) {
		p->reject = h.reject;
		p->ct_state = h.ct_state;
		if (is_tracked(p, w.ct))
			way_found(p, &w, &h);
		if (h.hook == REJECT_FORWARD)
			ttl_count(p);
		return refuse(skb, p, &w, h.hook);
	}

	if (!policy_accepts(PREROUTING_RAW, prerouting_raw, skb, p))
		return refuse(skb, p, &w, REJECT_PREROUTING);
	see_written(p, &w);
	track(skb, p, &w);
	if (!policy_accepts(PREROUTING_EARLY, prerouting_early, skb, p))
		return refuse(skb, p, &w, REJECT_PREROUTING);
	reason = to_dst(skb, p, &w, 0);
	if (reason)
		return refuse_nat(skb, p, &w, REJECT_PREROUTING, reason);
	if (!policy_accepts(PREROUTING, prerouting, skb, p))
		return refuse(skb, p, &w, REJECT_PREROUTING);

	write_metadata(skb, p);
	if (p->pkt_type != ctx_pkt_type(skb) &&
	    bpf_skb_change_type(skb, p->pkt_type))
		return drop(STAT_DROP_INTERNAL);
	fib = route_of(s);
	route = find_route(skb, p, fib);
	switch (route) {
	case ROUTE_LOCAL:
		return deliver(skb, p, &w);
	case ROUTE_FORWARD:
	case ROUTE_TOO_BIG:
		return forward(skb, p, &w, fib, route == ROUTE_TOO_BIG);
	case ROUTE_REFUSED:
		/* Without its translation it would be the router's own. */
		if (has_other_dst(p, &w))
			return drop(STAT_DROP_NO_ROUTE);
		return accept(skb, p, pass(skb));
	default:
		return drop(STAT_DROP_NO_ROUTE);
	}
}

/* A frame that a packet socket sends does not meet netfilter. */
static __always_inline int from_packet_socket(struct __sk_buff *skb)
{
	struct bpf_sock *sk = skb->sk;

	if (!sk)
		return 0;
	sk = bpf_sk_fullsock(sk);
	return sk && sk->family == AF_PACKET;
}

/* The kernel forwarded, or fragmented, what the ingress program accepted. */
static __always_inline int finish_snat(struct __sk_buff *skb, struct pkt *p,
				       struct way *w)
{
	struct tuple *key = half_way_key(mark_of(skb));
	struct flow *f = NULL;

	if (key)
		f = bpf_map_lookup_elem(&l2_flows, key);
	if (key && !f)
		f = bpf_map_lookup_elem(&l2_half_open, key);
	/* Evicted meanwhile, or another packet's: never out without its own
	 * translation.
	 */
	if (!f || !is_half_way(w->key, key, &f->out))
		return drop(STAT_DROP_INTERNAL);
	translate_src(p, &f->out);
	if (write_headers(skb, p, w->key, w->error, 0) < 0)
		return drop(STAT_DROP_INTERNAL);
	return pass(skb);
}

/* By another interface than the kernel has chosen, where the packet is seen
 * again. Global, for the stack's sake.
 */
__noinline int send_another_way(struct __sk_buff *skb, const struct pkt *p)
{
	struct scratch *s = scratch();
	struct tuple *t;

	if (!p || !s)
		return drop(STAT_DROP_INTERNAL);
	if (is_unresolved(p, route_of(s)))
		return send_unresolved(skb, p, route_of(s));
	t = &s->answer;
	if (!has_own_socket(skb)) {
		*t = p->tuple;
		t->zone = 0;
		if (await(t))
			return drop(STAT_DROP_INTERNAL);
	}
	return send_by(skb, p, route_of(s), TC_INDEX_DONE);
}

/* What leaves by an interface, but for the chains of the interface itself. */
static __always_inline int egress(struct __sk_buff *skb, struct iface *iface)
{
	int reason, forwarded, related, rerouted;
	__u32 ifindex = skb->ifindex;
	__u32 answer;
	struct scratch *s;
	struct way w;
	struct pkt *p;

	/* Of a packet. */
	rerouted = sent_arrives(skb);
	if (rerouted == COPY_FRAME || is_done(skb) || skb->vlan_present)
		return pass(skb);
	/* Before the socket: of who sent what it answers, here or elsewhere. */
	answer = policy_rejects ? answer_mark(skb) : 0;
	if (!answer && from_packet_socket(skb))
		return pass(skb);
	s = way_begin(&w);
	if (!s)
		return drop(STAT_DROP_INTERNAL);
	p = &s->pkt;
	switch (begin(skb, p, &w, iface, 1)) {
	case PARSE_OK:
		break;
	case PARSE_FOREIGN:
		return pass(skb);
	case PARSE_FRAGMENT:
		return drop(STAT_DROP_FRAGMENT);
	default:
		return drop(STAT_DROP_MALFORMED);
	}
	p->oif = ifindex;
	if (is_done_without(skb, w.key))
		return pass(skb);
	if (is_half_done(skb))
		return finish_snat(skb, p, &w);
	if (rerouted && copy_begin(skb, p))
		return drop(STAT_DROP_NO_ROUTE);

	/* Forwarded by the kernel, from an interface that has no program. */
	forwarded = skb->ingress_ifindex && !answer && !rerouted;
	/* Has its flow from the start, also before conntrack. */
	related = answer && track_answer(skb, p, w.key, answer);
	if (related)
		w.error = NULL;
	related |= rerouted;
	if (forwarded)
		p->iif = skb->ingress_ifindex;
	if (forwarded) {
		if (!policy_accepts(PREROUTING_RAW, prerouting_raw, skb, p))
			return refuse(skb, p, &w, REJECT_PREROUTING);
	} else if (!policy_accepts(OUTPUT_RAW, output_raw, skb, p)) {
		return refuse(skb, p, &w, REJECT_OUTPUT);
	}
	if (!related) {
		see_written(p, &w);
		track(skb, p, &w);
	}
	if (forwarded) {
		if (!policy_accepts(PREROUTING_EARLY, prerouting_early, skb, p))
			return refuse(skb, p, &w, REJECT_PREROUTING);
	} else if (!policy_accepts(OUTPUT_EARLY, output_early, skb, p)) {
		return refuse(skb, p, &w, REJECT_OUTPUT);
	}
	reason = to_dst(skb, p, &w, !forwarded);
	if (reason)
		return refuse_nat(skb, p, &w,
				  forwarded ? REJECT_PREROUTING : REJECT_OUTPUT,
				  reason);
	if (forwarded) {
		if (!policy_accepts(PREROUTING, prerouting, skb, p))
			return refuse(skb, p, &w, REJECT_PREROUTING);
	} else if (!policy_accepts(OUTPUT, output, skb, p)) {
		return refuse(skb, p, &w, REJECT_OUTPUT);
	}
	if (has_other_dst(p, &w)) {
		reason = reroute(skb, p, route_of(s));
		if (reason)
			return drop(reason);
		rerouted = 1;
	} else if (p->send_by) {
		p->oif = p->send_by;
		rerouted = 1;
	}
	if (forwarded && !policy_accepts(FORWARD, forward, skb, p))
		return refuse(skb, p, &w, REJECT_KERNEL_FORWARD);
	p->iif = copy_came_by(p);
	if (!policy_accepts(POSTROUTING, postrouting, skb, p))
		return drop_policy(&w);
	/* A reset to a first packet finds its flow without a translation, and
	 * meets the chains; what they ask for is not for it.
	 */
	if (answer_kind(answer) == TC_INDEX_ANSWER_FIRST &&
	    p->l4proto == IPPROTO_TCP &&
	    !policy_accepts(POSTROUTING_NAT, postrouting_nat, skb, p))
		return drop(STAT_DROP_POLICY);
	reason = to_src(skb, p, &w, 0, NULL);
	if (reason)
		return drop(reason);
	if (answer)
		answer_leaves(p, w.key);
	if (!policy_accepts(POSTROUTING_LATE, postrouting_late, skb, p))
		return refuse_late(&w);
	if (w.ct->clash)
		return drop(STAT_DROP_FLOW_CLASH);
	if (write_headers(skb, p, w.key, w.error, 0) < 0)
		return drop(STAT_DROP_INTERNAL);
	count(STAT_LOCAL_OUT);
	if (is_copy() && forget_group(skb, p))
		return drop(STAT_DROP_INTERNAL);
	if (policy_nat & NAT_OUTPUT && p->oif == LOOPBACK_IFINDEX)
		return send_to_self(skb, p);
	return rerouted ? send_another_way(skb, p) : pass(skb);
}

SEC("tcx/egress")
int l2_egress(struct __sk_buff *skb)
{
	__u32 ifindex = skb->ifindex;
	struct iface *iface = bpf_map_lookup_elem(&l2_ifaces, &ifindex);
	struct scratch *s;
	int verdict;

	if (!iface || !(iface->flags & IFACE_MANAGED))
		return pass(skb);
	verdict = unresolved_arrives(skb) ? pass(skb) : egress(skb, iface);
	if (verdict != TCX_NEXT || !(policy_phases & PHASE_EGRESS))
		return verdict;
	s = scratch_leaving();
	if (!s)
		return drop(STAT_DROP_INTERNAL);
	if (frame_leaves(skb, &s->pkt, iface))
		return TCX_NEXT;
	return s->pkt.send_by ? frame_send(skb, &s->pkt) :
				drop(STAT_DROP_POLICY);
}

/* lo has programs where rules send the router's own packets another way: to the router
 * itself, or to a neighbour that is not known yet. What else goes by it they leave alone.
 */
SEC("tcx/ingress")
int l2_lo_ingress(struct __sk_buff *skb)
{
	switch (mark_of(skb)) {
	case TC_INDEX_SELF:
		return self_route(skb);
	case TC_INDEX_UNRESOLVED:
		return unresolved_sent(skb);
	}
	return pass(skb);
}

SEC("tcx/egress")
int l2_lo_egress(struct __sk_buff *skb)
{
	return mark_of(skb) == TC_INDEX_SELF ? self_sent(skb) :
					       self_answer(skb);
}
