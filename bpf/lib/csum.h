/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once

#include "common.h"

/* Internet checksum arithmetic (RFC 1071, RFC 1624) on 32-bit partial sums. */

static __always_inline __u32 csum_fold64(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffffffff) + (sum >> 32);
	return sum;
}

/* Of a sum below 2^48: its three words first, which need not wait for each other. */
static __always_inline __u16 csum_fold(__u64 sum)
{
	sum = (sum & 0xffff) + (sum >> 16 & 0xffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

/* Difference that replacing from by to makes; words 32-bit words each. */
static __always_inline __u32 csum_diff(const void *from, const void *to,
				       int words)
{
	const __u32 *a = from, *b = to;
	__u64 sum = 0;
	int i;

#pragma unroll
	for (i = 0; i < words; i++) {
		sum += (__u32)~a[i];
		sum += b[i];
	}
	return csum_fold64(sum);
}

static __always_inline __u32 csum_diff16(__u16 from, __u16 to)
{
	return (__u32)(__u16)~from + to;
}

static __always_inline __u32 csum_add(__u32 a, __u32 b)
{
	return csum_fold64((__u64)a + b);
}

/* The checksum field after a difference has been added, or the sum of some. */
static __always_inline __u16 csum_apply(__u16 csum, __u64 diff)
{
	return ~csum_fold((__u16)~csum + diff);
}

#define IPV4_OPTIONS_MAX 40

/* Whether an IPv4 header sums up; 16-bit aligned. Its options, if it has any,
 * are filled up with zeros.
 */
static __always_inline int
ipv4_header_valid(const void *header, const __u32 *options, int has_options)
{
	const __u32 *w = header;
	__u64 sum = (__u64)w[0] + w[1] + w[2] + w[3] + w[4];
	int i;

	if (has_options)
		for (i = 0; i < IPV4_OPTIONS_MAX / 4; i++)
			sum += options[i];
	return csum_fold(sum) == 0xffff;
}

/* What a change of addresses does to a checksum over them; 0: nothing. */
static __always_inline __u32 csum_addr_diff(const __u8 *from, const __u8 *to)
{
	if (!__builtin_memcmp(from, to, 16))
		return 0;
	return csum_diff(from, to, 4);
}

static __always_inline __u32 csum_port_diff(__be16 from, __be16 to)
{
	return from == to ? 0 : csum_diff16(from, to);
}

/* The difference that the way back makes. Not 0, which means no change, when
 * the change happens to leave the sum as it is.
 */
static __always_inline __u32 csum_neg(__u32 diff)
{
	return diff && ~diff ? ~diff : diff;
}
