/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once

#include "common.h"
#include "csum.h"
#include "frag.h"
#include "icmp.h"
#include "iter.h"
#include "scratch.h"
#include "types.h"

/*
 * The one parser. It fills struct pkt from the packet's headers and checks
 * what ip_rcv() and ip6_rcv_core() check before netfilter sees a packet.
 */

enum parse_result {
	PARSE_OK,
	PARSE_FOREIGN, /* not IP, or not for this path: leave it alone */
	PARSE_MALFORMED,
	PARSE_FRAGMENT, /* by itself of no use */
};

#define IPV6_EXT_MAX 8 /* extension headers walked */

struct ipv6_ext {
	__u8 nexthdr;
	__u8 len;
};

struct ipv6_frag {
	__u8 nexthdr;
	__u8 reserved;
	__be16 frag_off;
	__be32 id;
};

/*
 * The tuple's protocols and ports. Written in one piece, as its addresses are: it
 * is hashed and compared right after, and a CPU has a load wait for stores that it
 * would have to put together.
 */
static __always_inline int parse_ports(struct pkt *p)
{
	struct tuple *t = &p->tuple;
	__u32 ports = 0;
	int cut = 0;

	switch (p->l4proto) {
	case IPPROTO_TCP:
	case IPPROTO_UDP:
	case IPPROTO_UDPLITE:
	case IPPROTO_SCTP:
		cut = p->th_len < 8;
		if (!cut)
			ports = *(__u32 *)&p->th[0];
		break;
	case IPPROTO_ICMP:
		cut = p->th_len < 8;
	case IPPROTO_ICMPV6:
		cut = p->th_len < 8;
		if (!cut)
			ports = icmp_ports(p->l4proto, p->th);
		break;
	}
	*(__u64 *)&t->sport = ports | (__u64)p->l4proto << 32 |
			      (__u64)p->nfproto << 40 | (__u64)t->zone << 48;
	return -cut;
}

static __always_inline int parse_transport(struct ctx_buff *ctx, struct pkt *p,
					   const struct l4_info *l4)
{
	void *data = CTX_POINTER(ctx, data);
	void *data_end = CTX_POINTER(ctx, data_end);
	__u32 n = l4->len, off = l4->off & 0x1ff;

	p->l4_off = off;
	p->l4proto = l4->proto;

	if (n > sizeof(p->th))
		n = sizeof(p->th);
	if (likely(n == sizeof(p->th) &&
		   data + off + sizeof(p->th) <= data_end)) {
		*(struct th_words *)p->th = *(struct th_words *)(data + off);
	} else if (n) {
		if (!in_bounds(n, 1, sizeof(p->th)) ||
		    ctx_load(ctx, off, p->th, n) < 0)
			return PARSE_MALFORMED;
	}
	p->th_len = n;
	return PARSE_OK;
}

static __always_inline int parse_ipv4(struct ctx_buff *ctx, struct pkt *p,
				      struct l4_info *l4)
{
	void *data = CTX_POINTER(ctx, data);
	void *data_end = CTX_POINTER(ctx, data_end);
	struct iphdr *ip = data + L3_OFF(p);
	__u32 options[IPV4_OPTIONS_MAX / 4] = {};
	__u32 ihl, len;

	if ((void *)(ip + 1) > data_end)
		return PARSE_MALFORMED;
	ihl = ip->ihl * 4;
	len = bpf_ntohs(ip->tot_len);
	if (ip->version != 4 || ihl < sizeof(*ip) || len < ihl ||
	    (len > ctx_len(ctx) - p->l3_off && !p->fragment))
		return PARSE_MALFORMED;
	if (ihl != sizeof(*ip)) {
		if (CTX_XDP)
			return PARSE_FOREIGN;
		if (!in_bounds(ihl, sizeof(*ip) + 1,
			       sizeof(*ip) + sizeof(options)) ||
		    ctx_load(ctx, p->l3_off + sizeof(*ip), options,
			     ihl - sizeof(*ip)) < 0)
			return PARSE_MALFORMED;
	}
	if (!ipv4_header_valid(ip, options, ihl != sizeof(*ip)))
		return PARSE_MALFORMED;

	p->nfproto = NFPROTO_IPV4;
	p->len = len;
	__builtin_memcpy(p->nh, ip, sizeof(*ip));
	*(__u64 *)p->tuple.saddr = ip->saddr;
	*(__u64 *)p->tuple.daddr = ip->daddr;

	l4->off = p->l3_off + ihl;
	l4->len = len - ihl;
	l4->proto = ip->protocol;
	l4->fragment = !!(ip->frag_off & bpf_htons(IP_MF | IP_OFFSET));
	if (l4->fragment) {
		l4->id = ip->id;
		l4->frag_off = bpf_ntohs(ip->frag_off) & IP_OFFSET;
		l4->more = !!(ip->frag_off & bpf_htons(IP_MF));
		/* The chains see what reassembly would show them. */
		((struct iphdr *)p->nh)->frag_off = 0;
	}
	return PARSE_OK;
}

/* Walks the extension headers to the transport header. */
ctx_step int parse_ipv6_ext(struct ctx_buff *ctx, struct l4_info *l4)
{
	struct ipv6_frag frag;
	struct ipv6_ext ext;
	__u32 len, named;

	if (!l4)
		return PARSE_MALFORMED;
	named = l4->off - sizeof(struct ipv6hdr) +
		offsetof(struct ipv6hdr, nexthdr);
	repeat(IPV6_EXT_MAX)
	{
		switch (l4->proto) {
		case IPPROTO_HOPOPTS:
		case IPPROTO_ROUTING:
		case IPPROTO_DSTOPTS:
			if (ctx_load(ctx, l4->off, &ext, sizeof(ext)) < 0)
				return PARSE_MALFORMED;
			len = (ext.len + 1) * 8;
			l4->proto = ext.nexthdr;
			break;
		case IPPROTO_FRAGMENT:
			if (ctx_load(ctx, l4->off, &frag, sizeof(frag)) < 0)
				return PARSE_MALFORMED;
			l4->nexthdr = named;
			len = sizeof(frag);
			l4->proto = frag.nexthdr;
			l4->fragment = !!(frag.frag_off & bpf_htons(0xfff9));
			l4->atomic = !l4->fragment;
			l4->frag_off = bpf_ntohs(frag.frag_off) >> 3;
			l4->more = !!(frag.frag_off & bpf_htons(1));
			l4->id = frag.id;
			break;
		default:
			return PARSE_OK;
		}
		if (len > l4->len)
			return PARSE_MALFORMED;
		named = l4->off;
		l4->off += len;
		l4->len -= len;
		if (l4->off > 0x1e0)
			return PARSE_MALFORMED;
		if (l4->frag_off)
			return PARSE_OK;
	}
	return PARSE_MALFORMED;
}

static __always_inline int parse_ipv6(struct ctx_buff *ctx, struct pkt *p,
				      struct l4_info *l4)
{
	void *data = CTX_POINTER(ctx, data);
	void *data_end = CTX_POINTER(ctx, data_end);
	struct ipv6hdr *ip = data + L3_OFF(p);
	__u32 len, avail;

	if ((void *)(ip + 1) > data_end)
		return PARSE_MALFORMED;
	len = sizeof(*ip) + bpf_ntohs(ip->payload_len);
	avail = ctx_len(ctx) - p->l3_off;
	if (!ip->payload_len && ctx_gso_len(ctx))
		len = avail; /* BIG TCP */
	if (ip->version != 6 || (len > avail && !p->fragment))
		return PARSE_MALFORMED;

	p->nfproto = NFPROTO_IPV6;
	p->len = len;
	__builtin_memcpy(p->nh, ip, sizeof(*ip));
	addr_copy(p->tuple.saddr, &ip->saddr);
	addr_copy(p->tuple.daddr, &ip->daddr);

	l4->off = p->l3_off + sizeof(*ip);
	l4->len = len - sizeof(*ip);
	l4->proto = ip->nexthdr;
	switch (l4->proto) {
	case IPPROTO_HOPOPTS:
	case IPPROTO_ROUTING:
	case IPPROTO_DSTOPTS:
	case IPPROTO_FRAGMENT:
		return CTX_XDP ? PARSE_FOREIGN : parse_ipv6_ext(ctx, l4);
	}
	return PARSE_OK;
}

/* A fragment without a transport header of its own. One that comes in gets no
 * further: reasm.h.
 */
static __always_inline int parse_later(struct pkt *p, const struct l4_info *l4,
				       int egress)
{
	p->l4_off = l4->off;
	p->fragment = l4->frag_off;
	p->l4proto = l4->proto;
	if (!egress || frag_find(p, l4->id) < 0)
		return PARSE_FRAGMENT;
	return parse_ports(p) < 0 ? PARSE_MALFORMED : PARSE_OK;
}

/*
 * p->l3_off and p->protocol are set, and p->fragment, if the packet stands for
 * more than it has. At TC, what was found of a fragment is in the scratch.
 */
ctx_step int parse(struct ctx_buff *ctx, struct pkt *p, int egress)
{
	struct l4_info none = {}, *l4 = &none;
	struct scratch *s;
	int ret;

	if (!p)
		return PARSE_MALFORMED;
	if (!CTX_XDP) {
		s = scratch();
		if (!s)
			return PARSE_MALFORMED;
		l4 = &s->l4;
		*l4 = none;
	}
	switch (p->protocol) {
	case bpf_htons(ETH_P_IP):
		ret = parse_ipv4(ctx, p, l4);
		break;
	case bpf_htons(ETH_P_IPV6):
		ret = parse_ipv6(ctx, p, l4);
		break;
	default:
		return PARSE_FOREIGN;
	}
	if (ret != PARSE_OK)
		return ret;

	if (unlikely(l4->fragment)) {
		if (CTX_XDP)
			return PARSE_FOREIGN;
		if (l4->frag_off)
			return parse_later(p, l4, egress);
	}
	ret = parse_transport(ctx, p, l4);
	if (ret != PARSE_OK)
		return ret;
	if (unlikely(l4->fragment)) {
		p->fragment = FRAGMENT_FIRST;
		if (!egress)
			return PARSE_FRAGMENT;
		frag_remember(p, l4->id);
	}
	if (unlikely(l4->atomic && !egress && !CTX_XDP))
		return PARSE_FRAGMENT;
	if (likely(parse_ports(p) == 0))
		return PARSE_OK;
	/* Cut off: the chains see it, conntrack calls it invalid. A fragment
	 * that small is made to get past filters.
	 */
	if (p->fragment == FRAGMENT_FIRST)
		return PARSE_MALFORMED;
	return CTX_XDP ? PARSE_FOREIGN : PARSE_OK;
}
