/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once

#include "common.h"
#include "csum.h"
#include "exthdr.h"
#include "icmp.h"
#include "payload.h"
#include "sctp_csum.h"

/*
 * What rules write to a packet's bytes: called by generated code, at TC only,
 * for XDP leaves a packet that it does not finish as it came. The packet itself
 * is written at once, and so are the copies in struct pkt, which the chains
 * behind, routing and write_headers() go by. Conntrack's tuple is not: a written
 * address is no translation.
 */

/* What is written to: base | checksum type << 8 | checksum flags << 16. */
#define WRITE_BASE(what) ((what) & 0xff)
#define WRITE_CSUM_INET(what) (((what) >> 8 & 0xff) == 1)
#define WRITE_PSEUDO(what) ((what) >> 16)

/* Where the value is in p->regs: slot | checksum's offset << 8. */
#define WRITE_CSUM_OFFSET(slot) ((slot) >> 8)

/* p->elem has what is there, p->key what is to be there: the difference. Both
 * are filled up with zeros.
 */
static __always_inline __u32 write_diff(struct pkt *p, __u32 len)
{
	return bpf_csum_diff((__be32 *)p->elem, (len + 3) & ~3,
			     (__be32 *)p->key, (len + 3) & ~3, 0);
}

/* Adds a difference to a transport checksum. A UDP datagram without one stays
 * without; the kernel does so for addresses, and else breaks it.
 */
static __always_inline int write_csum(struct __sk_buff *skb, struct pkt *p,
				      __u32 off, __u32 diff, __u64 flags)
{
	flags |= BPF_F_MARK_MANGLED_0;
	if (p->l4proto != IPPROTO_UDP)
		flags |= BPF_F_MARK_ENFORCE;
	return bpf_l4_csum_replace(skb, off, 0, diff, flags);
}

/* Where the transport checksum over the addresses is; 0: there is none. */
static __always_inline __u32 pseudo_csum(const struct pkt *p)
{
	if (is_later_fragment(p))
		return 0;
	switch (p->l4proto) {
	case IPPROTO_TCP:
		return p->l4_off + offsetof(struct tcphdr, check);
	case IPPROTO_UDP:
		/* Cut off, it counts as one without a checksum. */
		if (p->th_len < sizeof(struct udphdr))
			return 0;
	/* fallthrough */
	case IPPROTO_UDPLITE:
		return p->l4_off + offsetof(struct udphdr, check);
	case IPPROTO_ICMPV6:
		return p->l4_off + ICMP_CSUM_OFF;
	}
	return 0;
}

/* Checksums of payload that is about to change by diff: nft_payload_set_eval(). */
static __always_inline int write_csums(struct __sk_buff *skb, struct pkt *p,
				       __u32 what, __u32 at, __u32 diff)
{
	__u32 off = pseudo_csum(p);
	__u16 sum;

	if (WRITE_CSUM_INET(what) && WRITE_BASE(what) == PAYLOAD_NETWORK) {
		if (ctx_load(skb, at, &sum, sizeof(sum)) < 0)
			return -1;
		sum = csum_apply(sum, diff);
		if (!sum)
			sum = 0xffff;
		if (bpf_skb_store_bytes(skb, at, &sum, sizeof(sum), 0))
			return -1;
	} else if (WRITE_CSUM_INET(what)) {
		return write_csum(skb, p, at, diff, 0);
	}
	if (!WRITE_PSEUDO(what) || !off)
		return 0;
	if (WRITE_BASE(what) != PAYLOAD_NETWORK)
		return write_csum(skb, p, off, diff, 0);
	return write_csum(skb, p, off, diff,
			  BPF_F_PSEUDO_HDR |
				  (p->nfproto == NFPROTO_IPV6 ? csum_ipv6_flag :
								0));
}

/* Gives the copy of a header of n bytes at start what was written at off. */
static __always_inline void write_copy(const struct pkt *p, __u8 *header,
				       __u32 start, __u32 n, __u32 max,
				       __u32 off, __u32 len)
{
	struct bpf_iter_num it;
	__u32 i, from;
	int *next;

	bpf_iter_num_new(&it, 0, n);
	while ((next = bpf_iter_num_next(&it))) {
		i = *next;
		from = start + i - off;
		if (from >= len || i >= max)
			continue;
		barrier_var(from);
		if (from < VALUE_MAX)
			header[i] = p->key[from];
	}
	bpf_iter_num_destroy(&it);
}

/* The value to p->key, len bytes, and zeros. */
static __always_inline void write_value(struct pkt *p, __u32 slot, __u32 len)
{
	__u64 *from = (__u64 *)p->regs, *to = (__u64 *)p->key;
	__u64 *old = (__u64 *)p->elem, word;
	__u32 i, n;

#pragma unroll
	for (i = 0; i < REG_SLOTS; i++) {
		word = from[(slot + i) % REG_SLOTS];
		n = len > 8 * i ? len - 8 * i : 0;
		if (!n)
			word = 0;
		else if (n < 8)
			word &= (1ULL << 8 * n) - 1;
		to[i] = word;
		old[i] = 0;
	}
}

/* Writes to SCTP what is in p->key, where p->elem is, and makes the checksum right.
 * p->key is what is there then, for the checksum may be what a rule writes.
 */
static __always_inline int sctp_write(struct __sk_buff *skb, struct pkt *p,
				      __u32 at)
{
	__u32 from = VALUE_OFFSET(at), n = VALUE_LEN(at), sum, crc;

	if (!in_bounds(n, 1, VALUE_MAX) ||
	    ctx_load(skb, p->l4_off + SCTP_CSUM_OFF, &sum, sizeof(sum)) < 0)
		return -1;
	if (bpf_skb_store_bytes(skb, p->l4_off + from, p->key, n,
				BPF_F_RECOMPUTE_CSUM))
		return -1;
	crc = nft_sctp_change(p, from, n);
	if (sctp_csum_update(skb, p, sum, crc, from + n))
		return -1;
	if (ctx_load(skb, p->l4_off + SCTP_CSUM_OFF, &p->th[SCTP_CSUM_OFF],
		     sizeof(sum)) < 0)
		return -1;
	return ctx_load(skb, p->l4_off + from, p->key, n);
}

static __always_inline int payload_write(struct __sk_buff *skb, struct pkt *p,
					 __u32 what, __u32 at, __u32 slot,
					 int sctp)
{
	__u32 start, off, len = VALUE_LEN(at), diff;
	int in_copy = 0;
	__u64 flags;

	if (!p)
		return 0;
	switch (WRITE_BASE(what)) {
	case PAYLOAD_LINK:
		if (!p->ll_len)
			return 0;
		start = p->l3_off - p->ll_len;
		break;
	case PAYLOAD_NETWORK:
		start = p->l3_off;
		break;
	case PAYLOAD_TRANSPORT:
		start = p->l4_off;
		in_copy = is_later_fragment(p);
		break;
	case PAYLOAD_INNER:
		start = inner_offset(p);
		if (start && !is_later_fragment(p))
			break;
		return 0;
	default:
		return 0;
	}
	off = start + VALUE_OFFSET(at);
	if (!in_bounds(len, 1, VALUE_MAX) ||
	    off + len > (in_copy ? p->l4_off + p->th_len : packet_end(p)))
		return 0;
	write_value(p, slot, len);
	if (!in_copy) {
		if (ctx_load(skb, off, p->elem, len) < 0)
			return 0;
		diff = write_diff(p, len);
		if (write_csums(skb, p, what, start + WRITE_CSUM_OFFSET(slot),
				diff))
			return 0;
		/* What no checksum makes good. */
		flags = WRITE_BASE(what) == PAYLOAD_LINK ||
					WRITE_CSUM_INET(what) ||
					WRITE_PSEUDO(what) ?
				0 :
				BPF_F_RECOMPUTE_CSUM;
		if (sctp && p->l4proto == IPPROTO_SCTP ?
			    sctp_write(skb, p, at) :
			    bpf_skb_store_bytes(skb, off, p->key, len, flags))
			return 0;
	}
	write_copy(p, p->nh, p->l3_off, network_header_len(p), sizeof(p->nh),
		   off, len);
	write_copy(p, p->th, p->l4_off, p->th_len, sizeof(p->th), off, len);
	return 1;
}

/* Writes payload; returns whether the rule goes on. */
__noinline int nft_payload_set(struct __sk_buff *skb, struct pkt *p, __u32 what,
			       __u32 at, __u32 slot)
{
	return payload_write(skb, p, what, at, slot, 0);
}

/* Likewise, of what SCTP's checksum is over. By itself: functions that are called
 * take up the kernel's limit of frames for all chains that call this one.
 */
__noinline int nft_sctp_set(struct __sk_buff *skb, struct pkt *p, __u32 what,
			    __u32 at, __u32 slot)
{
	return payload_write(skb, p, what, at, slot, 1);
}

#define ECN_MASK 3
#define ECN_ECT1 1
#define ECN_CE 3

/* Where the IP header has its checksum, in bytes. */
#define IPV4_CSUM_OFF offsetof(struct iphdr, check)

/*
 * A policer would drop the packet. What L4S senders mark as theirs is marked
 * instead, or was so on its way: returns whether the packet goes on. What cannot
 * be written to is dropped.
 */
__noinline int nft_police(struct __sk_buff *skb, struct pkt *p)
{
	__u32 at, shift;
	__be16 before, after;
	__u8 ecn;

	if (!p || (p->nfproto != NFPROTO_IPV4 && p->nfproto != NFPROTO_IPV6))
		return 0;
	shift = p->nfproto == NFPROTO_IPV6 ? 4 : 0;
	ecn = p->nh[1] >> shift & ECN_MASK;
	if (ecn != ECN_ECT1 && ecn != ECN_CE)
		return 0;
	if (ecn == ECN_CE)
		goto marked;
	at = p->l3_off;
	before = *(__be16 *)p->nh;
	p->nh[1] |= ECN_CE << shift;
	after = *(__be16 *)p->nh;
	if (p->nfproto == NFPROTO_IPV4 &&
	    (bpf_l3_csum_replace(skb, at + IPV4_CSUM_OFF, before, after,
				 sizeof(after)) ||
	     ctx_load(skb, at + IPV4_CSUM_OFF, p->nh + IPV4_CSUM_OFF,
		      sizeof(after)) < 0))
		return 0;
	/* A checksum over the whole packet does not see what IPv4's header changes. */
	if (bpf_skb_store_bytes(skb, at, p->nh, sizeof(after),
				shift ? BPF_F_RECOMPUTE_CSUM : 0))
		return 0;
marked:
	count(STAT_POLICER_MARKED);
	return 1;
}

/* The header of len bytes in p->elem becomes the one in p->key. */
static __always_inline int tcp_replace(struct __sk_buff *skb, struct pkt *p,
				       __u32 len)
{
	__u32 off = p->l4_off, options, diff;

	if (!in_bounds(len, sizeof(struct tcphdr) + 1, 60))
		return -1;
	diff = bpf_csum_diff((__be32 *)p->elem, len & ~3, (__be32 *)p->key,
			     len & ~3, 0);
	if (write_csum(skb, p, off + offsetof(struct tcphdr, check), diff, 0))
		return -1;
	options = len - sizeof(struct tcphdr);
	if (!in_bounds(options, 1, 40))
		return -1;
	return bpf_skb_store_bytes(skb, off + sizeof(struct tcphdr),
				   p->key + sizeof(struct tcphdr), options, 0);
}

static __always_inline void tcp_copy(struct pkt *p)
{
	__u64 *from = (__u64 *)p->elem, *to = (__u64 *)p->key;
	int i;

#pragma unroll
	for (i = 0; i < 8; i++)
		to[i] = from[i];
}

#define TCPOPT_MSS 2

/*
 * Writes 2 or 4 bytes of a TCP option: nft_exthdr_tcp_set_eval(). A maximum
 * segment size is never raised. The kernel gets the checksum wrong for a value
 * at an odd offset; this does not.
 */
__noinline int nft_tcp_set(struct __sk_buff *skb, struct pkt *p, __u32 type,
			   __u32 at, __u32 slot)
{
	__u32 len, i, j, n = VALUE_LEN(at), size = 0, *found;
	const __u8 *new;

	if (!p)
		return 0;
	len = tcp_load(skb, p);
	if (!len)
		return 0;
	i = tcp_find(p, len, type, &size);
	if (!i)
		return 1;
	/* By way of memory, for the verifier: see tcp_packet(). */
	found = (__u32 *)p->key;
	WRITE_ONCE(found[0], i);
	WRITE_ONCE(found[1], size);
	i = READ_ONCE(found[0]);
	size = READ_ONCE(found[1]);
	if (i + size > len || VALUE_OFFSET(at) + n > size)
		return 0;
	tcp_copy(p);
	new = p->regs + 8 * (slot % REG_SLOTS);
	i += VALUE_OFFSET(at);
	if (type == TCPOPT_MSS && n == 2 &&
	    (p->elem[i & 63] << 8 | p->elem[(i + 1) & 63]) <=
		    (new[0] << 8 | new[1]))
		return 1;
#pragma unroll
	for (j = 0; j < 4; j++)
		if (j < n)
			p->key[(i + j) & 63] = new[j];
	return !tcp_replace(skb, p, len);
}

/* Fills a TCP option with no-operations: nft_exthdr_tcp_strip_eval(). Returns
 * whether the rule goes on, 2: the packet is dropped.
 */
__noinline int nft_tcp_reset(struct __sk_buff *skb, struct pkt *p, __u32 type,
			     __u32 at, __u32 slot)
{
	__u32 len, i, to, size = 0;
	struct bpf_iter_num it;
	int *next;

	if (!p)
		return 0;
	len = tcp_load(skb, p);
	if (!len)
		return 0;
	i = tcp_find(p, len, type, &size);
	if (!i)
		return 1;
	if (i + size > len)
		return 2;
	tcp_copy(p);
	bpf_iter_num_new(&it, 0, size);
	while ((next = bpf_iter_num_next(&it))) {
		to = i + *next;
		barrier_var(to);
		if (to < 60)
			p->key[to] = TCPOPT_NOP;
	}
	bpf_iter_num_destroy(&it);
	return tcp_replace(skb, p, len) ? 2 : 1;
}
