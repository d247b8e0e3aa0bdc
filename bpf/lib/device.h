/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once

#include "common.h"
#include "kernel.h"
#include "types.h"

/* What rules ask of the interfaces beyond index and name. */

#define DEVICE_IN 0
#define DEVICE_OUT (1U << 0)
#define DEVICE_GROUP (1U << 1)
#define DEVICE_TYPE (2U << 1)
#define DEVICE_KIND (3U << 1)
#define DEVICE_PROPERTY (3U << 1)

#define DEVICE_NAME_LEN 16 /* IFNAMSIZ */

/* A string of the kernel's, padded with zeros. */
static __always_inline void kernel_string(__u64 from, __u8 *to)
{
	int i;

	for (i = 0; i < DEVICE_NAME_LEN; i++) {
		to[i] = kernel_u8(from + i);
		if (!to[i])
			break;
	}
}

/* The name of an interface; without one it is empty. */
static __always_inline void device_name(struct net *net, __u32 ifindex,
					__u8 *to)
{
	struct net_device *dev = device_by_index(net, ifindex);

	if (dev)
		kernel_string(kernel_address(dev, name), to);
}

/* Loads a property; returns whether there is one. nft_meta_get_eval(). */
__noinline int nft_device(struct ctx_buff *ctx, struct pkt *p, __u32 question)
{
	struct net_device *dev;
	__u64 *kind;
	__u32 ifindex;

	if (!p)
		return 0;
	ifindex = question & DEVICE_OUT ? p->oif : p->iif;
	if (!ifindex)
		return 0;
	dev = device_by_index(ctx_net(ctx), ifindex);
	if (!dev)
		return 0;
	switch (question & DEVICE_PROPERTY) {
	case DEVICE_GROUP:
		*(__u32 *)ANSWER(p, question) = dev->group;
		return 1;
	case DEVICE_TYPE:
		*(__u16 *)ANSWER(p, question) = dev->type;
		return 1;
	case DEVICE_KIND:
		if (!dev->rtnl_link_ops)
			return 0;
		kind = ANSWER(p, question);
		kind[0] = 0;
		kind[1] = 0;
		kernel_string((__u64)dev->rtnl_link_ops->kind, (__u8 *)kind);
		return 1;
	}
	return 0;
}
