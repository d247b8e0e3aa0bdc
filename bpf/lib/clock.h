/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once

#include "common.h"
#include "kernel.h"
#include "types.h"

/* What time it is: nft_meta_get_eval_time(). */

#define CLOCK_TIME 0
#define CLOCK_DAY 1
#define CLOCK_HOUR 2
#define CLOCK_PROPERTY 3

#define NSEC_PER_SEC 1000000000ULL
#define SECS_PER_DAY 86400

/*
 * BPF has the atomic time and not the wall clock's. What is between them, leap
 * seconds since 1972 if anyone has told the kernel of them, else none, and the
 * kernel's time zone are user space's to keep.
 */
struct clock {
	__s32 tai_offset; /* seconds that TAI is ahead of UTC */
	__s32 minutes_west; /* sys_tz.tz_minuteswest */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct clock);
} l2_clock SEC(".maps");

__noinline int nft_clock(struct ctx_buff *ctx, struct pkt *p, __u32 question)
{
	__u32 zero = 0;
	struct clock *c;
	__u64 now, secs;

	if (!p)
		return 0;
	c = bpf_map_lookup_elem(&l2_clock, &zero);
	if (!c)
		return 0;
	now = bpf_ktime_get_tai_ns() - READ_ONCE(c->tai_offset) * NSEC_PER_SEC;
	secs = now / NSEC_PER_SEC;
	switch (question & CLOCK_PROPERTY) {
	case CLOCK_TIME:
		*(__u64 *)ANSWER(p, question) = now;
		return 1;
	case CLOCK_DAY: /* 1970 began on a Thursday */
		secs -= 60 * (__s64)READ_ONCE(c->minutes_west);
		*(__u64 *)ANSWER(p, question) = (secs / SECS_PER_DAY + 4) % 7;
		return 1;
	case CLOCK_HOUR:
		*(__u64 *)ANSWER(p, question) = secs % SECS_PER_DAY;
		return 1;
	}
	return 0;
}
