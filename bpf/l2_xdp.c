//go:build ignore
// SPDX-License-Identifier: GPL-2.0-only

/*
 * The short way: packets of confirmed flows from one XDP-capable interface to
 * another. Everything else is left as it came, before the first side effect,
 * to the TC program.
 */

#include "lib/ctx_xdp.h"

#include "lib/flow.h"
#include "lib/forward.h"
#include "lib/parse.h"
#include "lib/policy.h"
#include "lib/rewrite.h"

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

/* Handshakes and ends of connections change state: the TC program's work. */
static __always_inline int is_steady(const struct pkt *p, const struct flow *f)
{
	if (p->l4proto != IPPROTO_TCP)
		return 1;
	return f->state == TCP_ESTABLISHED && tcp_header_valid(p) &&
	       !(tcp_flags(p) & (TH_SYN | TH_FIN | TH_RST));
}

/* All chains that a forwarded packet meets. */
static __always_inline int policy_passes(struct pkt *p, const struct flow *f)
{
	__u32 oif = p->oif;

	p->oif = 0;
	if (!policy_accepts(PREROUTING_RAW, prerouting_raw, p))
		return 0;
	p->ct_state = CT_STATE_ESTABLISHED;
	if (!policy_accepts(PREROUTING_EARLY, prerouting_early, p))
		return 0;
	translate_dst(p, &f->out);
	if (!policy_accepts(PREROUTING, prerouting, p))
		return 0;
	p->oif = oif;
	if (!policy_accepts(FORWARD, forward, p) ||
	    !policy_accepts(POSTROUTING, postrouting, p))
		return 0;
	translate_src(p, &f->out);
	return policy_accepts(POSTROUTING_LATE, postrouting_late, p);
}

SEC("xdp")
int l2_xdp(struct xdp_md *ctx)
{
	void *data = CTX_POINTER(ctx, data);
	void *data_end = CTX_POINTER(ctx, data_end);
	__u32 ifindex = ctx->ingress_ifindex;
	struct bpf_fib_lookup fib;
	struct ethhdr *eth = data;
	struct pkt p = {};
	struct iface *iface;
	struct tuple key;
	struct flow *f;

	if ((void *)(eth + 1) > data_end)
		return XDP_PASS;
	iface = bpf_map_lookup_elem(&l2_ifaces, &ifindex);
	if (!iface || !(iface->flags & IFACE_MANAGED) ||
	    *(__u32 *)iface->mac != *(__u32 *)eth->h_dest ||
	    *(__u16 *)&iface->mac[4] != *(__u16 *)&eth->h_dest[4])
		return XDP_PASS;

	p.now = bpf_ktime_get_coarse_ns();
	p.iif = ifindex;
	p.l3_off = sizeof(*eth);
	p.protocol = eth->h_proto;
	if (parse(ctx, &p, 0) != PARSE_OK)
		return XDP_PASS; /* the TC program knows why, and counts it */

	key = p.tuple;
	f = bpf_map_lookup_elem(&l2_flows, &key);
	if (!f || ticks_after(ns_to_ticks(p.now), READ_ONCE(f->expires)) ||
	    !is_steady(&p, f) || ttl_expires(&p))
		goto pass;

	/* Routed by the translated destination, as after prerouting. */
	__builtin_memcpy(p.tuple.daddr, f->out.daddr, 16);
	p.tuple.dport = f->out.dport;
	route_fill(&fib, &p, p.len);
	p.tuple = key;
	if (bpf_fib_lookup(ctx, &fib, sizeof(fib), 0) !=
	    BPF_FIB_LKUP_RET_SUCCESS)
		goto pass;
	p.oif = fib.ifindex;
	if (!bpf_map_lookup_elem(&l2_xdp_ports, &p.oif))
		goto pass;

	flow_touch(&key, f, &p, 0, 0);
	if (!policy_passes(&p, f)) {
		count(STAT_DROP_POLICY);
		return XDP_DROP;
	}

	if (rewrite(ctx, &p, &key, 1) < 0) {
		count(STAT_DROP_INTERNAL);
		return XDP_DROP;
	}
	data = CTX_POINTER(ctx, data);
	data_end = CTX_POINTER(ctx, data_end);
	eth = data;
	if ((void *)(eth + 1) > data_end)
		return XDP_DROP;
	__builtin_memcpy(eth->h_dest, fib.dmac, ETH_ALEN);
	__builtin_memcpy(eth->h_source, fib.smac, ETH_ALEN);
	count(STAT_XDP_FORWARDED);
	return bpf_redirect_map(&l2_xdp_ports, p.oif, XDP_DROP);

pass:
	count(STAT_XDP_PASSED);
	return XDP_PASS;
}
