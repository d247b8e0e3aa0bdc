/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once

#include "common.h"
#include "conntrack.h"
#include "mapping.h"
#include "maps.h"
#include "reasm.h"
#include "set_gc.h"
#include "source.h"
#include "table.h"
#include "worker.h"

/* Collection of dead flows and fragments, without user space: worker.h. */

#define GC_INTERVAL_NS (10ULL * 1000000000)

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

/* A walk through all tables, and what it has found. */
struct gc_walk {
	struct walk at; /* an enum gc_table */
	__u32 now; /* ticks, when the walk began */
	__u32 sources; /* number of the walk that counts them; 0: none does */
	__u32 half_open; /* entries that live */
	__u32 flows;
	__u32 mappings;
	__u32 senders;
	__u32 dead;
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

/* What has been confirmed may have left an entry here: on another CPU, which still had
 * the flow as it was, or while the tables were exchanged. Its end is not the flow's.
 */
__noinline int gc_visit_half_open(__u64 entry, struct gc_walk *w)
{
	struct flow *confirmed;
	struct gc_flow f;

	if (!w)
		return 0;
	gc_read(&f, entry);
	confirmed = gc_find_flow(&f.key);
	if (confirmed && !((confirmed->flags ^ f.flags) & FLOW_REPLY))
		w->dead += !bpf_map_delete_elem(&l2_half_open, &f.key);
	else
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

	if (w->at.bucket >= go->table.size)
		return 1;
	table_for_each(entry, &go->table, w->at.bucket)
	{
		switch (w->at.table) {
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
	w->at.bucket++;
	return 0;
}

static __always_inline int gc_open(struct gc_go *go)
{
	struct walk *w = &go->walk.at;

	switch (w->table) {
	case GC_HALF_OPEN:
		return walk_open(w, &go->table, &l2_half_open);
	case GC_FLOWS:
		return walk_open(w, &go->table, &l2_flows);
	case GC_MAPPINGS:
		return walk_open(w, &go->table, &l2_mappings);
	}
	return walk_open(w, &go->table, &l2_sources);
}

/* A walk begins, or begins anew. */
static __always_inline void gc_walk_begin(struct gc_walk *w, __u32 number)
{
	__builtin_memset(w, 0, sizeof(*w));
	w->at.table = GC_HALF_OPEN;
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
	gc->goes = w->at.goes;
	w->at.table = GC_IDLE;
	gc->runs++;
}

/* One go of a walk; the next is behind whatever else waits for this CPU. */
static int gc_work(void *map, int *key, void *value)
{
	struct gc *gc = value;
	struct gc_go go;

	go.walk = gc->walk;
	if (go.walk.at.table == GC_IDLE || go.walk.at.table >= GC_DONE)
		gc_walk_begin(&go.walk, (__u32)gc->runs + 1);
	if (!gc_open(&go)) {
		gc_walk_begin(&go.walk, (__u32)gc->runs + 1);
		gc_open(&go);
	}
	bpf_loop(WALK_BUCKETS, gc_bucket, &go, 0);
	walk_close(&go.walk.at, &go.table);
	gc->walk = go.walk;
	if (go.walk.at.table == GC_DONE)
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
		err = worker_begin(gc, &l2_gc, gc_work, gc_tick,
				   GC_INTERVAL_NS);
	return err;
}
