/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once

#include <linux/types.h>
#include <stdbool.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

/* What is read and written of the kernel's types. The loader puts in where the members
 * are in the running kernel.
 */

#define TCP_CA_CWR 2
#define TCP_CA_RECOVERY 3
#define TCP_CA_LOSS 4
#define CA_EVENT_TX_START 0
#define SK_PACING_NONE 0
#define SK_PACING_NEEDED 1
#define FLAG_ECE \
	0x40 /* of an ACK, net/ipv4/tcp_input.c: in no type information */
/* Of ecn_flags; the second since there is AccECN. */
#define TCP_ECN_OK 0x01
#define TCP_ECN_MODE_ACCECN 0x10
#define TCPCB_LOST 0x04
#define TCPCB_EVER_RETRANS 0x80
#define GSO_MAX 65536 /* bytes of a burst that an ACK can have a part of */
#define SMALLEST_SKB \
	768 /* about SKB_TRUESIZE(1), and the one that the count begins with */
#define TCP_CONG_NON_RESTRICTED 1

#pragma clang attribute push(__attribute__((preserve_access_index)), \
			     apply_to = record)

typedef struct {
	int counter;
} atomic_t;

typedef struct {
	atomic_t refs;
} refcount_t;

struct sk_buff {
	char cb[48];
	unsigned int truesize;
};

struct tcp_skb_cb {
	__u32 seq;
	__u32 end_seq;
	__u8 sacked;
	struct {
		__u32 is_app_limited : 1;
		__u32 delivered;
	} tx;
};

struct sock {
	refcount_t sk_wmem_alloc;
	unsigned long sk_pacing_rate;
	unsigned long sk_max_pacing_rate;
	__u32 sk_pacing_status;
	unsigned int sk_gso_max_size;
};

struct inet_sock {
	struct sock sk;
};

struct inet_connection_sock {
	struct inet_sock icsk_inet;
	__u8 icsk_ca_state : 5;
};

struct minmax_sample {
	__u32 t;
	__u32 v;
};

struct minmax {
	struct minmax_sample s[3];
};

struct tcp_options_received {
	__u16 sack_ok : 3;
};

struct tcp_sock {
	struct inet_connection_sock inet_conn;
	__u64 tcp_mstamp;
	__u32 snd_una;
	__u32 snd_nxt;
	__u32 write_seq;
	__u32 mss_cache;
	__u32 srtt_us;
	struct minmax rtt_min;
	__u32 packets_out;
	__u32 retrans_out;
	__u32 lost_out;
	__u32 sacked_out;
	__u32 snd_cwnd;
	__u32 snd_cwnd_clamp;
	__u32 snd_ssthresh;
	__u32 prior_cwnd;
	__u32 delivered;
	__u32 delivered_ce;
	__u32 lost;
	__u32 app_limited;
	__u32 tlp_high_seq;
	__u8 tlp_retrans : 1;
	__u8 is_cwnd_limited : 1;
	__u8 ecn_flags;
	struct tcp_options_received rx_opt;
	struct sk_buff *retransmit_skb_hint;
	struct sk_buff *highest_sack;
};

struct rate_sample {
	__u32 prior_delivered;
	__s32 delivered;
	__s32 delivered_ce;
	long interval_us;
	long rtt_us;
	int losses;
	__u32 acked_sacked;
	__u32 last_end_seq;
	bool is_app_limited;
	bool is_ack_delayed;
};

struct ack_sample;

#pragma clang attribute pop

extern void *bpf_rdonly_cast(const void *address, __u32 type) __ksym;
extern void tcp_reno_cong_avoid(struct sock *sk, __u32 ack, __u32 acked) __ksym;

/*
 * The members that some kernel between 6.6 and now has. The loader leaves out what
 * the running one lacks.
 */
struct tcp_congestion_ops {
	void (*init)(struct sock *sk);
	void (*release)(struct sock *sk);
	__u32 (*ssthresh)(struct sock *sk);
	__u32 (*undo_cwnd)(struct sock *sk);
	void (*cong_control)(struct sock *sk, __u32 ack, int flag,
			     const struct rate_sample *rs);
	void (*set_state)(struct sock *sk, __u8 state);
	void (*cwnd_event)(struct sock *sk, int event);
	void (*cwnd_event_tx_start)(
		struct sock *sk); /* Linux 7: in place of that event */
	void (*in_ack_event)(struct sock *sk, __u32 flags);
	char name[16];
	__u32 flags;
};

static __always_inline struct sock *sock_of(struct tcp_sock *tp)
{
	return (struct sock *)tp;
}

static __always_inline __u32 packets_in_flight(struct tcp_sock *tp)
{
	return tp->packets_out - tp->sacked_out - tp->lost_out +
	       tp->retrans_out;
}

static __always_inline __u8 ca_state(struct tcp_sock *tp)
{
	return BPF_CORE_READ_BITFIELD((struct inet_connection_sock *)tp,
				      icsk_ca_state);
}
