/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once

#include "common.h"
#include "flow.h"
#include "maps.h"

/*
 * Collection of dead flows, without user space: a timer queues a work item,
 * which walks the tables in process context, where a long walk delays no
 * packet. The timer lives as long as its map is pinned.
 */

#define GC_INTERVAL_NS (10ULL * 1000000000)
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
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct gc);
} l2_gc SEC(".maps");

struct gc_walk {
	__u32 now;
	__u32 live;
	__u32 dead;
};

static long gc_visit(struct bpf_map *map, const struct tuple *key,
		     struct flow *f, struct gc_walk *walk)
{
	if (!ticks_after(walk->now, READ_ONCE(f->expires))) {
		walk->live++;
		return 0;
	}
	/* The other entry's expiry is within a second of this one's; it goes
	 * when the walk comes to it.
	 */
	bpf_map_delete_elem(map, key);
	walk->dead++;
	return 0;
}

static int gc_work(void *map, int *key, void *value)
{
	/* The second that the expiries of two directions may differ by. */
	struct gc_walk flows = {
		.now = ns_to_ticks(bpf_ktime_get_ns()) - TICKS_PER_SEC,
	};
	struct gc_walk half = { .now = flows.now };
	struct gc *gc = value;

	bpf_for_each_map_elem(&l2_flows, gc_visit, &flows, 0);
	bpf_for_each_map_elem(&l2_half_open, gc_visit, &half, 0);
	gc->flows = flows.live;
	gc->half_open = half.live;
	gc->collected += flows.dead + half.dead;
	gc->runs++;
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
	/* Fails with EBUSY when an earlier load has done it. Without memory at
	 * the moment the next step fails, and the loader tries again.
	 */
	bpf_timer_init(&gc->timer, &l2_gc, CLOCK_MONOTONIC);
	bpf_wq_init(&gc->work, &l2_gc, 0);
	err = bpf_wq_set_callback_impl(&gc->work, gc_work, 0, NULL);
	if (!err)
		err = bpf_timer_set_callback(&gc->timer, gc_tick);
	if (!err)
		err = bpf_timer_start(&gc->timer, GC_INTERVAL_NS, 0);
	return err;
}
