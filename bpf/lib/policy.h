/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once

#include "common.h"
#include "types.h"
#include "facts.h"
#include "maps.h"

/*
 * The ruleset's place in the programs. The loader replaces the instructions of
 * every policy_* stub by what the compiler made of the base chains of that
 * hook, in the order of their priorities. The stubs are global functions: the
 * kernel verifies each on its own, once, whoever calls it.
 *
 * A stub returns NF_DROP or NF_ACCEPT. An unused phase is not called at all:
 * policy_phases is read-only when the program is verified, so the call is dead
 * code.
 */

#define PHASE_PREROUTING_RAW (1U << 0) /* prerouting, priority < -200 */
#define PHASE_PREROUTING_EARLY (1U << 1) /* prerouting, -200 to -101 */
#define PHASE_PREROUTING (1U << 2) /* prerouting, -100 and later */
#define PHASE_INPUT (1U << 3) /* input filter, priority < 100 */
#define PHASE_FORWARD (1U << 4)
#define PHASE_OUTPUT_RAW (1U << 5) /* output, priority < -200 */
#define PHASE_OUTPUT (1U << 6) /* output, -100 and later */
#define PHASE_POSTROUTING (1U << 7) /* postrouting filter, priority < 100 */
#define PHASE_POSTROUTING_NAT (1U << 8) /* postrouting, type nat */
#define PHASE_POSTROUTING_LATE (1U << 9) /* postrouting filter, 100 and later */
#define PHASE_PREROUTING_NAT (1U << 10) /* prerouting, type nat */
#define PHASE_INPUT_NAT (1U << 11) /* input, type nat */
#define PHASE_INPUT_LATE (1U << 12) /* input filter, 100 and later */
#define PHASE_OUTPUT_EARLY (1U << 13) /* output, -200 to -101 */
#define PHASE_OUTPUT_NAT (1U << 14) /* output, type nat */

volatile const __u32 policy_phases = 0;

/* 0: the ruleset does what XDP cannot, and all packets are TC's. */
volatile const __u32 policy_xdp = 1;

/* Counts the packet at a rule or a base chain's policy and remembers which. */
__noinline int nft_count(struct pkt *p, __u32 index)
{
	struct counter *c;

	if (!p)
		return 0;
	p->rule = index;
	c = bpf_map_lookup_elem(&l2_counters, &index);
	if (c) {
		c->packets++;
		c->bytes += p->len;
	}
	return 0;
}

/* One bucket for all CPUs, as in nft_limit_eval(). Returns whether the rule
 * goes on.
 */
__noinline int nft_limit(struct pkt *p, __u32 index)
{
	__u64 now, cost, tokens;
	struct limit *l;
	int within;

	if (!p)
		return 0;
	l = bpf_map_lookup_elem(&l2_limits, &index);
	if (!l || !l->rate)
		return 0;

	cost = l->flags & LIMIT_BYTES ? l->nsecs * p->len : l->nsecs;
	cost /= l->rate;
	now = bpf_ktime_get_ns();

	bpf_spin_lock(&l->lock);
	tokens = l->tokens + now - l->last;
	if (tokens > l->tokens_max)
		tokens = l->tokens_max;
	l->last = now;
	within = tokens >= cost;
	l->tokens = within ? tokens - cost : tokens;
	bpf_spin_unlock(&l->lock);

	return within == !(l->flags & LIMIT_OVER);
}

/* Reports the packet to user space; never waits, a full buffer is counted. */
__noinline int nft_log(struct pkt *p, __u32 index)
{
	struct log_event *e;

	if (!p)
		return 0;
	e = bpf_ringbuf_reserve(&l2_events, sizeof(*e), 0);
	if (!e) {
		count(STAT_LOG_LOST);
		return 0;
	}
	e->now = p->now;
	e->log = index;
	e->rule = p->rule;
	e->iif = p->iif;
	e->oif = p->oif;
	e->len = p->len;
	e->mark = p->mark;
	e->ct_state = p->ct_state;
	e->nfproto = p->nfproto;
	e->l4proto = p->l4proto;
	e->th_len = p->th_len;
	e->unused = 0;
	__builtin_memcpy(e->nh, p->nh, sizeof(e->nh));
	__builtin_memcpy(e->th, p->th, sizeof(e->th));
	bpf_ringbuf_submit(e, 0);
	return 0;
}

/*
 * Generated code calls the nft_* functions. Naming them in every stub makes
 * the linker carry them along. The barriers keep the compiler from learning
 * from the stub what the code that replaces it returns and writes.
 */
#define POLICY_STUB(name)                                                 \
	__noinline int policy_##name(struct ctx_buff *ctx, struct pkt *p) \
	{                                                                 \
		int verdict = NF_DROP;                                    \
                                                                          \
		nft_count(p, 0);                                          \
		nft_limit(p, 0);                                          \
		nft_log(p, 0);                                            \
		asm volatile(""                                           \
			     : "+r"(verdict), "+r"(p), "+r"(ctx)          \
			     :                                            \
			     : "memory");                                 \
		return verdict;                                           \
	}

POLICY_STUB(prerouting_raw)
POLICY_STUB(prerouting_early)
POLICY_STUB(prerouting)
POLICY_STUB(input)
POLICY_STUB(forward)
POLICY_STUB(output_raw)
POLICY_STUB(output)
POLICY_STUB(postrouting)
POLICY_STUB(postrouting_nat)
POLICY_STUB(postrouting_late)
POLICY_STUB(prerouting_nat)
POLICY_STUB(input_nat)
POLICY_STUB(input_late)
POLICY_STUB(output_early)
POLICY_STUB(output_nat)

/* Runs one phase; true when the packet goes on. */
#define policy_accepts(PHASE, name, ctx, p) \
	(!(policy_phases & PHASE_##PHASE) || policy_##name(ctx, p) == NF_ACCEPT)
