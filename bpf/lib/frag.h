/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once

#include "common.h"
#include "maps.h"
#include "types.h"

/*
 * Fragments on their way out, the router's own and what the kernel has
 * fragmented: they are in order. Later ones carry no ports: they get the
 * transport header of the first one, by source, destination, protocol and
 * identification. The table is bounded and forgets the oldest. Fragments that
 * come in: reasm.h.
 */

#define FRAG_TIMEOUT (30 * TICKS_PER_SEC) /* net.ipv4.ipfrag_time */

/* No transport header of its own: nothing to track or to translate there. */
static __always_inline int is_later_fragment(const struct pkt *p)
{
	return p->fragment != FRAGMENT_NONE && p->fragment <= IP_OFFSET;
}

/* Has less than its datagram, and nobody knows what of it. */
static __always_inline int is_part(const struct pkt *p)
{
	return p->fragment != FRAGMENT_NONE && p->fragment != FRAGMENT_WHOLE;
}

static __always_inline void frag_fill_key(struct frag_key *key,
					  const struct pkt *p, __u32 id)
{
	__builtin_memset(key, 0, sizeof(*key));
	__builtin_memcpy(key->saddr, p->tuple.saddr, 16);
	__builtin_memcpy(key->daddr, p->tuple.daddr, 16);
	key->id = id;
	key->nfproto = p->nfproto;
	/* An IPv6 fragment names the header that follows, which need not be
	 * the transport header (RFC 8200 4.5).
	 */
	if (p->nfproto == NFPROTO_IPV4)
		key->l4proto = p->l4proto;
}

__noinline int frag_find(struct pkt *p, __u32 id)
{
	struct frag_key key;
	struct frag *f;

	if (!p)
		return -1;
	frag_fill_key(&key, p, id);
	f = bpf_map_lookup_elem(&l2_frags, &key);
	if (!f || ticks_after(ns_to_ticks(p->now), f->expires))
		return -1;
	__builtin_memcpy(p->th, f->th, sizeof(p->th));
	p->th_len = f->th_len;
	p->l4proto = f->l4proto;
	return 0;
}

__noinline int frag_remember(struct pkt *p, __u32 id)
{
	struct frag_key key;
	struct frag f = {};

	if (!p)
		return -1;
	frag_fill_key(&key, p, id);
	__builtin_memcpy(f.th, p->th, sizeof(f.th));
	f.th_len = p->th_len;
	f.l4proto = p->l4proto;
	f.expires = ns_to_ticks(p->now) + FRAG_TIMEOUT;
	return bpf_map_update_elem(&l2_frags, &key, &f, BPF_ANY);
}
