/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/udp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

/* 64 bytes on the wire, of which the last four are the frame check sequence. */
#define FRAME_LEN 60

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

_Static_assert(sizeof(struct frame) == FRAME_LEN, "frame");

/* The packet, if it is one of the bench's; NULL for what the stacks say. */
static __always_inline struct frame *bench_frame(struct xdp_md *ctx)
{
	struct frame *f = (void *)(long)ctx->data;

	if ((void *)(f + 1) > (void *)(long)ctx->data_end)
		return NULL;
	if (f->eth.h_proto != bpf_htons(ETH_P_IP) ||
	    f->ip.protocol != IPPROTO_UDP || f->magic != MAGIC)
		return NULL;
	return f;
}
