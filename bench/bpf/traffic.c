// SPDX-License-Identifier: GPL-2.0-only

//go:build ignore

/* Both ends of the wire: the generator and the station that receives. */

#include "packet.h"

char __license[] SEC("license") = "GPL";

#define MAX_FLOWS (1 << 21)
#define FLOWS_AT_ADDR 14 /* bits: so many flows go to one address */
#define FLOWS_AT_PORT 21 /* and so many to one port of all addresses */
#define SAMPLES 16
#define SAMPLE_EVERY 0x1000

/* Set before the load. */
volatile const __u8 template[64]; /* frame of flow 0, UDP checksum for port 0 */
volatile const __u32 gen_ifindex;
volatile const __u16 first_port; /* source port of flow 0, host byte order */
volatile const __u32 flow_mask; /* number of flows less one */

__u64 sent; /* one generator at a time */
__u64 limit; /* of packets sent and flows passed over; 0: none */
__u32 only_unanswered; /* 1: flows with a reply are passed over */
__u64 gap; /* ns between two packets; 0: as fast as it goes */
__u64 due; /* the next one, CLOCK_MONOTONIC in ns */
__u64 replies;
__u8 replied[MAX_FLOWS];

struct count {
	__u64 packets;
	__u64 strays;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct count);
} received SEC(".maps");

struct sample {
	__u32 len;
	__u8 data[FRAME_LEN];
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
 * Writes one packet and sends it. The page is one that came back from the far
 * end and holds what was done to it there: every byte is written anew.
 */
SEC("xdp")
int generate(struct xdp_md *ctx)
{
	struct frame *f = (void *)(long)ctx->data;
	const volatile __u64 *from = (void *)template;
	__u64 *to = (void *)f;
	__be16 port, addr, target;
	__u32 flow;
	int i;

	if ((void *)(f + 1) > (void *)(long)ctx->data_end)
		return XDP_ABORTED;
	if (limit && sent >= limit)
		return XDP_DROP;
	if (only_unanswered && replied[sent & flow_mask & (MAX_FLOWS - 1)]) {
		sent++;
		return XDP_DROP;
	}
	if (!is_due())
		return XDP_DROP;
#pragma unroll
	for (i = 0; i < FRAME_LEN / 8; i++)
		to[i] = from[i];
	*(__u32 *)&to[i] = *(const volatile __u32 *)&from[i];

	flow = sent++ & flow_mask;
	port = bpf_htons(first_port + (flow & ((1 << FLOWS_AT_ADDR) - 1)));
	/* No carry into the rest of the address: MAX_FLOWS. */
	addr = bpf_htons((flow & (MAX_FLOWS - 1)) >> FLOWS_AT_ADDR);
	target = bpf_htons(bpf_ntohs(f->udp.dest) + (flow >> FLOWS_AT_PORT));
	f->ip.daddr += (__u32)addr << 16;
	f->ip.check = csum_add(f->ip.check, addr);
	f->udp.source = port;
	f->udp.check = csum_add(csum_add(f->udp.check, port), addr);
	f->udp.check = csum_add(csum_add(f->udp.check, ~f->udp.dest), target);
	f->udp.dest = target;
	if (!f->udp.check)
		f->udp.check = 0xffff;
	return bpf_redirect(gen_ifindex, 0);
}

/* Generator's side: notes which flows got a reply. */
SEC("xdp")
int hear(struct xdp_md *ctx)
{
	const volatile struct frame *first = (void *)template;
	struct frame *f = bench_frame(ctx);
	__u32 flow;

	if (!f)
		return XDP_PASS;
	flow = bpf_ntohs(f->udp.dest) - first_port +
	       ((bpf_ntohl(f->ip.saddr) - bpf_ntohl(first->ip.daddr))
		<< FLOWS_AT_ADDR);
	if (flow < MAX_FLOWS && f->udp.source == first->udp.dest)
		replied[flow] = 1;
	replies++;
	return XDP_DROP;
}

/*
 * Receiver's side, to establish flows: sends each packet back. By a redirect,
 * as veth puts what XDP_TX sends into the peer's ring, but wakes the peer only
 * if it has an XDP program.
 */
SEC("xdp")
int reflect(struct xdp_md *ctx)
{
	struct frame *f = bench_frame(ctx);
	__u8 mac[ETH_ALEN];
	__be32 addr;
	__be16 port;

	if (!f)
		return XDP_PASS;
	__builtin_memcpy(mac, f->eth.h_dest, ETH_ALEN);
	__builtin_memcpy(f->eth.h_dest, f->eth.h_source, ETH_ALEN);
	__builtin_memcpy(f->eth.h_source, mac, ETH_ALEN);
	/* Checksums do not see who is who. */
	addr = f->ip.daddr;
	f->ip.daddr = f->ip.saddr;
	f->ip.saddr = addr;
	port = f->udp.dest;
	f->udp.dest = f->udp.source;
	f->udp.source = port;
	return bpf_redirect(ctx->ingress_ifindex, 0);
}

/* Receiver's side, to measure: counts, keeps a few, drops. */
SEC("xdp")
int receive(struct xdp_md *ctx)
{
	struct frame *f = bench_frame(ctx);
	struct sample *s;
	struct count *c;
	__u32 key = 0;

	c = bpf_map_lookup_elem(&received, &key);
	if (!c)
		return XDP_ABORTED;
	if (!f) {
		c->strays++;
		return XDP_PASS;
	}
	if (!(c->packets++ & (SAMPLE_EVERY - 1))) {
		key = (c->packets / SAMPLE_EVERY) % SAMPLES;
		s = bpf_map_lookup_elem(&samples, &key);
		if (s) {
			__builtin_memcpy(s->data, f, FRAME_LEN);
			s->len = ctx->data_end - ctx->data;
		}
	}
	return XDP_DROP;
}
