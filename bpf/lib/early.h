/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once

#include "common.h"
#include "facts.h"
#include "maps.h"
#include "policy.h"
#include "types.h"

/*
 * The earliest chains at XDP, for packets of any flow or none: those of the
 * interface, and those before conntrack. They decide from the packet alone, so
 * what they drop ends in the driver. What they accept may still be left to the TC
 * program, which runs them as if nothing had been: they note what they would
 * count, and that is counted once XDP is sure of the packet. So nothing has to be
 * told to the TC program that somebody else could tell it, too.
 */

#define EARLY_INGRESS (1U << 0)
#define EARLY_RAW (1U << 1)

/* Chains that are run so: EARLY_*. The first ones: with EARLY_RAW alone there are
 * none of interfaces.
 */
volatile const __u32 policy_early = 0;

/* In place of nft_count(), for the code of these chains. */
__noinline int nft_note(struct pkt *p, __u32 index)
{
	__u32 n;

	if (!p)
		return 0;
	n = p->notes;
	if (n < NOTES_MAX)
		p->noted[n] = index;
	p->notes = n + 1;
	return 0;
}

EARLY_STUB(early_ingress)
EARLY_STUB(early_raw)

enum early {
	EARLY_LEAVE, /* to the TC program */
	EARLY_UNSEEN, /* the chains before conntrack have still to be run */
	EARLY_ACCEPT,
	EARLY_DROP,
};

/* Daemons with packet sockets wait for these, whatever the chains say. */
static __always_inline int is_any_dhcp(const struct pkt *p)
{
	if (p->l4proto != IPPROTO_UDP)
		return 0;
	switch (p->tuple.dport) {
	case bpf_htons(67):
	case bpf_htons(68):
	case bpf_htons(546):
	case bpf_htons(547):
		return 1;
	}
	return 0;
}

/* Of a frame its chains see all, with what is behind the packet: frame.h. The
 * transport header may go on there.
 */
static __always_inline int early_frame(struct xdp_md *ctx, struct pkt *p)
{
	__u32 len = p->len, th_len = p->th_len, n;
	int verdict;

	p->len = ctx_len(ctx) - p->l3_off;
	if (th_len < sizeof(p->th) && p->len != len) {
		n = ctx_len(ctx) - p->l4_off;
		if (n > sizeof(p->th))
			n = sizeof(p->th);
		if (!in_bounds(n, 1, sizeof(p->th)) ||
		    ctx_load(ctx, L4_OFF(p), p->th, n) < 0)
			return -1;
		p->th_len = n;
	}
	verdict = policy_early_ingress(ctx, p);
	p->len = len;
	p->th_len = th_len;
	p->notes_frame = p->notes;
	return verdict;
}

/* Counts what has been noted. Global: verified once. */
__noinline int early_count(struct xdp_md *ctx, struct pkt *p)
{
	__u32 i, frame;

	if (!p)
		return 0;
	frame = ctx_len(ctx) - p->l3_off;
	for (i = 0; i < NOTES_MAX; i++) {
		if (i >= p->notes)
			break;
		p->rule = p->noted[i];
		counter_add(p->rule, i < p->notes_frame ? frame : p->len);
	}
	return 0;
}

/* Runs the chains on a packet that is parsed and to the interface's address. Without
 * a side effect, unless they drop it.
 */
static __always_inline enum early early(struct xdp_md *ctx, struct pkt *p,
					int tagged)
{
	int verdict = NF_ACCEPT;

	if (!policy_early)
		return EARLY_UNSEEN;
	/* A tagged frame comes to the chains of its NIC, and then again. */
	if (tagged || is_any_dhcp(p))
		return policy_early & EARLY_INGRESS ? EARLY_LEAVE :
						      EARLY_UNSEEN;
	p->ct_state = CT_STATE_INVALID;
	p->notes = 0;
	p->notes_frame = 0;
	facts_none();
	if (policy_early & EARLY_INGRESS)
		verdict = early_frame(ctx, p);
	if (policy_early & EARLY_RAW && verdict == NF_ACCEPT)
		verdict = policy_early_raw(ctx, p);
	if (verdict < 0 || p->notes > NOTES_MAX)
		return EARLY_LEAVE;
	if (verdict == NF_ACCEPT)
		return EARLY_ACCEPT;
	early_count(ctx, p);
	return EARLY_DROP;
}

/* Whether the packet, which XDP forwards, gets past these chains. */
static __always_inline int early_passes(struct xdp_md *ctx, struct pkt *p,
					enum early met)
{
	if (policy_early && met == EARLY_ACCEPT) {
		early_count(ctx, p);
		if (policy_early & EARLY_RAW)
			return 1;
	}
	return policy_accepts(PREROUTING_RAW, prerouting_raw, ctx, p);
}
