// SPDX-License-Identifier: GPL-2.0-only

//go:build ignore

/* The least that a blocklist can do: one lookup of the sender, and drop. */

#include "packet.h"

char __license[] SEC("license") = "GPL";

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1); /* set before the load */
	__type(key, __be32);
	__type(value, __u8);
} blocked SEC(".maps");

SEC("xdp")
int drop(struct xdp_md *ctx)
{
	struct frame *f = (void *)(long)ctx->data;
	__be32 sender;

	if ((void *)(f + 1) > (void *)(long)ctx->data_end ||
	    f->eth.h_proto != bpf_htons(ETH_P_IP))
		return XDP_PASS;
	sender = f->ip.saddr;
	return bpf_map_lookup_elem(&blocked, &sender) ? XDP_DROP : XDP_PASS;
}
