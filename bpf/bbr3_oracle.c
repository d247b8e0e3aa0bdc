// SPDX-License-Identifier: GPL-2.0-only
/*
 * BBRv3 with what it calculates of packets compared with the truth: a program sees each packet
 * when it is sent, and notes what was in flight and lost then. For tests.
 */
#include "bbr3/types.h"
#include "bbr3/kernel.h"
#include "bbr3/snapshot.h"

#include <linux/bpf.h>

struct truth {
	__u32 in_flight;
	__u32 lost;
};

/* By the end of a packet, of one connection. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1 << 16);
	__type(key, __u32);
	__type(value, struct truth);
} oracle_sent SEC(".maps");

enum {
	ORACLE_SAMPLES,
	ORACLE_UNKNOWN, /* of packets that were split later */
	ORACLE_LOST_EXACT,
	ORACLE_LOST_ERROR,
	ORACLE_INFLIGHT_EXACT,
	ORACLE_INFLIGHT_ERROR, /* packets, all together */
	ORACLE_INFLIGHT_SUM, /* of the truth */
	ORACLE_DECISIONS, /* "too many are lost" that would be another */
	ORACLE_MARKED, /* ACKs that have marked packets lost */
	ORACLE_MARKED_FAR, /* with another in flight than the sample's packet, by far */
	ORACLE_COUNTS,
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, ORACLE_COUNTS);
	__type(key, __u32);
	__type(value, __u64);
} oracle_counts SEC(".maps");

static __always_inline void oracle_add(__u32 key, __u64 n)
{
	__u64 *to = bpf_map_lookup_elem(&oracle_counts, &key);

	if (to)
		__sync_fetch_and_add(to, n);
}

static __always_inline bool oracle_high(__u32 lost, __u32 in_flight)
{
	return (__u64)lost * PER_MILLE >
	       (__u64)in_flight * bbr3_tuning.loss_threshold;
}

/* Packets that were marked lost were sent just before the sample's packet, or a burst
 * before: by a quarter, what was in flight has not changed.
 */
static __always_inline void oracle_judge_marked(const struct bbr3_lost *m,
						__u32 in_flight)
{
	oracle_add(ORACLE_MARKED, 1);
	oracle_add(ORACLE_MARKED_FAR,
		   m->tx_in_flight * 4 < in_flight * 3 ||
			   m->tx_in_flight * 4 > in_flight * 5);
}

/* A rate sample with what BBR has made of it. */
static __noinline int oracle_judge(const struct bbr3 *b, __u32 end)
{
	const struct bbr3_sample *rs;
	struct truth *t;
	__u32 lost;

	if (!b || b->rs.delivered < 0 || !b->rs.newly_acked)
		return 0;
	rs = &b->rs;
	t = bpf_map_lookup_elem(&oracle_sent, &end);
	if (!t) {
		oracle_add(ORACLE_UNKNOWN, 1);
		return 0;
	}
	lost = b->c.lost - t->lost;
	if (rs->newly_lost)
		oracle_judge_marked(&b->marked, t->in_flight);
	oracle_add(ORACLE_SAMPLES, 1);
	oracle_add(ORACLE_LOST_EXACT, rs->lost == lost);
	oracle_add(ORACLE_LOST_ERROR,
		   rs->lost > lost ? rs->lost - lost : lost - rs->lost);
	oracle_add(ORACLE_INFLIGHT_EXACT, rs->tx_in_flight == t->in_flight);
	oracle_add(ORACLE_INFLIGHT_ERROR,
		   rs->tx_in_flight > t->in_flight ?
			   rs->tx_in_flight - t->in_flight :
			   t->in_flight - rs->tx_in_flight);
	oracle_add(ORACLE_INFLIGHT_SUM, t->in_flight);
	oracle_add(ORACLE_DECISIONS, oracle_high(rs->lost, rs->tx_in_flight) !=
					     oracle_high(lost, t->in_flight));
	return 0;
}

#define bbr3_compare(b, rs) oracle_judge(b, (rs)->last_end_seq)

#include "bbr3.c"

/* At a tunnel's device: packets begin with the IP header. */
SEC("tc")
int oracle_egress(struct __sk_buff *skb)
{
	__u32 off = 20, seq, segments = skb->gso_segs ?: 1;
	struct bpf_sock *sk = skb->sk;
	__u8 version, doff, flags;
	struct tcp_sock *tp;
	struct truth t;
	int payload;

	if (!sk)
		return 0;
	tp = (struct tcp_sock *)bpf_skc_to_tcp_sock(sk);
	if (!tp || bpf_skb_load_bytes(skb, 0, &version, 1))
		return 0;
	if (version >> 4 == 6)
		off = 40;
	if (bpf_skb_load_bytes(skb, off + 4, &seq, 4) ||
	    bpf_skb_load_bytes(skb, off + 12, &doff, 1) ||
	    bpf_skb_load_bytes(skb, off + 13, &flags, 1))
		return 0;
	payload = skb->len - off - (doff >> 4) * 4;
	if (payload <= 0)
		return 0;
	seq = __builtin_bswap32(seq) + payload + (flags & 1); /* and a FIN */
	t.in_flight = packets_in_flight(tp) + segments;
	t.lost = tp->lost;
	bpf_map_update_elem(&oracle_sent, &seq, &t, BPF_ANY);
	return 0;
}
