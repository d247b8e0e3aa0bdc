/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once

#include "common.h"
#include "csum.h"
#include "frag.h"
#include "iter.h"
#include "maps.h"
#include "scratch.h"
#include "types.h"

/*
 * Fragments that come in are held until their datagram is whole: the ruleset
 * sees it once, with its ports and its whole length, and what never becomes
 * whole never gets out. What belongs together is decided as ip_frag_queue(),
 * nf_ct_frag6_queue() and inet_frag_queue_insert() of the kernel decide it.
 *
 * All memory is allocated at the start. A table of datagrams, of buckets with a
 * lock each, says which bytes have come; the fragments themselves are in a
 * table that forgets the oldest. A flood displaces what is incomplete, and
 * nothing else.
 */

#define REASM_BUCKETS 128
#define REASM_WAYS 8
#define REASM_SLOTS (REASM_BUCKETS * REASM_WAYS)
#define REASM_FRAGMENTS 128 /* of a datagram: the kernel knows no limit */
#define REASM_RUNS 64 /* pieces without a gap, of a datagram */
#define REASM_CHUNK 2048 /* bytes of a packet that are kept together */
#define REASM_CHUNKS 2048 /* 4 MiB, as net.ipv4.ipfrag_high_thresh */
#define REASM_PARTS 8 /* chunks of a packet */
#define REASM_PACKET_MAX 16000 /* what bpf_skb_change_tail() can make */

#define REASM_TIMEOUT4 (30 * TICKS_PER_SEC) /* net.ipv4.ipfrag_time */
#define REASM_TIMEOUT6 (60 * TICKS_PER_SEC) /* nf_conntrack_frag6_timeout */
/* Between being whole and the last fragment's leaving. */
#define REASM_TIMEOUT_RELEASED (2 * TICKS_PER_SEC)

/* Payload bytes, from the datagram's first one on. */
struct run {
	__u16 start;
	__u16 end;
};

enum reasm_state {
	REASM_FREE,
	REASM_HELD, /* incomplete */
	REASM_RELEASED, /* whole: its fragments come in again, in order */
} in_a_byte;

/* What the first fragment has been through, for the others, which are dropped if
 * it has not been accepted.
 */
struct outcome {
	__u8 nh[40]; /* the network header that it left with */
	__u8 nexthop[16];
	__u32 oif; /* 0: not forwarded here */
	__u32 mark;
	__u32 priority;
	__u16 tc_index;
	__u8 family; /* of the next hop */
	__u8 pkt_type;
	__u8 accepted;
	__u8 unused[3];
};

struct datagram {
	struct frag_key key;
	__u32 serial; /* of the datagrams: part of its chunks' keys */
	__u32 expires; /* ticks */
	__u32 seen; /* bytes of payload that are there */
	__u32 len; /* end of the payload, as far as it is known */
	__u16 head; /* bytes of the headers before it, without a fragment header */
	__u16 max; /* bytes of the largest fragment */
	__u16 max_df; /* and of the largest that must not be fragmented */
	__u16 next; /* released: where the one that is expected starts */
	enum reasm_state state;
	__u8 flags; /* REASM_* */
	__u8 fragments;
	__u8 writers; /* that have a fragment here, but not yet its bytes */
	__u8 ecn; /* 1 << of each fragment's ECN field */
	__u8 runs;
	__u8 tail; /* the run that ends last */
	__u8 unused;
	struct run run[REASM_RUNS];
	struct outcome outcome;
};

#define REASM_FIRST_IN (1U << 0)
#define REASM_LAST_IN (1U << 1)

struct reasm_bucket {
	struct bpf_spin_lock lock;
	__u32 chosen; /* way, of who holds the lock */
	struct datagram way[REASM_WAYS];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, REASM_BUCKETS);
	__type(key, __u32);
	__type(value, struct reasm_bucket);
} l2_datagrams SEC(".maps");

struct chunk_key {
	__u32 serial;
	__u16 start; /* of the fragment's payload, bytes / 8 */
	__u16 part; /* of the fragment */
};

/* From the network header on. */
struct chunk {
	__u16 len; /* of the fragment's packet, bytes */
	__u16 end; /* of its payload */
	__u32 unused;
	__u8 data[REASM_CHUNK];
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, REASM_CHUNKS);
	__type(key, struct chunk_key);
	__type(value, struct chunk);
} l2_fragments SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct chunk);
} l2_chunk SEC(".maps");

struct reasm {
	__u64 seed; /* of the hash; 0: none yet */
	__u32 serial;
	__u32 unused;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct reasm);
} l2_reasm SEC(".maps");

/* A fragment that has come in. */
struct arrival {
	struct frag_key key;
	__u32 now; /* ticks */
	__u32 serial; /* its datagram's */
	__u32 start; /* of its payload in the datagram's */
	__u32 end;
	__u16 head; /* bytes before it, without a fragment header */
	__u16 len; /* of the packet */
	__u8 more;
	__u8 df;
	__u8 ecn;
	__u8 unused;
	/* What gives way to it: how readily, with how many fragments, and why. In
	 * memory: the verifier would walk what follows for each value.
	 */
	__u32 oldest;
	__u32 gone;
	__u32 gone_for;
};

/* Of each CPU: too large for the stack, together with a packet's way. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct arrival);
} l2_arrival SEC(".maps");

static __always_inline struct arrival *reasm_arrival(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&l2_arrival, &zero);
}

static __always_inline __u32 rol32(__u32 v, int n)
{
	return v << n | v >> (32 - n);
}

#define HALF_SIP_ROUND(v)                            \
	({                                           \
		(v)[0] += (v)[1];                    \
		(v)[1] = rol32((v)[1], 5) ^ (v)[0];  \
		(v)[0] = rol32((v)[0], 16);          \
		(v)[2] += (v)[3];                    \
		(v)[3] = rol32((v)[3], 8) ^ (v)[2];  \
		(v)[0] += (v)[3];                    \
		(v)[3] = rol32((v)[3], 7) ^ (v)[0];  \
		(v)[2] += (v)[1];                    \
		(v)[1] = rol32((v)[1], 13) ^ (v)[2]; \
		(v)[2] = rol32((v)[2], 16);          \
	})

/* HalfSipHash-1-3: nobody who does not know the seed can choose the bucket. */
static __always_inline __u32 reasm_hash(const struct frag_key *key, __u64 seed)
{
	const __u32 *words = (const __u32 *)key;
	__u32 k0 = seed, k1 = seed >> 32;
	__u32 v[4] = { k0, k1, 0x6c796765 ^ k0, 0x74656462 ^ k1 };
	int i;

#pragma unroll
	for (i = 0; i < sizeof(*key) / 4; i++) {
		v[3] ^= words[i];
		HALF_SIP_ROUND(v);
		v[0] ^= words[i];
	}
	v[3] ^= sizeof(*key) << 24;
	HALF_SIP_ROUND(v);
	v[0] ^= sizeof(*key) << 24;
	v[2] ^= 0xff;
#pragma unroll
	for (i = 0; i < 3; i++)
		HALF_SIP_ROUND(v);
	return v[1] ^ v[3];
}

static __always_inline struct reasm *reasm_globals(void)
{
	__u32 zero = 0;
	struct reasm *r = bpf_map_lookup_elem(&l2_reasm, &zero);

	if (r && !r->seed)
		__sync_val_compare_and_swap(&r->seed, 0,
					    (__u64)bpf_get_prandom_u32() << 32 |
						    bpf_get_prandom_u32() | 1);
	return r;
}

static __always_inline struct reasm_bucket *reasm_bucket(__u32 slot)
{
	__u32 bucket = slot / REASM_WAYS;

	return bpf_map_lookup_elem(&l2_datagrams, &bucket);
}

#define REASM_WAY(b, slot) (&(b)->way[(slot) % REASM_WAYS])

/* Whether a < b, of numbers below 2^31, without a branch: the loops under the
 * lock are walked by the verifier, which would follow each.
 */
static __always_inline __u32 is_less(__u32 a, __u32 b)
{
	__u32 sign = a - b;

	barrier_var(sign);
	return sign >> 31;
}

/* The reason why bytes are not taken that others have come for, or 0. Runs that
 * are not used are empty. Under the lock.
 */
static __always_inline int reasm_meets(const struct datagram *d,
				       const struct arrival *f)
{
	__u32 i, meets, within, overlaps = 0, duplicates = 0;
	__u32 start = f->start, end = f->end;

	for (i = 0; i < REASM_RUNS; i++) {
		const struct run *r = &d->run[i];

		meets = is_less(r->start, end) & is_less(start, r->end);
		within = is_less(r->start, start + 1) &
			 is_less(end, r->end + 1);
		overlaps |= meets & ~within;
		duplicates |= meets & within;
	}
	if (overlaps & 1)
		return STAT_DROP_FRAGMENT_OVERLAP;
	return duplicates ? STAT_DROP_FRAGMENT_DUPLICATE : 0;
}

/* The datagram's end, as far as the fragment tells. Under the lock. */
static __always_inline int reasm_extend(struct datagram *d,
					const struct arrival *f)
{
	if (!f->more) {
		if (f->end < d->len ||
		    (d->flags & REASM_LAST_IN && f->end != d->len))
			return STAT_DROP_FRAGMENT_MALFORMED;
		d->flags |= REASM_LAST_IN;
		d->len = f->end;
	} else if (f->end > d->len) {
		if (d->flags & REASM_LAST_IN)
			return STAT_DROP_FRAGMENT_MALFORMED;
		d->len = f->end;
	}
	return f->start == f->end ? STAT_DROP_FRAGMENT_MALFORMED : 0;
}

/* Only what follows the last run makes it longer: a duplicate of bytes that have
 * come in several runs is an overlap. Under the lock.
 */
static __always_inline int reasm_add_run(struct datagram *d,
					 const struct arrival *f)
{
	struct run *tail = &d->run[d->tail % REASM_RUNS];
	__u32 i = d->runs;

	if (i && f->start == tail->end) {
		tail->end = f->end;
		return 0;
	}
	if (i >= REASM_RUNS)
		return STAT_DROP_FRAGMENT_LIMIT;
	if (!i || f->end > tail->end)
		d->tail = i;
	d->run[i].start = f->start;
	d->run[i].end = f->end;
	d->runs++;
	return 0;
}

/* Whether a fragment that is not taken is its datagram's end. Of IPv6, one that
 * contradicts what is there is dropped alone.
 */
static __always_inline int reasm_ends(const struct arrival *f, int reason)
{
	return reason && reason != STAT_DROP_FRAGMENT_DUPLICATE &&
	       !(reason == STAT_DROP_FRAGMENT_MALFORMED &&
		 f->key.nfproto == NFPROTO_IPV6);
}

/* Marks the bytes of a fragment as there. Returns 0, or the reason why it is not
 * taken. Under the lock.
 */
static __always_inline int reasm_insert(struct datagram *d,
					const struct arrival *f)
{
	int reason;

	reason = reasm_extend(d, f);
	if (!reason)
		reason = reasm_meets(d, f);
	if (!reason && d->fragments >= REASM_FRAGMENTS)
		reason = STAT_DROP_FRAGMENT_LIMIT;
	if (!reason)
		reason = reasm_add_run(d, f);
	if (reason)
		return reason;
	if (!f->start) {
		d->flags |= REASM_FIRST_IN;
		d->head = f->head;
	}
	d->fragments++;
	d->writers++;
	d->seen += f->end - f->start;
	d->ecn |= 1U << (f->ecn & 3);
	if (f->len > d->max)
		d->max = f->len;
	if (f->df && f->len > d->max_df)
		d->max_df = f->len;
	return 0;
}

static __always_inline void reasm_init(struct datagram *d,
				       const struct arrival *f, __u32 serial)
{
	d->key = f->key;
	d->serial = serial;
	d->expires = f->now + (f->key.nfproto == NFPROTO_IPV4 ? REASM_TIMEOUT4 :
								REASM_TIMEOUT6);
	d->seen = 0;
	d->len = 0;
	d->max = 0;
	d->max_df = 0;
	d->next = 0;
	d->flags = 0;
	d->fragments = 0;
	d->writers = 0;
	d->ecn = 0;
	d->runs = 0;
	d->tail = 0;
	__builtin_memset(d->run, 0, sizeof(d->run));
	d->outcome.accepted = 0;
	d->state = REASM_HELD;
}

static __always_inline int reasm_same(const struct frag_key *a,
				      const struct frag_key *b)
{
	const __u64 *x = (const __u64 *)a, *y = (const __u64 *)b;

	return !((x[0] ^ y[0]) | (x[1] ^ y[1]) | (x[2] ^ y[2]) | (x[3] ^ y[3]) |
		 (x[4] ^ y[4]));
}

_Static_assert(sizeof(struct frag_key) == 40, "compared in five words");

/* How readily a datagram gives way to another one: 0 not at all. Under the lock. */
static __always_inline __u32 reasm_age(const struct datagram *d, __u32 now)
{
	__u32 left = d->expires - now; /* less than 0: expired */

	if (d->state == REASM_FREE)
		return 0xffffffff;
	if (d->state != REASM_HELD && !ticks_after(now, d->expires))
		return 0; /* about to be free */
	/* IPv6's last longer, and are no better for it. */
	if (d->key.nfproto == NFPROTO_IPV6)
		left -= REASM_TIMEOUT6 - REASM_TIMEOUT4;
	return 0x80000000 - left;
}

/* The datagram's way, or the one that a new datagram gets: a free or an expired
 * one, or else the oldest. Under the lock.
 */
static __always_inline int reasm_find(struct reasm_bucket *b, struct arrival *f)
{
	struct datagram *d;
	__u32 i, age;

	b->chosen = 0;
	f->oldest = 0;
	for (i = 0; i < REASM_WAYS; i++) {
		d = &b->way[i];
		if (d->state == REASM_HELD &&
		    !ticks_after(f->now, d->expires) &&
		    reasm_same(&d->key, &f->key)) {
			b->chosen = i;
			return 1;
		}
		age = reasm_age(d, f->now);
		if (age > f->oldest) {
			f->oldest = age;
			b->chosen = i;
		}
	}
	return 0;
}

/*
 * Finds or begins the datagram, and marks the fragment as there. Returns the
 * slot, or less than 0 when the fragment is not taken, which is counted.
 */
__noinline int reasm_enter(struct arrival *f)
{
	__u32 slot, fresh, dropped = 1;
	struct reasm *r = reasm_globals();
	struct reasm_bucket *b;
	struct datagram *d;
	int reason, found;

	if (!f || !r)
		return -1;
	slot = reasm_hash(&f->key, r->seed) % REASM_BUCKETS * REASM_WAYS;
	b = reasm_bucket(slot);
	if (!b)
		return -1;
	fresh = __sync_fetch_and_add(&r->serial, 1);
	f->gone = 0;

	bpf_spin_lock(&b->lock);
	found = reasm_find(b, f);
	/* By way of memory: the verifier is not to try each. */
	barrier();
	slot += b->chosen % REASM_WAYS;
	d = REASM_WAY(b, slot);
	if (!found) {
		if (d->state == REASM_HELD) {
			f->gone = d->fragments;
			f->gone_for = ticks_after(f->now, d->expires) ?
					      STAT_DROP_FRAGMENT_TIMEOUT :
					      STAT_DROP_FRAGMENT_LIMIT;
		}
		reasm_init(d, f, fresh);
	}
	f->serial = d->serial;
	reason = reasm_insert(d, f);
	if (reasm_ends(f, reason)) {
		dropped += d->fragments;
		d->state = REASM_FREE;
	}
	bpf_spin_unlock(&b->lock);

	if (f->gone)
		count_reason(f->gone_for, f->gone);
	if (!reason)
		return slot;
	count_reason(reason, dropped);
	return -1;
}

/* Keeps the fragment's bytes. */
__noinline int reasm_store(struct __sk_buff *skb, struct arrival *f,
			   __u32 l3_off)
{
	__u32 zero = 0, at = 0, n;
	struct chunk_key key = {};
	struct chunk *c = bpf_map_lookup_elem(&l2_chunk, &zero);

	if (!c || !f)
		return -1;
	key.serial = f->serial;
	key.start = f->start / 8;
	c->len = f->len;
	c->end = f->end;
	repeat(REASM_PARTS)
	{
		if (at >= f->len)
			break;
		n = f->len - at;
		if (n > REASM_CHUNK)
			n = REASM_CHUNK;
		if (!in_bounds(n, 1, REASM_CHUNK) ||
		    bpf_skb_load_bytes(skb, l3_off + at, c->data, n) ||
		    bpf_map_update_elem(&l2_fragments, &key, c, BPF_ANY))
			return -1;
		at += REASM_CHUNK;
		key.part++;
	}
	return 0;
}

/*
 * The ECN field of a datagram from those of its fragments, as ip_frag_ecn_table:
 * congestion that one of them has met, the datagram has met; less than 0 if they
 * do not go together.
 */
static __always_inline int reasm_ecn(__u8 seen)
{
	const __u8 not_ect = 1 << 0, ect1 = 1 << 1, ect0 = 1 << 2, ce = 1 << 3;

	if (seen & ce)
		return seen & not_ect ? -1 : 3;
	if (seen & not_ect && seen & (ect0 | ect1))
		return -1;
	return 0;
}

/* Headers of a whole datagram. */
static __always_inline __u32 reasm_len(const struct datagram *d)
{
	return d->head + d->len;
}

static __always_inline __u32 reasm_len_max(const struct frag_key *key)
{
	return key->nfproto == NFPROTO_IPV4 ? 0xffff :
					      sizeof(struct ipv6hdr) + 0xffff;
}

/*
 * The fragment's bytes are there, or could not be kept. Returns 1 for the one
 * that makes the datagram whole, which then is released.
 */
__noinline int reasm_leave(struct arrival *f, __u32 slot, int failed)
{
	struct reasm_bucket *b = reasm_bucket(slot);
	__u32 dropped = 0, reason = STAT_DROP_FRAGMENT_LIMIT;
	struct datagram *d;
	int whole = 0;

	if (!b || !f)
		return 0;
	d = REASM_WAY(b, slot);
	bpf_spin_lock(&b->lock);
	if (d->state == REASM_HELD && d->serial == f->serial) {
		d->writers--;
		if (failed) {
			dropped = d->fragments;
			d->state = REASM_FREE;
		} else if (!d->writers && d->seen == d->len &&
			   d->flags == (REASM_FIRST_IN | REASM_LAST_IN)) {
			if (reasm_len(d) > reasm_len_max(&d->key) ||
			    reasm_ecn(d->ecn) < 0) {
				reason = STAT_DROP_FRAGMENT_MALFORMED;
				dropped = d->fragments;
				d->state = REASM_FREE;
			} else {
				d->state = REASM_RELEASED;
				d->expires = f->now + REASM_TIMEOUT_RELEASED;
				whole = 1;
			}
		}
	}
	bpf_spin_unlock(&b->lock);
	if (dropped)
		count_reason(reason, dropped);
	return whole;
}

/* Its way is at its end. */
static __always_inline void reasm_end(__u32 slot, __u32 serial)
{
	struct reasm_bucket *b = reasm_bucket(slot);
	struct datagram *d;

	if (!b)
		return;
	d = REASM_WAY(b, slot);
	bpf_spin_lock(&b->lock);
	if (d->serial == serial)
		d->state = REASM_FREE;
	bpf_spin_unlock(&b->lock);
}

/* Ends what has come too late, without a packet that asks. Returns how many
 * fragments that were.
 */
__noinline int reasm_collect_bucket(__u32 bucket, __u32 now)
{
	struct reasm_bucket *b = bpf_map_lookup_elem(&l2_datagrams, &bucket);
	__u32 i, dropped = 0;

	if (!b)
		return 0;
	bpf_spin_lock(&b->lock);
	for (i = 0; i < REASM_WAYS; i++) {
		struct datagram *d = &b->way[i];

		if (d->state == REASM_FREE || !ticks_after(now, d->expires))
			continue;
		if (d->state == REASM_HELD)
			dropped += d->fragments;
		d->state = REASM_FREE;
	}
	bpf_spin_unlock(&b->lock);
	return dropped;
}

__noinline int reasm_collect(__u32 now)
{
	__u32 dropped = 0, bucket = 0;

	repeat(REASM_BUCKETS)
	{
		dropped += reasm_collect_bucket(bucket, now);
		bucket++;
	}
	if (dropped)
		count_by(STAT_DROP_FRAGMENT_TIMEOUT, dropped);
	return dropped;
}

/* The whole transport header has to be in the first fragment, and no fragment
 * may begin within it: RFC 1858 and RFC 3128.
 */
static __always_inline int reasm_is_tiny(const struct pkt *p,
					 const struct l4_info *l4)
{
	__u32 need = 0;

	if (l4->frag_off)
		return l4->proto == IPPROTO_TCP && l4->frag_off == 1;
	switch (l4->proto) {
	case IPPROTO_TCP:
		need = sizeof(struct tcphdr);
		if (p->th_len >= need && (p->th[12] >> 4) * 4U > need)
			need = (p->th[12] >> 4) * 4;
		break;
	case IPPROTO_SCTP:
	case IPPROTO_DCCP:
		need = 12;
		break;
	case IPPROTO_UDP:
	case IPPROTO_UDPLITE:
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		need = 8;
		break;
	}
	return l4->len < need;
}

/* ip_frag_queue() cuts off what is no multiple of 8 bytes. */
static __always_inline int reasm_trim(struct __sk_buff *skb, struct pkt *p,
				      struct arrival *f, __u32 n)
{
	__u32 at = L3_OFF(p) + offsetof(struct iphdr, tot_len);
	__be16 from = bpf_htons(f->len), to = bpf_htons(f->len - n);

	f->end -= n;
	f->len -= n;
	if (bpf_l3_csum_replace(skb, L3_OFF(p) + offsetof(struct iphdr, check),
				from, to, sizeof(to)))
		return -1;
	return bpf_skb_store_bytes(skb, at, &to, sizeof(to), 0);
}

/* Reads the fragment. Returns 0, or the reason why it is dropped. */
static __always_inline int reasm_read(struct __sk_buff *skb, struct pkt *p,
				      const struct l4_info *l4,
				      struct arrival *f)
{
	__be16 frag_off;

	f->start = l4->frag_off * 8;
	f->end = f->start + l4->len;
	f->len = p->len;
	f->head = l4->off - p->l3_off;
	f->more = l4->more;
	f->df = 0;
	if (p->len > REASM_PACKET_MAX || f->end > 0xffff)
		return STAT_DROP_FRAGMENT_LIMIT;
	if (reasm_is_tiny(p, l4))
		return STAT_DROP_FRAGMENT_TINY;
	if (p->nfproto == NFPROTO_IPV6) {
		f->head -= sizeof(struct ipv6_frag);
		f->ecn = p->nh[1] >> 4;
		return f->more && f->end % 8 ? STAT_DROP_FRAGMENT_MALFORMED : 0;
	}
	f->ecn = p->nh[1];
	if (ctx_load(skb, L3_OFF(p) + offsetof(struct iphdr, frag_off),
		     &frag_off, sizeof(frag_off)))
		return STAT_DROP_INTERNAL;
	f->df = !!(frag_off & bpf_htons(IP_DF));
	if (f->more && f->end % 8 && reasm_trim(skb, p, f, f->end % 8))
		return STAT_DROP_INTERNAL;
	return 0;
}

/*
 * Takes a fragment that has come in. Returns the slot of its datagram if this
 * one has made it whole, and less than 0 if not.
 */
__noinline int reasm_take(struct __sk_buff *skb, struct pkt *p)
{
	struct scratch *s = scratch();
	struct arrival *f = reasm_arrival();
	int slot, reason, whole;

	if (!p || !s || !f)
		return -1;
	f->now = ns_to_ticks(p->now);
	reason = reasm_read(skb, p, &s->l4, f);
	if (reason) {
		count_reason(reason, 1);
		return -1;
	}
	p->l4proto = s->l4.proto;
	frag_fill_key(&f->key, p, s->l4.id);
	slot = reasm_enter(f);
	if (slot < 0)
		return -1;
	whole = reasm_leave(f, slot, reasm_store(skb, f, p->l3_off));
	count(STAT_FRAGMENT_HELD);
	if (!whole)
		return -1;
	count(STAT_DATAGRAM_WHOLE);
	return slot;
}
