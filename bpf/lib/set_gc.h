/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once

#include "common.h"
#include "conn_count.h"
#include "table.h"
#include "worker.h"

/* Collection of expired elements of sets, and of what ct count has of connections that
 * have ended.
 */

/* As often as nf_tables does: a set that is full takes no element. */
#define SET_GC_INTERVAL_NS 1000000000ULL

/* 1: the ruleset counts connections. */
volatile const __u32 policy_counts_conns = 0;

struct set_gc {
	struct bpf_timer timer;
	struct bpf_wq work;
	__u64 runs;
	__u64 goes; /* that the last run took */
	struct walk walk; /* tables of ct count, then sets */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct set_gc);
} l2_set_gc SEC(".maps");

/* Keys are at most sixteen registers of four bytes. */
#define SET_KEY_WORDS 8

/* One go through the map of a set. */
struct set_go {
	void *map;
	struct table table;
	__u32 bucket;
	__u32 key_size;
	__u32 conns; /* offset of a ct count statement's number; 0: none */
	__u64 now;
};

/*
 * Whether an element has expired, or has none of its connections any more:
 * nft_rhash_gc(). One that a rule puts in its place just then goes with it, as if it had
 * come a moment earlier: the next packet adds it again.
 */
static __always_inline int set_is_dead(const struct set_go *go, __u64 entry)
{
	__u64 value = table_value(entry, go->key_size);
	__u64 expires = kernel_u64(value);

	if (expires && expires <= go->now)
		return 1;
	return go->conns && conn_is_idle(kernel_u64(value + go->conns));
}

static long set_bucket(__u32 i, struct set_go *go)
{
	__u64 key[SET_KEY_WORDS];

	if (go->bucket >= go->table.size)
		return 1;
	table_for_each(entry, &go->table, go->bucket)
	{
		if (!set_is_dead(go, entry))
			continue;
		table_key(key, sizeof(key), entry);
		bpf_map_delete_elem(go->map, key);
	}
	go->bucket++;
	return 0;
}

/* One go. Generated code calls it. */
static __noinline int collect_set(void *map, struct walk *w, __u32 key_size,
				  __u32 conns)
{
	struct set_go go = {
		.map = map,
		.key_size = key_size,
		.conns = conns,
		.now = bpf_ktime_get_ns(),
	};

	if (!walk_open(w, &go.table, map))
		w->bucket = 0;
	go.bucket = w->bucket;
	bpf_loop(WALK_BUCKETS, set_bucket, &go, 0);
	w->bucket = go.bucket;
	walk_close(w, &go.table);
	return 0;
}

/* The ruleset's place: the loader replaces it by one go through the set of the
 * number, of those whose elements expire. Returns 0 if there are no more.
 */
__noinline int collect_sets(struct walk *w, __u32 number)
{
	void *map = &l2_conn_counts;
	int more = 0;

	if (!w)
		return 0;
	/* Nobody knows with what generated code calls it. */
	asm volatile("" : "+r"(map), "+r"(w), "+r"(number));
	collect_set(map, w, number, number);
	asm volatile("%0 = 0" : "+r"(more));
	return more;
}

/* One go through whatever is next. Returns 0 if that is nothing. */
static __always_inline int set_gc_go(struct walk *w)
{
	if (!policy_counts_conns)
		return collect_sets(w, w->table);
	if (w->table >= CONN_TABLES)
		return collect_sets(w, w->table - CONN_TABLES);
	conn_gc(w);
	return 1;
}

static int set_gc_work(void *map, int *key, void *value)
{
	struct set_gc *gc = value;
	struct walk w = gc->walk;

	if (set_gc_go(&w)) {
		gc->walk = w;
		bpf_wq_start(&gc->work, 0);
		return 0;
	}
	gc->goes = w.goes;
	gc->runs++;
	__builtin_memset(&gc->walk, 0, sizeof(gc->walk));
	return 0;
}

static int set_gc_tick(void *map, int *key, struct set_gc *gc)
{
	bpf_wq_start(&gc->work, 0);
	bpf_timer_start(&gc->timer, SET_GC_INTERVAL_NS, 0);
	return 0;
}

static __always_inline int set_gc_start(void)
{
	__u32 zero = 0;
	struct set_gc *gc = bpf_map_lookup_elem(&l2_set_gc, &zero);
	struct walk first = {};

	if (!gc)
		return -1;
	if (!set_gc_go(&first))
		return 0;
	return worker_begin(gc, &l2_set_gc, set_gc_work, set_gc_tick,
			    SET_GC_INTERVAL_NS);
}
