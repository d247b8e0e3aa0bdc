//go:build ignore
// SPDX-License-Identifier: GPL-2.0-only

/*
 * What the programs drop and what they let pass, for somebody who watches. All of it
 * is attached as long as that lasts, so that the programs have no code for it: to
 * the kernel's tracepoint of dropped packets, as what TC programs drop is freed behind
 * them, on the same CPU, while their memory is as they have left it; and, for what XDP
 * drops and for who wants to see what passes, before and behind the programs themselves.
 */

#include "lib/monitor.h"
#include "lib/stats.h"

char LICENSE[] SEC("license") = "GPL";

enum skb_drop_reason {
	SKB_DROP_REASON_TC_INGRESS = 1,
	SKB_DROP_REASON_TC_EGRESS = 2,
};

/* bpf_core_enum_value() of libbpf. */
#define enum_value(value) \
	__builtin_preserve_enum_value(*(typeof(enum skb_drop_reason) *)value, 1)

/* What is watched, besides what TC drops; set by the loader. */
volatile const __u32 watch_drops = 0;
volatile const __u32 watch_passed = 0;

static __always_inline void tell_drop(const struct frame *f,
				      struct monitor_cpu *c, __u64 reasons,
				      int egress)
{
	__u64 now = bpf_ktime_get_ns();
	struct monitor_event *e;
	struct scratch *s;

	if (!is_wanted(f) || !may_tell(c, now))
		return;
	e = bpf_ringbuf_reserve(&monitor_events, sizeof(*e), 0);
	if (!e) {
		c->lost++;
		return;
	}
	__builtin_memset(e, 0, offsetof(struct monitor_event, data));
	describe(e, c, now, f);
	e->reasons = reasons;
	e->egress = egress;
	s = scratch();
	if (s) {
		e->rule = s->pkt.rule;
		e->reject = s->pkt.reject;
	}
	e->data_len = frame_copy(f, e->data);
	bpf_ringbuf_submit(e, 0);
}

_Static_assert(STAT_MAX <= 64, "a bit for each statistic");

/* Those that have moved since a packet was last dropped here, as bits: they say why
 * this one is. Without a branch for each, for the verifier.
 */
static __always_inline __u64 moved(struct monitor_cpu *c)
{
	__u64 bits = 0, diff, less, *n = statistics();
	__u32 i;

	if (!n)
		return 0;
	for (i = 0; i < STAT_MAX; i++) {
		diff = n[i] ^ c->seen[i];
		c->seen[i] = n[i];
		less = -diff;
		/* Or the compiler sees what this is, and makes it a branch. */
		barrier_var(less);
		bits |= (diff | less) >> 63 << i;
	}
	return bits;
}

/* kfree_skb(skb, location, reason, ...) */
SEC("raw_tp/kfree_skb")
int monitor_drops(__u64 *ctx)
{
	__u32 why = ctx[2];
	struct frame f = {};
	struct monitor_cpu *c;
	__u64 reasons;
	int egress;

	egress = why == enum_value(SKB_DROP_REASON_TC_EGRESS);
	if (!egress && why != enum_value(SKB_DROP_REASON_TC_INGRESS))
		return 0;
	if (!is_ours((struct sk_buff *)ctx[0]))
		return 0;
	c = monitor_cpu();
	if (!c)
		return 0;
	/* What XDP alone drops may have moved unseen. */
	reasons = moved(c) & ~(1ULL << STAT_DROP_STEER);
	if (!reasons)
		return 0; /* not of these programs */
	frame_of_skb(&f, (struct sk_buff *)ctx[0]);
	tell_drop(&f, c, reasons, egress);
	return 0;
}

/* Frames as they were before a program, by the program: those of one CPU may nest,
 * but not in themselves, except for copies, of which the last is known.
 */
enum place {
	PLACE_XDP,
	PLACE_INGRESS,
	PLACE_EGRESS,
	PLACES,
};

struct monitor_before {
	__u64 buffer; /* whose it is, an address; 0: nobody's */
	__u32 wanted;
	__u32 len;
	__u32 data_len;
	__u8 data[MONITOR_DATA];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, PLACES);
	__type(key, __u32);
	__type(value, struct monitor_before);
} monitor_befores SEC(".maps");

static __always_inline int keep(__u32 place, __u64 buffer,
				const struct frame *f)
{
	struct monitor_before *b;

	b = bpf_map_lookup_elem(&monitor_befores, &place);
	if (!b)
		return 0;
	b->buffer = buffer;
	b->wanted = is_wanted(f);
	b->len = f->len;
	b->data_len = frame_copy(f, b->data);
	return 0;
}

static __always_inline int tell_passed(__u32 place, __u64 buffer,
				       const struct frame *f, int fate)
{
	__u64 now = bpf_ktime_get_ns();
	struct monitor_before *b;
	struct monitor_passed *e;
	struct monitor_cpu *c;
	struct scratch *s;

	b = bpf_map_lookup_elem(&monitor_befores, &place);
	if (!b || b->buffer != buffer)
		return 0;
	b->buffer = 0;
	c = monitor_cpu();
	if (!c || (!b->wanted && !is_wanted(f)) || !may_tell(c, now))
		return 0;
	e = bpf_ringbuf_reserve(&monitor_events, sizeof(*e), 0);
	if (!e) {
		c->lost++;
		return 0;
	}
	__builtin_memset(&e->before, 0, offsetof(struct monitor_event, data));
	describe(&e->before, c, now, f);
	e->before.egress = place == PLACE_EGRESS;
	e->before.fate = fate;
	e->before.len = b->len;
	e->before.data_len = b->data_len;
	__builtin_memcpy(e->before.data, b->data, sizeof(b->data));
	s = scratch();
	e->oif = s && fate == MONITOR_FORWARDED ? s->pkt.oif : 0;
	e->before.rule = s ? s->pkt.rule : 0;
	e->len = f->len;
	e->unused = 0;
	e->data_len = frame_copy(f, e->data);
	bpf_ringbuf_submit(e, 0);
	return 0;
}

static __always_inline int before_skb(__u64 *ctx, __u32 place)
{
	struct sk_buff *skb = (struct sk_buff *)ctx[0];
	struct frame f = {};
	__u16 mark = 0;

	/* Told already, where it has come in. */
	read_member(mark, skb, tc_index);
	if (place == PLACE_EGRESS && mark == TC_INDEX_DONE)
		return 0;
	frame_of_skb(&f, skb);
	return keep(place, ctx[0], &f);
}

static __always_inline int after_skb(__u64 *ctx, __u32 place)
{
	int action = ctx[1], fate;
	struct frame f = {};
	__u16 mark = 0;

	/* Comes again when it has waited. */
	read_member(mark, (struct sk_buff *)ctx[0], tc_index);
	if (mark == TC_INDEX_SHAPED)
		return 0;

	if (action == TCX_REDIRECT)
		fate = MONITOR_FORWARDED;
	else if (action != TCX_NEXT && action)
		return 0; /* dropped, or kept as a fragment */
	else
		fate = place == PLACE_EGRESS ? MONITOR_SENT : MONITOR_ACCEPTED;
	frame_of_skb(&f, (struct sk_buff *)ctx[0]);
	return tell_passed(place, ctx[0], &f, fate);
}

SEC("fentry/l2_ingress")
int before_ingress(__u64 *ctx)
{
	return before_skb(ctx, PLACE_INGRESS);
}

SEC("fexit/l2_ingress")
int after_ingress(__u64 *ctx)
{
	return after_skb(ctx, PLACE_INGRESS);
}

SEC("fentry/l2_egress")
int before_egress(__u64 *ctx)
{
	return before_skb(ctx, PLACE_EGRESS);
}

SEC("fexit/l2_egress")
int after_egress(__u64 *ctx)
{
	return after_skb(ctx, PLACE_EGRESS);
}

static __always_inline __u64 statistic(__u32 stat)
{
	__u64 *n = statistics();

	return n ? n[stat] : 0;
}

/* What they were before the program: nothing else of this CPU runs meanwhile. */
struct monitor_counts {
	__u64 policy, internal, steer, forwarded;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct monitor_counts);
} monitor_counts SEC(".maps");

static __always_inline void counts(struct monitor_counts *n)
{
	n->policy = statistic(STAT_DROP_POLICY);
	n->internal = statistic(STAT_DROP_INTERNAL);
	n->steer = statistic(STAT_DROP_STEER);
	n->forwarded = statistic(STAT_XDP_FORWARDED);
}

SEC("fentry/l2_xdp")
int before_xdp(__u64 *ctx)
{
	struct monitor_counts *n;
	struct frame f = {};
	__u32 zero = 0;

	n = bpf_map_lookup_elem(&monitor_counts, &zero);
	if (!n)
		return 0;
	counts(n);
	if (!watch_passed)
		return 0;
	frame_of_xdp(&f, (struct xdp_buff *)ctx[0]);
	return keep(PLACE_XDP, ctx[0], &f);
}

/* What the program has dropped ends here: nothing that is freed behind it tells of
 * it. Its reasons are no news to the tracepoint, whatever the filter says.
 */
static __always_inline int xdp_dropped(const struct monitor_counts *then,
				       const struct monitor_counts *now,
				       const struct frame *f)
{
	struct monitor_cpu *c = monitor_cpu();
	__u64 reasons = 0;

	if (!c)
		return 0;
	c->seen[STAT_DROP_POLICY] = now->policy;
	c->seen[STAT_DROP_INTERNAL] = now->internal;
	c->seen[STAT_DROP_STEER] = now->steer;
	if (now->policy != then->policy)
		reasons |= 1ULL << STAT_DROP_POLICY;
	if (now->internal != then->internal)
		reasons |= 1ULL << STAT_DROP_INTERNAL;
	if (now->steer != then->steer)
		reasons |= 1ULL << STAT_DROP_STEER;
	tell_drop(f, c, reasons, 0);
	return 0;
}

/* What XDP leaves as it is comes to the TC program, and what goes to another CPU, too. */
SEC("fexit/l2_xdp")
int after_xdp(__u64 *ctx)
{
	struct monitor_counts now, *then;
	__u32 zero = 0, action = ctx[1];
	struct frame f = {};

	then = bpf_map_lookup_elem(&monitor_counts, &zero);
	if (!then)
		return 0;
	counts(&now);
	frame_of_xdp(&f, (struct xdp_buff *)ctx[0]);
	if (watch_drops && action == XDP_DROP)
		return xdp_dropped(then, &now, &f);
	if (!watch_passed || action != XDP_REDIRECT ||
	    now.forwarded == then->forwarded)
		return 0;
	return tell_passed(PLACE_XDP, ctx[0], &f, MONITOR_FORWARDED);
}
