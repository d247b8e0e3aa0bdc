/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once

#include "common.h"
#include "flow.h"
#include "maps.h"
#include "scratch.h"
#include "types.h"

/*
 * How many flows a source may have begun, if the settings limit that: so that one
 * client cannot use up the tables and the ports of all.
 *
 * A flow that begins is counted; how many there are is found anew by each walk of
 * the collector, because flows that are evicted or expire say nothing. Until then
 * a source is taken to have those that have ended since, too. Packets of flows
 * that exist meet none of this. Sources for which there is no room are not
 * counted: who can have so many addresses is not held up by a limit of each.
 */

static __always_inline void source_key_of(struct source_key *k,
					  const struct tuple *original)
{
	__builtin_memset(k, 0, sizeof(*k));
	__builtin_memcpy(k->addr, original->saddr, 16);
	k->zone = original->zone;
	k->nfproto = original->nfproto;
}

static __always_inline int source_is_limited(void)
{
	const struct settings *s = settings();

	return s && s->flows_per_source;
}

/* Whether a flow with the key may begin; then it is counted. */
__noinline int source_admits(const struct tuple *key)
{
	const struct settings *set = settings();
	struct source first = { .flows = 1 };
	struct scratch *s = scratch();
	struct source *source;

	if (!key || !s || !set || !set->flows_per_source)
		return 1;
	source_key_of(&s->sender, key);
	source = bpf_map_lookup_elem(&l2_sources, &s->sender);
	if (!source) {
		if (!bpf_map_update_elem(&l2_sources, &s->sender, &first,
					 BPF_NOEXIST))
			return 1;
		source = bpf_map_lookup_elem(&l2_sources, &s->sender);
		if (!source) {
			count(STAT_SOURCE_TABLE_FULL);
			return 1;
		}
	}
	/* Signed: what the collector writes between the two steps of those that are
	 * refused may leave less than none.
	 */
	if ((__s32)__sync_fetch_and_add(&source->flows, 1) <
	    (__s32)set->flows_per_source)
		return 1;
	__sync_fetch_and_add(&source->flows, -1);
	return 0;
}

/* It has not begun after all. */
__noinline int source_forget(const struct tuple *key)
{
	struct scratch *s = scratch();
	struct source *source;

	if (!key || !s || !source_is_limited())
		return 0;
	source_key_of(&s->sender, key);
	source = bpf_map_lookup_elem(&l2_sources, &s->sender);
	if (source && READ_ONCE(source->flows))
		__sync_fetch_and_add(&source->flows, -1);
	return 0;
}

/* A walk has found a flow that lives, by its original direction. */
__noinline int source_found(const struct tuple *key, __u32 walk)
{
	struct source first = { .flows = 1, .found = 1, .walk = walk };
	struct source_key k;
	struct source *source;

	if (!key)
		return 0;
	source_key_of(&k, key);
	source = bpf_map_lookup_elem(&l2_sources, &k);
	if (!source) {
		bpf_map_update_elem(&l2_sources, &k, &first, BPF_NOEXIST);
		return 0;
	}
	if (source->walk != walk) {
		source->found = 0;
		source->walk = walk;
	}
	source->found++;
	return 0;
}

/* Behind the flows: what they have come to. What begins meanwhile is missing until the
 * next walk. Returns whether the source has any; what has none goes.
 */
__noinline int source_lives(const struct source_key *key, __u32 walk)
{
	struct source *source;

	if (!key)
		return 0;
	source = bpf_map_lookup_elem(&l2_sources, key);
	if (!source)
		return 0;
	if (walk && source->walk == walk) {
		WRITE_ONCE(source->flows, source->found);
		return 1;
	}
	bpf_map_delete_elem(&l2_sources, key);
	return 0;
}
