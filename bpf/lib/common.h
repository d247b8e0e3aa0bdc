/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once

#include <stddef.h>
/* Headers differ in these, or lack them: gc.h and iter.h have their own, for the
 * same object whatever the headers.
 */
#define bpf_timer bpf_timer_uapi
#define bpf_wq bpf_wq_uapi
#define bpf_iter_num bpf_iter_num_uapi
#include <linux/bpf.h>
#undef bpf_timer
#undef bpf_wq
#undef bpf_iter_num
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/icmpv6.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

/* Whether n, a variable, is min to max, as a helper's length has to be. Each is a
 * comparison of n itself: clang would make one of n - min, which tells Linux 6.12
 * nothing of n. The first is max, as n may have begun below zero: Linux 7 knows
 * that, and that it is not zero is news only at the end of what it can be.
 */
#define in_bounds(n, min, max)   \
	(({                      \
		 barrier_var(n); \
		 (n) <= (max);   \
	 }) &&                   \
	 ({                      \
		 barrier_var(n); \
		 (n) >= (min);   \
	 }))

/* Read or write a field that another CPU may write at the same time, once. */
#define READ_ONCE(x) (*(const volatile typeof(x) *)&(x))
#define WRITE_ONCE(x, v) (*(volatile typeof(x) *)&(x) = (v))

#define AF_INET 2
#define AF_INET6 10
#define AF_PACKET 17

#define LOOPBACK_IFINDEX 1 /* lo, in every namespace */

/* include/uapi/linux/icmp.h, which pulls in the C library. */
#define ICMP_ECHOREPLY 0
#define ICMP_DEST_UNREACH 3
#define ICMP_SOURCE_QUENCH 4
#define ICMP_REDIRECT 5
#define ICMP_ECHO 8
#define ICMP_TIME_EXCEEDED 11
#define ICMP_PARAMETERPROB 12
#define ICMP_TIMESTAMP 13
#define ICMP_TIMESTAMPREPLY 14
#define ICMP_INFO_REQUEST 15
#define ICMP_INFO_REPLY 16
#define ICMP_ADDRESS 17
#define ICMP_ADDRESSREPLY 18
#define ICMP_CSUM_OFF 2 /* ICMPv6 too */

#define NFPROTO_IPV4 2
#define NFPROTO_IPV6 10

#define NF_DROP 0
#define NF_ACCEPT 1

/* include/uapi/linux/netfilter/nf_conntrack_common.h */
#define CT_STATE_INVALID (1U << 0)
#define CT_STATE_ESTABLISHED (1U << 1)
#define CT_STATE_RELATED (1U << 2)
#define CT_STATE_NEW (1U << 3)
#define CT_STATE_UNTRACKED (1U << 6)

#define __maybe_unused \
	__attribute__((unused)) /* by a program that includes it */

#define IP_MF 0x2000
#define IP_OFFSET 0x1fff
#define IP_DF 0x4000

/* include/uapi/linux/bpf.h of the kernels that l2d supports; the headers of
 * the distribution may be older.
 */
#define FIB_LOOKUP_SKIP_NEIGH (1U << 2)
#define FIB_LOOKUP_SRC (1U << 4)
#define FIB_LOOKUP_MARK (1U << 5)
#define CSUM_IPV6 (1ULL << 7) /* BPF_F_IPV6 */
#define TCX_NEXT -1
#define TCX_DROP 2
#define TCX_REDIRECT 7

/* An address of 16 bytes, copied in the units that it is compared in: a load waits for
 * stores that it would have to put together.
 */
struct addr_halves {
	__u64 half[2];
};

static __always_inline void addr_copy(void *to, const void *from)
{
	*(struct addr_halves *)to = *(const struct addr_halves *)from;
}

struct bpf_map;

/* A packet pointer of a context, whole: the compiler takes the 32 bits that the
 * member is declared with at their word, and would keep no more than those.
 */
#define CTX_POINTER(ctx, member)                                           \
	({                                                                 \
		void *pointer;                                             \
		asm volatile(                                              \
			"%[p] = *(u32 *)(%[c] + %[off])"                   \
			: [p] "=r"(pointer)                                \
			: [c] "r"(ctx), [off] "i"(offsetof(typeof(*(ctx)), \
							   member)));      \
		pointer;                                                   \
	})

/* Coarse clock of flow entries: 2^27 ns, about 134 ms, wraps after 18 years. */
#define TICK_SHIFT 27
#define TICKS_PER_SEC 8

static __always_inline __u32 ns_to_ticks(__u64 ns)
{
	return ns >> TICK_SHIFT;
}

/* For what is more exact: 2^20 ns, about 1 ms, comes round after 52 days. */
#define MS_SHIFT 20

static __always_inline __u32 ns_to_ms(__u64 ns)
{
	return ns >> MS_SHIFT;
}

/* Comes round after 49 days. */
static __always_inline __u32 nsecs_to_msecs(__u64 ns)
{
	return ns / 1000000;
}

static __always_inline int ticks_after(__u32 a, __u32 b)
{
	return (__s32)(a - b) > 0;
}
