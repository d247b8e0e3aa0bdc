/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once

#include "common.h"
#include "flow.h"
#include "sctp.h"
#include "tcp.h"
#include "types.h"

/*
 * What a packet makes of its association: nf_conntrack_sctp_packet(). The members
 * of a flow's entries that TCP has its windows in have here: seen.end, the tag that
 * packets of the direction carry; seen.scale, whether an INIT came from there;
 * last.dir and last.retrans, that a heartbeat with another tag came, and whence.
 */

/* Such packets have a tag that nobody knows yet, or is looked at by itself. */
#define SCTP_ANY_TAG                                                        \
	(SCTP_BIT(INIT) | SCTP_BIT(SHUTDOWN_COMPLETE) |                     \
	 SCTP_BIT(COOKIE_ECHO) | SCTP_BIT(ABORT) | SCTP_BIT(SHUTDOWN_ACK) | \
	 SCTP_BIT(HEARTBEAT) | SCTP_BIT(HEARTBEAT_ACK))

/* What an association, as far as anyone here knows, can begin with. */
#define SCTP_BEGINS                                                         \
	(SCTP_BIT(INIT) | SCTP_BIT(INIT_ACK) | SCTP_BIT(SHUTDOWN) |         \
	 SCTP_BIT(SHUTDOWN_ACK) | SCTP_BIT(ERROR) | SCTP_BIT(COOKIE_ECHO) | \
	 SCTP_BIT(HEARTBEAT) | SCTP_BIT(HEARTBEAT_ACK))

/* A chunk, for sctp_step(): its type, and */
#define CHUNK_REFLECTED (1U << 8)
#define CHUNK_WITH_DATA (1U << 9) /* the packet has DATA, too */
#define CHUNK_IGNORED (1U << 10) /* one before it was let through */

/* Both ends of an association, of which one has sent the packet. */
struct sctp_ends {
	struct tcp_seen *own;
	struct tcp_seen *peer;
	struct tcp_last *last;
};

/* The types of a packet's chunks, as bits; 0: they cannot stand together. */
__noinline __u32 sctp_types(struct ctx_buff *ctx, const struct pkt *p)
{
	const __u32 only = SCTP_BIT(INIT) | SCTP_BIT(INIT_ACK) |
			   SCTP_BIT(SHUTDOWN_COMPLETE);
	const __u32 first = SCTP_BIT(COOKIE_ACK) | SCTP_BIT(COOKIE_ECHO);
	__u32 off, bit, types = 0;
	struct sctp_chunk chunk;

	if (!p || p->th_len < SCTP_HEADER)
		return 0;
	off = L4_OFF(p) + SCTP_HEADER;
	repeat(SCTP_CHUNKS_MAX)
	{
		if (sctp_load(ctx, p, off, &chunk) < 0)
			break;
		bit = sctp_bit(chunk.type);
		if (!chunk.length ||
		    (types && (types & only || bit & (only | first))))
			return 0;
		types |= bit;
		off += sctp_stride(&chunk);
	}
	return types;
}

/* What the INIT or INIT ACK says that a packet is of. */
static __always_inline int sctp_load_init(struct ctx_buff *ctx,
					  const struct pkt *p,
					  struct sctp_init *init)
{
	__u32 off = L4_OFF(p) + SCTP_HEADER + sizeof(struct sctp_chunk);

	if (off + sizeof(*init) > p->l3_off + p->len)
		return -1;
	return ctx_load(ctx, off, init, sizeof(*init));
}

/* A heartbeat, or its answer, with another tag than packets had: a first one is let
 * through, to see whether there is an answer. Returns a verdict.
 */
static __always_inline enum tcp_verdict
sctp_heartbeat(const struct sctp_ends *e, __u8 type, __u32 tag, __u8 dir)
{
	struct tcp_last *last = e->last;

	if (type == SCTP_HEARTBEAT) {
		last->retrans = 1;
		last->dir = dir;
		return TCP_IGNORE;
	}
	if (!last->retrans || last->dir == dir)
		return TCP_INVALID;
	last->retrans = 0;
	e->own->end = tag;
	e->peer->end = 0;
	return TCP_KEEP;
}

/* What a chunk has to be like before it changes anything. */
static __always_inline enum tcp_verdict
sctp_check(const struct sctp_ends *e, __u32 chunk, __u32 tag, __u8 dir)
{
	struct tcp_seen *own = e->own, *peer = e->peer;
	__u8 type = chunk;

	switch (type) {
	case SCTP_INIT:
		return tag ? TCP_INVALID : TCP_KEEP;
	case SCTP_ABORT:
	case SCTP_SHUTDOWN_COMPLETE:
		if (chunk & CHUNK_REFLECTED)
			return tag != peer->end ? TCP_INVALID : TCP_KEEP;
	/* fallthrough */
	case SCTP_COOKIE_ECHO:
		return tag != own->end ? TCP_INVALID : TCP_KEEP;
	case SCTP_COOKIE_ACK:
		own->scale = 0;
		peer->scale = 0;
		return TCP_KEEP;
	case SCTP_HEARTBEAT:
	case SCTP_HEARTBEAT_ACK:
		if (own->end && own->end != tag) {
			if (chunk & (CHUNK_WITH_DATA | CHUNK_IGNORED))
				return TCP_INVALID;
			return sctp_heartbeat(e, type, tag, dir);
		}
		if (own->end)
			e->last->retrans = 0;
		own->end = tag;
	}
	return TCP_KEEP;
}

/* What an INIT or an INIT ACK says: the tag that the other end is to send. */
static __always_inline enum tcp_verdict
sctp_learn(const struct sctp_ends *e, __u8 type, __u32 tag, __u32 old)
{
	struct tcp_seen *own = e->own, *peer = e->peer;

	if (type == SCTP_INIT) {
		/* Not if it comes again. */
		if (old == SCTP_NONE || peer->end != tag) {
			if (own->scale)
				peer->scale = 0;
			own->scale = 1;
		}
	} else if (peer->end != tag &&
		   (peer->scale ? own->scale : !!peer->end)) {
		return TCP_INVALID;
	}
	peer->end = tag;
	return TCP_KEEP;
}

/* What a chunk, of a packet with a tag of the direction that has the entry f, makes
 * of its association; init is the tag that an INIT or an INIT ACK is about. Global,
 * so that the verifier goes through it once.
 */
__noinline int sctp_step(struct flow *f, struct flow *twin, __u32 chunk,
			 __u32 tag, __u32 init)
{
	enum tcp_verdict verdict;
	__u8 type = chunk, dir;
	struct sctp_ends e;
	__u32 next;

	if (!f || !twin)
		return TCP_INVALID;
	dir = !!(f->flags & FLOW_REPLY);
	e.own = &f->seen;
	e.peer = &twin->seen;
	e.last = dir ? &twin->last : &f->last;
	verdict = sctp_check(&e, chunk, tag, dir);
	if (verdict != TCP_KEEP || type >= SCTP_TYPE_MAX)
		return verdict;
	next = sctp_transition(type, dir, f->state);
	if (next >= SCTP_STATE_MAX)
		return TCP_INVALID;
	if (type == SCTP_INIT || type == SCTP_INIT_ACK)
		verdict = sctp_learn(&e, type, init, f->state);
	if (verdict != TCP_KEEP)
		return verdict;
	/* An INIT may come as often as it will: the flow lives no longer. */
	if (type == SCTP_INIT && next == SCTP_CLOSED && f->state == SCTP_CLOSED)
		verdict = TCP_IGNORE;
	WRITE_ONCE(f->state, next);
	return verdict;
}

/* Goes through the chunks of a packet, which are of these types. */
__noinline int sctp_walk(struct ctx_buff *ctx, const struct pkt *p,
			 struct flow *f, struct flow *twin, __u32 types)
{
	__u32 off, what, flags, verdict = TCP_KEEP;
	struct sctp_init init = {};
	struct sctp_chunk chunk;

	if (!p || !f || !twin)
		return TCP_INVALID;
	if (!(types & SCTP_ANY_TAG) && *(__u32 *)&p->th[4] != f->seen.end)
		return TCP_INVALID;
	/* They are the only chunk then. */
	if (types & (SCTP_BIT(INIT) | SCTP_BIT(INIT_ACK)) &&
	    sctp_load_init(ctx, p, &init) < 0)
		return TCP_INVALID;
	flags = types & SCTP_BIT(DATA) ? CHUNK_WITH_DATA : 0;
	off = L4_OFF(p) + SCTP_HEADER;
	repeat(SCTP_CHUNKS_MAX)
	{
		if (sctp_load(ctx, p, off, &chunk) < 0)
			break;
		off += sctp_stride(&chunk);
		what = chunk.type | flags;
		if (chunk.flags & SCTP_REFLECTED)
			what |= CHUNK_REFLECTED;
		switch (sctp_step(f, twin, what, *(__u32 *)&p->th[4],
				  init.tag)) {
		case TCP_INVALID:
			return TCP_INVALID;
		case TCP_IGNORE:
			flags |= CHUNK_IGNORED;
			verdict = TCP_IGNORE;
		}
	}
	return verdict;
}

/* Whether the packet may begin an association: what that is like is in the scratch
 * then. Returns its state, or SCTP_NONE.
 */
__noinline int sctp_first(struct ctx_buff *ctx, const struct pkt *p)
{
	struct scratch *s = scratch();
	__u32 types;

	if (!p || !s)
		return SCTP_NONE;
	types = sctp_types(ctx, p);
	if (!types || types & ~SCTP_BEGINS)
		return SCTP_NONE;
	__builtin_memset(&s->fwd, 0, sizeof(s->fwd));
	__builtin_memset(&s->rev, 0, sizeof(s->rev));
	if (types & SCTP_BIT(HEARTBEAT))
		s->fwd.seen.end = *(__u32 *)&p->th[4];
	if (types & SCTP_BIT(SHUTDOWN_ACK))
		s->rev.seen.end = *(__u32 *)&p->th[4];
	if (sctp_walk(ctx, p, &s->fwd, &s->rev, types) == TCP_INVALID)
		return SCTP_NONE;
	s->seen[0] = s->fwd.seen;
	s->seen[1] = s->rev.seen;
	s->last = s->fwd.last;
	return s->fwd.state;
}

/* A packet of the direction that has the entry f. */
__noinline int sctp_packet(struct ctx_buff *ctx, const struct pkt *p,
			   struct flow *f, struct flow *twin,
			   struct tcp_change *change)
{
	__u32 types = sctp_types(ctx, p);
	enum tcp_verdict verdict;
	__u8 old;

	if (!types || !f || !twin || !change)
		return TCP_INVALID;
	old = f->state;
	verdict = sctp_walk(ctx, p, f, twin, types);
	change->state = f->state;
	change->timeout = flow_timeout(f, IPPROTO_SCTP);
	if (f->state == SCTP_ESTABLISHED && old != SCTP_ESTABLISHED) {
		WRITE_ONCE(f->flags, f->flags | FLOW_ASSURED);
		WRITE_ONCE(twin->flags, twin->flags | FLOW_ASSURED);
	}
	/* What the chunks before an invalid one have done stays. */
	if (verdict == TCP_INVALID)
		WRITE_ONCE(twin->state, f->state);
	else
		WRITE_ONCE(f->state, old);
	return verdict;
}
