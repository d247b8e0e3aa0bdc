/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once

#include "answer.h"
#include "common.h"
#include "conntrack.h"
#include "csum.h"
#include "forward.h"
#include "icmp.h"
#include "kernel.h"
#include "scratch.h"
#include "types.h"

/*
 * The reject statement: a packet becomes the answer to itself, a TCP reset or
 * an ICMP error, as nf_reject_ipv4.c and nf_reject_ipv6.c make them.
 *
 * The answer is to the packet as it came: of a translated flow it has the
 * addresses that the client knows. The chains before the source's translation are
 * shown the one that it had without: answered.h.
 */

/* Ends of the ICMP quote: RFC 1812 4.3.2.3, and IPv6's least MTU. */
#define REJECT_MTU4 576
#define REJECT_MTU6 1280

/* Of an answer to a frame, the quote's own. */
#define REJECT_FRAME_QUOTE4 536
#define REJECT_FRAME_QUOTE6 1220

struct icmp_head {
	__u8 type;
	__u8 code;
	__u16 check;
	__u32 unused;
};

struct reject4 {
	struct iphdr ip;
	union {
		struct icmp_head icmp;
		struct tcphdr tcp;
	};
} __attribute__((packed, aligned(4)));

struct reject6 {
	struct ipv6hdr ip;
	union {
		struct icmp_head icmp;
		struct tcphdr tcp;
	};
} __attribute__((packed, aligned(4)));

#define ICMPV6_REDIRECT 137 /* NDISC_REDIRECT */

/* Errors about what may itself be an error are not sent: icmp_pointers[] of
 * net/ipv4/icmp.c, is_ineligible() of net/ipv6/icmp.c.
 */
static __always_inline int icmp_may_answer(const struct pkt *p)
{
	const __u32 queries = 1U << ICMP_ECHOREPLY | 1U << ICMP_ECHO |
			      0x3fU << ICMP_TIMESTAMP; /* to address replies */

	if (p->l4proto == IPPROTO_ICMPV6 && p->nfproto == NFPROTO_IPV6)
		return p->th_len && p->th[0] >= 128 &&
		       p->th[0] != ICMPV6_REDIRECT;
	if (p->l4proto != IPPROTO_ICMP || p->nfproto != NFPROTO_IPV4)
		return 1;
	return p->th_len && p->th[0] < 32 && queries >> p->th[0] & 1;
}

/* Adds up the transport header and payload. Of a frame's IPv4 packet nobody has seen
 * whether the header's own checksum is right, which makes that 0: nf_ip_checksum().
 */
static __always_inline __u32 transport_sum(struct ctx_buff *ctx,
					   const struct pkt *p)
{
	__u32 header = p->l4_off - p->l3_off;

	if (p->reject & REJECT_FRAME && p->nfproto == NFPROTO_IPV4)
		header = 0;
	return csum_range(ctx, L3_OFF(p) + header, p->len - header);
}

static __always_inline __u32 pseudo_header_sum(const struct tuple *t, __u32 len)
{
	const __u32 *addrs = (const __u32 *)t;
	__u64 sum = (__u64)bpf_htonl(len) + bpf_htonl(t->l4proto);
	int i;

	for (i = 0; i < 8; i++)
		sum += addrs[i];
	return csum_fold64(sum);
}

/*
 * What is in the place of the transport checksum. A packet that has not been
 * on a wire may hold the pseudo header's sum alone (CHECKSUM_PARTIAL), for the
 * interface to finish; an aggregate always does.
 */
enum checksum {
	CHECKSUM_WRONG,
	CHECKSUM_RIGHT,
	CHECKSUM_UNFINISHED,
};

/* Global, and not called by what makes the answer: both need the stack. */
__noinline int checksum_of(struct ctx_buff *ctx, const struct pkt *p)
{
	struct scratch *s = scratch();
	__u32 sum, pseudo, at;
	__u16 check;

	if (!p || !s)
		return CHECKSUM_WRONG;

	switch (p->l4proto) {
	case IPPROTO_TCP:
		at = offsetof(struct tcphdr, check);
		break;
	case IPPROTO_UDP:
		at = offsetof(struct udphdr, check);
		break;
	case IPPROTO_GRE:
	case IPPROTO_AH:
	case IPPROTO_ESP:
	case IPPROTO_SCTP:
	case IPPROTO_UDPLITE:
	case IPPROTO_DCCP:
		return CHECKSUM_RIGHT; /* none, or none of this kind */
	default:
		at = 0;
	}
	if (at) {
		if (ctx_load(ctx, L4_OFF(p) + at, &check, sizeof(check)) < 0)
			return CHECKSUM_WRONG;
		if (skb_is_partial(ctx))
			return CHECKSUM_UNFINISHED;
		if (!check && p->l4proto == IPPROTO_UDP)
			return CHECKSUM_RIGHT;
	}
	if (p->fragment)
		return CHECKSUM_RIGHT; /* of the whole datagram only */
	sum = transport_sum(ctx, p);
	/* All of IPv6, and TCP and UDP: nf_ip_checksum(), nf_ip6_checksum(). */
	pseudo = pseudo_header_sum(&s->key, p->len - (p->l4_off - p->l3_off));
	if (at || p->nfproto == NFPROTO_IPV6)
		sum = csum_add(sum, pseudo);
	sum = csum_fold(sum);
	/* Of nothing but zeros the kernel's is right, too: it adds the network
	 * header's, which is.
	 */
	return sum == 0xffff || !sum ? CHECKSUM_RIGHT : CHECKSUM_WRONG;
}

/* The headers of an answer that has len bytes behind the network header. */
static __always_inline void reject_ipv4(struct iphdr *ip, const struct pkt *p,
					const struct tuple *t, __u32 len)
{
	__builtin_memset(ip, 0, sizeof(*ip));
	ip->version = 4;
	ip->ihl = 5;
	ip->tot_len = bpf_htons(sizeof(*ip) + len);
	ip->ttl = answer_ttl;
	__builtin_memcpy(&ip->saddr, t->daddr, 4);
	__builtin_memcpy(&ip->daddr, t->saddr, 4);
}

static __always_inline void ipv4_finish(struct iphdr *ip)
{
	const __u32 *w = (const __u32 *)ip;

	ip->check = ~csum_fold((__u64)w[0] + w[1] + w[2] + w[3] + w[4]);
}

static __always_inline void
reject_ipv6(struct ipv6hdr *ip, const struct tuple *t, __u8 proto, __u32 len)
{
	__builtin_memset(ip, 0, sizeof(*ip));
	ip->version = 6;
	ip->payload_len = bpf_htons(len);
	ip->nexthdr = proto;
	ip->hop_limit = answer_hop_limit;
	__builtin_memcpy(&ip->saddr, t->daddr, 16);
	__builtin_memcpy(&ip->daddr, t->saddr, 16);
}

static __always_inline void reject_tcp(struct tcphdr *th, const struct pkt *p,
				       const struct tuple *t)
{
	const struct tcphdr *old = (const struct tcphdr *)p->th;
	__u32 len = p->len - (p->l4_off - p->l3_off) - old->doff * 4;

	__builtin_memset(th, 0, sizeof(*th));
	th->source = t->dport;
	th->dest = t->sport;
	th->doff = sizeof(*th) / 4;
	th->rst = 1;
	if (old->ack) {
		th->seq = old->ack_seq;
		return;
	}
	th->ack = 1;
	th->ack_seq =
		bpf_htonl(bpf_ntohl(old->seq) + old->syn + old->fin + len);
}

/* The connection is at its end: nf_ct_set_closing(). */
static __always_inline void reject_close(const struct pkt *p,
					 const struct tuple *key)
{
	struct flow *f = bpf_map_lookup_elem(&l2_flows, key);
	int half = !f;

	if (!f)
		f = bpf_map_lookup_elem(&l2_half_open, key);
	if (!f)
		return;
	WRITE_ONCE(f->state, TCP_CLOSE);
	flow_live(f, p->now, flow_timeout(f, IPPROTO_TCP));
	flow_sync(key, f, half, FLOW_CHANGED);
}

/* Makes the packet a reset. Returns 0, or less when there is none to send. */
static __always_inline int reject_reset(struct ctx_buff *ctx, struct pkt *p,
					struct scratch *s,
					enum checksum checksum)
{
	const struct tcphdr *old = (const struct tcphdr *)p->th;
	const struct tuple *t = &s->key;
	int base = p->nfproto == NFPROTO_IPV4 ? sizeof(struct iphdr) :
						sizeof(struct ipv6hdr);
	int extra = (int)p->l4_off - p->l3_off - base;
	struct reject4 *a4 = (struct reject4 *)s->buffer;
	struct reject6 *a6 = (struct reject6 *)s->buffer;
	struct tcphdr *th;
	__u32 sum;

	if (p->l4proto != IPPROTO_TCP || is_part(p) ||
	    p->th_len < sizeof(*old) || old->rst)
		return -1;
	if (bpf_skb_change_tail(ctx, L4_OFF(p) + sizeof(*th), 0))
		return -1;
	if (extra && bpf_skb_adjust_room(ctx, -extra, BPF_ADJ_ROOM_NET, 0))
		return -1;

	sum = pseudo_header_sum(t, sizeof(*th));
	th = p->nfproto == NFPROTO_IPV4 ? &a4->tcp : &a6->tcp;
	reject_tcp(th, p, t);
	if (checksum == CHECKSUM_UNFINISHED) {
		th->check = csum_fold(sum);
	} else {
		const __u32 *w = (const __u32 *)th;

		th->check = ~csum_fold((__u64)sum + w[0] + w[1] + w[2] + w[3] +
				       w[4]);
	}
	if (p->nfproto == NFPROTO_IPV4) {
		reject_ipv4(&a4->ip, p, t, sizeof(*th));
		a4->ip.protocol = IPPROTO_TCP;
		a4->ip.frag_off = bpf_htons(IP_DF);
		ipv4_finish(&a4->ip);
		return bpf_skb_store_bytes(ctx, L3_OFF(p), a4, sizeof(*a4),
					   BPF_F_RECOMPUTE_CSUM);
	}
	reject_ipv6(&a6->ip, t, IPPROTO_TCP, sizeof(*th));
	return bpf_skb_store_bytes(ctx, L3_OFF(p), a6, sizeof(*a6),
				   BPF_F_RECOMPUTE_CSUM);
}

/* The forward chains see one hop less, and so does what is quoted: ttl_count(). */
static __always_inline int reject_hop(struct ctx_buff *ctx, struct pkt *p)
{
	__u8 ttl = p->nh[offsetof(struct iphdr, ttl)];
	__be16 check, word;

	if (p->nfproto == NFPROTO_IPV6) {
		ttl = p->nh[offsetof(struct ipv6hdr, hop_limit)];
		return bpf_skb_store_bytes(
			ctx, L3_OFF(p) + offsetof(struct ipv6hdr, hop_limit),
			&ttl, sizeof(ttl), BPF_F_RECOMPUTE_CSUM);
	}
	if (ctx_load(ctx, L3_OFF(p) + offsetof(struct iphdr, ttl), &word,
		     sizeof(word)) < 0 ||
	    ctx_load(ctx, L3_OFF(p) + offsetof(struct iphdr, check), &check,
		     sizeof(check)) < 0)
		return -1;
	check = csum_apply(check,
			   csum_diff16(word, (word & bpf_htons(0xff)) |
						     bpf_htons(ttl << 8)));
	if (bpf_skb_store_bytes(ctx, L3_OFF(p) + offsetof(struct iphdr, ttl),
				&ttl, sizeof(ttl), BPF_F_RECOMPUTE_CSUM))
		return -1;
	return bpf_skb_store_bytes(ctx,
				   L3_OFF(p) + offsetof(struct iphdr, check),
				   &check, sizeof(check), BPF_F_RECOMPUTE_CSUM);
}

/*
 * The sum of the quote, which is where the packet was, and head bytes further
 * on. Where the interface still has to finish the quoted transport checksum,
 * the transport packet will add up to the complement of what is there now.
 */
static __always_inline __u32 quote_sum(struct ctx_buff *ctx,
				       const struct pkt *p, __u32 head,
				       __u32 len, enum checksum checksum)
{
	__u32 at = p->l4proto == IPPROTO_TCP ? offsetof(struct tcphdr, check) :
					       offsetof(struct udphdr, check);
	__u16 check;

	if (checksum != CHECKSUM_UNFINISHED)
		return csum_range(ctx, L3_OFF(p) + head, len);
	if (ctx_load(ctx, L4_OFF(p) + head + at, &check, sizeof(check)) < 0)
		return 0;
	return csum_add(csum_range(ctx, L3_OFF(p) + head,
				   p->l4_off - p->l3_off),
			(__u16)~check);
}

/* Makes the packet an ICMP error about itself, from the address s->source. */
static __always_inline int reject_icmp(struct ctx_buff *ctx, struct pkt *p,
				       struct scratch *s,
				       enum checksum checksum)
{
	struct reject4 *a4 = (struct reject4 *)s->buffer;
	struct reject6 *a6 = (struct reject6 *)s->buffer;
	struct tuple *t = &s->answer;
	__u32 head, len, mtu, sum;

	*t = s->key;
	__builtin_memcpy(t->daddr, s->source, 16);
	t->l4proto = IPPROTO_ICMPV6;
	head = sizeof(struct iphdr) + sizeof(struct icmp_head);
	mtu = REJECT_MTU4;
	if (p->nfproto == NFPROTO_IPV6) {
		head = sizeof(struct ipv6hdr) + sizeof(struct icmp_head);
		mtu = REJECT_MTU6;
	}
	if (p->reject & REJECT_FRAME)
		mtu = head + (p->nfproto == NFPROTO_IPV6 ? REJECT_FRAME_QUOTE6 :
							   REJECT_FRAME_QUOTE4);
	else if (route_of(s)->mtu_result && route_of(s)->mtu_result < mtu)
		mtu = route_of(s)->mtu_result;
	len = p->len;
	if (len > mtu - head)
		len = mtu - head;
	if (bpf_skb_change_tail(ctx, L3_OFF(p) + len, 0) ||
	    bpf_skb_adjust_room(ctx, head, BPF_ADJ_ROOM_MAC, 0))
		return -1;
	sum = quote_sum(ctx, p, head, len, checksum);
	len += sizeof(struct icmp_head);

	if (p->nfproto == NFPROTO_IPV4) {
		__builtin_memset(&a4->icmp, 0, sizeof(a4->icmp));
		a4->icmp.type = ICMP_DEST_UNREACH;
		a4->icmp.code = p->reject;
		a4->icmp.check = ~csum_fold(csum_add(sum, *(__u32 *)&a4->icmp));
		reject_ipv4(&a4->ip, p, t, len);
		a4->ip.protocol = IPPROTO_ICMP;
		if (p->reject & REJECT_FRAME) {
			a4->ip.frag_off = bpf_htons(IP_DF);
		} else {
			a4->ip.tos =
				(p->nh[offsetof(struct iphdr, tos)] & 0x1e) |
				0xc0;
			a4->ip.id = bpf_get_prandom_u32();
		}
		ipv4_finish(&a4->ip);
		return bpf_skb_store_bytes(ctx, L3_OFF(p), a4,
					   sizeof(a4->ip) + sizeof(a4->icmp),
					   BPF_F_RECOMPUTE_CSUM);
	}
	__builtin_memset(&a6->icmp, 0, sizeof(a6->icmp));
	a6->icmp.type = ICMPV6_DEST_UNREACH;
	a6->icmp.code = p->reject >> REJECT_CODE6_SHIFT;
	sum = csum_add(sum, pseudo_header_sum(t, len));
	a6->icmp.check = ~csum_fold(csum_add(sum, *(__u32 *)&a6->icmp));
	reject_ipv6(&a6->ip, t, IPPROTO_ICMPV6, len);
	return bpf_skb_store_bytes(ctx, L3_OFF(p), a6,
				   sizeof(a6->ip) + sizeof(a6->icmp),
				   BPF_F_RECOMPUTE_CSUM);
}

/*
 * Finds the route of the answer that a reject statement has asked for at a hook,
 * and its source: answer_route(). checksum is the packet's: enum checksum. To what a
 * flow sends elsewhere, the answer comes from where it was sent to:
 * nf_nat_icmp_reply_translation(). Returns what answer_route() does, and less than 0 when
 * the packet gets no answer.
 */
__noinline int reject_begin(struct ctx_buff *ctx, struct pkt *p, __u32 hook,
			    __u32 translated, __u32 checksum)
{
	struct scratch *s = scratch();
	int reset, ret;

	if (!p || !s)
		return -1;
	reset = REJECT_KIND(p) == REJECT_RESET;
	if (checksum == CHECKSUM_WRONG || is_later_fragment(p) ||
	    is_martian_source(p) || is_multicast(p, &s->key) ||
	    p->pkt_type != PACKET_HOST || (!reset && !icmp_may_answer(p)))
		return -1;
	__builtin_memset(s->source, 0, 16);
	if (hook != REJECT_OUTPUT) {
		ret = answer_route(ctx, p, s, hook, translated);
		return ret < 0 || reset || answer_within_limit(p, s) ? ret : -1;
	}
	if (!reset) {
		__builtin_memcpy(s->source, s->key.daddr, 16);
		route_of(s)->mtu_result = 0;
	}
	return 0;
}

/* Makes the packet that answer. Returns 0, or less when it gets none. */
__noinline int reject_make(struct ctx_buff *ctx, struct pkt *p, __u32 hook,
			   __u32 checksum)
{
	struct scratch *s = scratch();
	int err;

	if (!p || !s)
		return -1;
	if (REJECT_KIND(p) == REJECT_RESET)
		err = reject_reset(ctx, p, s, checksum);
	else if (hook == REJECT_FORWARD && reject_hop(ctx, p))
		err = -1;
	else
		err = reject_icmp(ctx, p, s, checksum);
	if (err)
		return -1;
	ctx->mark = 0;
	ctx->priority = 0;
	return 0;
}

/* The bytes of the packet in a frame, which may have others behind it. */
static __always_inline __u32 frame_packet_len(const struct pkt *p)
{
	if (p->nfproto == NFPROTO_IPV4)
		return bpf_ntohs(((const struct iphdr *)p->nh)->tot_len);
	return sizeof(struct ipv6hdr) +
	       bpf_ntohs(((const struct ipv6hdr *)p->nh)->payload_len);
}

/* A later fragment, or an error that would be answered with one of its kind. */
static __always_inline int frame_has_no_answer(const struct pkt *p)
{
	const struct iphdr *ip = (const struct iphdr *)p->nh;

	if (p->nfproto == NFPROTO_IPV6)
		return !p->th_len || (p->l4proto == IPPROTO_ICMPV6 &&
				      p->th[0] == ICMPV6_DEST_UNREACH);
	return ip->frag_off & bpf_htons(IP_OFFSET) ||
	       (p->l4proto == IPPROTO_ICMP && p->th_len &&
		p->th[0] == ICMP_DEST_UNREACH);
}

/* Makes the frame the answer that a chain of its device has asked for: from where
 * it went to. Returns 0, or less when it gets no answer.
 */
static __always_inline int reject_make_frame(struct ctx_buff *ctx,
					     struct pkt *p, struct scratch *s)
{
	enum checksum checksum;

	p->len = frame_packet_len(p);
	checksum = checksum_of(ctx, p);
	if (checksum == CHECKSUM_WRONG)
		return -1;
	if (REJECT_KIND(p) == REJECT_RESET) {
		if (reject_reset(ctx, p, s, checksum))
			return -1;
	} else {
		if (frame_has_no_answer(p))
			return -1;
		__builtin_memcpy(s->source, s->key.daddr, 16);
		if (reject_icmp(ctx, p, s, checksum))
			return -1;
	}
	ctx->mark = 0;
	ctx->priority = 0;
	return 0;
}
