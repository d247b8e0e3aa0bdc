/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once

#include "common.h"
#include "kernel.h"

/*
 * Walks through hash tables, of flows, of sets, of whatever else there can be many of:
 * so many buckets at a time, which are read from the kernel's own data. Between two
 * goes others have the CPU. bpf_for_each_map_elem() goes through all at once, and a
 * kernel without preemption lets no thread run on that CPU meanwhile: the most of a
 * second with a million flows.
 *
 * Nothing is locked. An entry that is deleted or made meanwhile may be missed, as one
 * that is made behind the walk always is; if its memory is another's already, the
 * walk goes on in that one's bucket.
 */

#pragma clang attribute push(__attribute__((preserve_access_index)), \
			     apply_to = record)

struct hlist_nulls_head {
	struct hlist_nulls_node *first;
};

struct bucket {
	struct hlist_nulls_head head;
};

struct bpf_map {
	__u32 id;
};

struct bpf_htab {
	struct bpf_map map;
	struct bucket *buckets;
	__u32 n_buckets;
};

struct htab_elem {
	__u32 hash;
	char key[0];
};

#pragma clang attribute pop

/* Entries of a bucket that are looked at. There is one or none in most. */
#define TABLE_DEPTH 64

struct table {
	__u64 buckets; /* where they begin */
	__u32 size; /* how many there are */
	__u32 id; /* of the map */
};

/* Of the map with the address. */
static __always_inline void table_open(struct table *t, const void *map)
{
	struct bpf_htab *h = kernel_cast(struct bpf_htab, map);

	t->buckets = kernel_u64(kernel_address(h, buckets));
	t->size = h->n_buckets;
	t->id = h->map.id;
}

/* An entry is the address of what links it. The last one's successor is odd. */
static __always_inline __u64 table_entry(__u64 link)
{
	link = kernel_u64(link);
	return link & 1 ? 0 : link;
}

/*
 * The first entry of a bucket, or 0. Modules have types of that name, too, bcache for
 * one: the loader takes the one that has this member.
 */
static __always_inline __u64 table_first(const struct table *t, __u32 bucket)
{
	return table_entry(t->buckets +
			   (__u64)bucket * kernel_sizeof(struct bucket) +
			   kernel_offset(struct bucket, head));
}

/* Whole words of the kernel's memory. */
static __always_inline void table_copy(void *to, __u32 size, __u64 from)
{
	__u64 *words = to;
	__u32 i;

#pragma unroll
	for (i = 0; i < size / 8; i++)
		words[i] = kernel_u64(from + i * 8);
}

/* Copies the key of an entry. */
static __always_inline void table_key(void *key, __u32 size, __u64 entry)
{
	table_copy(key, size, entry + kernel_offset(struct htab_elem, key));
}

/* The address of its value, which the kernel aligns. */
static __always_inline __u64 table_value(__u64 entry, __u32 key_size)
{
	return entry + kernel_offset(struct htab_elem, key) +
	       ((key_size + 7) & ~7U);
}

/* Goes on to the next entry of a bucket. */
static __always_inline int table_next(__u64 *entry, __u64 *following)
{
	*entry = *following;
	if (!*entry)
		return 0;
	*following = table_entry(*entry);
	return 1;
}

/* Does something for each entry of a bucket, which it may delete. */
#define table_for_each(entry, table, bucket)                                  \
	for (__u64 following = table_first(table, bucket), entry = following; \
	     entry; entry = 0)                                                \
		repeat(TABLE_DEPTH) if (!table_next(&entry,                   \
						    &following)) break;       \
	else

/* Buckets that are looked at in one go: a millisecond or two. */
#define WALK_BUCKETS 4096

/* A walk through tables, one after the other, from one go to the next. */
struct walk {
	__u32 table; /* its number in the order of the walk */
	__u32 id; /* of the table: another one has come in its place, perhaps */
	__u32 bucket; /* the next one */
	__u32 goes; /* until now */
};

/* Begins a go. Returns whether the table is the one that the last go was in. */
static __always_inline int walk_open(struct walk *w, struct table *t,
				     const void *map)
{
	table_open(t, map);
	if (w->bucket && w->id != t->id)
		return 0;
	w->id = t->id;
	return 1;
}

/* Ends a go, which has left w->bucket behind those that it has looked at. */
static __always_inline void walk_close(struct walk *w, const struct table *t)
{
	w->goes++;
	if (w->bucket >= t->size) {
		w->bucket = 0;
		w->table++;
	}
}
