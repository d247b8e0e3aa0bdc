/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once

#include "parse.h"
#include "reasm.h"
#include "release.h"
#include "way.h"
#include "way_send.h"

#define FRAGMENT_GOES_ON -2 /* no verdict */

/*
 * A fragment's way. Returns the verdict, but for the one that stands for its
 * datagram, and is parsed as such: FRAGMENT_GOES_ON. Global: off the way of other
 * packets, and verified once.
 */
__noinline int fragment(struct __sk_buff *skb, struct pkt *p)
{
	struct scratch *s = scratch();
	int slot, way = FRAGMENT_HELD;

	if (!p || !s)
		return TCX_DROP;
	slot = s->slot;
	if (slot >= 0) {
		way = released(skb, p, slot);
	} else if (s->l4.atomic) {
		way = unwrap(skb, p);
	} else {
		slot = reasm_take(skb, p);
		if (slot >= 0)
			way = release(skb, p, slot);
	}
	switch (way) {
	case FRAGMENT_RELEASE:
		return TCX_REDIRECT;
	case FRAGMENT_PASS:
		return TCX_NEXT;
	case FRAGMENT_SEND:
		count(STAT_TC_FORWARDED);
		return send_by(skb, p, route_of(s), TC_INDEX_DONE);
	case FRAGMENT_BEGIN:
		if (parse(skb, p, 0) != PARSE_OK)
			return drop(STAT_DROP_MALFORMED);
		s->key = p->tuple;
		return FRAGMENT_GOES_ON;
	}
	return TCX_DROP;
}

/* The packet is on its way; what it stands for follows. Returns the verdict. */
static __always_inline int accept(struct __sk_buff *skb, struct pkt *p,
				  int verdict)
{
	if (unlikely(p->fragment == FRAGMENT_WHOLE) && verdict != TCX_DROP)
		return release_accept(skb, p, verdict);
	return verdict;
}
