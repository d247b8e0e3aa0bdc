// SPDX-License-Identifier: GPL-2.0-only

//go:build ignore

/* The least that a router can do: new MAC addresses and out. */

#include "packet.h"

char __license[] SEC("license") = "GPL";

/* Both MAC addresses as they stand in the frame; set before the load. */
volatile const __u32 macs[3];

struct {
	__uint(type, BPF_MAP_TYPE_DEVMAP);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} out SEC(".maps");

SEC("xdp")
int redirect(struct xdp_md *ctx)
{
	struct ethhdr *eth = (void *)(long)ctx->data;
	__u32 *to = (void *)eth;

	if ((void *)(eth + 1) > (void *)(long)ctx->data_end)
		return XDP_ABORTED;
	if (eth->h_proto != bpf_htons(ETH_P_IP) &&
	    eth->h_proto != bpf_htons(ETH_P_IPV6))
		return XDP_PASS;
	to[0] = macs[0];
	to[1] = macs[1];
	to[2] = macs[2];
	return bpf_redirect_map(&out, 0, 0);
}
