/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once

#include "common.h"
#include "kernel.h"
#include "types.h"

enum skb_ext_id___l2d {
	SKB_EXT_SEC_PATH___l2d,
};

#define SECPATH(what)                  \
	__builtin_preserve_enum_value( \
		*(enum skb_ext_id___l2d *)SKB_EXT_SEC_PATH___l2d, what)

/* Loads whether IPsec has let the packet in: secpath_exists(). What it has
 * decrypted does not come by XDP.
 */
__noinline int nft_secpath(struct ctx_buff *ctx, struct pkt *p, __u32 question)
{
	__u64 exists = 0;

	if (!p)
		return 0;
#if !CTX_XDP
	struct sk_buff *skb = bpf_cast_to_kern_ctx(ctx);

	if (SECPATH(ENUM_EXISTS))
		exists = skb->active_extensions >> SECPATH(ENUM_VALUE) & 1;
#endif
	*(__u64 *)ANSWER(p, question) = exists;
	return 1;
}
