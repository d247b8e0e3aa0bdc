/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once

#include "common.h"
#include "csum.h"
#include "answer.h"
#include "marks.h"
#include "reasm.h"

/*
 * The fragments of a datagram that is whole come in again, by the interface of
 * the last one and in order, as copies of its packet with the bytes that were
 * kept. The first one stands for the datagram: until its way is decided, its
 * headers are those of the datagram put together. The others follow it.
 */

/* Bytes that the first fragment has with it, if its datagram has so many, while
 * it stands for that: more than rules can reach, as much as answers can quote.
 */
#define RELEASE_EXTENT 1280

/* What becomes of a fragment. */
enum fragment_way {
	FRAGMENT_HELD, /* or dropped: this packet is at its end */
	FRAGMENT_RELEASE, /* bpf_redirect() has been called */
	FRAGMENT_BEGIN, /* stands for its datagram: to be parsed again */
	FRAGMENT_PASS, /* follows the first one to the host, and is as it was */
	FRAGMENT_SEND, /* follows the first one to p->oif, by s->route */
};

/* The slot of a packet that claims to be released, or less than 0. A packet from
 * another namespace can claim what it likes: it is compared with what is
 * expected.
 */
static __always_inline int released_slot(const struct __sk_buff *skb)
{
	__u32 slot = skb->tc_index - TC_INDEX_RELEASED;

	return slot < REASM_SLOTS ? (int)slot : -1;
}

/* A checksum over the last packet is of no use for another one. */
static __always_inline int release_forget_csum(struct __sk_buff *skb)
{
	/* Growing ends CHECKSUM_COMPLETE. */
	if (bpf_skb_change_tail(skb, skb->len + 1, 0))
		return -1;
	bpf_csum_level(skb, BPF_CSUM_LEVEL_RESET);
	return 0;
}

/* Makes the packet the fragment of a key. Returns the end of its payload, or 0. */
__noinline int release_load(struct __sk_buff *skb, struct chunk_key *first,
			    __u32 l3_off)
{
	__u32 len = 1, end = 0, at = 0, n;
	struct chunk_key key;
	struct chunk *c;

	if (!first)
		return 0;
	key = *first;
	l3_off &= 0x1f;
	repeat(REASM_PARTS)
	{
		if (at >= len)
			break;
		c = bpf_map_lookup_elem(&l2_fragments, &key);
		if (!c)
			return 0; /* forgotten */
		if (!at) {
			len = c->len;
			end = c->end;
			if (bpf_skb_change_tail(skb, l3_off + len, 0))
				return 0;
		}
		n = len - at;
		if (n > REASM_CHUNK)
			n = REASM_CHUNK;
		if (!in_bounds(n, 1, REASM_CHUNK) ||
		    bpf_skb_store_bytes(skb, l3_off + at, c->data, n, 0))
			return 0;
		bpf_map_delete_elem(&l2_fragments, &key);
		at += REASM_CHUNK;
		key.part++;
	}
	return end;
}

/*
 * Gives the first fragment what a rule can look at, or an answer can quote, of
 * those behind it. The first of these is at next, and have bytes are there.
 */
__noinline int release_extend(struct __sk_buff *skb, struct chunk_key *next,
			      __u32 l3_off, __u32 have, __u32 want)
{
	struct chunk_key key;
	struct chunk *c;
	__u32 head, n;

	if (!next)
		return -1;
	key = *next;
	l3_off &= 0x1f;
	if (bpf_skb_change_tail(skb, l3_off + want, 0))
		return -1;
	repeat(REASM_FRAGMENTS)
	{
		if (have >= want)
			return 0;
		c = bpf_map_lookup_elem(&l2_fragments, &key);
		if (!c)
			return -1;
		n = c->end - key.start * 8;
		head = c->len - n;
		if (n > want - have)
			n = want - have;
		barrier_var(head);
		if (!in_bounds(n, 1, RELEASE_EXTENT) ||
		    head > REASM_CHUNK - RELEASE_EXTENT ||
		    bpf_skb_store_bytes(skb, l3_off + have, c->data + head, n,
					0))
			return -1;
		have += n;
		key.start = c->end / 8;
	}
	return -1;
}

/* Sends all fragments on their way again; the last one is this packet. */
__noinline int release(struct __sk_buff *skb, struct pkt *p, __u32 slot)
{
	struct reasm_bucket *b = reasm_bucket(slot);
	__u32 ifindex = skb->ifindex, end, len, have, want;
	struct chunk_key key = {};
	int first;

	if (!p || !b)
		return FRAGMENT_HELD;
	key.serial = REASM_WAY(b, slot)->serial;
	len = REASM_WAY(b, slot)->len;
	if (release_forget_csum(skb))
		goto broken;
	skb->tc_index = TC_INDEX_RELEASED + slot;
	repeat(REASM_FRAGMENTS)
	{
		end = release_load(skb, &key, p->l3_off);
		if (!end)
			break;
		if (end >= len) {
			bpf_redirect(ifindex, BPF_F_INGRESS);
			return FRAGMENT_RELEASE;
		}
		have = skb->len - p->l3_off;
		want = have + len - end;
		if (want > RELEASE_EXTENT)
			want = RELEASE_EXTENT;
		first = !key.start;
		key.start = end / 8;
		if (first && have < want &&
		    release_extend(skb, &key, p->l3_off, have, want))
			break;
		if (bpf_clone_redirect(skb, ifindex, BPF_F_INGRESS))
			break;
	}
broken:
	/* Those that are under way already will not find it. */
	reasm_end(slot, key.serial);
	count(STAT_DROP_FRAGMENT_LIMIT);
	return FRAGMENT_HELD;
}

/* Replaces the IPv4 header, but for its options. */
static __always_inline int ipv4_replace(struct __sk_buff *skb,
					const struct pkt *p,
					const struct iphdr *old,
					struct iphdr *new)
{
	new->check = csum_apply(old->check, csum_diff(old, new, 5));
	return bpf_skb_store_bytes(skb, L3_OFF(p), new, sizeof(*new), 0);
}

/*
 * Takes the IPv6 fragment header out, or puts it in again. What is before it,
 * bytes behind the network header, stays before it.
 */
static __always_inline int ipv6_move(struct __sk_buff *skb, const struct pkt *p,
				     struct scratch *s, __u32 before, int room)
{
	__u32 at = L3_OFF(p) + sizeof(struct ipv6hdr);

	barrier_var(before);
	if (before > sizeof(s->buffer))
		return -1;
	if (before && bpf_skb_load_bytes(skb, at, s->buffer, before))
		return -1;
	if (bpf_skb_adjust_room(skb, room, BPF_ADJ_ROOM_NET, 0))
		return -1;
	return before ? bpf_skb_store_bytes(skb, at, s->buffer, before,
					    BPF_F_RECOMPUTE_CSUM) :
			0;
}

/* Gives the first fragment the headers of the datagram. */
static __always_inline int whole_ipv4(struct __sk_buff *skb,
				      const struct pkt *p, struct first *first,
				      const struct datagram *d)
{
	struct iphdr old, new;

	if (bpf_skb_load_bytes(skb, L3_OFF(p), &old, sizeof(old)))
		return -1;
	new = old;
	first->frag_off = old.frag_off;
	new.tot_len = bpf_htons(reasm_len(d));
	/* Not to be fragmented if the largest one is not. */
	new.frag_off = d->max_df == d->max ? bpf_htons(IP_DF) : 0;
	new.tos |= reasm_ecn(d->ecn) & 3;
	return ipv4_replace(skb, p, &old, &new);
}

/* Takes the fragment header out, and makes the packet's length another one. */
static __always_inline int whole_ipv6(struct __sk_buff *skb,
				      const struct pkt *p, struct scratch *s,
				      __u32 len, __u8 ecn)
{
	const struct l4_info *l4 = &s->l4;
	struct first *first = &s->first;
	struct ipv6hdr ip;

	first->before = l4->off - p->l3_off - sizeof(ip) - sizeof(first->frag);
	first->nexthdr = l4->nexthdr;
	if (bpf_skb_load_bytes(skb, l4->off - sizeof(first->frag), first->frag,
			       sizeof(first->frag)) ||
	    ipv6_move(skb, p, s, first->before, -(int)sizeof(first->frag)) ||
	    bpf_skb_store_bytes(skb, first->nexthdr, first->frag, 1,
				BPF_F_RECOMPUTE_CSUM) ||
	    bpf_skb_load_bytes(skb, L3_OFF(p), &ip, sizeof(ip)))
		return -1;
	ip.payload_len = bpf_htons(len - sizeof(ip));
	ip.flow_lbl[0] |= (ecn & 3) << 4;
	return bpf_skb_store_bytes(skb, L3_OFF(p), &ip, sizeof(ip),
				   BPF_F_RECOMPUTE_CSUM);
}

/* The only fragment of its datagram leaves without the header, as it does behind
 * the kernel's reassembly.
 */
__noinline int unwrap(struct __sk_buff *skb, struct pkt *p)
{
	struct scratch *s = scratch();

	if (!p || !s ||
	    whole_ipv6(skb, p, s, p->len - sizeof(s->first.frag), 0))
		return FRAGMENT_HELD;
	p->fragment = FRAGMENT_NONE;
	return FRAGMENT_BEGIN;
}

/* Gives the first fragment its own headers back. */
static __always_inline int part_ipv4(struct __sk_buff *skb, const struct pkt *p,
				     const struct first *first)
{
	struct iphdr old, new;

	if (bpf_skb_load_bytes(skb, L3_OFF(p), &old, sizeof(old)))
		return -1;
	new = old;
	new.tot_len = bpf_htons(first->len);
	new.frag_off = first->frag_off;
	return ipv4_replace(skb, p, &old, &new);
}

static __always_inline int part_ipv6(struct __sk_buff *skb, const struct pkt *p,
				     struct scratch *s)
{
	const struct first *first = &s->first;
	__be16 len = bpf_htons(first->len - sizeof(struct ipv6hdr));
	__u32 at = L3_OFF(p) + sizeof(struct ipv6hdr) + first->before;
	__u8 fragment = IPPROTO_FRAGMENT;

	if (ipv6_move(skb, p, s, first->before, sizeof(first->frag)))
		return -1;
	return bpf_skb_store_bytes(skb, at, first->frag, sizeof(first->frag),
				   0) ||
	       bpf_skb_store_bytes(skb,
				   first->nexthdr - first->l3_off + L3_OFF(p),
				   &fragment, 1, 0) ||
	       bpf_skb_store_bytes(
		       skb, L3_OFF(p) + offsetof(struct ipv6hdr, payload_len),
		       &len, sizeof(len), 0);
}

/* Gives a fragment the network header that the first one has left with. */
static __always_inline int follow_header(struct __sk_buff *skb,
					 const struct pkt *p,
					 const struct outcome *o)
{
	const struct ipv6hdr *to6 = (const struct ipv6hdr *)o->nh;
	const struct iphdr *to4 = (const struct iphdr *)o->nh;
	struct iphdr old, new;
	struct ipv6hdr ip;

	if (p->nfproto == NFPROTO_IPV4) {
		if (bpf_skb_load_bytes(skb, L3_OFF(p), &old, sizeof(old)))
			return -1;
		new = *to4;
		new.ihl = old.ihl;
		new.tot_len = old.tot_len;
		new.frag_off = old.frag_off;
		new.check = old.check;
		return ipv4_replace(skb, p, &old, &new);
	}
	if (bpf_skb_load_bytes(skb, L3_OFF(p), &ip, sizeof(ip)))
		return -1;
	__builtin_memcpy(&ip, to6, offsetof(struct ipv6hdr, payload_len));
	ip.hop_limit = to6->hop_limit;
	ip.saddr = to6->saddr;
	ip.daddr = to6->daddr;
	return bpf_skb_store_bytes(skb, L3_OFF(p), &ip, sizeof(ip), 0);
}

/* A fragment behind the first one. Returns an enum fragment_way. Global, as is
 * what else has several cases: they do not multiply for the verifier.
 */
__noinline int follow(struct __sk_buff *skb, struct pkt *p, __u32 slot)
{
	struct reasm_bucket *b = reasm_bucket(slot);
	struct scratch *s = scratch();
	struct bpf_fib_lookup *fib;
	struct outcome *o;

	if (!p || !b || !s)
		return FRAGMENT_HELD;
	o = &REASM_WAY(b, slot)->outcome;
	if (!o->accepted || follow_header(skb, p, o))
		return FRAGMENT_HELD;
	skb->mark = o->mark;
	skb->priority = o->priority;
	if (!o->oif) {
		if (skb->pkt_type != o->pkt_type &&
		    bpf_skb_change_type(skb, o->pkt_type))
			return FRAGMENT_HELD;
		skb->tc_index = o->tc_index;
		return FRAGMENT_PASS;
	}
	p->oif = o->oif;
	fib = route_of(s);
	fib->family = o->family;
	__builtin_memcpy(fib->ipv6_dst, o->nexthop, sizeof(o->nexthop));
	return FRAGMENT_SEND;
}

/* The first fragment. Returns an enum fragment_way. */
__noinline int lead(struct __sk_buff *skb, struct pkt *p, __u32 slot)
{
	struct reasm_bucket *b = reasm_bucket(slot);
	struct scratch *s = scratch();
	struct datagram *d;

	if (!p || !b || !s)
		return FRAGMENT_HELD;
	d = REASM_WAY(b, slot);
	s->first.len = p->len;
	s->first.l3_off = p->l3_off;
	s->first.slot = slot;
	p->fragment = FRAGMENT_WHOLE;
	p->fragment_max = d->max;
	if (p->nfproto == NFPROTO_IPV4 ?
		    whole_ipv4(skb, p, &s->first, d) :
		    whole_ipv6(skb, p, s, reasm_len(d), reasm_ecn(d->ecn)))
		return FRAGMENT_HELD;
	s->first.skb_len = skb->len;
	return FRAGMENT_BEGIN;
}

/* Whether it is the one that comes next, as it was: others of the datagram have
 * been judged with it. The last one ends the datagram when it has found out.
 */
static __always_inline int is_expected(struct reasm_bucket *b, __u32 slot,
				       const struct arrival *f)
{
	struct datagram *d = REASM_WAY(b, slot);
	int expected;

	bpf_spin_lock(&b->lock);
	expected = d->state == REASM_RELEASED && reasm_same(&d->key, &f->key) &&
		   d->next == f->start;
	if (expected)
		d->next = f->end;
	bpf_spin_unlock(&b->lock);
	return expected;
}

/*
 * A fragment that claims to be released: it is dropped if it is not the one that
 * comes next. Returns an enum fragment_way.
 */
__noinline int released(struct __sk_buff *skb, struct pkt *p, __u32 slot)
{
	struct reasm_bucket *b = reasm_bucket(slot);
	struct scratch *s = scratch();
	struct arrival *f = reasm_arrival();
	int way;

	if (!p || !b || !s || !f)
		return FRAGMENT_HELD;
	f->start = s->l4.frag_off * 8;
	f->end = f->start + s->l4.len;
	p->l4proto = s->l4.proto;
	frag_fill_key(&f->key, p, s->l4.id);
	if (!is_expected(b, slot, f)) {
		count(STAT_DROP_FRAGMENT_LIMIT);
		return FRAGMENT_HELD;
	}
	if (!f->start)
		return lead(skb, p, slot);
	way = follow(skb, p, slot);
	if (!s->l4.more)
		reasm_end(slot, REASM_WAY(b, slot)->serial);
	return way;
}

/*
 * The first fragment is on its way: it gets its own headers back, and the others
 * are to follow. Returns the verdict.
 */
__noinline int release_accept(struct __sk_buff *skb, struct pkt *p, int verdict)
{
	struct scratch *s = scratch();
	struct bpf_fib_lookup *fib;
	struct reasm_bucket *b;
	struct outcome *o;
	__u32 n;

	if (!p || !s)
		return TCX_DROP;
	b = reasm_bucket(s->first.slot);
	if (!b)
		return TCX_DROP;
	o = &REASM_WAY(b, s->first.slot)->outcome;
	/* Perhaps it has been given a link-layer header since. */
	p->l3_off = s->first.l3_off + skb->len - s->first.skb_len;
	n = L3_OFF(p) + s->first.len;
	if (p->nfproto == NFPROTO_IPV6)
		n -= sizeof(s->first.frag);
	if (n != skb->len && bpf_skb_change_tail(skb, n, 0))
		return TCX_DROP;
	if (p->nfproto == NFPROTO_IPV4 ? part_ipv4(skb, p, &s->first) :
					 part_ipv6(skb, p, s))
		return TCX_DROP;
	if (bpf_skb_load_bytes(skb, L3_OFF(p), o->nh,
			       p->nfproto == NFPROTO_IPV4 ?
				       sizeof(struct iphdr) :
				       sizeof(struct ipv6hdr)))
		return TCX_DROP;
	o->mark = skb->mark;
	o->priority = skb->priority;
	o->tc_index = skb->tc_index;
	o->pkt_type = skb->pkt_type;
	o->oif = 0;
	if (verdict == TCX_REDIRECT) {
		fib = route_of(s);
		o->oif = p->oif;
		o->family = fib->family;
		__builtin_memcpy(o->nexthop, fib->ipv6_dst, 16);
	}
	barrier();
	WRITE_ONCE(o->accepted, 1);
	return verdict;
}
