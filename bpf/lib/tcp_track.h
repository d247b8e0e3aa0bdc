/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once

#include "common.h"
#include "flow.h"
#include "scratch.h"
#include "tcp.h"
#include "tcp_window.h"
#include "types.h"

/* What a segment makes of its connection: nf_conntrack_tcp_packet(). */

/* States in which a connection's numbers may be those of an older one. */
static __always_inline int tcp_is_closing(__u8 state)
{
	return state >= TCP_FIN_WAIT && state <= TCP_CLOSE;
}

static __always_inline int tcp_is_assured(const struct flow *f)
{
	return f->state == TCP_ESTABLISHED && f->flags & FLOW_ASSURED;
}

/* A segment that is let through without belief in it. */
static __always_inline enum tcp_verdict
tcp_ignore(struct ctx_buff *ctx, const struct pkt *p, struct tcp_last *last,
	   __u8 dir, __u32 event, __u8 state)
{
	struct scratch *s = scratch();

	last->event = event;
	last->dir = dir;
	last->seq = tcp_seq(p);
	last->end = tcp_end(p);
	last->win = tcp_window(p);
	if (event == EVENT_SYN && !dir && s) {
		struct tcp_seen *syn = &s->seen[0];

		syn->flags = 0;
		syn->scale = 0;
		tcp_read_syn(ctx, p, syn);
		last->flags = syn->flags & (SEEN_SCALE | SEEN_SACK);
		last->scale = syn->scale;
		if (state == TCP_LAST_ACK)
			last->flags |= LAST_CHALLENGE;
	}
	if (state == TCP_SYN_SENT && event == EVENT_ACK && dir)
		last->ack = tcp_ack(p);
	return TCP_IGNORE;
}

/* What a reset has to be like; the rest is the window's matter. Returns
 * TCP_KEEP for the window, TCP_IGNORE for none, or TCP_INVALID.
 */
static __always_inline enum tcp_verdict
tcp_check_rst(const struct pkt *p, const struct settings *s,
	      const struct flow *f, const struct tcp_seen *receiver,
	      const struct tcp_last *last, __u8 dir, __u8 *state)
{
	__u32 seq = tcp_seq(p);

	if (tcp_is_closing(f->state))
		return TCP_IGNORE;
	/* The answer to a challenge to a SYN, from whichever end. */
	if (f->state == TCP_SYN_SENT && last->dir && last->event == EVENT_ACK &&
	    seq == last->ack)
		return TCP_IGNORE;
	if (receiver->flags & SEEN_MAXACK && last->event != EVENT_SYN) {
		if (!seq && !tcp_is_assured(f))
			return TCP_KEEP;
		if (seq_before(seq, receiver->maxack) && !s->tcp_any_rst)
			return TCP_INVALID;
		if (!tcp_is_assured(f) || seq == receiver->maxack)
			return TCP_KEEP;
		if (last->event == EVENT_ACK && last->dir == dir &&
		    seq == last->end)
			return TCP_KEEP;
		/* The other end may answer with a challenge. */
		*state = f->state;
	}
	if (((f->flags & FLOW_SEEN_REPLY && last->event == EVENT_SYN &&
	      last->dir != dir) ||
	     (!(f->flags & FLOW_ASSURED) && last->event == EVENT_ACK)) &&
	    tcp_ack(p) == last->end)
		return TCP_IGNORE;
	return TCP_KEEP;
}

/* An end of an assured connection that is not in the window: if both ends do
 * it, the connection is not what it seems, and does not stay for long.
 */
static __always_inline void tcp_note_invalid(const struct pkt *p,
					     const struct settings *s,
					     struct flow *f, struct flow *twin,
					     struct tcp_last *last, __u8 dir,
					     __u32 event)
{
	__u32 now = ns_to_ticks(p->now), left = f->expires - now;

	if (!(f->flags & FLOW_ASSURED) ||
	    (event != EVENT_RST && event != EVENT_FIN))
		return;
	if (last->dir == dir ||
	    (last->event != EVENT_FIN && last->event != EVENT_RST)) {
		last->event = event;
		last->dir = dir;
		return;
	}
	if (left < 120 * TICKS_PER_SEC || left <= s->tcp_unacknowledged)
		return;
	flow_live(f, p->now, s->tcp_unacknowledged);
	flow_live(twin, p->now, s->tcp_unacknowledged);
}

__noinline int tcp_packet(struct ctx_buff *ctx, const struct pkt *p,
			  struct flow *f, struct flow *twin,
			  struct tcp_change *change)
{
	const struct settings *s = settings();
	struct tcp_seen *sender, *receiver;
	enum tcp_verdict verdict = TCP_KEEP;
	__u8 old, next, dir, liberal, window = 1;
	struct tcp_last *last;
	__u32 event;

	if (!s || !p || !f || !twin || !change || !tcp_header_valid(p))
		return TCP_INVALID;
	sender = &f->seen;
	receiver = &twin->seen;
	dir = !!(f->flags & FLOW_REPLY);
	last = dir ? &twin->last : &f->last;
	event = tcp_event(p);
	old = f->state;
	next = tcp_transition(event, dir, old);

	if (next == TCP_SYN_SENT && old >= TCP_TIME_WAIT) {
		if ((sender->flags | receiver->flags) & SEEN_CLOSE ||
		    (last->dir == dir && last->event == EVENT_RST))
			return TCP_REOPEN;
		next = IG;
	}
	switch (next) {
	case IV:
		return TCP_INVALID;
	case IG:
		if (event != EVENT_SYNACK || last->event != EVENT_SYN ||
		    last->dir == dir || tcp_ack(p) != last->end)
			return tcp_ignore(ctx, p, last, dir, event, old);
		/* The answer to a SYN that was let through: both ends know
		 * better, and this is their connection.
		 */
		old = TCP_SYN_SENT;
		next = TCP_SYN_RECV;
		receiver->end = last->end;
		receiver->maxend = last->end;
		receiver->maxwin = last->win ? last->win : 1;
		receiver->scale = last->scale;
		last->flags &= ~LAST_CHALLENGE;
		receiver->flags = last->flags;
		liberal = sender->flags & SEEN_LIBERAL;
		__builtin_memset(sender, 0, sizeof(*sender));
		sender->flags = liberal;
		break;
	case TCP_TIME_WAIT:
		/* RFC 5961: no acknowledgement of the last FIN. */
		if (old == TCP_LAST_ACK && event == EVENT_ACK &&
		    last->dir != dir && last->event == EVENT_SYN &&
		    last->flags & LAST_CHALLENGE) {
			last->flags &= ~LAST_CHALLENGE;
			return TCP_IGNORE;
		}
		break;
	case TCP_SYN_SENT2:
		last->flags |= LAST_SIMULTANEOUS;
		break;
	case TCP_SYN_RECV:
		if (dir && event == EVENT_ACK &&
		    last->flags & LAST_SIMULTANEOUS)
			next = TCP_ESTABLISHED;
		break;
	case TCP_CLOSE:
		if (event != EVENT_RST)
			break;
		verdict = tcp_check_rst(p, s, f, receiver, last, dir, &next);
		if (verdict == TCP_INVALID)
			return TCP_INVALID;
		window = verdict == TCP_KEEP;
		break;
	}
	/* The verifier goes through what follows once and not for each way
	 * that leads here: it does not know what is in memory.
	 */
	change->old = old;
	change->next = next;
	change->window = window;
	change->dir = dir;
	change->event = event;
	barrier();
	old = change->old;
	next = change->next;
	verdict = !change->window ? TCP_KEEP :
				    tcp_in_window(ctx, p, f, twin, change);
	if (verdict == TCP_INVALID)
		tcp_note_invalid(p, s, f, twin, last, dir, event);
	if (verdict != TCP_KEEP)
		return verdict;

	last->event = event;
	last->dir = dir;
	if (old != next && next == TCP_FIN_WAIT)
		sender->flags |= SEEN_CLOSE;
	change->timeout =
		tcp_timeout(s, f, sender, receiver, last, event, next);
	change->keep_expiry = event == EVENT_SYN && old == TCP_SYN_SENT &&
			      !(f->flags & FLOW_SEEN_REPLY);
	if (f->flags & FLOW_SEEN_REPLY && next == TCP_ESTABLISHED &&
	    (old == TCP_SYN_RECV || old == TCP_ESTABLISHED) &&
	    !(f->flags & FLOW_ASSURED)) {
		WRITE_ONCE(f->flags, f->flags | FLOW_ASSURED);
		WRITE_ONCE(twin->flags, twin->flags | FLOW_ASSURED);
	}
	change->state = next;
	return TCP_KEEP;
}

/* The first segment of one that is picked up is outside the window of an end of which
 * nothing is known, unless its numbers are near 0.
 */
static __always_inline void
tcp_pick_up(struct ctx_buff *ctx, const struct pkt *p, struct tcp_seen *sender,
	    struct tcp_seen *receiver, struct tcp_last *last, __u32 event)
{
	struct tcp_numbers n = {
		.seq = tcp_seq(p),
		.end = tcp_end(p),
		.ack = tcp_ack(p),
		.win = tcp_window(p),
	};

	sender->maxend += sender->maxwin;
	sender->flags = SEEN_SACK | SEEN_LIBERAL;
	receiver->flags = SEEN_SACK | SEEN_LIBERAL;
	n.sack = tcp_sack(ctx, p);
	if (tcp_is_within(&n, sender, receiver))
		tcp_learn(p, &n, sender, receiver, last, 0, event);
}

/* The first segment of a connection, or of one that is picked up. Puts what it
 * shows of both ends, and of it. Returns the state, or TCP_NONE for an invalid one.
 */
__noinline int tcp_first(struct ctx_buff *ctx, const struct pkt *p,
			 struct tcp_seen *sender, struct tcp_seen *receiver,
			 struct tcp_last *last)
{
	const struct settings *s = settings();
	__u8 state;
	__u32 event;

	if (!s || !p || !sender || !receiver || !last || !tcp_header_valid(p))
		return TCP_NONE;
	event = tcp_event(p);
	state = tcp_transition(event, 0, TCP_NONE);
	if (state == IV || (state != TCP_SYN_SENT && !s->tcp_loose))
		return TCP_NONE;
	__builtin_memset(sender, 0, sizeof(*sender));
	__builtin_memset(receiver, 0, sizeof(*receiver));
	__builtin_memset(last, 0, sizeof(*last));
	last->event = event;
	sender->end = tcp_end(p);
	sender->maxwin = tcp_window(p);
	if (!sender->maxwin)
		sender->maxwin = 1;
	sender->maxend = sender->end;
	if (state == TCP_SYN_SENT)
		tcp_read_syn(ctx, p, sender);
	else
		tcp_pick_up(ctx, p, sender, receiver, last, event);
	return state;
}

/* How long a connection lives that begins. */
static __always_inline __u32 tcp_first_timeout(const struct flow *f)
{
	const struct settings *s = settings();

	if (!s)
		return 0;
	return tcp_timeout(s, f, &f->seen, &f->seen, &f->last, f->last.event,
			   f->state);
}

/* Fragments of a segment behind its first one: as if it had been whole. */
static __always_inline void tcp_later_fragment(const struct pkt *p,
					       struct tcp_seen *sender)
{
	__u32 end = tcp_end(p) + p->fragment * 8;

	if (sender->maxwin && seq_after(end, sender->end))
		sender->end = end;
}

#undef IV
#undef IG
