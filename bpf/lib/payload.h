/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once

#include "common.h"
#include "iter.h"
#include "frag.h"
#include "types.h"

/*
 * What rules read of a packet's bytes, beyond the copies in struct pkt: called
 * by generated code. A value goes to p->regs, from a slot of 8 bytes on;
 * p->elem is where it is put together.
 */

/* enum nft_payload_bases of linux/netfilter/nf_tables.h. */
#define PAYLOAD_LINK 0
#define PAYLOAD_NETWORK 1
#define PAYLOAD_TRANSPORT 2
#define PAYLOAD_INNER 3
#define PAYLOAD_TUNNEL 4 /* inside of tunnels only: inner.h */

#define REG_SLOTS (sizeof(((struct pkt *)0)->regs) / 8)
#define VALUE_MAX (8 * REG_SLOTS)

/* Where a value is in its header: offset << 8 | length in bytes. */
#define VALUE_OFFSET(at) ((at) >> 8 & 0xff)
#define VALUE_LEN(at) ((at) & 0xff)

/* Behind the last byte: what follows is padding of the frame. */
static __always_inline __u32 packet_end(const struct pkt *p)
{
	return p->l3_off + p->len;
}

static __always_inline __u32 network_header_len(const struct pkt *p)
{
	return p->nfproto == NFPROTO_IPV4 ? sizeof(struct iphdr) :
					    sizeof(struct ipv6hdr);
}

/* Copies the first len bytes of p->elem to p->regs. */
static __always_inline void value_put(struct pkt *p, __u32 slot, __u32 len)
{
	const __u64 *from = (const __u64 *)p->elem;
	__u64 *to = (__u64 *)p->regs;
	__u32 i;

#pragma unroll
	for (i = 0; i < REG_SLOTS; i++)
		if (8 * i < len)
			to[(slot + i) % REG_SLOTS] = from[i];
}

static __always_inline void value_set(struct pkt *p, __u32 slot, __u64 value)
{
	((__u64 *)p->regs)[slot % REG_SLOTS] = value;
}

/* Loads bytes of the packet into p->elem, which holds all that there can be. */
static __always_inline int packet_load(struct ctx_buff *ctx, struct pkt *p,
				       __u32 off, __u32 len)
{
	if (!in_bounds(len, 1, VALUE_MAX) || off + len > packet_end(p))
		return -1;
	return ctx_load(ctx, off, p->elem, len);
}

/* Bytes as they are in the packet, which no translation changes. */
static __always_inline int value_load(struct ctx_buff *ctx, struct pkt *p,
				      __u32 off, __u32 len, __u32 slot)
{
	if (packet_load(ctx, p, off, len) < 0)
		return 0;
	value_put(p, slot, len);
	return 1;
}

/* Gives p->elem, len bytes from off on, what it has of a header that begins at
 * start and of which n bytes are known.
 */
static __always_inline void value_overlay(struct pkt *p, __u32 off, __u32 len,
					  const __u8 *header, __u32 start,
					  __u32 n, __u32 max)
{
	struct bpf_iter_num it;
	__u32 i, to;
	int *next;

	bpf_iter_num_new(&it, 0, n);
	while ((next = bpf_iter_num_next(&it))) {
		i = *next;
		to = start + i - off;
		if (to >= len || i >= max)
			continue;
		barrier_var(to);
		if (to < VALUE_MAX)
			p->elem[to] = header[i];
	}
	bpf_iter_num_destroy(&it);
}

/* The payload of the transport protocol; 0: there is none that is known. As in
 * nft_payload.c.
 */
static __always_inline __u32 inner_offset(const struct pkt *p)
{
	__u32 off = 4;

	switch (p->l4proto) {
	case IPPROTO_UDP:
		return p->l4_off + sizeof(struct udphdr);
	case IPPROTO_TCP:
		if (p->th_len < sizeof(struct tcphdr))
			return 0;
		return p->l4_off + (p->th[12] >> 4) * 4;
	case IPPROTO_GRE:
		/* Of version 0, without routing: checksum, key, sequence. */
		if (p->th_len < 4 || p->th[1] & 7 || p->th[0] & 0x40)
			return 0;
		off += p->th[0] & 0x80 ? 4 : 0;
		off += p->th[0] & 0x20 ? 4 : 0;
		off += p->th[0] & 0x10 ? 4 : 0;
		return p->l4_off + off;
	case IPPROTO_IPIP:
		return p->l4_off;
	}
	return 0;
}

#define VLAN_TAG_OFFSET (2 * ETH_ALEN)
#define VLAN_TAG_LEN 4

#if !CTX_XDP

/*
 * Loads bytes of a link-layer header whose VLAN tag the kernel has taken out of
 * the packet, as if it was there: nft_payload_copy_vlan(). at is from start on.
 */
static __always_inline int vlan_load(struct __sk_buff *skb, struct pkt *p,
				     __u32 start, __u32 at, __u32 len)
{
	__be16 tag[2] = { skb->vlan_proto, bpf_htons(skb->vlan_tci) };
	__u32 behind = VLAN_TAG_OFFSET + VLAN_TAG_LEN, i, to, n;
	struct bpf_iter_num it;
	int *next;

	if (at >= behind)
		return packet_load(skb, p, start + at - VLAN_TAG_LEN, len);
	/* What is behind the tag goes to p->key first. */
	n = at + len > behind ? at + len - behind : 0;
	if (n) {
		if (packet_load(skb, p, start + VLAN_TAG_OFFSET, n) < 0)
			return -1;
		__builtin_memcpy(p->key, p->elem, VALUE_MAX);
	}
	if (at < VLAN_TAG_OFFSET &&
	    packet_load(skb, p, start + at,
			len < VLAN_TAG_OFFSET - at ? len :
						     VLAN_TAG_OFFSET - at) < 0)
		return -1;
	bpf_iter_num_new(&it, 0, VLAN_TAG_LEN + n);
	while ((next = bpf_iter_num_next(&it))) {
		i = *next;
		to = VLAN_TAG_OFFSET + i - at;
		if (to >= len)
			continue;
		barrier_var(to);
		if (to >= VALUE_MAX)
			continue;
		if (i < VLAN_TAG_LEN)
			p->elem[to] = ((__u8 *)tag)[i];
		else if (i - VLAN_TAG_LEN < VALUE_MAX)
			p->elem[to] = p->key[i - VLAN_TAG_LEN];
	}
	bpf_iter_num_destroy(&it);
	return 0;
}

#endif

/*
 * Loads bytes of the packet as nft_payload_eval() does; returns whether they
 * are there. They are those of this hook: the headers' copies know of a
 * translation that the packet does not yet have. A fragment's are those of the
 * whole datagram, or none: what follows the header copied from the first
 * fragment is not known in later ones, nor what follows a network header whose
 * fragment header reassembly takes away.
 */
__noinline int nft_payload(struct ctx_buff *ctx, struct pkt *p, __u32 base,
			   __u32 at, __u32 slot)
{
	__u32 off, len = VALUE_LEN(at), known;

	if (!p)
		return 0;
	known = p->l3_off + network_header_len(p);
	switch (base) {
	case PAYLOAD_LINK:
		if (!p->ll_len)
			return 0;
		off = p->l3_off - p->ll_len;
#if !CTX_XDP
		if (ctx->vlan_present &&
		    VALUE_OFFSET(at) + len > VLAN_TAG_OFFSET) {
			if (vlan_load(ctx, p, off, VALUE_OFFSET(at), len) < 0)
				return 0;
			value_put(p, slot, len);
			return 1;
		}
#endif
		break;
	case PAYLOAD_NETWORK:
		off = p->l3_off;
		break;
	case PAYLOAD_TRANSPORT:
	case PAYLOAD_INNER:
		off = base == PAYLOAD_INNER ? inner_offset(p) : p->l4_off;
		if (!off)
			return 0;
		if (!is_later_fragment(p))
			known = packet_end(p);
		else if (base == PAYLOAD_TRANSPORT)
			known = off + p->th_len;
		break;
	default:
		return 0;
	}
	off += VALUE_OFFSET(at);
	if (is_part(p) && off + len > known)
		return 0;
	if (!(is_later_fragment(p) && off >= p->l4_off) &&
	    packet_load(ctx, p, off, len) < 0)
		return 0;
	if (off < p->l3_off + network_header_len(p))
		value_overlay(p, off, len, p->nh, p->l3_off,
			      network_header_len(p), sizeof(p->nh));
	if (off + len > p->l4_off && off < p->l4_off + p->th_len)
		value_overlay(p, off, len, p->th, p->l4_off, p->th_len,
			      sizeof(p->th));
	value_put(p, slot, len);
	return 1;
}
