/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once

#include "common.h"
#include "marks.h"
#include "types.h"

/*
 * Sends a copy of the frame by an interface: called by generated code, at the
 * hook ingress. The interface's egress program runs inside this call, on the
 * same CPU: it knows the copy by its mark, lets it meet the chains of the
 * interface alone, and for these has working memory of its own.
 */
__noinline int nft_dup(struct ctx_buff *ctx, struct pkt *p, __u32 ifindex)
{
	if (!p)
		return 0;
#if !CTX_XDP
	ctx->tc_index = TC_INDEX_DONE;
	bpf_clone_redirect(ctx, ifindex, 0);
	ctx->tc_index = TC_INDEX_NONE;
#endif
	barrier(); /* or the compiler leaves the call out, and it with that */
	return 0;
}
