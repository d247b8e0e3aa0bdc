// SPDX-License-Identifier: GPL-2.0-only

//go:build ignore

/* The least that a router can do: new MAC addresses and out. */

#include "packet.h"

char __license[] SEC("license") = "GPL";

volatile const __u8 macs[2 * ETH_ALEN]; /* destination, source */

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

	if ((void *)(eth + 1) > (void *)(long)ctx->data_end)
		return XDP_ABORTED;
	if (eth->h_proto != bpf_htons(ETH_P_IP))
		return XDP_PASS;
	__builtin_memcpy(eth->h_dest, (void *)macs, ETH_ALEN);
	__builtin_memcpy(eth->h_source, (void *)macs + ETH_ALEN, ETH_ALEN);
	return bpf_redirect_map(&out, 0, 0);
}
