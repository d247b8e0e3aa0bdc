/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once

#include "common.h"
#include "iter.h"
#include "types.h"

#include <linux/in6.h>

/*
 * Reading the kernel's own data, for what no helper tells: devices, sockets,
 * routing tables. The loader puts in where the members are in the running
 * kernel. An address that a concurrent change has made stale reads as zeros at
 * worst: the programs run in an RCU section, as the kernel's own readers do.
 */

extern void *bpf_cast_to_kern_ctx(void *ctx) __ksym;
extern void *bpf_rdonly_cast(const void *address, __u32 type) __ksym;

/* BPF_TYPE_ID_TARGET, BPF_FIELD_BYTE_OFFSET and so on of libbpf. */
#define TYPE_ID_TARGET 1
#define FIELD_BYTE_OFFSET 0
#define FIELD_EXISTS 2
#define FIELD_LSHIFT_U64 4
#define FIELD_RSHIFT_U64 5
#define TYPE_SIZE 1
#define ENUM_EXISTS 0
#define ENUM_VALUE 1

/* What is at an address, a pointer or a number, as the verifier is to see it. */
#define kernel_cast(type, address)                                 \
	((type *)bpf_rdonly_cast((const void *)(long)(address),    \
				 __builtin_btf_type_id(*(type *)0, \
						       TYPE_ID_TARGET)))
#define kernel_offset(type, member) \
	__builtin_preserve_field_info(((type *)0)->member, FIELD_BYTE_OFFSET)
#define kernel_sizeof(type) __builtin_preserve_type_info(*(type *)0, TYPE_SIZE)
/* Kernels are built without some members; nft does not take what needs them. */
#define kernel_has(type, member) \
	__builtin_preserve_field_info(((type *)0)->member, FIELD_EXISTS)
/* Where a member is: read from there, a pointer is a number, which the verifier
 * lets one calculate with, and compares by its range only.
 */
#define kernel_address(pointer, member) \
	((__u64)__builtin_preserve_access_index(&(pointer)->member))

#pragma clang attribute push(__attribute__((preserve_access_index)), \
			     apply_to = record)

/* Here because its first member is a number of eight bytes. */
struct timespec64 {
	long long tv_sec;
};

struct list_head {
	struct list_head *next;
};

struct hlist_head {
	struct hlist_node *first;
};

struct hlist_node {
	struct hlist_node *next;
};

struct inet6_ifaddr {
	struct in6_addr addr;
	__u32 prefix_len;
	__u32 flags; /* IFA_F_* */
	struct list_head if_list;
	struct inet6_dev *idev;
};

/* net.ipv6.conf */
struct ipv6_devconf {
	__s32 mtu6;
	__s32 use_tempaddr;
	__s32 optimistic_dad;
	__s32 use_optimistic;
	__s32 use_oif_addrs_only;
};

struct inet6_dev {
	struct net_device *dev;
	struct list_head addr_list;
	struct ipv6_devconf cnf;
};

struct rtnl_link_ops {
	const char *kind;
};

typedef struct {
	struct net *net;
} possible_net_t;

typedef struct {
	int counter;
} atomic_t;

struct net_device {
	char name[16];
	unsigned int flags;
	unsigned int mtu;
	unsigned short type;
	int group;
	int ifindex;
	unsigned long priv_flags : 32; /* IFF_* of the kernel's own */
	possible_net_t nd_net;
	struct list_head dev_list;
	struct hlist_node index_hlist;
	struct rtnl_link_ops *rtnl_link_ops;
	struct in_device *ip_ptr;
	struct inet6_dev *ip6_ptr;
};

struct fib_table;
struct fib6_table;

struct netns_ipv4 {
	struct fib_table *fib_main;
	struct fib_table *fib_default;
	_Bool fib_has_custom_rules;
	struct hlist_head *fib_table_hash;
	atomic_t fib_num_tclassid_users;
};

struct netns_ipv6 {
	struct ipv6_devconf *devconf_all;
	struct fib6_info *fib6_null_entry;
	struct fib6_table *fib6_main_tbl;
	struct fib6_table *fib6_local_tbl;
	_Bool fib6_has_custom_rules;
	unsigned int fib6_routes_require_src;
	struct {
		struct hlist_head head;
	} ip6addrlbl_table;
};

struct net {
	struct list_head dev_base_head;
	struct hlist_head *dev_index_head;
	struct net_device *loopback_dev;
	struct netns_ipv4 ipv4;
	struct netns_ipv6 ipv6;
};

struct sk_buff {
	struct net_device *dev;
	struct sock *sk;
	unsigned long _skb_refdst;
	unsigned long ip_summed : 2;
	__u8 active_extensions;
};

struct xdp_rxq_info {
	struct net_device *dev;
};

struct xdp_buff {
	struct xdp_rxq_info *rxq;
};

#pragma clang attribute pop

/* include/uapi/linux/if.h */
#define IFF_UP 1

/* include/uapi/linux/if_addr.h */
#define IFA_F_OPTIMISTIC 0x04
#define IFA_F_DEPRECATED 0x20
#define IFA_F_TENTATIVE 0x40

/* The eight bytes at an address, four, or one. */
static __always_inline __u64 kernel_u64(__u64 address)
{
	return kernel_cast(struct timespec64, address)->tv_sec;
}

static __always_inline __u32 kernel_u32(__u64 address)
{
	return kernel_cast(struct in6_addr, address)->in6_u.u6_addr32[0];
}

static __always_inline __u8 kernel_u8(__u64 address)
{
	return kernel_cast(struct in6_addr, address)->in6_u.u6_addr8[0];
}

/* A bit field, of at most eight bytes from its beginning on, at a pointer or a
 * number; wherever a kernel has it.
 */
#define kernel_bits(type, address, member)                             \
	(kernel_u64((__u64)(address) +                                 \
		    __builtin_preserve_field_info(((type *)0)->member, \
						  FIELD_BYTE_OFFSET))  \
		 << __builtin_preserve_field_info(((type *)0)->member, \
						  FIELD_LSHIFT_U64) >> \
	 __builtin_preserve_field_info(((type *)0)->member, FIELD_RSHIFT_U64))

#if !CTX_XDP
#define SKB_CHECKSUM_PARTIAL 3 /* CHECKSUM_PARTIAL of linux/skbuff.h */

/* Whether the interface that the packet leaves by finishes its transport checksum:
 * until then the field has the sum of the pseudo header.
 */
static __always_inline int skb_is_partial(struct __sk_buff *skb)
{
	return kernel_bits(struct sk_buff, bpf_cast_to_kern_ctx(skb),
			   ip_summed) == SKB_CHECKSUM_PARTIAL;
}
#endif

/* The device that the packet is at: that of arrival, or at TC egress that of
 * departure.
 */
static __always_inline struct net_device *ctx_device(struct ctx_buff *ctx)
{
#if CTX_XDP
	struct xdp_buff *xdp = bpf_cast_to_kern_ctx(ctx);

	return xdp->rxq->dev;
#else
	struct sk_buff *skb = bpf_cast_to_kern_ctx(ctx);

	return skb->dev;
#endif
}

static __always_inline struct net *ctx_net(struct ctx_buff *ctx)
{
	return ctx_device(ctx)->nd_net.net;
}

#define NETDEV_HASHENTRIES 256
/* Indexes are below 65536 (l2_ifaces): as many as can share a bucket. */
#define NETDEV_HASH_DEPTH 256

/* The device of an index, or NULL; __dev_get_by_index() of the kernel. */
static __always_inline struct net_device *device_by_index(struct net *net,
							  __u32 ifindex)
{
	__u64 node = kernel_u64(kernel_address(net, dev_index_head));
	__u64 found = 0;

	node = kernel_u64(node + 8 * (ifindex & (NETDEV_HASHENTRIES - 1)));
	repeat(NETDEV_HASH_DEPTH)
	{
		if (!node)
			break;
		found = node - kernel_offset(struct net_device, index_hlist);
		if (kernel_cast(struct net_device, found)->ifindex == ifindex)
			break;
		found = 0;
		node = kernel_u64(node);
	}
	return found ? kernel_cast(struct net_device, found) : NULL;
}

/*
 * Where rules want an answer: in the slots of p->regs from the one on that the
 * top bits of a question have. The other bits are the question's own.
 */
#define ANSWER_SHIFT 16
#define ANSWER_SLOTS 8
#define ANSWER(p, question)                                                 \
	((void *)&(p)                                                       \
		 ->regs[((question) >> ANSWER_SHIFT & (ANSWER_SLOTS - 1)) * \
			8])
