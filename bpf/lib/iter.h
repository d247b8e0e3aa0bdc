/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once

#include "common.h"

/* Loops that the verifier goes through until it finds nothing new, and not as
 * often as they can run.
 */

struct bpf_iter_num {
	__u64 opaque;
} __attribute__((aligned(8)));

extern int bpf_iter_num_new(struct bpf_iter_num *it, int start, int end) __ksym;
extern int *bpf_iter_num_next(struct bpf_iter_num *it) __ksym;
extern void bpf_iter_num_destroy(struct bpf_iter_num *it) __ksym;

/* At most n times; break ends it. */
#define repeat(n)                                               \
	for (struct bpf_iter_num it                             \
	     __attribute__((cleanup(bpf_iter_num_destroy))),    \
	     *begun = (bpf_iter_num_new(&it, 0, n), (void *)0); \
	     (void)begun, bpf_iter_num_next(&it);)
