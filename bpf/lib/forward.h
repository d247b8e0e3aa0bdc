/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once

#include "common.h"
#include "types.h"

/* Where a packet goes: the routing table's answer. TC asks for every packet, so
 * that a changed route, address or neighbour takes effect with the next one.
 */

enum route {
	ROUTE_LOCAL,
	ROUTE_FORWARD,
	ROUTE_TOO_BIG, /* forward, but over the path's MTU */
	ROUTE_REFUSED, /* the kernel answers (unreachable, prohibited, link-local) */
	ROUTE_DROP,
};

/* Bytes of the network packet: of a segment if it is an aggregate, of the largest
 * fragment if it leaves in fragments.
 */
static __always_inline __u32 segment_len(struct ctx_buff *ctx,
					 const struct pkt *p)
{
	__u32 gso = ctx_gso_len(ctx);

	if (unlikely(p->fragment == FRAGMENT_WHOLE))
		return p->fragment_max;
	if (!gso)
		return p->len;
	gso += p->l4_off - p->l3_off;
	gso += p->l4proto == IPPROTO_TCP ? (p->th[12] >> 4) * 4 :
					   sizeof(struct udphdr);
	return gso;
}

static __always_inline void route_fill(struct bpf_fib_lookup *fib,
				       const struct pkt *p, __u32 len)
{
	const struct tuple *t = &p->tuple;

	__builtin_memset(fib, 0, sizeof(*fib));
	fib->ifindex = p->iif;
	fib->l4_protocol = p->l4proto;
	fib->tot_len = len;
	if (p->l4proto == IPPROTO_TCP || p->l4proto == IPPROTO_UDP) {
		fib->sport = t->sport;
		fib->dport = t->dport;
	}
	if (p->nfproto == NFPROTO_IPV4) {
		fib->family = AF_INET;
		fib->tos = p->nh[offsetof(struct iphdr, tos)];
		__builtin_memcpy(&fib->ipv4_src, t->saddr, 4);
		__builtin_memcpy(&fib->ipv4_dst, t->daddr, 4);
	} else {
		fib->family = AF_INET6;
		fib->flowinfo = *(__be32 *)p->nh & bpf_htonl(0x0fffffff);
		__builtin_memcpy(fib->ipv6_src, t->saddr, 16);
		__builtin_memcpy(fib->ipv6_dst, t->daddr, 16);
	}
}

/* The priority that ip_forward() gives a packet, by two bits of the old TOS
 * field: rt_tos2priority().
 */
static __always_inline __u32 tos_priority(__u8 tos)
{
	__u32 bits = tos >> 3 & 3; /* best effort, bulk, interactive, both */

	return (bits ^ bits >> 1) << 1;
}

static __always_inline int is_link_local(const __u8 *addr)
{
	return addr[0] == 0xfe && (addr[1] & 0xc0) == 0x80;
}

static __always_inline int is_multicast(const struct pkt *p,
					const struct tuple *t)
{
	if (p->nfproto == NFPROTO_IPV6)
		return t->daddr[0] == 0xff;
	/* and 255.255.255.255 */
	return (t->daddr[0] & 0xf0) == 0xe0 || *(__u32 *)t->daddr == 0xffffffff;
}

static __always_inline int ttl_expires(const struct pkt *p)
{
	return p->nfproto == NFPROTO_IPV4 ?
		       p->nh[offsetof(struct iphdr, ttl)] <= 1 :
		       p->nh[offsetof(struct ipv6hdr, hop_limit)] <= 1;
}

/* The hop that this router is: the kernel counts it before the forward chains. */
static __always_inline void ttl_count(struct pkt *p)
{
	if (p->nfproto == NFPROTO_IPV4)
		p->nh[offsetof(struct iphdr, ttl)]--;
	else
		p->nh[offsetof(struct ipv6hdr, hop_limit)]--;
}

static __always_inline int is_loopback(const struct pkt *p, const __u8 *addr)
{
	const __be32 *a = (const __be32 *)addr;

	if (p->nfproto == NFPROTO_IPV4)
		return addr[0] == 127;
	return !(a[0] | a[1] | a[2]) && a[3] == bpf_htonl(1);
}

/* Sources that ip_route_input_slow() and ip6_rcv_core() refuse. The chains see
 * them first, so that a rule that drops them counts them.
 */
static __always_inline int is_martian_source(const struct pkt *p)
{
	const __u8 *s = p->tuple.saddr;
	int i;

	if (p->nfproto == NFPROTO_IPV4)
		return !*(__u32 *)s || s[0] == 127 || (s[0] & 0xf0) == 0xe0 ||
		       *(__u32 *)s == 0xffffffff;
	if (s[0] == 0xff)
		return 1;
	for (i = 0; i < 15; i++)
		if (s[i])
			return 0;
	return s[15] <= 1; /* unspecified, loopback */
}
