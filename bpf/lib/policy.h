/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once

#include "common.h"
#include "types.h"
#include "clock.h"
#include "conn_count.h"
#include "device.h"
#include "dup.h"
#include "exthdr.h"
#include "facts.h"
#include "fib.h"
#include "inner.h"
#include "log.h"
#include "maps.h"
#if !CTX_XDP
#include "payload_set.h"
#endif
#include "rt.h"
#include "secpath.h"
#include "socket.h"

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
#define PHASE_ROUTE (1U << 19) /* none by itself: chains of type route */
#define PHASE_INGRESS (1U << 20) /* of a device: every frame */
#define PHASE_EGRESS (1U << 21)

volatile const __u32 policy_phases = 0;

/* 0: the ruleset does what XDP cannot, and all packets are TC's. */
volatile const __u32 policy_xdp = 1;

/* 1: the ruleset has reject statements. */
volatile const __u32 policy_rejects = 0;

/* Rules write to packets. */
volatile const __u32 policy_writes = 0;

static __always_inline void counter_add(__u32 index, __u32 bytes)
{
	struct counter *c = bpf_map_lookup_elem(&l2_counters, &index);

	if (c) {
		c->packets++;
		c->bytes += bytes;
	}
}

/* Counts the packet at a rule or a base chain's policy and remembers which. */
__noinline int nft_count(struct pkt *p, __u32 index)
{
	if (!p)
		return 0;
	p->rule = index;
	counter_add(index, p->len);
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

#if !CTX_XDP
#include "route_chain.h" /* needs the constants above */
#endif

#if CTX_XDP
#define TC_FUNCTIONS(ctx, p)
#else
#define TC_FUNCTIONS(ctx, p)              \
	nft_payload_set(ctx, p, 0, 0, 0); \
	nft_sctp_set(ctx, p, 0, 0, 0);    \
	nft_tcp_set(ctx, p, 0, 0, 0);     \
	nft_tcp_reset(ctx, p, 0, 0, 0);   \
	nft_police(ctx, p);               \
	nft_route(ctx, p, 0);
#endif

/*
 * Generated code calls the nft_* functions. Naming them in every stub makes
 * the linker carry them along. The barriers keep the compiler from learning
 * from the stub what the code that replaces it returns and writes.
 */
#define STUB(name, count)                                                 \
	__noinline int policy_##name(struct ctx_buff *ctx, struct pkt *p) \
	{                                                                 \
		int verdict = NF_DROP;                                    \
                                                                          \
		count(p, 0);                                              \
		nft_limit(p, 0);                                          \
		nft_log(ctx, p, 0);                                       \
		nft_payload(ctx, p, 0, 0, 0);                             \
		nft_exthdr_ipv6(ctx, p, 0, 0, 0);                         \
		nft_exthdr_ipv4(ctx, p, 0, 0, 0);                         \
		nft_exthdr_tcp(ctx, p, 0, 0, 0);                          \
		nft_exthdr_sctp(ctx, p, 0, 0, 0);                         \
		nft_exthdr_dccp(ctx, p, 0, 0, 0);                         \
		nft_inner(ctx, p, 0, 0, 0);                               \
		TC_FUNCTIONS(ctx, p)                                      \
		nft_ct_count(p, 0, 0);                                    \
		nft_ct_write(p, 0);                                       \
		nft_device(ctx, p, 0);                                    \
		nft_dup(ctx, p, 0);                                       \
		nft_dup_to(ctx, p, 0, 0);                                 \
		nft_socket(ctx, p, 0);                                    \
		nft_clock(ctx, p, 0);                                     \
		nft_secpath(ctx, p, 0);                                   \
		nft_fib_type(ctx, p, 0);                                  \
		nft_fib_oif(ctx, p, 0);                                   \
		nft_rt(ctx, p, 0);                                        \
		nft_tcpmss(ctx, p, 0);                                    \
		nft_realms(ctx, p, 0);                                    \
		asm volatile(""                                           \
			     : "+r"(verdict), "+r"(p), "+r"(ctx)          \
			     :                                            \
			     : "memory");                                 \
		return verdict;                                           \
	}

#define POLICY_STUB(name) STUB(name, nft_count)
#define EARLY_STUB(name) STUB(name, nft_note) /* early.h */

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
POLICY_STUB(ingress)
POLICY_STUB(egress)

/* Runs one phase; true when the packet goes on. */
#define policy_accepts(PHASE, name, ctx, p) \
	(!(policy_phases & PHASE_##PHASE) || policy_##name(ctx, p) == NF_ACCEPT)
