/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once

#include "common.h"
#include "types.h"

/*
 * Working memory of the programs, which the 512 bytes of BPF stack cannot hold
 * beside the ruleset's functions. One of each CPU suffices: the programs run
 * with bottom halves disabled, and but for copies of frames do not nest; a
 * redirect happens after the program has returned.
 */

/* An ICMP error's quote: conntrack of errors, icmp_error.h. */
struct icmp_error {
	struct tuple quoted; /* as it stands in the error */
	struct endpoints now; /* what it has to become */
	__u16 l3_off;
	__u16 l4_off;
	__u8 later_fragment;
	__u8 translate;
	__u8 is_short; /* less of the transport header than is translated */
	__u8 keeps_id; /* a message whose identifier stays as it is */
};

#define SCRATCH_BUFFER 256

struct scratch {
	struct pkt pkt;
	struct tuple key; /* the tuple that the packet came with */
	struct icmp_error error;
	struct flow fwd; /* of a flow that is being made */
	struct flow rev;
	struct tcp_seen seen[2]; /* of a connection that begins */
	struct tcp_last last;
	__u64 route[8]; /* struct bpf_fib_lookup, whose unions bpf2go lacks */
	/* Of an answer that the router makes: answer.h, reject.h. */
	struct tuple answer;
	__u8 source[16];
	__u8 buffer[SCRATCH_BUFFER];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, struct scratch);
} l2_scratch SEC(".maps");

static __always_inline struct scratch *scratch(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&l2_scratch, &zero);
}

/* For the chains of the interface that a frame leaves by: a copy of a frame meets
 * them while the chains that have sent it are still running.
 */
static __always_inline struct scratch *scratch_leaving(void)
{
	__u32 one = 1;

	return bpf_map_lookup_elem(&l2_scratch, &one);
}

static __always_inline void pkt_begin(struct pkt *p)
{
	__builtin_memset(p, 0, offsetof(struct pkt, key));
}
