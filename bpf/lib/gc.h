/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once

#include "common.h"
#include "conn_count.h"
#include "conntrack.h"
#include "mapping.h"
#include "maps.h"
#include "reasm.h"
#include "source.h"
#include "table.h"

/*
 * Collection of dead flows, fragments and expired elements of sets, without user space:
 * a timer queues a work item, which walks the tables in process context, so many buckets
 * at a time: a walk of seconds delays no packet, also where the kernel has no preemption
 * and packets are a thread's. The timer lives as long as its map is pinned: that
 * of the flows as long as these, that of the sets as long as their policy.
 */

#define GC_INTERVAL_NS (10ULL * 1000000000)
/* As often as nf_tables does: a set that is full takes no element. */
#define SET_GC_INTERVAL_NS 1000000000ULL
#define CLOCK_MONOTONIC 1

struct bpf_timer {
	__u64 opaque[2];
} __attribute__((aligned(8)));

struct bpf_wq {
	__u64 opaque[2];
} __attribute__((aligned(8)));

extern int bpf_wq_init(struct bpf_wq *wq, void *map, unsigned int flags) __ksym;
extern int bpf_wq_start(struct bpf_wq *wq, unsigned int flags) __ksym;
extern int bpf_wq_set_callback_impl(struct bpf_wq *wq,
				    int (*callback)(void *map, int *key,
						    void *value),
				    unsigned int flags, void *aux) __ksym;

/* What is walked through, in this order: a flow on its way from one tier to the other
 * is seen in at least one. If the settings limit flows by source, it may count twice
 * until the next walk.
 */
enum gc_table {
	GC_IDLE, /* the next walk begins with the timer */
	GC_HALF_OPEN,
	GC_FLOWS,
	GC_MAPPINGS, /* those in use have been marked */
	GC_SOURCES,
	GC_DONE,
};

/* Of a table that are looked at in one go: a millisecond or two. */
#define GC_BUCKETS 4096

/* A walk through all tables, from one go to the next. */
struct gc_walk {
	enum gc_table table;
	__u32 id; /* of the table: another one has come in its place, perhaps */
	__u32 bucket; /* the next one */
	__u32 now; /* ticks, when the walk began */
	__u32 sources; /* number of the walk that counts them; 0: none does */
	__u32 half_open; /* entries that live */
	__u32 flows;
	__u32 mappings;
	__u32 senders;
	__u32 dead;
	__u32 goes;
};

struct gc {
	struct bpf_timer timer;
	struct bpf_wq work;
	__u64 runs;
	__u64 flows; /* entries that lived at the last run */
	__u64 half_open;
	__u64 collected;
	__u64 mappings;
	__u64 sources;
	__u64 goes; /* that the last run took */
	struct gc_walk walk;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct gc);
} l2_gc SEC(".maps");

/* One go through one table. Loops take their argument from the stack. */
struct gc_go {
	struct gc_walk walk;
	struct table table;
};

/* What the collector reads of a flow's entry. A lookup would be a use of it, which a
 * table that evicts takes note of.
 */
struct gc_flow {
	struct tuple key;
	struct endpoints out;
	__u32 expires;
	__u8 flags;
	__u16 zone;
};

static __always_inline void gc_read(struct gc_flow *f, __u64 entry)
{
	__u64 value = table_value(entry, sizeof(f->key));
	__u64 word;

	table_key(&f->key, sizeof(f->key), entry);
	_Static_assert(offsetof(struct flow, out) == 0 &&
			       offsetof(struct flow, expires) == sizeof(f->out),
		       "copied at once");
	table_copy(&f->out, sizeof(f->out) + sizeof(f->expires), value);
	word = kernel_u64(value + offsetof(struct flow, state));
	f->flags = word >> 8;
	f->zone = word >> 16;
}

/* Whether the entry lives: what does not is deleted, with that of its other direction. */
static __always_inline int gc_flow(struct gc_walk *w, const struct gc_flow *f,
				   struct flow *(*find)(const struct tuple *))
{
	/* The other entry's expiry is within a second of this one's. */
	__u32 since = w->now - TICKS_PER_SEC;
	struct flow *dead;

	if (ticks_after(since, f->expires)) {
		dead = find(&f->key);
		if (dead && ticks_after(since, READ_ONCE(dead->expires)))
			w->dead += flow_delete(&f->key, dead, FLOW_END_EXPIRED);
		return 0;
	}
	if (f->flags & (FLOW_MAPPED_SRC | FLOW_MAPPED_DST))
		mapping_mark(&f->key, &f->out, f->flags, f->zone, w->now);
	if (w->sources && !(f->flags & FLOW_REPLY))
		source_found(&f->key, w->sources);
	return 1;
}

static __always_inline struct flow *gc_find_half_open(const struct tuple *key)
{
	return bpf_map_lookup_elem(&l2_half_open, key);
}

static __always_inline struct flow *gc_find_flow(const struct tuple *key)
{
	return bpf_map_lookup_elem(&l2_flows, key);
}

__noinline int gc_visit_half_open(__u64 entry, struct gc_walk *w)
{
	struct gc_flow f;

	if (!w)
		return 0;
	gc_read(&f, entry);
	w->half_open += gc_flow(w, &f, gc_find_half_open);
	return 0;
}

__noinline int gc_visit_flow(__u64 entry, struct gc_walk *w)
{
	struct gc_flow f;

	if (!w)
		return 0;
	gc_read(&f, entry);
	w->flows += gc_flow(w, &f, gc_find_flow);
	return 0;
}

__noinline int gc_visit_mapping(__u64 entry, struct gc_walk *w)
{
	struct mapping_key key;

	if (!w)
		return 0;
	table_key(&key, sizeof(key), entry);
	w->mappings += mapping_lives(&key, w->now - TICKS_PER_SEC);
	return 0;
}

__noinline int gc_visit_source(__u64 entry, struct gc_walk *w)
{
	struct source_key key;

	if (!w)
		return 0;
	table_key(&key, sizeof(key), entry);
	w->senders += source_lives(&key, w->sources);
	return 0;
}

static long gc_bucket(__u32 i, struct gc_go *go)
{
	struct gc_walk *w = &go->walk;
	__u64 entry, next;

	if (w->bucket >= go->table.size)
		return 1;
	next = table_first(&go->table, w->bucket);
	repeat(TABLE_DEPTH)
	{
		entry = next;
		if (!entry)
			break;
		next = table_entry(entry); /* the visit may delete this one */
		switch (w->table) {
		case GC_HALF_OPEN:
			gc_visit_half_open(entry, w);
			break;
		case GC_FLOWS:
			gc_visit_flow(entry, w);
			break;
		case GC_MAPPINGS:
			gc_visit_mapping(entry, w);
			break;
		default:
			gc_visit_source(entry, w);
		}
	}
	w->bucket++;
	return 0;
}

static __always_inline void gc_open(struct gc_go *go)
{
	switch (go->walk.table) {
	case GC_HALF_OPEN:
		table_open(&go->table, &l2_half_open);
		break;
	case GC_FLOWS:
		table_open(&go->table, &l2_flows);
		break;
	case GC_MAPPINGS:
		table_open(&go->table, &l2_mappings);
		break;
	default:
		table_open(&go->table, &l2_sources);
	}
}

/* A walk begins, or begins anew. */
static __always_inline void gc_walk_begin(struct gc_walk *w, __u32 number)
{
	__builtin_memset(w, 0, sizeof(*w));
	w->table = GC_HALF_OPEN;
	w->now = ns_to_ticks(bpf_ktime_get_ns());
	if (source_is_limited())
		w->sources = number;
}

static __always_inline void gc_walk_end(struct gc *gc)
{
	struct gc_walk *w = &gc->walk;

	reasm_collect(ns_to_ticks(bpf_ktime_get_ns()));
	gc->sources = w->senders;
	gc->flows = w->flows;
	gc->half_open = w->half_open;
	gc->collected += w->dead;
	gc->mappings = w->mappings;
	gc->goes = w->goes;
	w->table = GC_IDLE;
	gc->runs++;
}

/* One go of a walk; the next is behind whatever else waits for this CPU. */
static int gc_work(void *map, int *key, void *value)
{
	struct gc *gc = value;
	struct gc_go go;

	go.walk = gc->walk;
	if (go.walk.table == GC_IDLE || go.walk.table >= GC_DONE)
		gc_walk_begin(&go.walk, (__u32)gc->runs + 1);
	gc_open(&go);
	if (go.walk.bucket && go.walk.id != go.table.id) {
		gc_walk_begin(&go.walk, (__u32)gc->runs + 1);
		gc_open(&go);
	}
	go.walk.id = go.table.id;
	bpf_loop(GC_BUCKETS, gc_bucket, &go, 0);
	go.walk.goes++;
	if (go.walk.bucket >= go.table.size) {
		go.walk.bucket = 0;
		go.walk.table++;
	}
	gc->walk = go.walk;
	if (go.walk.table == GC_DONE)
		gc_walk_end(gc);
	else
		bpf_wq_start(&gc->work, 0);
	return 0;
}

static int gc_tick(void *map, int *key, struct gc *gc)
{
	bpf_wq_start(&gc->work, 0);
	bpf_timer_start(&gc->timer, GC_INTERVAL_NS, 0);
	return 0;
}

/* 1: the ruleset counts connections. */
volatile const __u32 policy_counts_conns = 0;

struct set_gc {
	struct bpf_timer timer;
	struct bpf_wq work;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct set_gc);
} l2_set_gc SEC(".maps");

/* The ruleset's place: the loader replaces it by what walks the maps of sets
 * whose elements expire. Returns how many these are.
 */
__noinline int collect_sets(void)
{
	int sets = 0;

	/* Generated code calls it: see policy.h. */
	sets = conn_is_idle(0);
	asm volatile("%0 = 0" : "+r"(sets));
	return sets;
}

static int set_gc_work(void *map, int *key, void *value)
{
	if (policy_counts_conns)
		conn_gc();
	collect_sets();
	return 0;
}

static int set_gc_tick(void *map, int *key, struct set_gc *gc)
{
	bpf_wq_start(&gc->work, 0);
	bpf_timer_start(&gc->timer, SET_GC_INTERVAL_NS, 0);
	return 0;
}

/* Of the timer's and the work item's own map. The two inits fail with EBUSY when
 * an earlier load, or an earlier try, has done it. Without memory at the moment
 * the next step fails, and the loader tries again.
 */
#define gc_begin(gc, map, on_work, on_tick, interval)                          \
	({                                                                     \
		int err;                                                       \
                                                                               \
		bpf_timer_init(&(gc)->timer, map, CLOCK_MONOTONIC);            \
		bpf_wq_init(&(gc)->work, map, 0);                              \
		err = bpf_wq_set_callback_impl(&(gc)->work, on_work, 0, NULL); \
		if (!err)                                                      \
			err = bpf_timer_set_callback(&(gc)->timer, on_tick);   \
		if (!err)                                                      \
			err = bpf_timer_start(&(gc)->timer, interval, 0);      \
		err;                                                           \
	})

static __always_inline int set_gc_start(void)
{
	__u32 zero = 0;
	struct set_gc *gc = bpf_map_lookup_elem(&l2_set_gc, &zero);

	if (!gc)
		return -1;
	if (!collect_sets() && !policy_counts_conns)
		return 0;
	return gc_begin(gc, &l2_set_gc, set_gc_work, set_gc_tick,
			SET_GC_INTERVAL_NS);
}

/* Run once by the loader, after each load: the callbacks of the newest. */
SEC("syscall")
int l2_gc_start(void *ctx)
{
	__u32 zero = 0;
	struct gc *gc = bpf_map_lookup_elem(&l2_gc, &zero);
	int err;

	if (!gc)
		return -1;
	err = set_gc_start();
	if (!err)
		err = gc_begin(gc, &l2_gc, gc_work, gc_tick, GC_INTERVAL_NS);
	return err;
}
