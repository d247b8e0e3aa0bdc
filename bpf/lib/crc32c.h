/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once

#include "common.h"
#include "iter.h"

/*
 * CRC32c (RFC 9260, appendix A) of what has changed. A CRC is linear: that of a
 * packet, and that of what is different in it, all else being zero, add up to that
 * of the packet as it is now. So nothing but the changed bytes is read.
 */

#define CRC32C_POLYNOMIAL 0x82f63b78 /* bits reversed */

/* x^(8 * 2^i) modulo the polynomial: 2^i bytes of zeros. */
static const __u32 crc32c_zeros[] = {
	0x00800000, 0x00008000, 0x82f63b78, 0x6ea2d55c, 0x18b8ea18, 0x510ac59a,
	0xb82be955, 0xb8fdb1e7, 0x88e56f72, 0x74c360a4, 0xe4172b16, 0x0d65762a,
	0x35d73a62, 0x28461564, 0xbf455269, 0xe2ea32dc, 0xfe7740e6,
};

#define CRC32C_ZEROS (sizeof(crc32c_zeros) / sizeof(crc32c_zeros[0]))

/* The product of two polynomials, modulo the one of the CRC. The bits are factors,
 * and not masks: of these the verifier looks at both values, each time.
 */
__noinline __u32 crc32c_multiply(__u32 a, __u32 b)
{
	__u32 product = 0, high, low;
	int i;

#pragma unroll
	for (i = 0; i < 32; i++) {
		high = a >> 31;
		low = b & 1;
		barrier_var(high);
		barrier_var(low);
		product ^= high * b;
		a <<= 1;
		b = b >> 1 ^ low * CRC32C_POLYNOMIAL;
	}
	return product;
}

/* The CRC of the bytes so far, and n bytes of zeros, of 128 KiB at most. */
__noinline __u32 crc32c_skip(__u32 crc, __u32 n)
{
	__u32 i = 0;

	repeat(CRC32C_ZEROS)
	{
		if (i >= CRC32C_ZEROS)
			break;
		if (n >> i & 1)
			crc = crc32c_multiply(crc32c_zeros[i], crc);
		i++;
	}
	return crc;
}

/* The CRC of the bytes so far, and four more, in the packet's order. */
static __always_inline __u32 crc32c_add(__u32 crc, __u32 bytes)
{
	return crc32c_skip(crc ^ bytes, sizeof(bytes));
}
