// SPDX-License-Identifier: GPL-2.0-only
/*
 * BBRv3 as a TCP congestion control of a stock kernel, by struct_ops. The algorithm is in
 * bbr3/: here is what connects it with the kernel.
 */
#include "bbr3/events.h"
#include "bbr3/kernel.h"
#include "bbr3/snapshot.h"

#include <linux/bpf.h>
#include <bpf/bpf_tracing.h>

char _license[] SEC("license") = "GPL";

struct bbr3_sock {
	struct bbr3 b;
	struct snapshots past;
	__u64 tail_probe; /* when the last ACK came that found a tail loss probe out */
};

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct bbr3_sock);
} bbr3_socks SEC(".maps");

enum {
	STAT_BEGUN,
	STAT_ENDED,
	STAT_WITHOUT_STATE, /* no memory was to be had: they are Reno's */
	STATS = 16, /* the loader has the others; builds to come have as many */
};

/* Counts go on through an upgrade. Connections begin and end in softirqs, too. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, STATS);
	__type(key, __u32);
	__type(value, __u64);
} bbr3_stats SEC(".maps");

static __always_inline void count(__u32 stat)
{
	__u64 *n = bpf_map_lookup_elem(&bbr3_stats, &stat);

	if (n)
		__sync_fetch_and_add(n, 1);
}

static __always_inline struct bbr3_sock *state_of(struct tcp_sock *tp)
{
	return bpf_sk_storage_get(&bbr3_socks, tp, NULL, 0);
}

/* The connection as an event finds it. */
static __always_inline void read_conn(struct bbr3_conn *c, struct tcp_sock *tp)
{
	struct sock *sk = sock_of(tp);
	__u8 state = ca_state(tp);

	c->pacing_rate = sk->sk_pacing_rate;
	c->max_pacing_rate = sk->sk_max_pacing_rate;
	c->gso_max = sk->sk_gso_max_size;
	c->cwnd = tp->snd_cwnd;
	c->cwnd_clamp = tp->snd_cwnd_clamp;
	c->inflight = packets_in_flight(tp);
	c->delivered = tp->delivered;
	c->delivered_ce = tp->delivered_ce;
	c->lost = tp->lost;
	c->app_limited = tp->app_limited;
	c->mss = tp->mss_cache;
	c->srtt = tp->srtt_us >> 3;
	c->rtt_min = tp->rtt_min.s[0].v;
	c->has_sack = BPF_CORE_READ_BITFIELD(tp, rx_opt.sack_ok) != 0;
	c->is_cwnd_limited = BPF_CORE_READ_BITFIELD(tp, is_cwnd_limited);
	c->in_recovery = state >= TCP_CA_RECOVERY;
	c->in_fast_recovery = state == TCP_CA_RECOVERY;
	c->ecn_ok = (tp->ecn_flags & (TCP_ECN_OK | TCP_ECN_MODE_ACCECN)) != 0;
	if (!c->random) /* a cycle of some seconds uses one */
		c->random = bpf_get_prandom_u32();
}

/* What an event has decided. */
static __always_inline void write_conn(struct tcp_sock *tp,
				       const struct bbr3_conn *c)
{
	struct sock *sk = sock_of(tp);

	/* The verifier takes writes by a pointer of the right type: clang must not
	 * merge them with those of the state.
	 */
	__u64 rate = c->pacing_rate;
	__u32 cwnd = c->cwnd, app_limited = c->app_limited;

	barrier();
	sk->sk_pacing_rate = rate;
	tp->snd_cwnd = cwnd;
	if (tp->app_limited != app_limited)
		tp->app_limited = app_limited;
}

SEC("struct_ops")
void BPF_PROG(bbr3_tcp_init, struct tcp_sock *tp)
{
	struct sock *sk = sock_of(tp);
	struct bbr3_sock *s;

	count(STAT_BEGUN);
	s = bpf_sk_storage_get(&bbr3_socks, tp, NULL,
			       BPF_SK_STORAGE_GET_F_CREATE);
	if (!s) {
		count(STAT_WITHOUT_STATE);
		return;
	}
	read_conn(&s->b.c, tp);
	s->b.c.now = bpf_ktime_get_ns() / 1000;
	s->b.c.initial_cwnd = s->b.c.cwnd;
	s->past.lost = s->b.c.lost;
	bbr3_init(&s->b);
	write_conn(tp, &s->b.c);
	if (sk->sk_pacing_status == SK_PACING_NONE)
		sk->sk_pacing_status = SK_PACING_NEEDED;
}

SEC("struct_ops")
void BPF_PROG(bbr3_tcp_release, struct tcp_sock *tp)
{
	count(STAT_ENDED);
	bpf_sk_storage_delete(&bbr3_socks, tp);
}

/* Without state: as Reno, without the kernel's proportional reduction, which it leaves to
 * those who have cong_control.
 */
static __always_inline void reno(struct tcp_sock *tp, __u32 ack, __u32 acked)
{
	__u32 state = ca_state(tp), ssthresh = tp->snd_ssthresh;

	if (state == TCP_CA_CWR || state == TCP_CA_RECOVERY) {
		if (tp->snd_cwnd > ssthresh)
			tp->snd_cwnd = ssthresh;
		return;
	}
	if (acked)
		tcp_reno_cong_avoid(sock_of(tp), ack, acked);
}

/* What timers have marked lost since the last ACK was known before this one. */
static __always_inline void note_timers(struct bbr3_sock *s,
					const struct rate_sample *rs)
{
	note_lost(&s->past, s->b.c.delivered - rs->acked_sacked,
		  s->b.c.lost - rs->losses);
}

static __always_inline struct tcp_skb_cb *cb_of(struct sk_buff *skb)
{
	return bpf_rdonly_cast(skb->cb,
			       bpf_core_type_id_kernel(struct tcp_skb_cb));
}

/* Where the last that has arrived ends, acknowledged selectively or not. The kernel keeps
 * what is behind it: a burst of which a part has arrived is split there.
 */
static __always_inline __u32 arrived_to(struct tcp_sock *tp)
{
	struct sk_buff *behind = tp->highest_sack;

	if (!tp->sacked_out)
		return tp->snd_una;
	return behind ? cb_of(behind)->seq : tp->snd_nxt;
}

/* The sample of an ACK, and what the kernel's lacks. */
static __always_inline void read_sample(struct bbr3_sock *s,
					struct tcp_sock *tp,
					const struct rate_sample *rs)
{
	struct bbr3_sample *to = &s->b.rs;
	__u32 end = rs->last_end_seq, mss = tp->mss_cache;
	__u32 arrived = arrived_to(tp);

	to->interval = rs->interval_us;
	to->rtt = rs->rtt_us;
	to->delivered = rs->delivered;
	to->prior_delivered = rs->prior_delivered;
	to->newly_acked = rs->acked_sacked;
	to->newly_lost = s->b.c.lost - s->past.lost;
	to->delivered_ce = rs->delivered_ce;
	to->is_app_limited = rs->is_app_limited;
	to->is_ack_delayed = rs->is_ack_delayed;
	to->lost = 0;
	to->tx_in_flight = 0;
	note_timers(s, rs);
	if (to->delivered < 0)
		return;
	to->lost = s->b.c.lost - lost_at(&s->past, to->prior_delivered);
	to->tx_in_flight = to->delivered + to->lost;
	/* The rest of a burst of which a part has arrived */
	if (mss && before(arrived, end) && end - arrived < GSO_MAX)
		to->tx_in_flight += (end - arrived) / mss;
}

/*
 * The packets that have been marked lost since the last ACK, as one burst: the first of
 * them is where the kernel goes on to retransmit, unless that is before losses of earlier
 * ACKs. Those of now were sent about when the sample's packet was, then.
 */
static __always_inline void read_marked(struct bbr3_sock *s,
					struct tcp_sock *tp)
{
	struct sk_buff *skb = tp->retransmit_skb_hint;
	__u32 sent, delivered, mss = tp->mss_cache, arrived = arrived_to(tp);
	struct bbr3_lost *m = &s->b.marked;
	struct tcp_skb_cb *cb;

	m->size = s->b.rs.newly_lost;
	m->lost = s->b.rs.lost;
	m->tx_in_flight = s->b.rs.tx_in_flight;
	m->is_app_limited = s->b.rs.is_app_limited;
	if (!skb || !mss)
		return;
	cb = cb_of(skb);
	/* One that was sent again tells of that, and not of what was sent before it. */
	if ((cb->sacked & (TCPCB_LOST | TCPCB_EVER_RETRANS)) != TCPCB_LOST)
		return;
	delivered = cb->tx.delivered;
	m->is_app_limited = BPF_CORE_READ_BITFIELD(cb, tx.is_app_limited);
	m->lost = s->b.c.lost - lost_at(&s->past, delivered);
	m->tx_in_flight = s->b.c.delivered - delivered + m->lost;
	/* Of these, what was sent after the burst has arrived. */
	if (!before(cb->seq, arrived))
		return;
	sent = (arrived - cb->seq) / mss;
	if (sent > m->size && sent - m->size < m->tx_in_flight)
		m->tx_in_flight -= sent - m->size;
}

/* Where a test compares with the truth: bbr3_oracle.c. */
#ifndef bbr3_compare
#define bbr3_compare(b, rs) \
	do {                \
	} while (0)
#endif

static __always_inline void on_ack(struct tcp_sock *tp, __u32 ack, int flag,
				   const struct rate_sample *rs)
{
	struct bbr3_sock *s = state_of(tp);

	if (!s) {
		reno(tp, ack, rs->acked_sacked);
		return;
	}
	read_conn(&s->b.c, tp);
	s->b.c.now = tp->tcp_mstamp;
	read_sample(s, tp, rs);
	s->b.rs.is_ece = (flag & FLAG_ECE) != 0;
	if (s->b.rs.newly_lost)
		read_marked(s, tp);
	bbr3_compare(&s->b, rs);
	note_lost(&s->past, s->b.c.delivered, s->b.c.lost);
	bbr3_ack(&s->b);
	write_conn(tp, &s->b.c);
}

SEC("struct_ops")
void BPF_PROG(bbr3_tcp_ack, struct tcp_sock *tp, __u32 ack, int flag,
	      const struct rate_sample *rs)
{
	on_ack(tp, ack, flag, rs);
}

/* Linux before 6.10: the loader takes this one there. */
SEC("struct_ops")
void BPF_PROG(bbr3_tcp_ack_6_6, struct tcp_sock *tp,
	      const struct rate_sample *rs)
{
	on_ack(tp, tp->snd_una, 0, rs);
}

/* tcp_rate_check_app_limited(), which BBR wants before each ACK */
static __always_inline void check_app_limited(struct tcp_sock *tp)
{
	struct sock *sk = sock_of(tp);
	__u32 inflight = packets_in_flight(tp);

	if (tp->write_seq - tp->snd_nxt >= tp->mss_cache)
		return;
	if (sk->sk_wmem_alloc.refs.counter > SMALLEST_SKB ||
	    inflight >= tp->snd_cwnd || tp->lost_out > tp->retrans_out)
		return;
	tp->app_limited = max(tp->delivered + inflight, 1U);
}

SEC("struct_ops")
void BPF_PROG(bbr3_tcp_in_ack, struct tcp_sock *tp, __u32 flags)
{
	struct bbr3_sock *s;

	check_app_limited(tp);
	if (!tp->tlp_high_seq || !BPF_CORE_READ_BITFIELD(tp, tlp_retrans))
		return;
	s = state_of(tp);
	if (s)
		s->tail_probe = tp->tcp_mstamp;
}

/* A loss is found, or a timer has run out. The kernel does not use what is returned, but
 * for those without state.
 */
SEC("struct_ops")
__u32 BPF_PROG(bbr3_tcp_ssthresh, struct tcp_sock *tp)
{
	struct bbr3_sock *s = state_of(tp);

	if (!s)
		return max(tp->snd_cwnd >> 1, 2U);
	read_conn(&s->b.c, tp);
	bbr3_enter_recovery(&s->b);
	return tp->snd_ssthresh;
}

SEC("struct_ops")
__u32 BPF_PROG(bbr3_tcp_undo, struct tcp_sock *tp)
{
	struct bbr3_sock *s = state_of(tp);
	__u32 cwnd = tp->snd_cwnd, prior;

	if (!s) {
		prior = tp->prior_cwnd;
		return max(cwnd, prior);
	}
	read_conn(&s->b.c, tp);
	s->b.c.now = tp->tcp_mstamp;
	bbr3_undo(&s->b);
	return s->b.c.cwnd;
}

SEC("struct_ops")
void BPF_PROG(bbr3_tcp_set_state, struct tcp_sock *tp, __u8 state)
{
	struct bbr3_sock *s = state_of(tp);
	__u8 was = ca_state(tp);

	if (!s)
		return;
	read_conn(&s->b.c, tp);
	s->b.c.now = tp->tcp_mstamp;
	if (was >= TCP_CA_RECOVERY && state < TCP_CA_RECOVERY)
		bbr3_exit_recovery(&s->b);
	else if (state == TCP_CA_CWR && s->tail_probe == tp->tcp_mstamp)
		bbr3_tail_lost(&s->b);
	else
		return;
	write_conn(tp, &s->b.c);
}

static __always_inline void transmit_start(struct tcp_sock *tp)
{
	struct bbr3_sock *s = state_of(tp);

	if (!s)
		return;
	read_conn(&s->b.c, tp);
	s->b.c.now = bpf_ktime_get_ns() / 1000;
	bbr3_transmit_start(&s->b);
	write_conn(tp, &s->b.c);
}

SEC("struct_ops")
void BPF_PROG(bbr3_tcp_event, struct tcp_sock *tp, int event)
{
	if (event == CA_EVENT_TX_START)
		transmit_start(tp);
}

SEC("struct_ops")
void BPF_PROG(bbr3_tcp_tx_start, struct tcp_sock *tp)
{
	transmit_start(tp);
}

/* Not TCP_CONG_NEEDS_ECN: it sends packets as ECN-capable where that is not agreed on. */
SEC(".struct_ops.link")
struct tcp_congestion_ops bbr3_ops = {
	.init = (void *)bbr3_tcp_init,
	.release = (void *)bbr3_tcp_release,
	.ssthresh = (void *)bbr3_tcp_ssthresh,
	.undo_cwnd = (void *)bbr3_tcp_undo,
	.cong_control = (void *)bbr3_tcp_ack,
	.set_state = (void *)bbr3_tcp_set_state,
	.cwnd_event = (void *)bbr3_tcp_event,
	.cwnd_event_tx_start = (void *)bbr3_tcp_tx_start,
	.in_ack_event = (void *)bbr3_tcp_in_ack,
	.name = "bbr3",
	.flags = TCP_CONG_NON_RESTRICTED,
};

/*
 * The state machine alone, for tests: they simulate connections, and run what the kernel
 * runs. The loader leaves it out.
 */
struct bbr3 bbr3_simulated;

enum {
	SIM_INIT,
	SIM_ACK,
	SIM_TRANSMIT_START,
	SIM_ENTER_RECOVERY,
	SIM_EXIT_RECOVERY,
	SIM_UNDO,
	SIM_TAIL_LOST,
};

SEC("syscall")
int bbr3_simulate(const __u32 *event)
{
	struct bbr3 *b = &bbr3_simulated;

	switch (*event) {
	case SIM_INIT:
		return bbr3_init(b);
	case SIM_ACK:
		return bbr3_ack(b);
	case SIM_TRANSMIT_START:
		return bbr3_transmit_start(b);
	case SIM_ENTER_RECOVERY:
		return bbr3_enter_recovery(b);
	case SIM_EXIT_RECOVERY:
		return bbr3_exit_recovery(b);
	case SIM_UNDO:
		return bbr3_undo(b);
	case SIM_TAIL_LOST:
		return bbr3_tail_lost(b);
	}
	return -1;
}
