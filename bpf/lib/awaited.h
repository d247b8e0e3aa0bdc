/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once

#include "common.h"
#include "types.h"

/*
 * Packets that a program sends and will see again. By the tuple they are let
 * past the chains, once: the tc_index that they carry alone may be another
 * namespace's.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1024);
	__type(key, struct tuple);
	__type(value, __u8);
} l2_awaited SEC(".maps");

static __always_inline int await(const struct tuple *t)
{
	__u8 yes = 1;

	return bpf_map_update_elem(&l2_awaited, t, &yes, BPF_ANY);
}

static __always_inline int is_awaited(const struct tuple *t)
{
	return !bpf_map_delete_elem(&l2_awaited, t);
}
