// SPDX-License-Identifier: GPL-2.0-only

//go:build ignore

/* Both ends of the wire: the generator and the station that receives. */

#include "packet.h"

char __license[] SEC("license") = "GPL";

#define MAX_FLOWS (1 << 22)
#define FLOWS_AT_ADDR 14 /* bits: so many flows go to one address */
#define FLOWS_AT_PORT 22 /* and so many to one port of all addresses */
#define LENGTHS 16
#define SAMPLES 16
#define SAMPLE_EVERY 4093 /* a prime: no cycle of frames hides from it */

/* Set before the load. */
volatile const __u8 template[72]; /* frame of flow 0, UDP checksum for port 0 */
volatile const __u32 ipv6; /* 1: it is one of IPv6 */
volatile const __be32
	first_daddr; /* the last 32 bits of flow 0's destination */
volatile const __be16 target_port; /* and its port */
volatile const __u32 gen_ifindex;
volatile const __u16 first_port; /* source port of flow 0, host byte order */
volatile const __u32 flow_mask; /* number of flows less one */
volatile const __u32 stride =
	1; /* of generators at once: each has flows of its own */
volatile const __u32 first_flow; /* which of them this is */
volatile const __u32 draw_mask; /* number of draws less one; 0: flows in turn */
volatile const __u16 lengths[LENGTHS]; /* of a cycle of frames */
volatile const __u32 n_lengths; /* 0: all are as long as flow 0's */

/* Which flow each packet is of, drawn before. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} draws SEC(".maps");

__u64 sent; /* one run at a time */
__u32 turn; /* of the cycle of lengths */
__u64 limit; /* of packets sent and flows passed over; 0: none */
__u32 only_unanswered; /* 1: flows with a reply are passed over */
__u64 gap; /* ns between two packets; 0: as fast as it goes */
__u64 due; /* the next one, CLOCK_MONOTONIC in ns */
__u64 replies;
__u8 replied[MAX_FLOWS];

struct count {
	__u64 packets;
	__u64 strays;
	__u64 sample; /* the next packet to keep */
	__u64 kept;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct count);
} received SEC(".maps");

struct sample {
	__u32 len;
	__u8 data[MAX_FRAME_LEN];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SAMPLES);
	__type(key, __u32);
	__type(value, struct sample);
} samples SEC(".maps");

/* The checksum after one half word of what it covers has grown by an amount. */
static __always_inline __u16 csum_add(__u16 check, __be16 more)
{
	__u32 sum = (__u16)~check + more;

	sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

/* Whether it is time for the next packet. What was not sent in time, because
 * somebody else had the CPU, is not made up for: that would be a burst.
 */
static __always_inline int is_due(void)
{
	__u64 now;

	if (!gap)
		return 1;
	now = bpf_ktime_get_ns();
	if (now < due)
		return 0;
	due = now - due > gap ? now + gap : due + gap;
	return 1;
}

/*
 * The packet of flow 0. The page is one that came back from the far end and holds
 * what was done to it there: every byte is written anew.
 */
static __always_inline struct view write_first(struct xdp_md *ctx)
{
	const volatile __u64 *from = (void *)template;
	void *end = (void *)(long)ctx->data_end;
	__u64 *to = (void *)(long)ctx->data;
	struct view none = {};
	int i;

	if ((void *)to + FRAME_LEN > end)
		return none;
#pragma unroll
	for (i = 0; i < FRAME_LEN / 8; i++)
		to[i] = from[i];
	if (!ipv6) {
		*(__u32 *)&to[i] = *(const volatile __u32 *)&from[i];
		return bench_view(ctx, 0);
	}
	if ((void *)to + FRAME6_LEN > end)
		return none;
	to[i] = from[i];
	*(__u16 *)&to[i + 1] = *(const volatile __u16 *)&from[i + 1];
	return bench_view(ctx, 1);
}

static __always_inline __u32 next_flow(void)
{
	__u32 n = sent++ * stride + first_flow;
	__u32 *drawn;

	if (!draw_mask)
		return n & flow_mask;
	n &= draw_mask;
	drawn = bpf_map_lookup_elem(&draws, &n);
	return drawn ? *drawn : 0;
}

/* In 64 bits: to the verifier, half a pointer is no number. */
static __always_inline __s64 frame_len(const struct xdp_md *ctx)
{
	__s64 len = (__u64)ctx->data_end - (__u64)ctx->data;

	barrier_var(len);
	return len;
}

/* The frame gets the length whose turn it is. Returns by how much that is more than
 * flow 0's, or a negative number.
 */
static __always_inline int set_length(struct xdp_md *ctx)
{
	__u32 at = turn & (LENGTHS - 1);
	__s64 len;

	if (!n_lengths)
		return 0;
	turn = at + 1 < n_lengths ? at + 1 : 0;
	len = lengths[at];
	if (bpf_xdp_adjust_tail(ctx, len - frame_len(ctx)))
		return -1;
	return len - (ipv6 ? FRAME6_LEN : FRAME_LEN);
}

/* The headers say that there is so much more payload, of zeros. */
static __always_inline void lengthen(struct view v, __u16 more)
{
	struct frame6 *f6 = (void *)v.eth;
	struct frame *f = (void *)v.eth;
	__be16 grown = bpf_htons(more);

	if (ipv6) {
		f6->ip.payload_len =
			bpf_htons(bpf_ntohs(f6->ip.payload_len) + more);
	} else {
		f->ip.tot_len = bpf_htons(bpf_ntohs(f->ip.tot_len) + more);
		f->ip.check = csum_add(f->ip.check, grown);
	}
	v.udp->len = bpf_htons(bpf_ntohs(v.udp->len) + more);
	/* It is in the pseudo header, too. */
	v.udp->check = csum_add(csum_add(v.udp->check, grown), grown);
}

/* Makes one packet and sends it. */
SEC("xdp")
int generate(struct xdp_md *ctx)
{
	__be16 port, addr, target;
	struct view v;
	__u32 flow;
	int more;

	if (limit && sent >= limit)
		return XDP_DROP;
	if (only_unanswered && replied[sent & flow_mask & (MAX_FLOWS - 1)]) {
		sent++;
		return XDP_DROP;
	}
	if (!is_due())
		return XDP_DROP;
	more = set_length(ctx);
	if (more < 0)
		return XDP_ABORTED;
	v = write_first(ctx);
	if (!v.eth)
		return XDP_ABORTED;
	if (n_lengths)
		lengthen(v, more);

	flow = next_flow();
	port = bpf_htons(first_port + (flow & ((1 << FLOWS_AT_ADDR) - 1)));
	/* No carry out of this half of the address: MAX_FLOWS. */
	addr = bpf_htons((flow & (MAX_FLOWS - 1)) >> FLOWS_AT_ADDR);
	target = bpf_htons(bpf_ntohs(target_port) + (flow >> FLOWS_AT_PORT));
	*v.daddr = bpf_htonl(bpf_ntohl(*v.daddr) + bpf_ntohs(addr));
	if (!ipv6) {
		struct frame *f = (void *)v.eth;

		f->ip.check = csum_add(f->ip.check, addr);
	}
	v.udp->source = port;
	v.udp->check = csum_add(csum_add(v.udp->check, port), addr);
	v.udp->check = csum_add(csum_add(v.udp->check, ~target_port), target);
	v.udp->dest = target;
	if (!v.udp->check)
		v.udp->check = 0xffff;
	return bpf_redirect(gen_ifindex, 0);
}

/* Generator's side: notes which flows got a reply. */
SEC("xdp")
int hear(struct xdp_md *ctx)
{
	struct view v = bench_view(ctx, ipv6);
	__u32 flow;

	if (!v.eth)
		return XDP_PASS;
	flow = bpf_ntohs(v.udp->dest) - first_port +
	       ((bpf_ntohl(*v.saddr) - bpf_ntohl(first_daddr))
		<< FLOWS_AT_ADDR);
	if (flow < MAX_FLOWS && v.udp->source == target_port)
		replied[flow] = 1;
	replies++;
	return XDP_DROP;
}

static __always_inline void swap(void *a, void *b, __u32 len)
{
	__u8 kept[sizeof(struct in6_addr)];

	__builtin_memcpy(kept, a, len);
	__builtin_memcpy(a, b, len);
	__builtin_memcpy(b, kept, len);
}

/*
 * Receiver's side, to establish flows: sends each packet back. By a redirect,
 * as veth puts what XDP_TX sends into the peer's ring, but wakes the peer only
 * if it has an XDP program.
 */
SEC("xdp")
int reflect(struct xdp_md *ctx)
{
	struct view v = bench_view(ctx, ipv6);

	if (!v.eth)
		return XDP_PASS;
	swap(v.eth->h_dest, v.eth->h_source, ETH_ALEN);
	/* Checksums do not see who is who. */
	if (ipv6)
		swap(v.saddr - 3, v.daddr - 3, sizeof(struct in6_addr));
	else
		swap(v.saddr, v.daddr, sizeof(*v.saddr));
	swap(&v.udp->source, &v.udp->dest, sizeof(v.udp->source));
	return bpf_redirect(ctx->ingress_ifindex, 0);
}

/* Receiver's side, to measure: counts, keeps a few, drops. */
SEC("xdp")
int receive(struct xdp_md *ctx)
{
	struct view v = bench_view(ctx, ipv6);
	struct sample *s;
	struct count *c;
	__u32 key = 0;
	__s64 len;

	c = bpf_map_lookup_elem(&received, &key);
	if (!c)
		return XDP_ABORTED;
	if (!v.eth) {
		c->strays++;
		return XDP_PASS;
	}
	if (c->packets++ == c->sample) {
		c->sample += SAMPLE_EVERY;
		key = c->kept++ % SAMPLES;
		s = bpf_map_lookup_elem(&samples, &key);
		if (!s)
			return XDP_DROP;
		len = frame_len(ctx);
		s->len = len;
		if (len < FRAME_LEN || len > MAX_FRAME_LEN)
			return XDP_DROP; /* its length tells */
		if (bpf_xdp_load_bytes(ctx, 0, s->data, len))
			return XDP_ABORTED;
	}
	return XDP_DROP;
}
