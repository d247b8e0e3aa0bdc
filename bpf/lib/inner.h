/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once

#include "common.h"
#include "exthdr.h"
#include "frag.h"
#include "iter.h"
#include "payload.h"
#include "types.h"

/*
 * Headers inside of tunnels: nft_inner.c. Each expression looks for itself. The
 * kernel keeps what the last one of a chain has found; where that is another
 * packet's, by mistake.
 *
 * A later fragment has nothing inside. The first one of a datagram that is whole
 * has more of it than there is before an IPv6 header inside, with all options.
 */

/* enum nft_inner_flags of linux/netfilter/nf_tables.h: what a tunnel carries. */
#define INNER_HDRSIZE (1U << 0) /* behind UDP: a header of its own */
#define INNER_LINK (1U << 1)
#define INNER_NETWORK (1U << 2)
#define INNER_TRANSPORT (1U << 3)
#define INNER_GENEVE (1U << 4) /* a type there: the header has options */

/* What is loaded: a base of payload inside, or one of these. */
#define INNER_PROTOCOL 8
#define INNER_L4PROTO 9

/* In what: header's size in bytes << 16 | flags << 8 | what is loaded. */
#define INNER_WANTED(what) ((what) & 0xff)
#define INNER_FLAGS(what) ((what) >> 8 & 0xff)
#define INNER_SIZE(what) ((what) >> 16 & 0xff)

#define GENEVE_HEADER 8
#define GENEVE_OPTIONS 0x3f /* in words, in the first byte */

struct inner {
	/* From the start of the packet's data on. */
	__u32 tunnel;
	__u32 link;
	__u32 network;
	__u32 transport;
	__be16 protocol;
	__u8 l4proto;
	__u8 has; /* 1 << of each base that is there */
};

static __always_inline int inner_load(struct ctx_buff *ctx, const struct pkt *p,
				      __u32 off, void *to, __u32 len)
{
	return off + len > packet_end(p) ? -1 : ctx_load(ctx, off, to, len);
}

/* What is between UDP, or GRE, and what the tunnel carries; returns where that is, or 0. */
static __always_inline __u32 inner_tunnel(struct ctx_buff *ctx,
					  const struct pkt *p, __u32 what,
					  struct inner *in, __u32 off)
{
	__u8 first;

	in->has |= 1 << PAYLOAD_TUNNEL;
	if (p->l4proto == IPPROTO_GRE) {
		in->tunnel = p->l4_off;
		return off;
	}
	if (p->l4proto != IPPROTO_UDP)
		return 0;
	in->tunnel = off;
	if (!(INNER_FLAGS(what) & INNER_GENEVE))
		return off + INNER_SIZE(what);
	if (off + GENEVE_HEADER > packet_end(p) ||
	    ctx_load(ctx, off, &first, sizeof(first)) < 0)
		return 0;
	return off + INNER_SIZE(what) + (first & GENEVE_OPTIONS) * 4;
}

/* The link layer's header at off. Returns the protocol of what it carries; 0: none
 * that is looked at.
 */
static __always_inline __be16 inner_link(struct ctx_buff *ctx,
					 const struct pkt *p, struct inner *in,
					 __u32 *off)
{
	__u32 start = *off;
	__be16 proto;

	if (inner_load(ctx, p, start + VLAN_TAG_OFFSET, &proto, sizeof(proto)) <
	    0)
		return 0;
	in->protocol = proto;
	*off += ETH_HLEN;
	if (proto == bpf_htons(ETH_P_8021Q)) {
		if (inner_load(ctx, p, start + VLAN_TAG_OFFSET + VLAN_TAG_LEN,
			       &proto, sizeof(proto)) < 0)
			return 0;
		*off += VLAN_TAG_LEN;
	}
	in->link = start;
	in->has |= 1 << PAYLOAD_LINK;
	return proto;
}

/* The protocol of the packet at off, by its version. */
static __always_inline __be16 inner_version(struct ctx_buff *ctx,
					    const struct pkt *p,
					    struct inner *in, __u32 off)
{
	__u8 version;

	if (inner_load(ctx, p, off, &version, sizeof(version)) < 0)
		return 0;
	switch (version >> 4) {
	case 4:
		in->protocol = bpf_htons(ETH_P_IP);
		break;
	case 6:
		in->protocol = bpf_htons(ETH_P_IPV6);
		break;
	}
	return in->protocol;
}

static __always_inline int inner_ipv4(struct ctx_buff *ctx, const struct pkt *p,
				      struct inner *in)
{
	struct iphdr ip;

	if (inner_load(ctx, p, in->network, &ip, sizeof(ip)) < 0 ||
	    ip.ihl < 5 || ip.version != 4)
		return -1;
	in->has |= 1 << PAYLOAD_NETWORK;
	if (ip.frag_off & bpf_htons(IP_OFFSET))
		return 0;
	in->transport = in->network + ip.ihl * 4;
	in->l4proto = ip.protocol;
	in->has |= 1 << PAYLOAD_TRANSPORT;
	return 0;
}

/* Looks for the transport header behind extension headers, which begin at
 * in->transport, or an authentication header: ipv6_find_hdr(). As in newer kernels,
 * the others have to be whole.
 */
static __always_inline int inner_ipv6_find(struct ctx_buff *ctx,
					   const struct pkt *p,
					   struct inner *in, __u8 nexthdr)
{
	__u32 off = in->transport, len;
	struct bpf_iter_num it;
	struct ipv6_ext ext;
	__be16 frag_off;
	int ret = -1;

	/* No more headers than there is room for. */
	bpf_iter_num_new(&it, 0, 0x10000 / 8);
	while (bpf_iter_num_next(&it)) {
		if (!ipv6_is_ext(nexthdr)) {
			ret = 1;
			break;
		}
		if (inner_load(ctx, p, off, &ext, sizeof(ext)) < 0)
			break;
		len = (ext.len + 1) * 8;
		if (nexthdr == IPPROTO_AH) {
			ret = 1;
			break;
		}
		if ((nexthdr == IPPROTO_ROUTING ||
		     nexthdr == IPPROTO_FRAGMENT) &&
		    inner_load(ctx, p, off + sizeof(ext), &frag_off,
			       sizeof(frag_off)) < 0)
			break;
		if (nexthdr == IPPROTO_FRAGMENT) {
			len = sizeof(struct ipv6_frag);
			if (frag_off & bpf_htons(0xfff8)) {
				ret = ipv6_is_ext(ext.nexthdr) ? -1 : 0;
				break;
			}
		}
		nexthdr = ext.nexthdr;
		off += len;
		if (off > packet_end(p))
			break;
	}
	bpf_iter_num_destroy(&it);
	in->transport = off;
	in->l4proto = nexthdr;
	return ret;
}

static __always_inline int inner_ipv6(struct ctx_buff *ctx, const struct pkt *p,
				      struct inner *in)
{
	__u8 ip[offsetof(struct ipv6hdr, hop_limit)];
	int found;

	in->transport = in->network + sizeof(struct ipv6hdr);
	if (in->transport > packet_end(p) ||
	    ctx_load(ctx, in->network, ip, sizeof(ip)) < 0 || ip[0] >> 4 != 6)
		return -1;
	found = inner_ipv6_find(ctx, p, in,
				ip[offsetof(struct ipv6hdr, nexthdr)]);
	if (found < 0 || in->transport - p->l3_off > 0xffff)
		return -1;
	in->has |= 1 << PAYLOAD_NETWORK;
	if (found)
		in->has |= 1 << PAYLOAD_TRANSPORT;
	return 0;
}

/* nft_inner_parse(). */
static __always_inline int inner_parse(struct ctx_buff *ctx,
				       const struct pkt *p, __u32 what,
				       struct inner *in)
{
	__u32 flags = INNER_FLAGS(what), off = inner_offset(p);
	__be16 proto;

	if (off && flags & INNER_HDRSIZE)
		off = inner_tunnel(ctx, p, what, in, off);
	if (!off)
		return -1;
	if (!(flags & (INNER_LINK | INNER_NETWORK))) {
		in->transport = off;
		if (flags & INNER_TRANSPORT)
			in->has |= 1 << PAYLOAD_TRANSPORT;
		return 0;
	}
	proto = flags & INNER_LINK ? inner_link(ctx, p, in, &off) :
				     inner_version(ctx, p, in, off);
	in->network = off;
	switch (proto) {
	case bpf_htons(ETH_P_IP):
		return inner_ipv4(ctx, p, in);
	case bpf_htons(ETH_P_IPV6):
		return inner_ipv6(ctx, p, in);
	}
	return -1;
}

__noinline int nft_inner(struct ctx_buff *ctx, struct pkt *p, __u32 what,
			 __u32 at, __u32 slot)
{
	__u32 wanted = INNER_WANTED(what), off;
	struct inner in = {};

	if (!p || is_later_fragment(p) || inner_parse(ctx, p, what, &in) < 0)
		return 0;
	if (wanted == INNER_PROTOCOL) {
		value_set(p, slot, in.protocol);
		return 1;
	}
	if (wanted == INNER_L4PROTO) {
		value_set(p, slot, in.l4proto);
		return in.has >> PAYLOAD_TRANSPORT & 1;
	}
	switch (wanted) {
	case PAYLOAD_LINK:
		off = in.link;
		break;
	case PAYLOAD_NETWORK:
		off = in.network;
		break;
	case PAYLOAD_TRANSPORT:
		off = in.transport;
		break;
	case PAYLOAD_TUNNEL:
		off = in.tunnel;
		break;
	default:
		return 0;
	}
	if (!(in.has & 1 << wanted))
		return 0;
	return value_load(ctx, p, off + VALUE_OFFSET(at), VALUE_LEN(at), slot);
}
