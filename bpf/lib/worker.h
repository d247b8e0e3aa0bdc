/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once

#include "common.h"

/*
 * Work without user space: a timer queues a work item, which walks tables in process
 * context (table.h), and queues itself as long as there is more to walk through: a walk
 * of seconds delays no packet, also where the kernel has no preemption and packets are a
 * thread's. Both live as long as their map is pinned: those of flows as long as these,
 * those of sets as long as their policy.
 */

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

/* The two inits fail with EBUSY when an earlier load, or an earlier try, has done it.
 * Without memory at the moment the next step fails, and the loader tries again.
 */
#define worker_begin(gc, map, on_work, on_tick, interval)                      \
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
