/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once

#include "common.h"
#include "scratch.h"
#include "tcp.h"
#include "types.h"

/*
 * TCP's windows as nf_conntrack tracks them (nf_conntrack_proto_tcp.c): what
 * each end may send and acknowledge, from what both have sent.
 *
 * A direction's entry has what its packets have shown, in seen; the limit of
 * what it may send is what the other direction's packets say. So packets of
 * both directions write to both entries, without a lock: a word that two CPUs
 * write at once is one of the two, a packet older at most, and bounds only
 * grow. What is shared, in last, is in the original direction's entry.
 */

/* IP_CT_TCP_FLAG_* of linux/netfilter/nf_conntrack_tcp.h */
enum seen_flag {
	SEEN_SCALE = 0x01, /* the window scale option */
	SEEN_SACK = 0x02, /* that selective acknowledgements are permitted */
	SEEN_CLOSE = 0x04, /* closes first */
	SEEN_LIBERAL = 0x08, /* picked up: no window is known */
	SEEN_UNACKED = 0x10, /* has sent what nobody has acknowledged */
	SEEN_MAXACK = 0x20, /* maxack is one */
};

/* Puts the enum into the object: for user space, that copies flows. */
volatile const enum seen_flag seen_scale = SEEN_SCALE;

#define LAST_CHALLENGE 0x40 /* a SYN may be answered with a challenge ACK */
#define LAST_SIMULTANEOUS 0x80 /* a simultaneous open */

#define MAX_ACK_WINDOW 66000

#define TCPOPT_EOL 0
#define TCPOPT_NOP 1
#define TCPOPT_WINDOW 3
#define TCPOPT_SACK_PERM 4
#define TCPOPT_SACK 5
#define TCPOPT_TIMESTAMP 8

static __always_inline int seq_after(__u32 a, __u32 b)
{
	return (__s32)(a - b) > 0;
}

/* Of numbers half of the space apart, neither is before the other. */
static __always_inline int seq_before(__u32 a, __u32 b)
{
	return (__s32)(a - b) < 0;
}

static __always_inline __u32 tcp_seq(const struct pkt *p)
{
	return bpf_ntohl(*(__be32 *)&p->th[4]);
}

static __always_inline __u32 tcp_ack(const struct pkt *p)
{
	return bpf_ntohl(*(__be32 *)&p->th[8]);
}

static __always_inline __u32 tcp_window(const struct pkt *p)
{
	return bpf_ntohs(*(__be16 *)&p->th[14]);
}

static __always_inline __u32 tcp_header_len(const struct pkt *p)
{
	return (p->th[12] >> 4) * 4;
}

/* The sequence number behind the segment. */
static __always_inline __u32 tcp_end(const struct pkt *p)
{
	__u8 flags = tcp_flags(p);

	return tcp_seq(p) + p->len - (p->l4_off - p->l3_off) -
	       tcp_header_len(p) + !!(flags & TH_SYN) + !!(flags & TH_FIN);
}

/*
 * What reads the options, and tcp_track.h's functions, are global: the kernel
 * verifies each once, and not for each way that leads there.
 */

/* Four edges are all that there is room for. */
static __always_inline void tcp_read_sacks(struct tcp_options *o, __u32 at,
					   __u32 end)
{
	__u32 i, edge;

	for (i = 0; i < 4; i++) {
		barrier_var(at);
		if (at + 8 > end || at > TCP_OPTIONS_MAX - 8)
			return;
		edge = (__u32)o->b[at + 4] << 24 | o->b[at + 5] << 16 |
		       o->b[at + 6] << 8 | o->b[at + 7];
		if (seq_after(edge, o->sack))
			o->sack = edge;
		at += 8;
	}
}

/* A step for bpf_loop(), whose argument has to be on the stack: the verifier looks
 * at one option only.
 */
static long tcp_read_option(__u32 i, struct tcp_options **walk)
{
	struct tcp_options *o = *walk;
	__u32 kind, size, at = o->at;

	if (at > TCP_OPTIONS_MAX - 2 || at + 2 > o->len)
		return 1;
	kind = o->b[at];
	if (kind == TCPOPT_EOL)
		return 1;
	if (kind == TCPOPT_NOP) {
		o->at = at + 1;
		return 0;
	}
	size = o->b[at + 1];
	if (size < 2 || at + size > o->len)
		return 1;
	o->at = at + size;
	if (o->sacks) {
		if (kind != TCPOPT_SACK || size < 10 || (size - 2) % 8)
			return 0;
		tcp_read_sacks(o, at + 2, at + size);
		return 1;
	}
	if (kind == TCPOPT_SACK_PERM && size == 2) {
		o->flags |= SEEN_SACK;
	} else if (kind == TCPOPT_WINDOW && size == 3 &&
		   at <= TCP_OPTIONS_MAX - 3) {
		o->scale = o->b[at + 2] > 14 ? 14 : o->b[at + 2];
		o->flags |= SEEN_SCALE;
	}
	return 0;
}

/* Begins with nothing read. */
static __always_inline struct tcp_options *tcp_options(void)
{
	struct scratch *s = scratch();
	struct tcp_options *o;

	if (!s)
		return NULL;
	o = &s->options;
	o->at = 0;
	o->sacks = 0;
	o->scale = 0;
	o->flags = 0;
	return o;
}

static __always_inline int tcp_read_options(struct ctx_buff *ctx,
					    const struct pkt *p,
					    struct tcp_options *o)
{
	__u32 len = tcp_header_len(p) - sizeof(struct tcphdr);

	if (!in_bounds(len, 1, TCP_OPTIONS_MAX) ||
	    ctx_load(ctx, L4_OFF(p) + sizeof(struct tcphdr), o->b, len) < 0)
		return -1;
	o->len = len;
	bpf_loop(TCP_OPTIONS_MAX, tcp_read_option, &o, 0);
	return 0;
}

/* What a SYN says of its sender. Without any options, what was said before. */
__noinline int tcp_read_syn(struct ctx_buff *ctx, const struct pkt *p,
			    struct tcp_seen *s)
{
	struct tcp_options *o = tcp_options();

	if (!o || !p || !s || tcp_read_options(ctx, p, o) < 0)
		return 0;
	s->scale = o->scale;
	s->flags = (s->flags & SEEN_LIBERAL) | o->flags;
	return 0;
}

/* The highest sequence number that the packet acknowledges, also selectively. */
__noinline __u32 tcp_sack(struct ctx_buff *ctx, const struct pkt *p)
{
	struct tcp_options *o = tcp_options();

	if (!o || !p)
		return 0;
	o->sacks = 1;
	o->sack = tcp_ack(p);
	tcp_read_options(ctx, p, o);
	return o->sack;
}

/* The bounds of nf_conntrack's tcp_in_window(). */
static __always_inline int tcp_above_low(const struct tcp_numbers *n,
					 const struct tcp_seen *sender,
					 const struct tcp_seen *receiver)
{
	return !receiver->maxwin ||
	       seq_after(n->end, sender->end - receiver->maxwin - 1);
}

static __always_inline int tcp_below_high(const struct tcp_numbers *n,
					  const struct tcp_seen *sender)
{
	return seq_before(n->seq, sender->maxend + 1);
}

static __always_inline int tcp_ack_sent(const struct tcp_numbers *n,
					const struct tcp_seen *receiver)
{
	return seq_before(n->sack, receiver->end + 1);
}

static __always_inline int tcp_ack_recent(const struct tcp_numbers *n,
					  const struct tcp_seen *sender,
					  const struct tcp_seen *receiver)
{
	__u32 window = sender->maxwin > MAX_ACK_WINDOW ? sender->maxwin :
							 MAX_ACK_WINDOW;

	return seq_after(n->sack, receiver->end - window - 1);
}

static __always_inline int tcp_is_within(const struct tcp_numbers *n,
					 const struct tcp_seen *sender,
					 const struct tcp_seen *receiver)
{
	return tcp_above_low(n, sender, receiver) &&
	       tcp_below_high(n, sender) && tcp_ack_sent(n, receiver) &&
	       tcp_ack_recent(n, sender, receiver);
}

/* The packet is within the window: what it shows of both ends. */
static __always_inline void
tcp_learn(const struct pkt *p, const struct tcp_numbers *n,
	  struct tcp_seen *sender, struct tcp_seen *receiver,
	  struct tcp_last *last, __u8 dir, __u32 event)
{
	__u8 flags = tcp_flags(p);
	__u32 win = flags & TH_SYN ? n->win : n->win << (sender->scale & 15);
	__u32 swin = win + (n->sack - n->ack);

	if (sender->maxwin < swin)
		sender->maxwin = swin;
	if (seq_after(n->end, sender->end)) {
		sender->end = n->end;
		sender->flags |= SEEN_UNACKED;
	}
	if (flags & TH_ACK && (!(sender->flags & SEEN_MAXACK) ||
			       seq_after(n->ack, sender->maxack))) {
		sender->maxack = n->ack;
		sender->flags |= SEEN_MAXACK;
	}
	if (receiver->maxwin && seq_after(n->end, sender->maxend))
		receiver->maxwin += n->end - sender->maxend;
	if (seq_after(n->sack + win, receiver->maxend - 1))
		receiver->maxend = n->sack + win + !win;
	if (n->ack == receiver->end && receiver->flags & SEEN_UNACKED)
		receiver->flags &= ~SEEN_UNACKED;
	if (event != EVENT_ACK)
		return;
	if (last->dir == dir && last->seq == n->seq && last->ack == n->ack &&
	    last->end == n->end && last->win == n->win) {
		if (last->retrans < 255)
			last->retrans++;
		return;
	}
	last->dir = dir;
	last->seq = n->seq;
	last->ack = n->ack;
	last->end = n->end;
	last->win = n->win;
	last->retrans = 0;
}

static __always_inline void tcp_init_sender(struct ctx_buff *ctx,
					    const struct pkt *p,
					    const struct tcp_numbers *n,
					    struct tcp_seen *sender,
					    struct tcp_seen *receiver, __u8 dir)
{
	sender->end = n->end;
	sender->maxend = n->end;
	sender->maxwin = n->win ? n->win : 1;
	tcp_read_syn(ctx, p, sender);
	/* Both have to scale for either to. */
	if (dir && !(sender->flags & receiver->flags & SEEN_SCALE)) {
		sender->scale = 0;
		receiver->scale = 0;
	}
}

static __always_inline enum tcp_verdict
tcp_outside(const struct tcp_seen *sender, const struct settings *s,
	    enum tcp_verdict verdict)
{
	return sender->flags & SEEN_LIBERAL || s->tcp_liberal ? TCP_KEEP :
								verdict;
}

/* tcp_in_window(): a packet of the direction that has the entry f, while the
 * connection is in change->old.
 */
__noinline int tcp_in_window(struct ctx_buff *ctx, const struct pkt *p,
			     struct flow *f, struct flow *twin,
			     struct tcp_change *change)
{
	const struct settings *s = settings();
	struct tcp_seen *sender, *receiver;
	__u8 flags, dir, state;
	struct tcp_last *last;
	struct tcp_numbers *n;
	__u32 win;

	if (!s || !p || !f || !twin || !change)
		return TCP_INVALID;
	sender = &f->seen;
	receiver = &twin->seen;
	n = &change->n;
	dir = change->dir;
	state = change->old;
	last = dir ? &twin->last : &f->last;
	flags = tcp_flags(p);
	n->seq = tcp_seq(p);
	n->end = tcp_end(p);
	n->ack = tcp_ack(p);
	n->sack = n->ack;
	n->win = tcp_window(p);
	if (receiver->flags & SEEN_SACK)
		n->sack = tcp_sack(ctx, p);

	if (!sender->maxwin && flags & TH_SYN) {
		tcp_init_sender(ctx, p, n, sender, receiver, dir);
		if (!(flags & TH_ACK))
			return TCP_KEEP; /* a simultaneous open */
	} else if (!sender->maxwin) {
		/* In the middle of a connection-> */
		win = n->win << (sender->scale & 15);
		sender->end = n->end;
		sender->maxwin = win ? win : 1;
		sender->maxend = n->end + sender->maxwin;
		if (!receiver->maxwin) {
			receiver->end = n->sack;
			receiver->maxend = n->sack;
		} else if (n->sack == receiver->end + 1) {
			receiver->end++; /* likely an answer to a keepalive */
		}
	} else if (flags & TH_SYN && seq_after(n->end, sender->end) &&
		   (state == TCP_SYN_SENT || state == TCP_SYN_RECV)) {
		tcp_init_sender(ctx, p, n, sender, receiver, dir);
		if (dir && !(flags & TH_ACK))
			return TCP_KEEP;
	}

	/* Without one, or with a reset that has none although it says so. */
	if (!(flags & TH_ACK) || (flags & TH_RST && !n->ack))
		n->ack = n->sack = receiver->end;
	/* A reset that answers a SYN. */
	if (flags & TH_RST && !n->seq && state == TCP_SYN_SENT)
		n->seq = n->end = sender->end;

	if (!tcp_below_high(n, sender)) {
		if (receiver->maxwin && tcp_above_low(n, sender, receiver) &&
		    tcp_ack_recent(n, sender, receiver) &&
		    tcp_ack_sent(n, receiver) &&
		    n->end - sender->maxend + 1 <= receiver->maxwin) {
			/* Somewhat more than the window was. */
			sender->end = n->end;
			sender->flags |= SEEN_UNACKED;
			return tcp_outside(sender, s, TCP_IGNORE);
		}
		return tcp_outside(sender, s, TCP_INVALID);
	}
	if (!tcp_ack_sent(n, receiver))
		return tcp_outside(sender, s, TCP_INVALID);
	if (!tcp_above_low(n, sender, receiver))
		return tcp_outside(sender, s, TCP_IGNORE);
	if (!tcp_ack_recent(n, sender, receiver))
		return tcp_outside(sender, s, TCP_IGNORE);
	tcp_learn(p, n, sender, receiver, last, dir, change->event);
	return TCP_KEEP;
}

/* How long a connection lives on, by what is known of it. */
static __always_inline __u32 tcp_timeout(const struct settings *s,
					 const struct flow *f,
					 const struct tcp_seen *sender,
					 const struct tcp_seen *receiver,
					 const struct tcp_last *last,
					 __u32 event, __u8 state)
{
	__u32 t, limit;

	if (state >= TCP_STATE_MAX)
		return 0;
	t = limit = s->tcp[state];
	if (last->retrans >= s->tcp_max_retrans && t > s->tcp_retransmitted)
		limit = s->tcp_retransmitted;
	else if (event == EVENT_RST)
		return s->tcp[TCP_CLOSE];
	else if ((sender->flags | receiver->flags) & SEEN_UNACKED &&
		 t > s->tcp_unacknowledged)
		limit = s->tcp_unacknowledged;
	else if (!last->win)
		limit = s->tcp_retransmitted;
	if (state == TCP_ESTABLISHED && !(f->flags & FLOW_SEEN_REPLY) &&
	    limit > s->tcp_unacknowledged)
		limit = s->tcp_unacknowledged;
	return t < limit ? t : limit;
}
