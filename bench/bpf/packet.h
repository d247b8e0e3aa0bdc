/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once

#include <stddef.h>
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/udp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

/* Without the frame check sequence, four bytes. IPv4's are the shortest that
 * Ethernet has; IPv6's are longer.
 */
#define FRAME_LEN 60
#define FRAME6_LEN 66
#define MAX_FRAME_LEN 1514

/* First payload bytes of each packet of the bench; "l2b!" */
#define MAGIC bpf_htonl(0x6c326221)

struct frame {
	struct ethhdr eth;
	struct iphdr ip;
	struct udphdr udp;
	__be32 magic;
	__u8 fill[FRAME_LEN - sizeof(struct ethhdr) - sizeof(struct iphdr) -
		  sizeof(struct udphdr) - sizeof(__be32)];
} __attribute__((packed, aligned(2)));

struct frame6 {
	struct ethhdr eth;
	struct ipv6hdr ip;
	struct udphdr udp;
	__be32 magic;
} __attribute__((packed, aligned(2)));

_Static_assert(sizeof(struct frame) == FRAME_LEN, "frame");
_Static_assert(sizeof(struct frame6) == FRAME6_LEN, "frame6");

/* What differs between the packets of a run, of either family. */
struct view {
	struct ethhdr *eth;
	__be32 *saddr, *daddr; /* their last 32 bits */
	struct udphdr *udp;
};

/* A packet of the bench; NULL in eth for what the stacks say. */
static __always_inline struct view bench_view(struct xdp_md *ctx, int ipv6)
{
	struct view none = {};
	void *end = (void *)(long)ctx->data_end;
	struct frame6 *f6 = (void *)(long)ctx->data;
	struct frame *f = (void *)f6;

	if (ipv6) {
		if ((void *)(f6 + 1) > end ||
		    f6->eth.h_proto != bpf_htons(ETH_P_IPV6) ||
		    f6->ip.nexthdr != IPPROTO_UDP || f6->magic != MAGIC)
			return none;
		return (struct view){
			.eth = &f6->eth,
			.saddr = &f6->ip.saddr.in6_u.u6_addr32[3],
			.daddr = &f6->ip.daddr.in6_u.u6_addr32[3],
			.udp = &f6->udp,
		};
	}
	if ((void *)(f + 1) > end || f->eth.h_proto != bpf_htons(ETH_P_IP) ||
	    f->ip.protocol != IPPROTO_UDP || f->magic != MAGIC)
		return none;
	return (struct view){
		.eth = &f->eth,
		.saddr = (void *)f + offsetof(struct frame, ip.saddr),
		.daddr = (void *)f + offsetof(struct frame, ip.daddr),
		.udp = &f->udp,
	};
}
