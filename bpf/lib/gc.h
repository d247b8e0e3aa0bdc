/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once

#include "common.h"
#include "conn_count.h"
#include "conntrack.h"
#include "mapping.h"
#include "maps.h"
#include "reasm.h"
#include "source.h"

/*
 * Collection of dead flows, fragments and expired elements of sets, without user space:
 * a timer queues a work item, which walks the tables in process context, where a
 * long walk delays no packet. The timer lives as long as its map is pinned: that
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

struct gc {
	struct bpf_timer timer;
	struct bpf_wq work;
	__u64 runs;
	__u64 flows; /* entries that lived at the last run */
	__u64 half_open;
	__u64 collected;
	__u64 mappings;
	__u64 sources;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct gc);
} l2_gc SEC(".maps");

struct gc_walk {
	__u32 now;
	__u32 sources; /* number of the walk that counts them; 0: none does */
	__u32 live;
	__u32 dead;
};

static long gc_visit(struct bpf_map *map, const struct tuple *key,
		     struct flow *f, struct gc_walk *walk)
{
	struct tuple copy; /* functions take no key of a map's */

	copy = *key;
	if (!ticks_after(walk->now, READ_ONCE(f->expires))) {
		walk->live++;
		if (f->flags & (FLOW_MAPPED_SRC | FLOW_MAPPED_DST))
			mapping_mark(&copy, f, walk->now + TICKS_PER_SEC);
		if (walk->sources && !(f->flags & FLOW_REPLY))
			source_found(&copy, walk->sources);
		return 0;
	}
	/* The other entry's expiry is within a second of this one's. */
	walk->dead += flow_delete(&copy, f, FLOW_END_EXPIRED);
	return 0;
}

static int gc_work(void *map, int *key, void *value)
{
	/* The second that the expiries of two directions may differ by. */
	struct gc_walk flows = {
		.now = ns_to_ticks(bpf_ktime_get_ns()) - TICKS_PER_SEC,
	};
	struct mapping_walk mappings = { .since = flows.now - mapping_rest() };
	struct source_walk sources = {};
	struct gc *gc = value;
	struct gc_walk half;

	if (source_is_limited())
		flows.sources = (__u32)gc->runs + 1;
	half = flows;

	bpf_for_each_map_elem(&l2_flows, gc_visit, &flows, 0);
	bpf_for_each_map_elem(&l2_half_open, gc_visit, &half, 0);
	/* Those in use have been marked. */
	bpf_for_each_map_elem(&l2_mappings, mapping_visit, &mappings, 0);
	sources.walk = flows.sources;
	if (flows.sources || gc->sources)
		bpf_for_each_map_elem(&l2_sources, source_visit, &sources, 0);
	gc->sources = sources.live;
	reasm_collect(ns_to_ticks(bpf_ktime_get_ns()));
	gc->flows = flows.live;
	gc->half_open = half.live;
	gc->collected += flows.dead + half.dead;
	gc->mappings = mappings.live;
	gc->runs++;
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
