/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once

#include "common.h"
#include "answer.h"
#include "scratch.h"
#include "types.h"
#include "way_route.h"

/*
 * Chains of the type route, at output: where they change what the route depends on,
 * the packet gets it anew. nf_route_table_hook4(), nf_route_table_hook6().
 */
#define ROUTE_BEGIN 0
#define ROUTE_END 1

static __always_inline int route_is_other(const struct pkt *p,
					  const struct routed *r)
{
	const __u8 *now = p->nh, *then = r->nh;

	if (p->mark != r->mark)
		return 1;
	if (p->nfproto == NFPROTO_IPV4)
		return now[offsetof(struct iphdr, tos)] !=
			       then[offsetof(struct iphdr, tos)] ||
		       __builtin_memcmp(now + offsetof(struct iphdr, saddr),
					then + offsetof(struct iphdr, saddr),
					8);
	return __builtin_memcmp(now, then, 4) ||
	       __builtin_memcmp(now + offsetof(struct ipv6hdr, hop_limit),
				then + offsetof(struct ipv6hdr, hop_limit), 33);
}

/* What goes to all, or to the link: the kernel's route names the interface. */
static __always_inline int route_is_fixed(const struct pkt *p)
{
	const __u8 *to = p->nh + offsetof(struct iphdr, daddr);

	if (p->nfproto == NFPROTO_IPV4)
		return (to[0] & 0xf0) == 0xe0 || *(__u32 *)to == 0xffffffff;
	to = p->nh + offsetof(struct ipv6hdr, daddr);
	return to[0] == 0xff || is_link_local(to);
}

/* Returns 0, or at the end of a chain that there is no route. The new interface is in
 * p->send_by: the output chains behind go on seeing the old one.
 */
__noinline int nft_route(struct ctx_buff *ctx, struct pkt *p, __u32 step)
{
	struct scratch *s = scratch();
	__u32 oif;
	int none;

	if (!p || !s)
		return -1;
	if (step == ROUTE_BEGIN) {
		s->routed.mark = p->mark;
		__builtin_memcpy(s->routed.nh, p->nh, sizeof(p->nh));
		return 0;
	}
	if (!route_is_other(p, &s->routed) || route_is_fixed(p))
		return 0;
	oif = p->oif;
	none = reroute(ctx, p, route_of(s));
	p->send_by = p->oif;
	p->oif = oif;
	return none;
}
