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
	__u16 via; /* of a flow that ends if the error goes another way; or 0 */
	__u8 later_fragment;
	__u8 translate;
	__u8 is_short; /* less of the transport header than is translated */
	__u8 keeps_id; /* a message whose identifier stays as it is */
	__u8 asked_port; /* FLOW_ASKED_PORT */
};

/* A search for a port: nat.h. */
struct nat_search {
	struct tuple rkey;
	__u32 first;
	__u32 size;
	__u32 next;
	__u32 now;
	__u32 tries;
	int found;
	__u8 is_dst; /* for a destination's port; it is a source's otherwise */
	__u8 step; /* 2: the parity of the port is kept; 0: as 1 */
	__u8 odd; /* the first port is not of that parity */
	__u8 settings; /* the ports are those that the settings allow */
	__u8 in_range; /* the address is one of several */
	__u8 fresh; /* the mapping is made for this flow */
	__u8 row; /* ports that are tried one after the other */
};

/* Where the transport header is and what a fragment header said. */
struct l4_info {
	__u16 off;
	__u16 nexthdr; /* offset of what names an IPv6 fragment header */
	__u32 len; /* bytes from off to the packet's end */
	__u32 id;
	__u16 frag_off; /* host order, bytes / 8 */
	__u8 proto;
	__u8 fragment : 1;
	__u8 more : 1; /* fragments follow */
	__u8 atomic : 1; /* a whole packet with a fragment header: RFC 6946 */
};

/* The headers of a first fragment that stands for its datagram. */
struct first {
	__u16 len; /* of its own packet */
	__u16 l3_off;
	__u16 before; /* bytes between the IPv6 and the fragment header */
	__u16 nexthdr; /* as in struct l4_info */
	__u8 frag[8]; /* the fragment header */
	__be16 frag_off; /* of IPv4 */
	__u16 slot; /* of its datagram: reasm.h */
	__u32 skb_len; /* of the packet that stands for the datagram */
};

/* A connection that a ct count statement, the instance id, has met. */
struct conn_member_key {
	__u64 id;
	struct tuple tuple; /* of the original direction */
};

/* A walk through TCP's options: tcp_window.h. */

#define TCP_OPTIONS_MAX 40

struct tcp_options {
	__u8 b[TCP_OPTIONS_MAX];
	__u32 len;
	__u32 at;
	__u32 sack; /* highest edge of selective acknowledgements */
	__u8 sacks; /* looks for them, and for nothing else */
	__u8 scale;
	__u8 flags; /* SEEN_* */
};

/* A segment's numbers, as far as they are needed more than once. */
struct tcp_numbers {
	__u32 seq, end, ack, sack, win;
};

/* What a segment does to its flow when the verdict is TCP_KEEP; and what the
 * verifier is not to keep in mind.
 */
struct tcp_change {
	__u32 timeout; /* ticks */
	__u8 state;
	__u8 keep_expiry; /* the flow does not live longer for it */
	__u8 old; /* state that the packet found */
	__u8 next; /* that it leads to, if it is in the window */
	__u8 window; /* it has to be */
	__u8 flags; /* FLOW_* that the packet found */
	__u8 dir; /* of the packet */
	__u8 event; /* that it is */
	struct tcp_numbers n;
};

/* What conntrack knows of the packet in hand. */
struct ct {
	struct endpoints out; /* what the packets of its flow leave with */
	__u16 via; /* where they have gone until now: struct hop */
	__u8 found; /* it has one */
	__u8 flags; /* FLOW_* of it, where rules reject */
	__u8 first; /* the packet begins a flow, if the ruleset accepts it */
	__u8 state; /* TCP state that the flow begins with */
	__u8 mapped; /* MAPPED_*: by a mapping, and not by the ruleset */
	__u8 stale; /* the flow is judged anew: reevaluate.h */
	__u8 tcp_flags; /* that its packet has */
	__u8 new_dst; /* not found, and yet the kernel translates its destination */
	__u8 answer; /* has the source of before its translation: answered.h */
	__u8 clash; /* another flow has its answers: dropped behind all chains */
	/* ct_in()'s own. */
	struct tuple back; /* key of the other direction */
	struct tcp_change change;
};

#define SCRATCH_BUFFER 256

/* What a packet's route depends on, as it was: route_chain.h. */
struct routed {
	__u32 mark;
	__u8 nh[40];
};

struct scratch {
	struct pkt pkt;
	struct tuple key; /* the tuple that the packet came with */
	struct icmp_error error;
	struct ct ct;
	struct tcp_options options;
	struct flow fwd; /* of a flow that is being made */
	struct flow rev;
	struct tcp_seen seen[2]; /* of a connection that begins */
	struct tcp_last last;
	/* Of the mapping that the flow's source may have: mapping.h. */
	struct mapping_key inside;
	struct mapping_key outside;
	struct mapping mapping;
	struct nat_search search;
	struct source_key sender;
	struct routed routed;
	__u64 route[8]; /* struct bpf_fib_lookup, whose unions bpf2go lacks */
	/* Of an answer that the router makes: answer.h, reject.h. */
	struct tuple answer;
	__u8 source[16];
	struct conn_member_key member; /* conn_count.h */
	__u8 seen_source[16]; /* before its translation */
	__u8 buffer[SCRATCH_BUFFER];
	/* Of fragments: release.h. */
	struct l4_info l4; /* what the parser has found */
	struct first first;
	int slot; /* of a released fragment, or less than 0 */
};

#define FRAMES_NESTED 3 /* NF_RECURSION_LIMIT of the kernel, and one */

/* What the program that sends a frame tells the egress program: dup.h, way_self.h. */
struct sending {
	__u64 frame; /* address of a socket buffer */
	__u32 copy; /* COPY_*: it is one */
	__u32 nested; /* copies of frames that are on their way */
	/* Of the copy of a packet. */
	__u32 routed; /* it is on its way: its chains make no other */
	__u32 device; /* that it has to leave by; 0: as the routes say */
	__u32 routed_by; /* the device of its route: see copy_came_by() */
	__u8 gateway[16];
	/* Of what NAT sends to the router itself: its destination. */
	__u8 self[16];
};

#define COPY_FRAME 1
#define COPY_PACKET 2

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct sending);
} l2_sending SEC(".maps");

static __always_inline struct sending *sending(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&l2_sending, &zero);
}

/* One for what has come in, or leaves, others for the chains of interfaces that
 * frames leave by, and the last to keep the first in.
 */
#define SCRATCH_MAIN 0
#define SCRATCH_KEPT (2 + FRAMES_NESTED)
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, SCRATCH_KEPT + 1);
	__type(key, __u32);
	__type(value, struct scratch);
} l2_scratch SEC(".maps");

static __always_inline struct scratch *scratch(void)
{
	__u32 slot = SCRATCH_MAIN;

	return bpf_map_lookup_elem(&l2_scratch, &slot);
}

/* For the chains of the interface that a frame leaves by: a copy of a frame meets
 * them while the chains that have sent it are still running.
 */
static __always_inline struct scratch *scratch_leaving(void)
{
	struct sending *s = sending();
	__u32 slot = 1;

	if (s)
		slot += s->nested;
	return bpf_map_lookup_elem(&l2_scratch, &slot);
}

/* Copies one entry to another. */
static __always_inline int scratch_copy(__u32 from, __u32 to)
{
	struct scratch *s = bpf_map_lookup_elem(&l2_scratch, &from);

	return s ? bpf_map_update_elem(&l2_scratch, &to, s, BPF_ANY) : -1;
}

/*
 * The coarse clock moves with the jiffies, which take a load and no call, so most
 * packets of a tick have it from the CPU's first one. Who asks after the jiffies
 * have moved and before the clock has is a tick behind for one more.
 */
static __always_inline __u64 coarse_now(struct pkt *p)
{
	__u64 jiffies = bpf_jiffies64();

	if (unlikely(p->jiffies != jiffies)) {
		p->coarse = bpf_ktime_get_coarse_ns();
		p->jiffies = jiffies;
	}
	return p->coarse;
}

static __always_inline void pkt_begin(struct pkt *p)
{
	__builtin_memset(p, 0, offsetof(struct pkt, key));
	p->now = coarse_now(p);
}
