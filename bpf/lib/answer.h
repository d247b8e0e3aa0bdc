/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once

#include "common.h"
#include "forward.h"
#include "maps.h"
#include "scratch.h"
#include "source6.h"
#include "types.h"

/*
 * What the router's own answers have in common: whence and whither, how often,
 * and sums over what they quote.
 */

/* Set by the loader from net.ipv4.ip_default_ttl and net.ipv6.conf.all.hop_limit. */
volatile const __u8 answer_ttl = 64;
volatile const __u8 answer_hop_limit = 64;

/* Milliseconds between ICMP errors to one address, from net.ipv4.icmp_ratelimit
 * and net.ipv6.icmp.ratelimit; 0: as many as there are packets.
 */
volatile const __u32 answer_interval = 1000;
volatile const __u32 answer_interval6 = 1000;

#define ANSWER_BURST 6 /* XRLIM_BURST_FACTOR of net/ipv4/icmp.c */
#define NSEC_PER_MSEC 1000000ULL

/* Where a packet goes, or the answer to it: never both at a time. */
static __always_inline struct bpf_fib_lookup *route_of(struct scratch *s)
{
	_Static_assert(sizeof(struct bpf_fib_lookup) == sizeof(s->route),
		       "scratch.route has another size");
	return (struct bpf_fib_lookup *)s->route;
}

/* The bucket of one address: inet_peer_xrlim_allow(). CPUs that meet at one
 * may let an error more pass.
 */
struct answer_bucket {
	__u64 last; /* ns */
	__u64 tokens; /* ns */
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__uint(key_size, 16);
	__type(value, struct answer_bucket);
} l2_answer_buckets SEC(".maps");

static __always_inline int answer_within_limit(const struct pkt *p,
					       struct scratch *s)
{
	__u64 interval = p->nfproto == NFPROTO_IPV4 ? answer_interval :
						      answer_interval6;
	struct answer_bucket fresh = {}, *b;

	if (!interval)
		return 1;
	interval *= NSEC_PER_MSEC;
	b = bpf_map_lookup_elem(&l2_answer_buckets, s->key.saddr);
	if (!b) {
		fresh.last = p->now;
		fresh.tokens = (ANSWER_BURST - 1) * interval;
		bpf_map_update_elem(&l2_answer_buckets, s->key.saddr, &fresh,
				    BPF_ANY);
		return 1;
	}
	fresh.tokens = b->tokens + p->now - b->last;
	if (fresh.tokens > ANSWER_BURST * interval)
		fresh.tokens = ANSWER_BURST * interval;
	b->last = p->now;
	if (fresh.tokens < interval) {
		b->tokens = fresh.tokens;
		return 0;
	}
	b->tokens = fresh.tokens - interval;
	return 1;
}

/* Asks for a route as the router itself does (iif lo), or by an interface. */
static __always_inline int answer_lookup(struct ctx_buff *ctx,
					 const struct pkt *p, struct scratch *s,
					 __u32 ifindex, __u32 flags)
{
	struct bpf_fib_lookup *fib = route_of(s);

	__builtin_memset(fib, 0, sizeof(*fib));
	fib->ifindex = ifindex;
	fib->tot_len = 1;
	if (p->nfproto == NFPROTO_IPV4) {
		fib->family = AF_INET;
		__builtin_memcpy(&fib->ipv4_dst, s->key.saddr, 4);
		__builtin_memcpy(&fib->ipv4_src, s->source, 4);
	} else {
		fib->family = AF_INET6;
		__builtin_memcpy(fib->ipv6_dst, s->key.saddr, 16);
		__builtin_memcpy(fib->ipv6_src, s->source, 16);
	}
	return bpf_fib_lookup(ctx, fib, sizeof(*fib),
			      flags | FIB_LOOKUP_SKIP_NEIGH);
}

/* Whether the packet went to an address of the router: nobody is sent on. */
static __always_inline int is_for_router(struct ctx_buff *ctx,
					 const struct pkt *p, struct scratch *s,
					 const __u8 *to)
{
	struct bpf_fib_lookup *fib = route_of(s);

	if (is_link_local(to))
		return 1;
	route_fill(fib, p, 1);
	__builtin_memcpy(fib->ipv6_dst, to, 16);
	return bpf_fib_lookup(ctx, fib, sizeof(*fib), FIB_LOOKUP_SKIP_NEIGH) ==
	       BPF_FIB_LKUP_RET_NOT_FWDED;
}

/* The route to the sender of the packet, in s->route, and its interface in p->oif. */
static __always_inline int answer_ask(struct ctx_buff *ctx, struct pkt *p,
				      struct scratch *s, __u32 flags)
{
	int ret;

	if (p->nfproto == NFPROTO_IPV6 && is_link_local(s->key.saddr))
		ret = answer_lookup(ctx, p, s, p->iif,
				    flags | BPF_FIB_LOOKUP_OUTPUT);
	else
		ret = answer_lookup(ctx, p, s, LOOPBACK_IFINDEX, flags);
	/* Forwarding may be off for lo, and on where the packet came from. */
	if (ret == BPF_FIB_LKUP_RET_FWD_DISABLED)
		ret = answer_lookup(ctx, p, s, p->iif, flags);
	if (ret != BPF_FIB_LKUP_RET_SUCCESS)
		return -1;
	p->oif = route_of(s)->ifindex;
	return 0;
}

/* The answer's source before NAT is s->source; it leaves from where a translated
 * packet was sent to.
 */
static __always_inline void answer_from(struct scratch *s, __u32 translated)
{
	__builtin_memcpy(s->seen_source, s->source, 16);
	if (translated)
		__builtin_memcpy(s->source, s->key.daddr, 16);
}

/*
 * The route to the sender of the packet, in s->route. The answer comes from where
 * the packet is going to, if it is a reset or if that is the router (IPv4: as the
 * input hook knows), else from the address of the way back: s->seen_source. Returns
 * 1 if that is one of IPv6's, which answer_source6() has a look at, 0, or less
 * without a route.
 */
static __always_inline int answer_route(struct ctx_buff *ctx, struct pkt *p,
					struct scratch *s, __u32 hook,
					__u32 translated)
{
	struct bpf_fib_lookup *fib = route_of(s);
	const __u8 *to = translated ? p->tuple.daddr : s->key.daddr;
	__u32 flags = 0;
	int same;

	same = hook == REJECT_INPUT || REJECT_KIND(p) == REJECT_RESET;
	if (!same && p->nfproto == NFPROTO_IPV6 && hook == REJECT_PREROUTING)
		same = is_for_router(ctx, p, s, to);
	if (same)
		__builtin_memcpy(s->source, to, 16);
	else
		flags = FIB_LOOKUP_SRC;
	if (answer_ask(ctx, p, s, flags))
		return -1;
	if (!same && p->nfproto == NFPROTO_IPV4)
		__builtin_memcpy(s->source, &fib->ipv4_src, 4);
	else if (!same)
		__builtin_memcpy(s->source, fib->ipv6_src, 16);
	answer_from(s, translated);
	return !same && p->nfproto == NFPROTO_IPV6;
}

/*
 * icmp6_send(): if the route to the sender prefers no source, the answer has an
 * address of the interface that the packet came by, and is routed with it.
 * bpf_fib_lookup() does not say whether the route has one: it has if its source
 * is not what the router would choose for its interface. Beside the other steps,
 * for the stack's sake.
 */
__noinline int answer_source6(struct ctx_buff *ctx, struct pkt *p,
			      __u32 translated)
{
	struct scratch *s = scratch();

	if (!p || !s)
		return -1;
	if (p->iif == p->oif || source6_find(ctx, p, FIB_SADDR, p->oif) ||
	    !address6_is(&source6(p)->best, (__be64 *)s->seen_source) ||
	    source6_find(ctx, p, FIB_SADDR, p->iif))
		return 0;
	address6_store((__be64 *)s->source, &source6(p)->best);
	if (answer_ask(ctx, p, s, 0))
		return -1;
	answer_from(s, translated);
	return 0;
}

/* Sums over the packet itself, in pieces: s->buffer. */
struct csum_walk {
	struct ctx_buff *ctx;
	struct scratch *s;
	__u32 off;
	__u32 left;
	__u32 sum;
};

#define CSUM_PIECES (65536 / SCRATCH_BUFFER)

static long csum_piece(__u32 i, struct csum_walk *w)
{
	__u32 n = w->left;
	struct scratch *s = w->s;

	if (!n || !s)
		return 1;
	if (n >= SCRATCH_BUFFER) {
		n = SCRATCH_BUFFER;
	} else {
		__builtin_memset(s->buffer, 0, sizeof(s->buffer));
		if (!in_bounds(n, 1, SCRATCH_BUFFER - 1))
			return 1;
	}
	if (ctx_load(w->ctx, w->off, s->buffer, n) < 0)
		return 1;
	w->sum = bpf_csum_diff(NULL, 0, (__be32 *)s->buffer, sizeof(s->buffer),
			       w->sum);
	w->off += n;
	w->left -= n;
	return 0;
}

/* The sum of len bytes of the packet from off on; overwrites the buffer. */
static __always_inline __u32 csum_range(struct ctx_buff *ctx, __u32 off,
					__u32 len)
{
	struct csum_walk w = {
		.ctx = ctx, .s = scratch(), .off = off, .left = len
	};

	bpf_loop(CSUM_PIECES, csum_piece, &w, 0);
	return w.sum;
}
