/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once

#include "common.h"
#include "conntrack.h"
#include "maps.h"
#include "scratch.h"
#include "table.h"
#include "tcp.h"
#include "types.h"

/*
 * Flows under a new ruleset, if the configuration wants them to be judged by it.
 * A walk marks the entries of the original direction. The next packet there goes
 * through the chains as one that begins a flow, TCP's as a SYN; NAT chains are
 * not asked, as the flow has its translation. What drops it ends the flow, what
 * lets it through takes the mark away. Answers go on until then.
 *
 * The mark is set and taken away atomically, in the word that it shares with the
 * state. A CPU that writes flags which it has read before may undo either: the
 * walk is done twice, and a mark too many judges a flow once more.
 */

#define FLOW_WORD(f) ((__u32 *)&(f)->state)
#define FLOW_WORD_STALE (FLOW_STALE << 8)

_Static_assert(offsetof(struct flow, state) % 4 == 0 &&
		       offsetof(struct flow, flags) ==
			       offsetof(struct flow, state) + 1,
	       "flags are the second byte of a word");

/* Has a packet of a flow that is marked judged as the first one. */
static __always_inline void reevaluate_begin(struct pkt *p, struct ct *ct,
					     const struct tuple *key)
{
	struct flow *f;
	__u8 half;

	if (!policy_reevaluates || !ct->found)
		return;
	f = ct_find_entry(key, &half);
	if (!f || (f->flags & (FLOW_STALE | FLOW_REPLY)) != FLOW_STALE)
		return;
	ct->stale = 1;
	ct->tcp_flags = p->th[13];
	p->ct_state = CT_STATE_NEW;
	if (p->l4proto == IPPROTO_TCP && p->th_len > 13)
		p->th[13] = TH_SYN;
}

/* The chains before the source's translation have let it through. */
static __always_inline void reevaluate_end(struct pkt *p, struct ct *ct,
					   const struct tuple *key)
{
	struct flow *f;
	__u8 half;

	if (!policy_reevaluates || !ct->stale)
		return;
	p->ct_state = CT_STATE_ESTABLISHED;
	p->th[13] = ct->tcp_flags;
	f = ct_find_entry(key, &half);
	if (f)
		__sync_fetch_and_and(FLOW_WORD(f), ~FLOW_WORD_STALE);
}

/* A chain has dropped it. */
static __always_inline void reevaluate_drop(const struct ct *ct,
					    const struct tuple *key)
{
	struct flow *f;
	__u8 half;

	if (!policy_reevaluates || !ct->stale)
		return;
	f = ct_find_entry(key, &half);
	if (f)
		flow_delete(key, f, FLOW_END_REFUSED);
}

/* What is walked through, in this order: a flow on its way from one tier to the other
 * is seen in at least one.
 */
enum stale_table {
	STALE_HALF_OPEN,
	STALE_FLOWS,
	STALE_TABLES,
};

/* One go through one of them. */
struct stale_go {
	struct walk walk;
	struct table table;
};

static __always_inline void stale_visit(__u64 entry, __u32 table)
{
	struct tuple key;
	struct flow *f;

	table_key(&key, sizeof(key), entry);
	if (table == STALE_HALF_OPEN)
		f = bpf_map_lookup_elem(&l2_half_open, &key);
	else
		f = bpf_map_lookup_elem(&l2_flows, &key);
	if (f && !(f->flags & FLOW_REPLY))
		__sync_fetch_and_or(FLOW_WORD(f), FLOW_WORD_STALE);
}

static long stale_bucket(__u32 i, struct stale_go *go)
{
	if (go->walk.bucket >= go->table.size)
		return 1;
	table_for_each(entry, &go->table, go->walk.bucket)
		stale_visit(entry, go->walk.table);
	go->walk.bucket++;
	return 0;
}

/* Run by the loader when a ruleset has taken the place of another, for one go at a
 * time. Returns whether there is more.
 */
SEC("syscall")
int l2_reevaluate(struct walk *w)
{
	struct stale_go go = {};

	go.walk.table = w->table;
	go.walk.id = w->id;
	go.walk.bucket = w->bucket;
	go.walk.goes = w->goes;
	if (!walk_open(&go.walk, &go.table,
		       go.walk.table == STALE_HALF_OPEN ?
			       (void *)&l2_half_open :
			       (void *)&l2_flows))
		go.walk.bucket = 0;
	bpf_loop(WALK_BUCKETS, stale_bucket, &go, 0);
	walk_close(&go.walk, &go.table);
	w->table = go.walk.table;
	w->id = go.walk.id;
	w->bucket = go.walk.bucket;
	w->goes = go.walk.goes;
	return go.walk.table < STALE_TABLES;
}
