/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once

#include "common.h"
#include "types.h"

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct statistics);
} l2_stats SEC(".maps");

/* Those of this CPU, by enum stat. */
static __always_inline __u64 *statistics(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&l2_stats, &zero);
}

static __always_inline void count_by(__u32 stat, __u32 by)
{
	__u64 *n = statistics();

	if (n && stat < STAT_MAX)
		n[stat] += by;
}

static __always_inline void count(__u32 stat)
{
	count_by(stat, 1);
}

/* The same of what is not known before it happens: verified once, and not for each
 * reason that there is to come here.
 */
__noinline int count_reason(__u32 stat, __u32 by)
{
	count_by(stat, by);
	return 0;
}
