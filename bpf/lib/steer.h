/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once

#include "common.h"
#include "flow.h"
#include "parse.h"
#include "scratch.h"
#include "types.h"
#include "vlan.h"

/*
 * Rules that a NIC would sort packets by, had it room for them ("n-tuple"): before
 * everything else, for every frame. A rule is an entry of a hash table, by what it
 * matches; rules that match other bits have another mask, and each mask costs a
 * lookup. Of those that match, the first one decides.
 *
 * There are two tables of rules in the maps. Which one is in force is a constant of
 * the programs: they change with it, in one step.
 */

/* Masks in the table of these programs, set by the loader; 0: there are no rules,
 * and no code for them.
 */
volatile const __u32 steer_masks = 0;
volatile const __u32 steer_table = 0; /* 0 or 1 */

#define STEER_MASKS_MAX 16 /* in a table */
#define STEER_RULES_MAX 256
#define STEER_CPUS_MAX 64 /* that a rule names */

/* What a rule matches, and what of it matters. */
struct steer_key {
	__u8 saddr[16]; /* IPv4: the first four bytes */
	__u8 daddr[16];
	__be16 sport;
	__be16 dport;
	__u8 nfproto; /* 0: not IP */
	__u8 l4proto; /* 0: of a fragment, which has no ports either */
	__u16 vlan; /* STEER_TAGGED and the identifier, or 0; host order */
	__u32 ifindex;
	__u32 mask; /* its index in l2_steer_masks */
} __attribute__((aligned(8)));

#define STEER_TAGGED 0x8000

enum steer_action {
	STEER_PASS, /* what the NIC has decided about */
	STEER_DROP,
	STEER_CPU,
};

struct steer_rule {
	__u32 order; /* the first rule has the lowest; its index in l2_steer_hits */
	enum steer_action action;
	__u32 cpus; /* how many there are */
	__u32 cpu[STEER_CPUS_MAX]; /* flows are spread over them */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2 * STEER_MASKS_MAX);
	__type(key, __u32);
	__type(value, struct steer_key);
} l2_steer_masks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 2 * STEER_RULES_MAX);
	__type(key, struct steer_key);
	__type(value, struct steer_rule);
} l2_steer SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 2 * STEER_RULES_MAX);
	__type(key, __u32);
	__type(value, __u64);
} l2_steer_hits SEC(".maps");

/* Where packets can be handed to, by the number of the CPU. */
struct {
	__uint(type, BPF_MAP_TYPE_CPUMAP);
	__uint(max_entries, 1); /* set by the loader */
	__type(key, __u32);
	__type(value, struct bpf_cpumap_val);
} l2_steer_cpus SEC(".maps");

/* Which table is in force, for who reads it. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} l2_steer_now SEC(".maps");

/* The transport header's ports; it has none if it is not whole. */
static __always_inline void steer_ports(struct xdp_md *ctx, struct steer_key *k,
					__u32 off)
{
	__be16 ports[2];

	switch (k->l4proto) {
	case IPPROTO_TCP:
	case IPPROTO_UDP:
	case IPPROTO_SCTP:
		if (ctx_load(ctx, off, ports, sizeof(ports)) < 0)
			return;
		k->sport = ports[0];
		k->dport = ports[1];
	}
}

static __always_inline void steer_ipv4(struct xdp_md *ctx, struct steer_key *k,
				       __u32 off)
{
	struct iphdr ip;

	if (ctx_load(ctx, off, &ip, sizeof(ip)) < 0 || ip.version != 4 ||
	    ip.ihl < 5)
		return;
	k->nfproto = NFPROTO_IPV4;
	__builtin_memcpy(k->saddr, &ip.saddr, 4);
	__builtin_memcpy(k->daddr, &ip.daddr, 4);
	if (ip.frag_off & bpf_htons(IP_MF | IP_OFFSET))
		return;
	k->l4proto = ip.protocol;
	steer_ports(ctx, k, off + ip.ihl * 4);
}

/* The walk over extension headers is verified by itself: of the many ways that it can
 * take, the caller knows the end.
 */
__noinline int steer_ext(struct xdp_md *ctx, struct l4_info *l4)
{
	if (!l4)
		return PARSE_MALFORMED;
	return parse_ipv6_ext(ctx, l4);
}

static __always_inline void steer_ipv6(struct xdp_md *ctx, struct steer_key *k,
				       __u32 off)
{
	struct l4_info l4 = {};
	struct ipv6hdr ip;

	if (ctx_load(ctx, off, &ip, sizeof(ip)) < 0 || ip.version != 6)
		return;
	k->nfproto = NFPROTO_IPV6;
	__builtin_memcpy(k->saddr, &ip.saddr, 16);
	__builtin_memcpy(k->daddr, &ip.daddr, 16);
	l4.proto = ip.nexthdr;
	l4.off = off + sizeof(ip);
	l4.len = bpf_ntohs(ip.payload_len);
	if (steer_ext(ctx, &l4) != PARSE_OK || l4.fragment)
		return;
	k->l4proto = l4.proto;
	steer_ports(ctx, k, l4.off);
}

/* Returns the offset of the network header. */
static __always_inline __u32 steer_parse(struct xdp_md *ctx,
					 struct steer_key *k, __be16 *proto)
{
	struct vlan_ethhdr eth;
	__u32 off = ETH_HLEN;

	k->ifindex = ctx->ingress_ifindex;
	*proto = 0;
	if (ctx_load(ctx, 0, &eth, ETH_HLEN) < 0)
		return off;
	*proto = eth.proto;
	if (*proto == bpf_htons(ETH_P_8021Q)) {
		if (ctx_load(ctx, 0, &eth, sizeof(eth)) < 0)
			return off;
		k->vlan = STEER_TAGGED | VLAN_ID(eth.tci);
		*proto = eth.h_proto;
		off = sizeof(eth);
	}
	if (*proto == bpf_htons(ETH_P_IP))
		steer_ipv4(ctx, k, off);
	else if (*proto == bpf_htons(ETH_P_IPV6))
		steer_ipv6(ctx, k, off);
	return off;
}

/* The first rule that matches, or NULL. */
static __always_inline struct steer_rule *
steer_match(const struct steer_key *key)
{
	struct steer_rule *rule, *first = NULL;
	const __u64 *from = (const __u64 *)key, *bits;
	struct steer_key masked;
	__u64 *to = (__u64 *)&masked;
	__u32 i, n, index;

	for (i = 0; i < STEER_MASKS_MAX && i < steer_masks; i++) {
		index = steer_table * STEER_MASKS_MAX + i;
		bits = bpf_map_lookup_elem(&l2_steer_masks, &index);
		if (!bits)
			break;
		for (n = 0; n < sizeof(masked) / sizeof(*to); n++)
			to[n] = from[n] & bits[n];
		masked.mask = index;
		rule = bpf_map_lookup_elem(&l2_steer, &masked);
		if (rule && (!first || rule->order < first->order))
			first = rule;
	}
	return first;
}

static __always_inline __u32 steer_hash(const struct tuple *t)
{
	const __u64 *word = (const __u64 *)t;
	__u64 h = 0x9e3779b97f4a7c15ULL;
	__u32 i;

	for (i = 0; i < sizeof(*t) / sizeof(*word); i++) {
		h = (h ^ word[i]) * 0xff51afd7ed558ccdULL;
		h ^= h >> 32;
	}
	return h >> 16;
}

/*
 * A number that all packets of a flow have, in both directions and whatever is
 * translated: of the tuple that its first packet came with. A fragment has that of its
 * addresses.
 */
static __noinline __u32 steer_flow(struct xdp_md *ctx,
				   const struct steer_key *key, __u32 off,
				   __u32 proto)
{
	struct scratch *s = scratch();
	struct tuple *t, original = {};
	struct flow *f;
	struct pkt *p;

	if (!s)
		return 0;
	p = &s->pkt;
	pkt_begin(p);
	p->l3_off = off == ETH_HLEN ? ETH_HLEN : sizeof(struct vlan_ethhdr);
	p->ll_len = ETH_HLEN;
	p->protocol = proto;
	t = &p->tuple;
	if (parse(ctx, p, 0) != PARSE_OK) {
		__builtin_memcpy(original.saddr, key->saddr, 16);
		__builtin_memcpy(original.daddr, key->daddr, 16);
		return steer_hash(&original);
	}
	f = bpf_map_lookup_elem(&l2_flows, t);
	if (!f)
		f = bpf_map_lookup_elem(&l2_half_open, t);
	if (f && f->flags & FLOW_REPLY)
		tuple_reverse(&original, &f->out, t, 0);
	else
		original = *t;
	return steer_hash(&original);
}

/* Returns what becomes of the frame: an XDP action, or -1 if no rule says. */
static __noinline int steer(struct xdp_md *ctx)
{
	struct steer_key key = {};
	struct steer_rule *rule;
	__u32 off, slot, n, cpus;
	__be16 proto;
	__u64 *hits;

	off = steer_parse(ctx, &key, &proto);
	rule = steer_match(&key);
	if (!rule)
		return -1;
	slot = steer_table * STEER_RULES_MAX + rule->order;
	hits = bpf_map_lookup_elem(&l2_steer_hits, &slot);
	if (hits)
		(*hits)++;
	switch (rule->action) {
	case STEER_DROP:
		count(STAT_DROP_STEER);
		return XDP_DROP;
	case STEER_CPU:
		if (!key.nfproto)
			return -1; /* nothing to tell flows by */
		cpus = rule->cpus;
		if (!cpus)
			return -1;
		n = cpus > 1 ? steer_flow(ctx, &key, off, proto) % cpus : 0;
		barrier_var(n);
		n &= STEER_CPUS_MAX - 1; /* for the verifier */
		/* The program does not run there: the TC program has it all. */
		return bpf_redirect_map(&l2_steer_cpus, rule->cpu[n], XDP_PASS);
	default:
		return -1;
	}
}
