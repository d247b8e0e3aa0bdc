/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once

#include "common.h"
#include "forward.h"
#include "kernel.h"
#include "maps.h"
#include "types.h"

/*
 * VLANs at XDP, where a frame still has its tag: it is of the VLAN's device, and
 * the device's frames leave by its NIC. One tag, in the frame: the loader sees to
 * it that the NIC leaves it there.
 */

/* 1: there are VLAN devices that XDP receives and sends for; set by the loader. */
volatile const __u32 xdp_vlans = 0;

struct vlan_ethhdr {
	__u8 h_dest[ETH_ALEN];
	__u8 h_source[ETH_ALEN];
	__be16 proto;
	__be16 tci;
	__be16 h_proto;
};

#define VLAN_HLEN 4
#define VLAN_ID(tci) (bpf_ntohs(tci) & 0xfff)

static __always_inline void vlan_move_macs(void *to, const void *from)
{
	__u8 macs[2 * ETH_ALEN];

	__builtin_memcpy(macs, from, sizeof(macs));
	__builtin_memcpy(to, macs, sizeof(macs));
}

static __always_inline int vlan_is_tag(__be16 proto)
{
	return proto == bpf_htons(ETH_P_8021Q) ||
	       proto == bpf_htons(ETH_P_8021AD);
}

/* The device of the VLAN that a frame is of; 0: none. The protocol is that behind
 * the tag.
 */
static __always_inline __u32 vlan_device(struct xdp_md *ctx, __be16 *protocol)
{
	void *data_end = CTX_POINTER(ctx, data_end);
	struct vlan_ethhdr *eth = CTX_POINTER(ctx, data);
	struct vlan_key key = {};
	__u32 *device;

	if ((void *)(eth + 1) > data_end)
		return 0;
	key.parent = ctx->ingress_ifindex;
	key.proto = eth->proto;
	key.id = VLAN_ID(eth->tci);
	*protocol = eth->h_proto;
	device = bpf_map_lookup_elem(&l2_vlans, &key);
	return device ? *device : 0;
}

/* The stack drops what comes for a device that is down; nothing else here would. */
static __always_inline int vlan_is_up(struct xdp_md *ctx, __u32 ifindex)
{
	struct net_device *dev = device_by_index(ctx_net(ctx), ifindex);

	return dev && dev->flags & IFF_UP;
}

/* XDP finishes the packet: it is one without a tag from here on. */
static __always_inline int vlan_untag(struct xdp_md *ctx, struct pkt *p)
{
	void *data_end = CTX_POINTER(ctx, data_end);
	void *data = CTX_POINTER(ctx, data);

	if (data + sizeof(struct vlan_ethhdr) > data_end)
		return -1;
	vlan_move_macs(data + VLAN_HLEN, data);
	p->l3_off = ETH_HLEN;
	p->l4_off -= VLAN_HLEN;
	return bpf_xdp_adjust_head(ctx, VLAN_HLEN);
}

/* Gives the packet the tag of the device that it leaves by, if that is a VLAN's.
 * Returns the interface to send by, or 0.
 */
static __always_inline __u32 vlan_leave(struct xdp_md *ctx, __u32 oif)
{
	struct iface *iface = bpf_map_lookup_elem(&l2_ifaces, &oif);
	struct vlan_ethhdr *eth;

	if (!iface)
		return 0;
	if (!iface->parent)
		return oif;
	if (bpf_xdp_adjust_head(ctx, -VLAN_HLEN))
		return 0;
	eth = CTX_POINTER(ctx, data);
	if ((void *)(eth + 1) > CTX_POINTER(ctx, data_end))
		return 0;
	vlan_move_macs(eth, (void *)eth + VLAN_HLEN);
	eth->proto = iface->vlan_proto;
	eth->tci = iface->vlan_tci;
	return iface->parent;
}
