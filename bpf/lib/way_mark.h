/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once

#include "awaited.h"
#include "common.h"
#include "half_way.h"
#include "maps.h"
#include "marks.h"
#include "ours.h"
#include "types.h"

/* What the mark of marks.h says at egress, and whether it is one. */

/* The router's own packet that was sent another way mostly has its socket: on
 * the way from another namespace it would have lost it.
 */
static __always_inline int has_own_socket(struct __sk_buff *skb)
{
	return !skb->ingress_ifindex && skb->sk;
}

static __always_inline int is_done(struct __sk_buff *skb)
{
	return mark_of(skb) == TC_INDEX_DONE &&
	       (is_ours(skb) || has_own_socket(skb));
}

/* Whether the packet of key was sent another way and has none, as resets of
 * IPv6 and what came by an interface without programs.
 */
static __always_inline int is_done_without(struct __sk_buff *skb,
					   const struct tuple *key)
{
	return mark_of(skb) == TC_INDEX_DONE && is_awaited(key);
}

static __always_inline int is_half_done(struct __sk_buff *skb)
{
	return (mark_of(skb) & ~HALF_WAY_SLOTS_MASK) == TC_INDEX_SNAT &&
	       is_ours(skb);
}
