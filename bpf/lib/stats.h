/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once

#include "common.h"
#include "types.h"

/* How often each of enum stat has happened. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, STAT_MAX);
	__type(key, __u32);
	__type(value, __u64);
} l2_stats SEC(".maps");

static __always_inline void count_by(__u32 stat, __u32 by)
{
	__u64 *n = bpf_map_lookup_elem(&l2_stats, &stat);

	if (n)
		*n += by;
}

static __always_inline void count(__u32 stat)
{
	count_by(stat, 1);
}
