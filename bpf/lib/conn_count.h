/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once

#include "common.h"
#include "facts.h"
#include "maps.h"
#include "scratch.h"
#include "table.h"
#include "types.h"

/*
 * How many connections a ct count statement has met that are still there:
 * nf_conncount.c. Every statement, and every element of a set that has one, is
 * an instance with a number of its own. Which connections it has met are its
 * members. A member lives while conntrack has its tuple, in either direction; who
 * has died leaves when the next packet comes.
 *
 * To walk an instance's members, each has a slot: slots are handed out in turn,
 * from tail on, and are empty again when their member has gone. The walk goes
 * from head to tail. A member whose slot is far behind is given a new one, so
 * that there are about as many slots to look at as members.
 *
 * Races. A member is there if and only if its entry is in l2_conn_members, and
 * whoever succeeds in inserting or deleting that counts it. A slot without its
 * member is an empty one. A connection is believed dead by another CPU than the
 * one that adds it only when it had time to come to its flow.
 */

struct conn_member {
	__u64 seen; /* pkt.now of the last packet */
	__u32 cpu; /* that it came by */
	__u32 unused;
};

struct conn_slot_key {
	__u64 id;
	__u32 slot;
	__u32 unused;
};

/* An instance. */
struct conn_count {
	__u32 members;
	__u32 head; /* no slot before it is used */
	__u32 tail; /* the next slot */
	__u32 unused;
	__u64 walked; /* pkt.now of the last walk */
	__u64 used; /* pkt.now of the last packet */
};

#define CONN_MEMBERS 262144 /* of all instances together */
#define CONN_COUNTS 131072
/* Slots that one packet looks at; fewer if its number is within the limit, with
 * the dead.
 */
#define CONN_WALK 65536
#define CONN_WALK_WITHIN 1024
/* A packet's flow exists by then, or never. */
#define CONN_BORN_NS 8000000ULL
/* After so long the dead leave without a packet: those of elements soon, which
 * are gone without members, as nft_rhash_gc() has it.
 */
#define CONN_IDLE_NS (10ULL * 1000000000)
#define CONN_IDLE_ELEMENT_NS 1000000000ULL
#define CONN_ELEMENT (1ULL << 32) /* numbers of elements begin here */

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, CONN_MEMBERS);
	__type(key, struct conn_member_key);
	__type(value, struct conn_member);
} l2_conn_members SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 2 * CONN_MEMBERS);
	__type(key, struct conn_slot_key);
	__type(value, struct tuple);
} l2_conn_slots SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, CONN_COUNTS);
	__type(key, __u64);
	__type(value, struct conn_count);
} l2_conn_counts SEC(".maps");

/* What nft_ct_count() returns. */
#define CONN_WITHIN 0
#define CONN_OVER 1
#define CONN_DROP 2

static __always_inline struct flow *conn_flow(const struct tuple *t, __u64 now)
{
	struct flow *f = bpf_map_lookup_elem(&l2_flows, t);

	if (!f)
		f = bpf_map_lookup_elem(&l2_half_open, t);
	if (f && ticks_after(ns_to_ticks(now), READ_ONCE(f->expires)))
		return NULL;
	return f;
}

/* Whether a member's flow is there, and has not ended: already_closed(). */
static __always_inline int conn_lives(const struct tuple *t, __u64 now)
{
	struct flow *f = conn_flow(t, now);

	if (!f)
		return 0;
	return t->l4proto != IPPROTO_TCP ||
	       (f->state != TCP_TIME_WAIT && f->state != TCP_CLOSE);
}

static __always_inline void conn_forget(struct conn_count *c,
					const struct conn_member_key *key)
{
	if (!bpf_map_delete_elem(&l2_conn_members, key) && c &&
	    READ_ONCE(c->members))
		__sync_fetch_and_sub(&c->members, 1);
}

/* Whether a slot's member is there, and alive. Else there is none any more. */
static __always_inline int
conn_keep(struct conn_count *c, const struct conn_member_key *key, __u64 now)
{
	struct conn_member *m = bpf_map_lookup_elem(&l2_conn_members, key);

	if (!m)
		return 0;
	if (conn_lives(&key->tuple, now) ||
	    (m->cpu != bpf_get_smp_processor_id() &&
	     now - m->seen < CONN_BORN_NS))
		return 1;
	conn_forget(c, key);
	return 0;
}

struct conn_walk {
	struct conn_count *count;
	const struct conn_member_key *own; /* of the packet at hand */
	__u64 now;
	__u32 slot;
	int adds; /* own is a member, dead or alive */
	int begins; /* its flow, which the kernel's table does not have yet */
	int again; /* it was one before, and alive */
};

static __always_inline struct tuple *conn_slot(struct conn_slot_key *at,
					       struct conn_member_key *member,
					       __u64 id, __u32 slot)
{
	struct tuple *t;

	at->id = id;
	at->slot = slot;
	at->unused = 0;
	t = bpf_map_lookup_elem(&l2_conn_slots, at);
	if (!t)
		return NULL;
	member->id = id;
	member->tuple = *t;
	return t;
}

/* The kernel looks no further than to the packet's own connection. */
static long nft_conn_visit(__u32 i, struct conn_walk *w)
{
	struct conn_member_key member;
	struct conn_slot_key at;
	__u32 slot = w->slot++;

	if (slot == READ_ONCE(w->count->tail))
		return 1;
	if (!conn_slot(&at, &member, w->own->id, slot))
		return 0;
	if (w->adds && !__builtin_memcmp(&member.tuple, &w->own->tuple,
					 sizeof(member.tuple)))
		return !!w->again;
	if (!conn_keep(w->count, &member, w->now))
		bpf_map_delete_elem(&l2_conn_slots, &at);
	return 0;
}

/* Returns the slot that the member has now, or an error. */
static __always_inline int conn_give_slot(struct conn_count *c,
					  const struct conn_member_key *member)
{
	struct conn_slot_key at = { .id = member->id };

	at.slot = __sync_fetch_and_add(&c->tail, 1);
	return bpf_map_update_elem(&l2_conn_slots, &at, &member->tuple,
				   BPF_ANY);
}

/* Moves the first member behind the others, if most slots are empty. */
static long nft_conn_compact(__u32 i, struct conn_walk *w)
{
	struct conn_count *c = w->count;
	__u32 head = READ_ONCE(c->head), used = READ_ONCE(c->tail) - head;
	struct conn_member_key member;
	struct conn_slot_key at;

	if (used <= 2 * READ_ONCE(c->members) + 8)
		return 1;
	if (conn_slot(&at, &member, w->own->id, head)) {
		if (bpf_map_lookup_elem(&l2_conn_members, &member) &&
		    conn_give_slot(c, &member))
			return 1;
		bpf_map_delete_elem(&l2_conn_slots, &at);
	}
	__sync_val_compare_and_swap(&c->head, head, head + 1);
	return 0;
}

/* The packet's connection becomes a member, if it is none. */
static __always_inline int conn_add(struct conn_walk *w)
{
	struct conn_member fresh = { .seen = w->now,
				     .cpu = bpf_get_smp_processor_id() };
	struct conn_member *m;
	int err;

	m = bpf_map_lookup_elem(&l2_conn_members, w->own);
	if (m) {
		w->again = !w->begins && conn_lives(&w->own->tuple, w->now);
		if (m->seen != fresh.seen)
			*m = fresh;
		return 0;
	}
	err = bpf_map_update_elem(&l2_conn_members, w->own, &fresh,
				  BPF_NOEXIST);
	if (err)
		return err == -17 ? 0 : err; /* EEXIST: another CPU was first */
	__sync_fetch_and_add(&w->count->members, 1);
	err = conn_give_slot(w->count, w->own);
	if (err) {
		conn_forget(w->count, w->own);
		return err;
	}
	bpf_loop(4, nft_conn_compact, w, 0);
	return 0;
}

static __always_inline struct conn_count *conn_instance(__u64 id, __u64 now)
{
	struct conn_count *c = bpf_map_lookup_elem(&l2_conn_counts, &id);
	struct conn_count fresh = { .used = now };

	if (!c) {
		bpf_map_update_elem(&l2_conn_counts, &id, &fresh, BPF_NOEXIST);
		c = bpf_map_lookup_elem(&l2_conn_counts, &id);
	} else if (c->used != now) {
		WRITE_ONCE(c->used, now);
	}
	return c;
}

/* No tuple can be made of it: nf_ct_get_tuple(). */
static __always_inline int conn_is_short(const struct pkt *p)
{
	switch (p->l4proto) {
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		return p->th_len < 8;
	case IPPROTO_TCP:
	case IPPROTO_UDP:
	case IPPROTO_UDPLITE:
	case IPPROTO_SCTP:
		return p->th_len < 4;
	}
	return 0;
}

/*
 * Finds the tuple that conntrack has for the packet, or would have. Returns
 * whether it may become a member: what is assured has met the statement before,
 * or never does; or an error.
 */
static __always_inline int conn_tuple(const struct pkt *p, struct tuple *t)
{
	struct ct_facts *c = facts();
	struct flow *f;

	if (!c)
		return -1;
	if (c->there) {
		*t = c->original;
		return !(c->status & FACT_STATUS_ASSURED);
	}
	if (conn_is_short(p))
		return -1;
	*t = p->tuple;
	t->zone = 0;
	f = conn_flow(t, p->now);
	return !f || !(f->flags & FLOW_ASSURED);
}

/* Whether the packet's flow is one that nobody else sees yet. */
static __always_inline int conn_begins(void)
{
	struct ct_facts *c = facts();

	return c && c->there && !(c->status & FACT_STATUS_CONFIRMED);
}

/* A connection in the other direction has ended, or the packet would be of it. Its
 * tuple is that of the new flow's replies: the walk would believe it alive.
 */
static __always_inline void conn_forget_turned(struct conn_count *c,
					       struct conn_member_key *key)
{
	struct ct_facts *f = facts();

	if (!f)
		return;
	key->tuple = f->reply;
	conn_forget(c, key);
	key->tuple = f->original;
}

/*
 * Counts the packet's connection at the instance, and compares. Walks through
 * its members once for each tick of the kernel's clock at most, which is the
 * kernel's own measure.
 */
__noinline int nft_ct_count(struct pkt *p, __u64 id, __u32 limit)
{
	struct scratch *s = scratch();
	struct conn_walk w = {};
	struct conn_count *c;

	if (!p || !s || !(policy_facts & FACTS_CT))
		return CONN_DROP;
	w.adds = conn_tuple(p, &s->member.tuple);
	if (w.adds < 0)
		return CONN_DROP;
	s->member.id = id;
	w.own = &s->member;
	w.now = p->now;
	w.begins = conn_begins();
	c = conn_instance(id, w.now);
	w.count = c;
	if (c && w.begins && c->walked != w.now)
		conn_forget_turned(c, &s->member);
	if (!c || (w.adds && conn_add(&w))) {
		count(STAT_DROP_CT_COUNT_FULL);
		return CONN_DROP;
	}
	if (c->walked != w.now) {
		WRITE_ONCE(c->walked, w.now);
		w.slot = READ_ONCE(c->head);
		bpf_loop(READ_ONCE(c->members) <= limit ? CONN_WALK_WITHIN :
							  CONN_WALK,
			 nft_conn_visit, &w, 0);
	}
	return READ_ONCE(c->members) <= limit ? CONN_WITHIN : CONN_OVER;
}

/* What the collector walks through, in this order. */
enum conn_table {
	CONN_TABLE_MEMBERS,
	CONN_TABLE_SLOTS,
	CONN_TABLE_COUNTS,
	CONN_TABLES,
};

/* One go through one of them. */
struct conn_go {
	struct walk walk;
	struct table table;
	__u64 now;
};

static __always_inline void conn_gc_member(__u64 entry, __u64 now)
{
	struct conn_member_key key;
	__u64 seen, idle;

	table_key(&key, sizeof(key), entry);
	seen = kernel_u64(table_value(entry, sizeof(key)));
	idle = key.id < CONN_ELEMENT ? CONN_IDLE_NS : CONN_IDLE_ELEMENT_NS;
	if (now - seen > idle && !conn_lives(&key.tuple, now))
		conn_forget(bpf_map_lookup_elem(&l2_conn_counts, &key.id),
			    &key);
}

static __always_inline void conn_gc_slot(__u64 entry)
{
	struct conn_member_key member;
	struct conn_slot_key at;

	table_key(&at, sizeof(at), entry);
	member.id = at.id;
	table_copy(&member.tuple, sizeof(member.tuple),
		   table_value(entry, sizeof(at)));
	if (!bpf_map_lookup_elem(&l2_conn_members, &member))
		bpf_map_delete_elem(&l2_conn_slots, &at);
}

/* Of an element that has gone, or for which nobody has come for long. Who comes
 * at this very moment is a member that nothing counts: one too few, until it
 * ends.
 */
static __always_inline void conn_gc_count(__u64 entry, __u64 now)
{
	struct conn_count *c;
	__u64 id;

	table_key(&id, sizeof(id), entry);
	c = bpf_map_lookup_elem(&l2_conn_counts, &id);
	if (c && !READ_ONCE(c->members) && now - c->used > CONN_IDLE_NS)
		bpf_map_delete_elem(&l2_conn_counts, &id);
}

static long conn_bucket(__u32 i, struct conn_go *go)
{
	if (go->walk.bucket >= go->table.size)
		return 1;
	table_for_each(entry, &go->table, go->walk.bucket)
	{
		switch (go->walk.table) {
		case CONN_TABLE_MEMBERS:
			conn_gc_member(entry, go->now);
			break;
		case CONN_TABLE_SLOTS:
			conn_gc_slot(entry);
			break;
		default:
			conn_gc_count(entry, go->now);
		}
	}
	go->walk.bucket++;
	return 0;
}

static __always_inline int conn_open(struct conn_go *go)
{
	switch (go->walk.table) {
	case CONN_TABLE_MEMBERS:
		return walk_open(&go->walk, &go->table, &l2_conn_members);
	case CONN_TABLE_SLOTS:
		return walk_open(&go->walk, &go->table, &l2_conn_slots);
	}
	return walk_open(&go->walk, &go->table, &l2_conn_counts);
}

/* Frees what dead connections take, a go at a time. Without locks. */
static __always_inline void conn_gc(struct walk *w)
{
	struct conn_go go = { .walk = *w, .now = bpf_ktime_get_ns() };

	if (!conn_open(&go))
		go.walk.bucket = 0;
	bpf_loop(WALK_BUCKETS, conn_bucket, &go, 0);
	walk_close(&go.walk, &go.table);
	*w = go.walk;
}

/* Elements of sets go with their last connection. */
__noinline int conn_is_idle(__u64 id)
{
	struct conn_count *c = bpf_map_lookup_elem(&l2_conn_counts, &id);

	return !c || !READ_ONCE(c->members);
}
