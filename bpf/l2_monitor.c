//go:build ignore
// SPDX-License-Identifier: GPL-2.0-only

/*
 * What the TC programs drop, for somebody who watches. It is attached to the kernel's
 * tracepoint of dropped packets as long as that lasts, so that the programs have no
 * code for it: what they drop is freed behind them, on the same CPU, while their
 * memory is as they have left it.
 */

#include "lib/common.h"
#include "lib/scratch.h"
#include "lib/types.h"

char LICENSE[] SEC("license") = "GPL";

#define MONITOR_DATA 512
#define MONITOR_WINDOW 100000000ULL /* ns */

/* What user space is told of a packet. */
struct monitor_event {
	__u64 now; /* CLOCK_MONOTONIC in ns */
	__u64 lost; /* on this CPU, until then */
	__u64 reasons; /* statistics that have moved: bits by enum stat */
	__u32 rule; /* counter index of the last rule that matched */
	__u32 reject; /* as pkt.reject */
	__u32 ifindex;
	__u32 len; /* of the frame */
	__u32 data_len;
	__u16 type; /* ARPHRD_* of the interface */
	__u8 egress;
	__u8 unused;
	__u8 data[MONITOR_DATA];
};

/* What this CPU may still tell, and the statistics that it has seen. */
struct monitor_cpu {
	__u64 window; /* ns: when it began */
	__u64 told; /* in it */
	__u64 lost;
	__u64 seen[STAT_MAX];
};

/* Events in a window, of a CPU; set by the loader. */
volatile const __u32 monitor_most = 100;

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, STAT_MAX);
	__type(key, __u32);
	__type(value, __u64);
} l2_stats SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct monitor_cpu);
} monitor_cpus SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1024 * 1024);
} monitor_events SEC(".maps");

#pragma clang attribute push(__attribute__((preserve_access_index)), \
			     apply_to = record)
struct net_device {
	unsigned short type;
	int ifindex;
};

struct sk_buff {
	struct net_device *dev;
	unsigned int len, data_len;
	unsigned char *head, *data;
	__u16 mac_header;
};
#pragma clang attribute pop

enum skb_drop_reason {
	SKB_DROP_REASON_TC_INGRESS = 1,
	SKB_DROP_REASON_TC_EGRESS = 2,
};

/* bpf_core_enum_value() of libbpf. */
#define enum_value(value) \
	__builtin_preserve_enum_value(*(typeof(enum skb_drop_reason) *)value, 1)

/* Where a member is, of a pointer that the verifier knows nothing of. */
#define read_member(to, pointer, member) \
	bpf_probe_read_kernel(           \
		&(to), sizeof(to),       \
		__builtin_preserve_access_index(&(pointer)->member))

/* Whether this CPU may tell one more; else it is counted. */
static __always_inline int may_tell(struct monitor_cpu *c, __u64 now)
{
	if (now - c->window >= MONITOR_WINDOW) {
		c->window = now;
		c->told = 0;
	}
	if (c->told < monitor_most) {
		c->told++;
		return 1;
	}
	c->lost++;
	return 0;
}

/* How many bytes the data is behind the link-layer header. */
static __always_inline __u32 behind_mac(struct sk_buff *skb,
					unsigned char *data)
{
	unsigned char *head = NULL;
	__u16 mac = 0;
	__u64 n;

	read_member(head, skb, head);
	read_member(mac, skb, mac_header);
	n = data - (head + mac);
	return n <= ETH_HLEN ? n : 0;
}

static __always_inline void tell(struct sk_buff *skb, struct monitor_cpu *c,
				 __u64 reasons, int egress)
{
	__u64 now = bpf_ktime_get_ns();
	struct net_device *dev = NULL;
	struct monitor_event *e;
	__u32 n = 0, more = 0, behind;
	unsigned char *data = NULL;
	struct scratch *s;

	if (!may_tell(c, now))
		return;
	e = bpf_ringbuf_reserve(&monitor_events, sizeof(*e), 0);
	if (!e) {
		c->lost++;
		return;
	}
	__builtin_memset(e, 0, offsetof(struct monitor_event, data));
	e->now = now;
	e->lost = c->lost;
	e->reasons = reasons;
	e->egress = egress;
	read_member(dev, skb, dev);
	read_member(e->ifindex, dev, ifindex);
	read_member(e->type, dev, type);
	read_member(e->len, skb, len);
	s = scratch();
	if (s) {
		e->rule = s->pkt.rule;
		e->reject = s->pkt.reject;
	}
	/* From the link-layer header on, which what has come in is behind; and
	 * without what is in pages.
	 */
	read_member(more, skb, data_len);
	read_member(data, skb, data);
	behind = behind_mac(skb, data);
	e->len += behind;
	data -= behind;
	n = e->len - more;
	if (n > sizeof(e->data))
		n = sizeof(e->data);
	if (!in_bounds(n, 1, sizeof(e->data)) ||
	    bpf_probe_read_kernel(e->data, n, data))
		n = 0;
	e->data_len = n;
	bpf_ringbuf_submit(e, 0);
}

_Static_assert(STAT_MAX <= 64, "a bit for each statistic");

/* Those that have moved since a packet was last dropped here, as bits: they say why
 * this one is. Without a branch for each, for the verifier.
 */
static __always_inline __u64 moved(struct monitor_cpu *c)
{
	__u64 bits = 0, diff, less;
	__u32 i;

	for (i = 0; i < STAT_MAX; i++) {
		__u32 stat = i;
		__u64 *n = bpf_map_lookup_elem(&l2_stats, &stat);

		if (!n)
			return 0;
		diff = *n ^ c->seen[i];
		c->seen[i] = *n;
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
	__u32 zero = 0, why = ctx[2];
	struct monitor_cpu *c;
	__u64 reasons;
	int egress;

	egress = why == enum_value(SKB_DROP_REASON_TC_EGRESS);
	if (!egress && why != enum_value(SKB_DROP_REASON_TC_INGRESS))
		return 0;
	c = bpf_map_lookup_elem(&monitor_cpus, &zero);
	if (!c)
		return 0;
	reasons = moved(c);
	if (reasons) /* else it is not of these programs */
		tell((struct sk_buff *)ctx[0], c, reasons, egress);
	return 0;
}
