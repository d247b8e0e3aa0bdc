// SPDX-License-Identifier: GPL-2.0-only
/*
 * The kernel's own BBR, called by programs: what an ACK costs with it is measured as it is
 * with bbr3.c, by the kernel's statistics of programs. For the benchmark of pkg/bbr3.
 */
#include <linux/bpf.h>
#include <linux/types.h>
#include <stdbool.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

char _license[] SEC("license") = "GPL";

/* Of the kernel's types only that they are structures: none of their members is used. */
struct sock {
	unsigned long sk_pacing_rate;
} __attribute__((preserve_access_index));

struct rate_sample {
	__u32 prior_delivered;
} __attribute__((preserve_access_index));

enum tcp_ca_event {
	CA_EVENT_TX_START,
};

extern void bbr_init(struct sock *sk) __ksym;
extern void bbr_main(struct sock *sk, __u32 ack, int flag,
		     const struct rate_sample *rs) __ksym;
extern __u32 bbr_sndbuf_expand(struct sock *sk) __ksym;
extern __u32 bbr_undo_cwnd(struct sock *sk) __ksym;
extern void bbr_cwnd_event(struct sock *sk, enum tcp_ca_event event) __ksym;
extern __u32 bbr_ssthresh(struct sock *sk) __ksym;
extern __u32 bbr_min_tso_segs(struct sock *sk) __ksym;
extern void bbr_set_state(struct sock *sk, __u8 state) __ksym;

struct tcp_congestion_ops {
	void (*init)(struct sock *sk);
	__u32 (*ssthresh)(struct sock *sk);
	__u32 (*undo_cwnd)(struct sock *sk);
	__u32 (*sndbuf_expand)(struct sock *sk);
	__u32 (*min_tso_segs)(struct sock *sk);
	void (*cong_control)(struct sock *sk, __u32 ack, int flag,
			     const struct rate_sample *rs);
	void (*set_state)(struct sock *sk, __u8 state);
	void (*cwnd_event)(struct sock *sk, enum tcp_ca_event event);
	void (*in_ack_event)(struct sock *sk, __u32 flags);
	char name[16];
	__u32 flags;
};

SEC("struct_ops")
void BPF_PROG(cost_init, struct sock *sk)
{
	bbr_init(sk);
}

SEC("struct_ops")
__u32 BPF_PROG(cost_ssthresh, struct sock *sk)
{
	return bbr_ssthresh(sk);
}

SEC("struct_ops")
__u32 BPF_PROG(cost_undo, struct sock *sk)
{
	return bbr_undo_cwnd(sk);
}

SEC("struct_ops")
__u32 BPF_PROG(cost_sndbuf, struct sock *sk)
{
	return bbr_sndbuf_expand(sk);
}

SEC("struct_ops")
__u32 BPF_PROG(cost_tso, struct sock *sk)
{
	return bbr_min_tso_segs(sk);
}

SEC("struct_ops")
void BPF_PROG(cost_ack, struct sock *sk, __u32 ack, int flag,
	      const struct rate_sample *rs)
{
	bbr_main(sk, ack, flag, rs);
}

SEC("struct_ops")
void BPF_PROG(cost_set_state, struct sock *sk, __u8 state)
{
	bbr_set_state(sk, state);
}

SEC("struct_ops")
void BPF_PROG(cost_event, struct sock *sk, enum tcp_ca_event event)
{
	bbr_cwnd_event(sk, event);
}

/* Does nothing: what the statistics themselves take. */
SEC("struct_ops")
void BPF_PROG(cost_nothing, struct sock *sk, __u32 flags)
{
}

SEC(".struct_ops.link")
struct tcp_congestion_ops cost_ops = {
	.init = (void *)cost_init,
	.ssthresh = (void *)cost_ssthresh,
	.undo_cwnd = (void *)cost_undo,
	.sndbuf_expand = (void *)cost_sndbuf,
	.min_tso_segs = (void *)cost_tso,
	.cong_control = (void *)cost_ack,
	.set_state = (void *)cost_set_state,
	.cwnd_event = (void *)cost_event,
	.in_ack_event = (void *)cost_nothing,
	.name = "bbr_cost",
	.flags = 1, /* TCP_CONG_NON_RESTRICTED */
};
