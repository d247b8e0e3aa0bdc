/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once

#include <linux/types.h>
#include <stdbool.h>
#include <bpf/bpf_helpers.h>

/*
 * BBRv3, as draft-ietf-ccwg-bbr describes it (N. Cardwell, I. Swett, J. Beshay).
 * BBR is by Neal Cardwell, Yuchung Cheng, C. Stephen Gunn, Soheil Hassas
 * Yeganeh and Van Jacobson. The code is this project's own. Comments name the
 * draft's functions.
 *
 * Data is in packets of the connection's MSS, as the kernel counts it; times are
 * in microseconds; bandwidth is in packets a microsecond, by BW_UNIT.
 */

#define BW_SCALE 24
#define BW_UNIT (1ULL << BW_SCALE)
#define GAIN_SCALE 8
#define GAIN_UNIT (1U << GAIN_SCALE)
#define PER_MILLE 1000U

#define NO_BW (~0ULL) /* bw_shortterm that bounds nothing */
#define NO_INFLIGHT (~0U) /* and inflight_* */
#define NO_RTT (~0U) /* no sample yet */
#define USEC_PER_SEC 1000000ULL
#define USEC_PER_MSEC 1000ULL

#define min(a, b)                   \
	({                          \
		typeof(a) _a = (a); \
		typeof(b) _b = (b); \
		_a < _b ? _a : _b;  \
	})
#define max(a, b)                   \
	({                          \
		typeof(a) _a = (a); \
		typeof(b) _b = (b); \
		_a > _b ? _a : _b;  \
	})

/* Counters of packets and sequence numbers wrap. */
static __always_inline bool before(__u32 a, __u32 b)
{
	return (__s32)(a - b) < 0;
}

enum bbr3_state {
	BBR3_STARTUP,
	BBR3_DRAIN,
	BBR3_DOWN,
	BBR3_CRUISE,
	BBR3_REFILL,
	BBR3_UP,
	BBR3_PROBE_RTT,
	BBR3_NONE, /* of undo_state: nothing to go back to */
};

/* What the ACKs of now tell about probing. */
enum bbr3_acks {
	ACKS_INIT,
	ACKS_REFILLING,
	ACKS_STARTING,
	ACKS_FEEDBACK,
	ACKS_STOPPING,
};

/* The connection (C. in the draft): what an event finds, and what it decides. */
struct bbr3_conn {
	__u64 now;
	__u64 pacing_rate; /* bytes a second; decided */
	__u64 max_pacing_rate;
	__u32 cwnd; /* decided */
	__u32 cwnd_clamp;
	__u32 initial_cwnd;
	__u32 inflight;
	__u32 delivered;
	__u32 delivered_ce;
	__u32 lost;
	__u32 app_limited; /* decided in ProbeRTT */
	__u32 mss;
	__u32 gso_max; /* bytes */
	__u32 srtt; /* 0: unknown */
	__u32 rtt_min; /* the kernel's own, which sizes bursts */
	__u32 random; /* 0: used, and to be drawn before the next event */
	__u8 has_sack;
	__u8 is_cwnd_limited;
	__u8 in_recovery; /* fast recovery or RTO */
	__u8 in_fast_recovery;
	__u8 ecn_ok; /* negotiated */
	__u8 pad[7];
};

/* The rate sample of an ACK (RS.). */
struct bbr3_sample {
	__s64 interval; /* 0 or less: no valid sample */
	__s64 rtt; /* less than 0: none */
	__s32 delivered;
	__u32 prior_delivered;
	__u32 newly_acked;
	__u32 newly_lost;
	__u32 tx_in_flight;
	__u32 lost;
	__s32 delivered_ce;
	__u8 is_app_limited;
	__u8 is_ece;
	__u8 is_ack_delayed;
	__u8 pad;
};

/* Packets that were marked lost together, in the order of their transmission. */
struct bbr3_lost {
	__u32 size;
	__u32 tx_in_flight; /* when the last of them was sent, with it */
	__u32 lost; /* since the first one was sent, with them */
	__u32 is_app_limited;
};

/* State of a connection (BBR.). */
struct bbr3 {
	struct bbr3_conn c;
	struct bbr3_sample rs;
	struct bbr3_lost marked;

	__u64 bw; /* of the model now, within its bounds */
	__u64 sample_bw;
	__u64 max_bw[2]; /* of the cycle before, of this one */
	__u64 bw_latest;
	__u64 bw_shortterm;
	__u64 undo_bw_shortterm;
	__u64 full_bw;

	__u64 min_rtt_stamp;
	__u64 probe_rtt_min_stamp;
	__u64 probe_rtt_done_stamp;
	__u64 cycle_stamp;
	__u64 extra_acked_start;
	__u32 min_rtt;
	__u32 probe_rtt_min;
	__u32 probe_wait;

	__u32 round_count;
	__u32 next_round_delivered;
	__u32 drain_start_round;
	__u32 rounds_since_probe;

	__u32 inflight_latest;
	__u32 inflight_longterm;
	__u32 inflight_shortterm;
	__u32 undo_inflight_longterm;
	__u32 undo_inflight_shortterm;
	__u32 loss_round_delivered;
	__u32 loss_events;
	__u32 prior_cwnd;

	__u32 extra_acked[2];
	__u32 extra_acked_delivered;
	__u32 extra_acked_rounds; /* in the slot of now */

	__u32 probe_up_acked;
	__u32 probe_up_acked_per_inc;
	__u32 probe_up_rounds;

	__u32 ecn_alpha; /* per mille of marks, smoothed */
	__u32 alpha_delivered;
	__u32 alpha_delivered_ce;
	__u32 ecn_startup_rounds;

	__u32 pacing_gain; /* by GAIN_UNIT */
	__u32 cwnd_gain;
	__u32 send_quantum; /* bytes */
	__u32 probe_rtts; /* how many there were */

	__u8 state;
	__u8 undo_state;
	__u8 acks;
	__u8 round_start;
	__u8 loss_round_start;
	__u8 loss_in_round;
	__u8 ecn_in_round;
	__u8 idle_restart;
	__u8 full_bw_reached;
	__u8 full_bw_now;
	__u8 full_bw_count;
	__u8 probe_sample;
	__u8 probe_too_high;
	__u8 probe_precautionary;
	__u8 probe_rtt_expired;
	__u8 probe_rtt_round_done;
	__u8 extra_acked_slot;
	__u8 has_rtt;
	__u8 pad[6];
};

/* What may be set. The values here are the draft's, and for ECN those of BBR's
 * authors until 2025: the draft leaves it to implementations.
 */
struct bbr3_settings {
	__u32 loss_threshold; /* per mille of a round's packets, when probing */
	__u32 beta; /* per mille that remains after loss */
	__u32 headroom; /* per mille of inflight_longterm left to others */
	__u32 probe_rtt_interval; /* us */
	__u32 probe_rtt_duration; /* us */
	__u32 min_rtt_window; /* us */
	__u32 ecn; /* 1: marks are answered as below */
	__u32 ecn_max_rtt; /* us; 0: whatever the RTT */
	__u32 ecn_factor; /* per mille of the marks that inflight_shortterm is cut by */
	__u32 ecn_threshold; /* per mille of marks in a round that end probing */
};

/* Read-only: the loader writes it. */
volatile const struct bbr3_settings bbr3_tuning = {
	.loss_threshold = 20,
	.beta = 700,
	.headroom = 150,
	.probe_rtt_interval = 5 * USEC_PER_SEC,
	.probe_rtt_duration = 200 * USEC_PER_MSEC,
	.min_rtt_window = 10 * USEC_PER_SEC,
	.ecn = 0,
	.ecn_max_rtt = 5 * USEC_PER_MSEC,
	.ecn_factor = 333,
	.ecn_threshold = 500,
};

/* A part of the state machine that the verifier goes through once, and not for
 * each way that leads there. A caller has the state, but Linux before 6.8 cannot be
 * told so: each looks.
 */
#define STAGE __noinline int

static __always_inline __u32 per_mille(__u32 value, __u32 share)
{
	return (__u64)value * share / PER_MILLE;
}

static __always_inline bool in_probe_bw(const struct bbr3 *b)
{
	return b->state >= BBR3_DOWN && b->state <= BBR3_UP;
}

/* IsProbingBW */
static __always_inline bool is_probing(const struct bbr3 *b)
{
	return b->state == BBR3_STARTUP || b->state == BBR3_REFILL ||
	       b->state == BBR3_UP;
}

/* Whether the ACK has a rate sample. */
static __always_inline bool has_sample(const struct bbr3 *b)
{
	return b->rs.interval > 0 && b->rs.delivered >= 0 && b->rs.newly_acked;
}

/* StartRound: it ends with the first ACK of what is sent from now on. */
static __always_inline void start_round(struct bbr3 *b)
{
	b->next_round_delivered = b->c.delivered;
}
