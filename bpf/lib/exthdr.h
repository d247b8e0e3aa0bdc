/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once

#include "common.h"
#include "csum.h"
#include "parse.h"
#include "payload.h"
#include "sctp.h"

/*
 * Headers and options that have to be looked for: nft_exthdr.c. Generated code
 * calls one function for each kind, with the type that is looked for. It
 * returns whether the rule goes on, with the value in p->regs; with
 * EXTHDR_PRESENT the value tells whether the header is there.
 *
 * What is looked at is in the packet itself, and no translation changes it. A
 * later fragment has none of its datagram's transport header but the copy of
 * its start: options are not found there.
 */

#define EXTHDR_PRESENT (1U << 16) /* in at */

/* Ends a search that has found something at off, from the start of the packet's
 * data on, or nothing. Two arguments, and no off of 0 for nothing: the verifier
 * would want to know all values that off had in the loop of the search.
 */
static __always_inline int exthdr_found(struct ctx_buff *ctx, struct pkt *p,
					int found, __u32 off, __u32 at,
					__u32 slot)
{
	if (at & EXTHDR_PRESENT) {
		value_set(p, slot, found);
		return 1;
	}
	if (!found)
		return 0;
	return value_load(ctx, p, off + VALUE_OFFSET(at), VALUE_LEN(at), slot);
}

static __always_inline int ipv6_is_ext(__u8 nexthdr)
{
	switch (nexthdr) {
	case IPPROTO_HOPOPTS:
	case IPPROTO_ROUTING:
	case IPPROTO_FRAGMENT:
	case IPPROTO_AH:
	case IPPROTO_DSTOPTS:
		return 1;
	}
	return 0;
}

/* Looks for an IPv6 header: ipv6_find_hdr(). Fragment headers are not found, as
 * behind reassembly.
 */
static __always_inline int ipv6_find(struct ctx_buff *ctx, const struct pkt *p,
				     __u8 type, __u32 *where)
{
	__u8 nexthdr = p->nh[offsetof(struct ipv6hdr, nexthdr)];
	__u32 len, off = p->l3_off + sizeof(struct ipv6hdr);
	struct ipv6_ext ext;
	int i;

	for (i = 0; i < IPV6_EXT_MAX + 1; i++) {
		*where = off;
		if (nexthdr == type && nexthdr != IPPROTO_FRAGMENT)
			return !ipv6_is_ext(nexthdr) ||
			       off + sizeof(ext) <= packet_end(p);
		if (!ipv6_is_ext(nexthdr) ||
		    off + sizeof(ext) > packet_end(p) ||
		    ctx_load(ctx, off, &ext, sizeof(ext)) < 0)
			return 0;
		switch (nexthdr) {
		case IPPROTO_FRAGMENT:
			if (is_later_fragment(p))
				return 0;
			len = sizeof(struct ipv6_frag);
			break;
		case IPPROTO_AH:
			len = (ext.len + 2) * 4;
			break;
		default:
			len = (ext.len + 1) * 8;
		}
		off += len;
		if (off > packet_end(p))
			return 0;
		nexthdr = ext.nexthdr;
	}
	return 0;
}

__noinline int nft_exthdr_ipv6(struct ctx_buff *ctx, struct pkt *p, __u32 type,
			       __u32 at, __u32 slot)
{
	__u32 off = 0;
	int found;

	if (!p || p->nfproto != NFPROTO_IPV6)
		return 0;
	found = ipv6_find(ctx, p, type, &off);
	return exthdr_found(ctx, p, found, off, at, slot);
}

/* Which options have been seen: of each there can be one. */
#define SEEN_SRR (1U << 0)
#define SEEN_RR (1U << 1)
#define SEEN_TS (1U << 2)

/* Whether __ip_options_compile() takes an option of len bytes, the first of
 * which are o.
 */
static __always_inline int ipv4_option_valid(const __u8 *o, __u32 len,
					     __u32 *seen)
{
	__u8 ptr = o[2];

	switch (o[0]) {
	case IPOPT_SSRR:
	case IPOPT_LSRR:
		if (*seen & SEEN_SRR || len < 7 || ptr != 4 || (len - 3) % 4)
			return 0;
		*seen |= SEEN_SRR;
		break;
	case IPOPT_RR:
		if (*seen & SEEN_RR || len < 3 || ptr < 4 ||
		    (ptr <= len && ptr + 3U > len))
			return 0;
		*seen |= SEEN_RR;
		break;
	case IPOPT_TIMESTAMP:
		if (*seen & SEEN_TS || len < 4 || ptr < 5)
			return 0;
		*seen |= SEEN_TS;
		if (ptr > len)
			return (o[3] & 0xf) == IPOPT_TS_PRESPEC ||
			       o[3] >> 4 != 15;
		switch (o[3] & 0xf) {
		case IPOPT_TS_TSANDADDR:
		case IPOPT_TS_PRESPEC:
			return ptr + 7U <= len;
		}
		return ptr + 3U <= len;
	case IPOPT_CIPSO:
		return 0; /* of a domain that nobody has defined */
	case IPOPT_RA:
		return len >= 4;
	}
	return 1;
}

/*
 * Looks for an option of IPv4. Like the kernel, it is found only among options
 * that are all valid; the last router alert counts, if its value is 0.
 */
static __always_inline int ipv4_find(struct ctx_buff *ctx, struct pkt *p,
				     __u8 type, __u32 *where)
{
	__u32 i = 0, len, n = p->nh[0] % 16 * 4 - sizeof(struct iphdr);
	__u32 seen = 0, start = p->l3_off + sizeof(struct iphdr);
	int found = 0, broken = 0;
	struct bpf_iter_num it;
	__u8 *o;

	if (n > IPV4_OPTIONS_MAX || packet_load(ctx, p, start, n) < 0)
		return 0;
	bpf_iter_num_new(&it, 0, IPV4_OPTIONS_MAX);
	while (bpf_iter_num_next(&it)) {
		if (i >= n || i >= IPV4_OPTIONS_MAX)
			break;
		o = p->elem + i;
		if (o[0] == IPOPT_END)
			break;
		if (o[0] == IPOPT_NOOP) {
			i++;
			continue;
		}
		len = o[1];
		if (i + 1 >= n || len < 2 || i + len > n ||
		    !ipv4_option_valid(o, len, &seen)) {
			broken = 1;
			break;
		}
		if (o[0] == type && (type != IPOPT_RA || !(o[2] | o[3]))) {
			*where = start + i;
			found = 1;
		}
		i += len;
	}
	bpf_iter_num_destroy(&it);
	return found && !broken;
}

__noinline int nft_exthdr_ipv4(struct ctx_buff *ctx, struct pkt *p, __u32 type,
			       __u32 at, __u32 slot)
{
	__u32 off = 0;
	int found;

	if (!p || p->nfproto != NFPROTO_IPV4)
		return 0;
	found = ipv4_find(ctx, p, type, &off);
	return exthdr_found(ctx, p, found, off, at, slot);
}

#define TCPOPT_NOP 1

/* The TCP header, with its options, to p->elem; returns its length, 0: it is
 * not there.
 */
static __always_inline __u32 tcp_load(struct ctx_buff *ctx, struct pkt *p)
{
	__u32 len = (p->th[12] >> 4) * 4;

	if (p->l4proto != IPPROTO_TCP || is_later_fragment(p) ||
	    p->th_len < sizeof(struct tcphdr) || len < sizeof(struct tcphdr) ||
	    packet_load(ctx, p, p->l4_off, len) < 0)
		return 0;
	return len;
}

/* Where in the TCP header of len bytes in p->elem an option is, 0: nowhere. Its
 * length as it claims, or 1 for what has none.
 */
static __always_inline __u32 tcp_find(const struct pkt *p, __u32 len, __u8 type,
				      __u32 *size)
{
	__u32 i = sizeof(struct tcphdr), found = 0;
	struct bpf_iter_num it;
	__u8 kind, n;

	bpf_iter_num_new(&it, 0, 40);
	while (bpf_iter_num_next(&it)) {
		if (i + 1 >= len || i >= 60)
			break;
		kind = p->elem[i];
		n = p->elem[i + 1];
		if (kind <= TCPOPT_NOP || !n)
			n = 1;
		if (kind == type) {
			*size = n;
			found = i;
			break;
		}
		i += n;
	}
	bpf_iter_num_destroy(&it);
	return found;
}

__noinline int nft_exthdr_tcp(struct ctx_buff *ctx, struct pkt *p, __u32 type,
			      __u32 at, __u32 slot)
{
	__u32 len, i = 0, size = 0;

	if (!p)
		return 0;
	len = tcp_load(ctx, p);
	if (len)
		i = tcp_find(p, len, type, &size);
	if (i + size > len || VALUE_OFFSET(at) + VALUE_LEN(at) > size)
		i = 0;
	return exthdr_found(ctx, p, !!i, p->l4_off + i, at, slot);
}

__noinline int nft_exthdr_sctp(struct ctx_buff *ctx, struct pkt *p, __u32 type,
			       __u32 at, __u32 slot)
{
	__u32 off, end, len;
	struct sctp_chunk chunk;
	struct bpf_iter_num it;
	int found = 0;

	if (!p)
		return 0;
	end = packet_end(p);
	off = p->l4_off + SCTP_HEADER;
	if (p->l4proto != IPPROTO_SCTP || is_later_fragment(p))
		return exthdr_found(ctx, p, 0, 0, at, slot);

	/* No more chunks than there is room for. */
	bpf_iter_num_new(&it, 0, 0x10000 / sizeof(chunk));
	while (bpf_iter_num_next(&it)) {
		if (off + sizeof(chunk) > end ||
		    ctx_load(ctx, off, &chunk, sizeof(chunk)) < 0 ||
		    !chunk.length)
			break;
		len = bpf_ntohs(chunk.length);
		if (chunk.type == (__u8)type) {
			found = at & EXTHDR_PRESENT ||
				(VALUE_OFFSET(at) + VALUE_LEN(at) <= len &&
				 off + len <= end);
			break;
		}
		off += (len + 3) & ~3;
	}
	bpf_iter_num_destroy(&it);
	return exthdr_found(ctx, p, found, off, at, slot);
}

/* include/uapi/linux/dccp.h */
#define DCCP_HEADER 12 /* of all types, with a short sequence number */
#define DCCP_HEADER_EXT 4 /* the rest of a long one */
#define DCCP_REQUEST 0
#define DCCP_RESPONSE 1
#define DCCP_DATA 2
#define DCCP_RESET 7
#define DCCP_SYNCACK 9
#define DCCP_MAX_RESERVED 31 /* options without a length */

/* Where options begin, in the header th: __dccp_hdr_len(). */
static __always_inline __u32 dccp_options(const __u8 *th)
{
	__u32 len = DCCP_HEADER + (th[8] & 1 ? DCCP_HEADER_EXT : 0);
	__u8 type = th[8] >> 1 & 0xf;

	switch (type) {
	case DCCP_DATA:
		return len;
	case DCCP_REQUEST:
		return len + 4;
	case DCCP_RESPONSE:
	case DCCP_RESET:
		return len + 12;
	}
	return len + (type <= DCCP_SYNCACK ? 8 : 12);
}

/* Whether an option of the type is at or behind off. Those before it have to be right,
 * and within the packet.
 */
static __always_inline int dccp_find(struct ctx_buff *ctx, const struct pkt *p,
				     __u32 off, __u32 end, __u8 type)
{
	struct bpf_iter_num it;
	__u8 option[2];
	int found = 0;

	bpf_iter_num_new(&it, 0, 255 * 4);
	while (bpf_iter_num_next(&it)) {
		option[1] = 0;
		if (off >= end || off >= packet_end(p) ||
		    ctx_load(ctx, off, option, 1) < 0 ||
		    (off + 1 < end &&
		     (off + 1 >= packet_end(p) ||
		      ctx_load(ctx, off, option, sizeof(option)) < 0)))
			break;
		if (option[0] == type) {
			found = 1;
			break;
		}
		if (option[0] <= DCCP_MAX_RESERVED) {
			off++;
			continue;
		}
		if (option[1] < sizeof(option))
			break;
		off += option[1];
	}
	bpf_iter_num_destroy(&it);
	return found;
}

/* DCCP's options are there or not: the kernel loads nothing of them. */
__noinline int nft_exthdr_dccp(struct ctx_buff *ctx, struct pkt *p, __u32 type,
			       __u32 at, __u32 slot)
{
	int found = 0;

	if (!p)
		return 0;
	if (p->l4proto == IPPROTO_DCCP && !is_later_fragment(p) &&
	    p->th_len >= DCCP_HEADER)
		found = dccp_find(ctx, p, p->l4_off + dccp_options(p->th),
				  p->l4_off + p->th[4] * 4, type);
	return exthdr_found(ctx, p, found, 0, at | EXTHDR_PRESENT, slot);
}
