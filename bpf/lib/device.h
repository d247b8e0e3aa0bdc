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
#define DEVICE_SLAVE (4U << 1) /* of a VRF: its index, or 0 */
#define DEVICE_SLAVE_NAME (5U << 1)
#define DEVICE_PROPERTY (7U << 1)

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

enum netdev_priv_flags___l2d {
	IFF_L3MDEV_SLAVE___l2d,
	IFF_L3MDEV_MASTER___l2d,
};

#define L3MDEV_SLAVE(what)             \
	__builtin_preserve_enum_value( \
		*(enum netdev_priv_flags___l2d *)IFF_L3MDEV_SLAVE___l2d, what)

static __always_inline int device_is_slave(struct net_device *dev)
{
	return L3MDEV_SLAVE(ENUM_EXISTS) &&
	       kernel_bits(struct net_device, dev, priv_flags) &
		       L3MDEV_SLAVE(ENUM_VALUE);
}

#define L3MDEV_MASTER(what)                                               \
	__builtin_preserve_enum_value(                                    \
		*(enum netdev_priv_flags___l2d *)IFF_L3MDEV_MASTER___l2d, \
		what)

static __always_inline int device_is_master(struct net_device *dev)
{
	return L3MDEV_MASTER(ENUM_EXISTS) &&
	       kernel_bits(struct net_device, dev, priv_flags) &
		       L3MDEV_MASTER(ENUM_VALUE);
}

/*
 * The interface below the VRF that a packet has come by; 0, and no name, without
 * one: inet_sdif(), inet6_sdif().
 */
static __always_inline void device_below(struct pkt *p, struct net_device *dev,
					 __u32 question)
{
	__u64 *answer = ANSWER(p, question);
	int slave = dev && device_is_slave(dev);

	answer[0] = 0;
	if ((question & DEVICE_PROPERTY) == DEVICE_SLAVE) {
		if (slave)
			*(__u32 *)answer = p->iif;
		return;
	}
	answer[1] = 0;
	if (slave)
		kernel_string(kernel_address(dev, name), (__u8 *)answer);
}

/*
 * The interface that a question is about. The type is not of the one that the
 * packet came in by, but of that which it is at: skb->dev.
 */
static __always_inline __u32 device_asked(const struct pkt *p, __u32 question)
{
	if (question & DEVICE_OUT)
		return p->oif;
	if ((question & DEVICE_PROPERTY) == DEVICE_TYPE &&
	    (p->hook == NF_INET_POST_ROUTING || p->hook == NF_EGRESS))
		return p->oif;
	return p->iif;
}

/* Loads a property; returns whether there is one. nft_meta_get_eval(). */
__noinline int nft_device(struct ctx_buff *ctx, struct pkt *p, __u32 question)
{
	struct net_device *dev;
	__u64 *kind;
	__u32 ifindex;

	if (!p)
		return 0;
	ifindex = device_asked(p, question);
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
	case DEVICE_SLAVE:
	case DEVICE_SLAVE_NAME:
		device_below(p, dev, question);
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
