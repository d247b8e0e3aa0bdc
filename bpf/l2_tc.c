//go:build ignore
// SPDX-License-Identifier: GPL-2.0-only

/*
 * The whole way, at TC (TCX): what comes in by an interface, and what the host
 * itself sends.
 */

#include "lib/ctx_skb.h"

#include "lib/conntrack.h"
#include "lib/forward.h"
#include "lib/frame.h"
#include "lib/handover.h"
#include "lib/gc.h"
#include "lib/half_way.h"
#include "lib/icmp_error.h"
#include "lib/marks.h"
#include "lib/nat.h"
#include "lib/parse.h"
#include "lib/policy.h"
#include "lib/reject.h"
#include "lib/reject_local.h"
#include "lib/rewrite.h"
#include "lib/written.h"

char LICENSE[] SEC("license") = "GPL";

/* What the steps of a packet's way share. */
struct way {
	struct ct ct;
	struct tuple *key; /* the tuple that it came with */
	struct icmp_error *error; /* NULL: the packet is none */
};

static __always_inline int drop(__u32 reason)
{
	count(reason);
	return TCX_DROP;
}

/* Hands the packet to the host. */
static __always_inline int pass(struct __sk_buff *skb)
{
	skb->tc_index = TC_INDEX_NONE;
	return TCX_NEXT;
}

/*
 * What the ingress program wrote. A packet keeps its tc_index on the way from
 * another namespace, where anyone's program may have written it; by a managed
 * interface it came through ours.
 */
static __always_inline int is_ours(struct __sk_buff *skb)
{
	__u32 ifindex = skb->ingress_ifindex;
	struct iface *iface = bpf_map_lookup_elem(&l2_ifaces, &ifindex);

	return iface && iface->flags & IFACE_MANAGED;
}

/* The router's own packet that was sent another way has its socket: on the way
 * from another namespace it would have lost it.
 */
static __always_inline int is_done(struct __sk_buff *skb)
{
	if (skb->tc_index != TC_INDEX_DONE)
		return 0;
	return is_ours(skb) || (!skb->ingress_ifindex && skb->sk);
}

static __always_inline int is_half_done(struct __sk_buff *skb)
{
	return (skb->tc_index & ~HALF_WAY_SLOTS_MASK) == TC_INDEX_SNAT &&
	       is_ours(skb);
}

/* The mark of an answer of the router's, or 0. */
static __always_inline __u32 answer_mark(struct __sk_buff *skb)
{
	__u32 mark = skb->tc_index;

	if (mark < TC_INDEX_ANSWER || mark > TC_INDEX_ANSWER_FIRST)
		return 0;
	return is_ours(skb) ? mark : 0;
}

static __always_inline struct scratch *way_begin(struct way *w)
{
	struct scratch *s = scratch();

	if (!s)
		return NULL;
	pkt_begin(&s->pkt);
	__builtin_memset(&s->error, 0, sizeof(s->error));
	__builtin_memset(w, 0, sizeof(*w));
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
	p->now = bpf_ktime_get_coarse_ns();
	p->mark = ctx_mark(skb);
	p->priority = skb->priority;
	p->ct_state = CT_STATE_INVALID; /* to the chains before conntrack */
	p->pkt_type = ctx_pkt_type(skb);
	p->l3_off = iface->flags & IFACE_L3 ? 0 : ETH_HLEN;
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
	return ret;
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
		p->ct_state = CT_STATE_INVALID;
	} else if (ct_untracked(p)) {
		p->ct_state = CT_STATE_UNTRACKED;
	} else if (ct_is_icmp_error(p)) {
		w->error = error;
		icmp_error_track(skb, p, error);
	} else {
		ct_in(skb, p, w->key, &w->ct);
		if (w->ct.flow)
			facts_flow(w->key, w->ct.flow, w->ct.flow->flags);
		else if (w->ct.first)
			facts_first(w->key, zone_of(p, ZONE_REPLY));
	}
}

/* nf_ct_attach(): the answer belongs to the flow of what it answers. */
static __always_inline void track_answer(struct __sk_buff *skb, struct pkt *p,
					 struct way *w)
{
	struct tuple *there = &w->error->quoted;

	if (policy_facts) {
		if (ct_is_icmp_error(p))
			icmp_parse_quoted(skb, p, w->error);
		else
			tuple_reverse(there, (struct endpoints *)w->key, w->key,
				      0);
		facts_answer(there, p);
	}
	w->error = NULL;
	p->ct_state = CT_STATE_RELATED;
}

/*
 * Rules may have written other addresses to the packet than conntrack has: they
 * stay, unless the flow has a translation of that side.
 */
static __always_inline void set_dst(struct pkt *p, const struct way *w,
				    const struct endpoints *out)
{
	const struct tuple *key = w->key;

	if (policy_writes && key->dport == out->dport &&
	    !__builtin_memcmp(key->daddr, out->daddr, sizeof(key->daddr)))
		return;
	translate_dst(p, out);
}

static __always_inline void set_src(struct pkt *p, const struct way *w,
				    const struct endpoints *out)
{
	const struct tuple *key = w->key;

	if (policy_writes && key->sport == out->sport &&
	    !__builtin_memcmp(key->saddr, out->saddr, sizeof(key->saddr)))
		return;
	translate_src(p, out);
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

/* A first packet's NAT chains, or none, have decided about a side. */
static __always_inline void nat_done(struct pkt *p, const struct way *w,
				     int is_src)
{
	struct endpoints out;

	p->nat = 0;
	__builtin_memcpy(&out, &p->tuple, sizeof(out));
	if (is_src)
		set_src(p, w, &out);
	else
		set_dst(p, w, &out);
}

/*
 * The destination's translation: the flow's, or for a first packet the one that
 * the NAT chains of the hook ask for. Returns a drop reason or 0.
 */
static __always_inline int to_dst(struct __sk_buff *skb, struct pkt *p,
				  struct way *w, int is_output)
{
	int reason;

	if (w->ct.flow) {
		set_dst(p, w, &w->ct.flow->out);
		return 0;
	}
	if (w->error && w->error->translate) {
		icmp_error_dst(p, w->error);
		return 0;
	}
	if (!w->ct.first)
		return 0;
	if (is_output ? !policy_accepts(OUTPUT_NAT, output_nat, skb, p) :
			!policy_accepts(PREROUTING_NAT, prerouting_nat, skb, p))
		return STAT_DROP_POLICY;
	if (!p->nat)
		return 0;
	reason = nat_destination(skb, p);
	if (reason)
		return reason;
	nat_done(p, w, 0);
	facts_to(w->key, (struct endpoints *)&p->tuple, zone_of(p, ZONE_REPLY));
	return 0;
}

/* The translation gives the packet another destination address. */
static __always_inline int has_other_dst(const struct pkt *p,
					 const struct way *w)
{
	return !!__builtin_memcmp(w->key->daddr, p->tuple.daddr, 16);
}

/*
 * The source's translation, likewise. Begins the flow. Returns a drop reason or
 * 0.
 */
static __always_inline int to_src(struct __sk_buff *skb, struct pkt *p,
				  struct way *w, int is_input)
{
	int reason;

	if (w->ct.flow) {
		flow_goes_by(w->ct.flow, p->oif);
		set_src(p, w, &w->ct.flow->out);
		return 0;
	}
	if (w->error && w->error->translate) {
		icmp_error_src(p, w->error);
		return 0;
	}
	if (!w->ct.first)
		return 0;
	if (is_input ?
		    !policy_accepts(INPUT_NAT, input_nat, skb, p) :
		    !policy_accepts(POSTROUTING_NAT, postrouting_nat, skb, p))
		return STAT_DROP_POLICY;
	if (policy_nat & p->nat & NAT_MASQUERADE && nat_masquerade(skb, p) < 0)
		return STAT_DROP_NAT_NO_ADDRESS;
	reason = flow_begin(p, w->key, w->ct.state);
	if (reason)
		return reason;
	nat_done(p, w, 1);
	facts_begun(w->key, (struct endpoints *)&p->tuple,
		    zone_of(p, ZONE_REPLY));
	return 0;
}

/* By the neighbour's address at the moment; unresolved, the kernel resolves it
 * and keeps the packet until then.
 */
static __always_inline int send_by(struct __sk_buff *skb, const struct pkt *p,
				   const struct bpf_fib_lookup *fib, __u32 mark)
{
	struct bpf_redir_neigh nh = { .nh_family = fib->family };
	__u32 ifindex = p->oif;
	struct iface *iface = bpf_map_lookup_elem(&l2_ifaces, &ifindex);

	skb->tc_index = mark;
	if (iface && iface->flags & IFACE_L3)
		return bpf_redirect(ifindex, 0);
	/* From one without a header: room for the one to be written. */
	if (!p->l3_off && bpf_skb_change_head(skb, ETH_HLEN, 0))
		return drop(STAT_DROP_INTERNAL);
	if (fib->family == AF_INET)
		nh.ipv4_nh = fib->ipv4_dst;
	else
		__builtin_memcpy(nh.ipv6_nh, fib->ipv6_dst, 16);
	return bpf_redirect_neigh(ifindex, &nh, sizeof(nh), 0);
}

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
		      w->ct.first && !(p->reject & REJECT_AFTER_NAT));
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

/* The first packet goes no further after all: there is no flow. */
static __always_inline void forget(const struct way *w)
{
	struct flow *f;

	if (!w->ct.first)
		return;
	f = bpf_map_lookup_elem(&l2_half_open, w->key);
	if (f)
		flow_delete(w->key, f);
}

/* A chain behind the NAT has dropped the packet. */
static __always_inline int refuse_late(const struct way *w)
{
	forget(w);
	return drop(STAT_DROP_POLICY);
}

/* What rules have set. */
static __always_inline void write_metadata(struct __sk_buff *skb,
					   const struct pkt *p)
{
	skb->mark = p->mark;
	skb->priority = p->priority;
}

static __always_inline int write_headers(struct __sk_buff *skb, struct pkt *p,
					 const struct way *w, int ttl)
{
	struct tuple *from = w->key, *to = &p->tuple;
	__u32 addr_diff, port_diff;

	if (w->error && w->error->translate &&
	    icmp_error_rewrite(skb, p, w->error) < 0)
		return -1;
	if (policy_writes) {
		/* The packet is as rules have written it, and becomes what the
		 * headers' copies say.
		 */
		if (tuple_of_packet(skb, p, from))
			return -1;
		tuple_of_headers(p, to);
		ttl = ttl && hop_is_pending(skb, p);
	}
	addr_diff = csum_add(csum_addr_diff(from->saddr, to->saddr),
			     csum_addr_diff(from->daddr, to->daddr));
	port_diff = csum_add(csum_port_diff(from->sport, to->sport),
			     csum_port_diff(from->dport, to->dport));
	ctx_pull(skb, ETH_HLEN + sizeof(struct ipv6hdr) + sizeof(p->th));
	write_metadata(skb, p);
	return rewrite(skb, p, addr_diff, port_diff, ttl);
}

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

/* Whether answers to the translated source would stay in the router. */
static __noinline int answers_by_lo(struct __sk_buff *skb, const struct pkt *p)
{
	struct bpf_fib_lookup fib;

	route_fill(&fib, p, 1);
	fib.ifindex = LOOPBACK_IFINDEX;
	if (p->nfproto == NFPROTO_IPV4)
		__builtin_memcpy(&fib.ipv4_dst, p->tuple.saddr, 4);
	else
		__builtin_memcpy(fib.ipv6_dst, p->tuple.saddr, 16);
	return bpf_fib_lookup(skb, &fib, sizeof(fib), FIB_LOOKUP_SKIP_NEIGH) ==
	       BPF_FIB_LKUP_RET_NOT_FWDED;
}

static __always_inline int deliver(struct __sk_buff *skb, struct pkt *p,
				   struct way *w)
{
	int reason;

	if (!policy_accepts(INPUT, input, skb, p)) {
		if (!is_dhcp(p) || bpf_skb_change_type(skb, PACKET_OTHERHOST))
			return refuse(skb, p, w, REJECT_INPUT);
		count(STAT_DROP_POLICY);
		return pass(skb);
	}
	reason = to_src(skb, p, w, 1);
	if (reason)
		return refuse_nat(skb, p, w, REJECT_INPUT, reason);
	if (w->ct.first &&
	    __builtin_memcmp(w->key->saddr, p->tuple.saddr, 16) &&
	    answers_by_lo(skb, p)) {
		forget(w);
		return drop(STAT_DROP_NAT_LOCAL);
	}
	if (!policy_accepts(INPUT_LATE, input_late, skb, p)) {
		forget(w);
		return refuse(skb, p, w, REJECT_INPUT);
	}
	if (write_headers(skb, p, w, 0) < 0)
		return drop(STAT_DROP_INTERNAL);
	count(STAT_LOCAL_IN);
	return pass(skb);
}

static __always_inline int lookup_route(struct __sk_buff *skb,
					const struct pkt *p, __u32 iif,
					struct bpf_fib_lookup *fib, __u32 len)
{
	route_fill(fib, p, len);
	fib->ifindex = iif;
	if (policy_writes)
		route_fill_written(fib, p);
	/* In newer headers a union with smac; an output after the call. */
	__builtin_memcpy(fib->smac, &p->mark, sizeof(p->mark));
	return bpf_fib_lookup(skb, fib, sizeof(*fib),
			      FIB_LOOKUP_SKIP_NEIGH | FIB_LOOKUP_MARK);
}

static __always_inline enum route
find_route(struct __sk_buff *skb, struct pkt *p, struct bpf_fib_lookup *fib)
{
	int ret, too_big = 0;

	if (p->pkt_type != PACKET_HOST)
		return ROUTE_LOCAL;
	if (p->nfproto == NFPROTO_IPV6 && is_link_local(p->tuple.daddr))
		return ROUTE_LOCAL;

	ret = lookup_route(skb, p, p->iif, fib, segment_len(skb, p));
	if (ret == BPF_FIB_LKUP_RET_FRAG_NEEDED) {
		/* Which interface it would have been. */
		ret = lookup_route(skb, p, p->iif, fib, 1);
		too_big = 1;
	}
	switch (ret) {
	case BPF_FIB_LKUP_RET_SUCCESS:
		if (p->nfproto == NFPROTO_IPV6 && is_link_local(p->tuple.saddr))
			return ROUTE_REFUSED;
		p->oif = fib->ifindex;
		return too_big ? ROUTE_TOO_BIG : ROUTE_FORWARD;
	case BPF_FIB_LKUP_RET_NOT_FWDED:
	case BPF_FIB_LKUP_RET_FWD_DISABLED:
		return ROUTE_LOCAL;
	case BPF_FIB_LKUP_RET_BLACKHOLE:
	case BPF_FIB_LKUP_RET_UNREACHABLE:
	case BPF_FIB_LKUP_RET_PROHIBIT:
		return ROUTE_REFUSED;
	}
	return ROUTE_DROP;
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
	if (write_headers(skb, p, w, 0) < 0)
		return drop(STAT_DROP_INTERNAL);
	count(STAT_TO_KERNEL);
	skb->tc_index = mark;
	return TCX_NEXT;
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
		return drop(STAT_DROP_POLICY);
	if (is_martian_source(p))
		return drop(STAT_DROP_MARTIAN);
	reason = to_src(skb, p, w, 0);
	if (reason)
		return drop(reason);
	if (!policy_accepts(POSTROUTING_LATE, postrouting_late, skb, p))
		return refuse_late(w);
	if (too_big || expires)
		return to_kernel(skb, p, w);
	if (write_headers(skb, p, w, 1) < 0)
		return drop(STAT_DROP_INTERNAL);
	count(STAT_TC_FORWARDED);
	return send_by(skb, p, fib, TC_INDEX_DONE);
}

static __always_inline __u32 vlan_id(const struct __sk_buff *skb)
{
	return skb->vlan_present ? skb->vlan_tci & 0xfff : 0;
}

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
	int answer, rejected, reason;
	struct handover h;

	iface = bpf_map_lookup_elem(&l2_ifaces, &ifindex);
	if (!iface || !(iface->flags & IFACE_MANAGED))
		return TCX_NEXT;
	answer = policy_rejects && skb->tc_index == TC_INDEX_ANSWER_LOCAL;
	skb->tc_index = TC_INDEX_NONE;
	s = scratch();
	if (!s)
		return drop(STAT_DROP_INTERNAL);
	if (!frame_enters(skb, &s->pkt, iface)) {
		if (!s->pkt.send_by)
			return drop(STAT_DROP_POLICY);
		skb->tc_index = TC_INDEX_DONE;
		return bpf_redirect(s->pkt.send_by, 0);
	}
	/* Of a VLAN: it comes again by the VLAN's device. For another host:
	 * the stack does not take it.
	 */
	if (vlan_id(skb) || skb->pkt_type == PACKET_OTHERHOST)
		return TCX_NEXT;
	/* Of none, with a priority: the stack takes it as if it had no tag. */
	if (skb->vlan_present && bpf_skb_vlan_pop(skb))
		return drop(STAT_DROP_INTERNAL);
	s = way_begin(&w);
	if (!s)
		return drop(STAT_DROP_INTERNAL);
	p = &s->pkt;
	rejected = policy_rejects && handed_over(skb, &h);
	switch (begin(skb, p, &w, iface, 0)) {
	case PARSE_OK:
		break;
	case PARSE_FOREIGN:
		return TCX_NEXT;
	case PARSE_FRAGMENT:
		return drop(STAT_DROP_FRAGMENT);
	default:
		return drop(STAT_DROP_MALFORMED);
	}
	p->iif = ifindex;
	if (answer && is_awaited(&s->key))
		return pass(skb);
	if (rejected) {
		p->reject = h.reject;
		p->ct_state = h.ct_state;
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
		return pass(skb);
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
	struct tuple *key = half_way_key(skb->tc_index);
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
	if (write_headers(skb, p, w, 0) < 0)
		return drop(STAT_DROP_INTERNAL);
	return pass(skb);
}

/*
 * The destination was translated after the kernel had routed the packet: the
 * way is another one, as ip_route_me_harder() finds it. What is for the router
 * itself would have to come in by lo, and its answers go out there.
 */
static __always_inline int reroute(struct __sk_buff *skb, struct pkt *p,
				   struct bpf_fib_lookup *fib)
{
	switch (lookup_route(skb, p, p->iif ? p->iif : LOOPBACK_IFINDEX, fib,
			     segment_len(skb, p))) {
	case BPF_FIB_LKUP_RET_SUCCESS:
		p->oif = fib->ifindex;
		return 0;
	case BPF_FIB_LKUP_RET_NOT_FWDED:
		return STAT_DROP_NAT_LOCAL;
	}
	return STAT_DROP_NO_ROUTE;
}

/* What leaves by an interface, but for the chains of the interface itself. */
static __always_inline int egress(struct __sk_buff *skb, struct iface *iface)
{
	int reason, forwarded, related, rerouted = 0;
	__u32 ifindex = skb->ifindex;
	__u32 answer;
	struct scratch *s;
	struct way w;
	struct pkt *p;

	if (is_done(skb) || skb->vlan_present)
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
	if (is_half_done(skb))
		return finish_snat(skb, p, &w);

	/* Forwarded by the kernel, from an interface that has no program. */
	forwarded = skb->ingress_ifindex && !answer;
	/* Has its flow from the start, also before conntrack. */
	related = answer && answer != TC_INDEX_ANSWER;
	if (related)
		track_answer(skb, p, &w);
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
	}
	if (forwarded && !policy_accepts(FORWARD, forward, skb, p))
		return refuse(skb, p, &w, REJECT_KERNEL_FORWARD);
	if (!policy_accepts(POSTROUTING, postrouting, skb, p))
		return drop(STAT_DROP_POLICY);
	/* A reset to a first packet finds its flow without a translation, and
	 * meets the chains; what they ask for is not for it.
	 */
	if (answer == TC_INDEX_ANSWER_FIRST && p->l4proto == IPPROTO_TCP &&
	    !policy_accepts(POSTROUTING_NAT, postrouting_nat, skb, p))
		return drop(STAT_DROP_POLICY);
	reason = to_src(skb, p, &w, 0);
	if (reason)
		return drop(reason);
	if (!policy_accepts(POSTROUTING_LATE, postrouting_late, skb, p))
		return refuse_late(&w);
	if (write_headers(skb, p, &w, 0) < 0)
		return drop(STAT_DROP_INTERNAL);
	count(STAT_LOCAL_OUT);
	return rerouted ? send_by(skb, p, route_of(s), TC_INDEX_DONE) :
			  pass(skb);
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
	verdict = egress(skb, iface);
	if (verdict != TCX_NEXT || !(policy_phases & PHASE_EGRESS))
		return verdict;
	s = scratch_leaving();
	if (!s)
		return drop(STAT_DROP_INTERNAL);
	return frame_leaves(skb, &s->pkt, iface) ? TCX_NEXT :
						   drop(STAT_DROP_POLICY);
}
