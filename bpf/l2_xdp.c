//go:build ignore
// SPDX-License-Identifier: GPL-2.0-only

/*
 * The short way: packets of confirmed flows from one XDP-capable interface to
 * another, and what the earliest chains drop. Everything else is left as it came,
 * before the first side effect, to the TC program.
 */

#include "lib/ctx_xdp.h"

#include "lib/early.h"
#include "lib/flow.h"
#include "lib/forward.h"
#include "lib/handover.h"
#include "lib/parse.h"
#include "lib/policy.h"
#include "lib/rewrite.h"
#include "lib/scratch.h"
#include "lib/steer.h"
#include "lib/tcp_window.h"
#include "lib/vlan.h"

char LICENSE[] SEC("license") = "GPL";

/* Interfaces that XDP may send by: they take XDP frames, and no AQM is to be
 * gone past.
 */
struct {
	__uint(type, BPF_MAP_TYPE_DEVMAP_HASH);
	__uint(max_entries, 256);
	__type(key, __u32);
	__type(value, __u32);
} l2_xdp_ports SEC(".maps");

/* MAC addresses in words: struct ethhdr is packed, and would be read, written and
 * compared by the byte.
 */
struct mac {
	__u16 w[3];
};

/* A frame's two. */
struct mac_pair {
	__u32 w[3];
};

static __always_inline int is_same_mac(const void *a, const void *b)
{
	const struct mac *m = a, *n = b;

	return m->w[0] == n->w[0] && m->w[1] == n->w[1] && m->w[2] == n->w[2];
}

/* Handshakes and ends of connections change state, which is the TC program's work,
 * as all of SCTP is. The compiler leaves out of XDP's chains what other packets
 * would come to (specialise.go).
 */
static __always_inline int is_steady(const struct pkt *p, const struct flow *f)
{
	if (policy_reevaluates && f->flags & FLOW_STALE)
		return 0;
	if (p->l4proto != IPPROTO_TCP)
		return p->l4proto != IPPROTO_SCTP && !flow_contradicts(f, p) &&
		       !flow_assures(f, p->l4proto, p->now);
	return f->state == TCP_ESTABLISHED && f->flags & FLOW_ASSURED &&
	       tcp_header_valid(p) && tcp_event(p) == EVENT_ACK;
}

/* Whether the segment has no options that say what it acknowledges: none at
 * all, or a timestamp as it usually comes.
 */
static __always_inline int has_no_sack(struct xdp_md *ctx, const struct pkt *p)
{
	void *data_end = CTX_POINTER(ctx, data_end);
	__be32 *option;

	if (p->th[12] >> 4 == sizeof(struct tcphdr) / 4)
		return 1;
	option = CTX_POINTER(ctx, data) + L4_OFF(p) + sizeof(struct tcphdr);
	if ((void *)(option + 1) > data_end)
		return 0;
	return p->th[12] >> 4 == sizeof(struct tcphdr) / 4 + 3 &&
	       *option == bpf_htonl(TCPOPT_NOP << 24 | TCPOPT_NOP << 16 |
				    TCPOPT_TIMESTAMP << 8 | 10);
}

/*
 * Whether the segment is within the window, so that nothing but the window is
 * to be learnt from it. Then n has its numbers. Without a side effect.
 */
static __always_inline int in_window(struct xdp_md *ctx, const struct pkt *p,
				     struct flow *f, struct flow *twin,
				     struct tcp_numbers *n)
{
	if (!twin || !f->seen.maxwin || !twin->seen.maxwin ||
	    !has_no_sack(ctx, p))
		return 0;
	n->seq = tcp_seq(p);
	n->end = tcp_end(p);
	n->ack = tcp_ack(p);
	n->sack = n->ack;
	n->win = tcp_window(p);
	return tcp_is_within(n, &f->seen, &twin->seen);
}

/* Counts the packet; a connection's limits and timeouts are in both entries. */
static __always_inline void track(const struct pkt *p, struct flow *f,
				  struct flow *twin,
				  const struct tcp_numbers *n)
{
	const struct settings *s;
	struct tcp_last *last;
	__u32 timeout;
	__u8 dir;

	if (!twin) {
		flow_touch(&p->tuple, f, p, 0, 0, flow_timeout(f, p->l4proto));
		return;
	}
	s = settings();
	if (!s)
		return;
	dir = !!(f->flags & FLOW_REPLY);
	last = dir ? &twin->last : &f->last;
	tcp_learn(p, n, &f->seen, &twin->seen, last, dir, EVENT_ACK);
	last->event = EVENT_ACK;
	timeout = tcp_timeout(s, f, &f->seen, &twin->seen, last, EVENT_ACK,
			      TCP_ESTABLISHED);
	flow_touch(&p->tuple, f, p, 0, 0, timeout);
}

/* All chains that a forwarded packet meets, but for those that it has met. */
static __always_inline int policy_passes(struct ctx_buff *ctx, struct pkt *p,
					 const struct flow *f, __u32 oif,
					 enum early met)
{
	p->ct_state = CT_STATE_INVALID; /* to the chains before conntrack */
	facts_none();
	if (!early_passes(ctx, p, met))
		return 0;
	p->ct_state = CT_STATE_ESTABLISHED;
	facts_flow(&p->tuple, f, f->flags);
	if (!policy_accepts(PREROUTING_EARLY, prerouting_early, ctx, p))
		return 0;
	translate_dst(p, &f->out);
	if (!policy_accepts(PREROUTING, prerouting, ctx, p))
		return 0;
	p->oif = oif;
	ttl_count(p);
	if (p->nfproto == NFPROTO_IPV4)
		p->priority = tos_priority(p->nh[offsetof(struct iphdr, tos)]);
	if (!policy_accepts(FORWARD, forward, ctx, p) ||
	    !policy_accepts(POSTROUTING, postrouting, ctx, p))
		return 0;
	translate_src(p, &f->out);
	return policy_accepts(POSTROUTING_LATE, postrouting_late, ctx, p);
}

/* The interface, if XDP may send by it, or 0. */
static __always_inline __u32 xdp_port(__u32 ifindex)
{
	struct iface *iface = bpf_map_lookup_elem(&l2_ifaces, &ifindex);

	return iface && iface->flags & IFACE_XDP_PORT ? ifindex : 0;
}

/*
 * Where the flow goes. The routing table is asked once a tick (134 ms) for each
 * flow: what changes there takes effect within that time. That there is no interface
 * which XDP may send by is remembered, too: its packets are all the TC program's,
 * which asks by itself.
 */
static __always_inline int find_hop(struct xdp_md *ctx, struct pkt *p,
				    struct flow *f, struct hop *hop, int tagged)
{
	__u32 now = ns_to_ticks(p->now);
	struct bpf_fib_lookup fib;
	int ret;

	*hop = f->hop;
	barrier();
	/* Another CPU may be writing: it takes checked away first. */
	if (likely(hop->checked == now && READ_ONCE(f->hop.checked) == now))
		return hop->oif ? 0 : -1;

	if (tagged && !vlan_is_up(ctx, p->iif))
		return -1;
	/* By the translated destination, as after prerouting. */
	route_fill(&fib, p, p->len);
	if (p->nfproto == NFPROTO_IPV4)
		__builtin_memcpy(&fib.ipv4_dst, f->out.daddr, 4);
	else
		__builtin_memcpy(fib.ipv6_dst, f->out.daddr, 16);
	if (p->l4proto == IPPROTO_TCP || p->l4proto == IPPROTO_UDP)
		fib.dport = f->out.dport;
	ret = bpf_fib_lookup(ctx, &fib, sizeof(fib), 0);
	if (ret < 0 || ret == BPF_FIB_LKUP_RET_FRAG_NEEDED)
		return -1; /* this packet, and not the next one maybe */
	if (!ret && flow_is_bound(f) && hop->via != fib.ifindex)
		return -1; /* ends it: ct_goes_by() */
	hop->oif = ret ? 0 : xdp_port(fib.ifindex);
	if (!ret) {
		hop->mtu = fib.mtu_result;
		hop->via = fib.ifindex;
		__builtin_memcpy(hop->smac, fib.smac, ETH_ALEN);
		__builtin_memcpy(hop->dmac, fib.dmac, ETH_ALEN);
	}
	hop->checked = 0;
	WRITE_ONCE(f->hop.checked, 0);
	barrier();
	f->hop = *hop;
	barrier();
	WRITE_ONCE(f->hop.checked, now);
	return hop->oif ? 0 : -1;
}

/*
 * A frame that comes by an interface, a VLAN's with its tag. Until the packet is
 * counted it stays as it came, for whatever the TC program does with it.
 */
static __always_inline int run(struct xdp_md *ctx, __u32 ifindex,
			       __be16 protocol, int tagged)
{
	struct ethhdr *eth = CTX_POINTER(ctx, data);
	void *data_end = CTX_POINTER(ctx, data_end);
	struct flow *f, *twin = NULL;
	struct tcp_numbers n = {};
	struct iface *iface;
	struct scratch *s;
	enum early met;
	struct hop hop;
	struct pkt *p;
	__u32 port;
	int action;

	iface = bpf_map_lookup_elem(&l2_ifaces, &ifindex);
	if (!iface || !(iface->flags & IFACE_MANAGED) ||
	    (void *)(eth + 1) > data_end ||
	    !is_same_mac(iface->mac, eth->h_dest))
		return XDP_PASS;

	s = scratch();
	if (!s)
		return XDP_PASS;
	p = &s->pkt;
	pkt_begin(p);
	p->iif = ifindex;
	p->l3_off = tagged ? sizeof(struct vlan_ethhdr) : sizeof(*eth);
	p->ll_len = sizeof(*eth);
	p->protocol = protocol;
	if (parse(ctx, p, 0) != PARSE_OK)
		return XDP_PASS; /* the TC program knows why, and counts it */

	met = early(ctx, p, tagged);
	if (met == EARLY_DROP) {
		count(STAT_DROP_POLICY);
		return XDP_DROP;
	}
	/* A redirect would go past what holds back. */
	if (met == EARLY_LEAVE || !policy_xdp || iface->flags & IFACE_SHAPED)
		return XDP_PASS;

	f = bpf_map_lookup_elem(&l2_flows, &p->tuple);
	if (!f || ticks_after(ns_to_ticks(p->now), READ_ONCE(f->expires)) ||
	    !is_steady(p, f) || ttl_expires(p) ||
	    find_hop(ctx, p, f, &hop, tagged) < 0 || p->len > hop.mtu) {
		count(STAT_XDP_PASSED);
		return XDP_PASS;
	}

	/* With its tag, a frame comes to the chains of its NIC first. */
	if (policy_rejects && (tagged || !handover_possible(ctx))) {
		count(STAT_XDP_PASSED);
		return XDP_PASS;
	}

	if (p->l4proto == IPPROTO_TCP) {
		twin = flow_twin(&p->tuple, f, 0);
		if (!in_window(ctx, p, f, twin, &n)) {
			count(STAT_XDP_PASSED);
			return XDP_PASS;
		}
	}
	track(p, f, twin, &n);
	if (tagged && vlan_untag(ctx, p) < 0) {
		count(STAT_DROP_INTERNAL);
		return XDP_DROP;
	}
	if (!policy_passes(ctx, p, f, hop.oif, met)) {
		if (policy_rejects && REJECT_KIND(p))
			return handover(ctx, p, f);
		count(STAT_DROP_POLICY);
		return XDP_DROP;
	}
	if (rewrite(ctx, p, f->addr_diff, f->port_diff, 1) < 0) {
		count(STAT_DROP_INTERNAL);
		return XDP_DROP;
	}
	port = hop.oif;
	if (xdp_vlans) {
		port = vlan_leave(ctx, hop.oif);
		if (!port) {
			count(STAT_DROP_INTERNAL);
			return XDP_DROP;
		}
	}
	eth = CTX_POINTER(ctx, data);
	data_end = CTX_POINTER(ctx, data_end);
	if ((void *)(eth + 1) > data_end)
		return XDP_DROP;
	*(struct mac_pair *)eth = *(struct mac_pair *)hop.dmac;
	action = bpf_redirect_map(&l2_xdp_ports, port, XDP_DROP);
	/* An interface may go sooner than its flows ask for their route again. */
	count(action == XDP_REDIRECT ? STAT_XDP_FORWARDED : STAT_DROP_INTERNAL);
	return action;
}

SEC("xdp")
int l2_xdp(struct xdp_md *ctx)
{
	void *data_end = CTX_POINTER(ctx, data_end);
	struct ethhdr *eth = CTX_POINTER(ctx, data);
	__be16 protocol;
	__u32 ifindex;
	int action;

	if (steer_masks) {
		action = steer(ctx);
		if (action >= 0)
			return action;
		eth = CTX_POINTER(ctx, data);
		data_end = CTX_POINTER(ctx, data_end);
	}
	if ((!policy_xdp && !policy_early) || (void *)(eth + 1) > data_end)
		return XDP_PASS;
	protocol = *(__be16 *)(void *)&eth->h_proto;
	if (xdp_vlans && vlan_is_tag(protocol)) {
		ifindex = vlan_device(ctx, &protocol);
		return ifindex ? run(ctx, ifindex, protocol, 1) : XDP_PASS;
	}
	return run(ctx, ctx->ingress_ifindex, protocol, 0);
}
