/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once

#include "common.h"
#include "maps.h"
#include "types.h"

/*
 * Reports of what becomes of flows, for user space that listens. Nobody listens
 * most of the time: then an event is a look at l2_flow_listen, at the moments in
 * a flow's life and not for each packet. Nothing waits for a listener: what finds
 * the buffer full is counted.
 *
 * Not seen are evictions from l2_half_open, and what user space deletes.
 */

/* What happened: bits of struct flow_listen by number. */
enum flow_event_kind {
	FLOW_EVENT_NEW,
	FLOW_EVENT_UPDATE, /* its state, or what has been seen of it */
	FLOW_EVENT_CONFIRM, /* it cannot be evicted any more */
	FLOW_EVENT_DESTROY,
};

/* Why a flow has ended. */
enum flow_end {
	FLOW_END_NONE,
	FLOW_END_EXPIRED,
	FLOW_END_REOPENED, /* a connection with the same ends, or its port, begins */
	FLOW_END_REFUSED, /* a rule drops its first packet after all */
	FLOW_END_MOVED, /* masqueraded, and goes by another interface now */
};

/* What user space wants to hear of. */
struct flow_listen {
	__u32 all; /* kinds of events of any flow */
	__u32 translated; /* of flows that are translated */
	__u64 lost; /* events, since the map was made */
};

struct flow_event {
	__u64 now; /* CLOCK_MONOTONIC in ns */
	__u64 lost; /* until then */
	struct tuple key; /* of the entry that follows, of either direction */
	struct flow flow;
	__u64 packets; /* of the other direction */
	__u64 bytes;
	__u16 via; /* likewise */
	__u8 half; /* the flow may be evicted */
	__u8 kind; /* enum flow_event_kind */
	__u8 end; /* enum flow_end */
	__u8 unused[3];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct flow_listen);
} l2_flow_listen SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1024 * 1024);
} l2_flow_events SEC(".maps");

/* Whether packets leave as they came. Without a branch, for the verifier. */
static __always_inline int flow_is_plain(const struct tuple *key,
					 const struct flow *f)
{
	const __u32 *in = (const __u32 *)key; /* begins as endpoints do */
	const __u32 *out = (const __u32 *)&f->out;
	__u32 i, diff = 0;

	for (i = 0; i < sizeof(f->out) / sizeof(*out); i++)
		diff |= in[i] ^ out[i];
	return !diff;
}

/*
 * Begins the report of an event of the flow that has the entry f, and twin, or
 * NULL, as that of the other direction. Returns NULL if nobody wants it.
 */
static __always_inline struct flow_event *
flow_event_begin(const struct tuple *key, const struct flow *f,
		 const struct flow *twin, __u32 half, __u32 kind, __u32 end)
{
	__u32 zero = 0, wanted;
	struct flow_listen *listen;
	struct flow_event *e;

	listen = bpf_map_lookup_elem(&l2_flow_listen, &zero);
	if (!listen)
		return NULL;
	wanted = READ_ONCE(listen->all);
	if (READ_ONCE(listen->translated) & ~wanted && !flow_is_plain(key, f))
		wanted |= READ_ONCE(listen->translated);
	if (!(wanted >> (kind & 31) & 1))
		return NULL;
	e = bpf_ringbuf_reserve(&l2_flow_events, sizeof(*e), 0);
	if (!e) {
		__sync_fetch_and_add(&listen->lost, 1);
		return NULL;
	}
	__builtin_memset(e, 0, sizeof(*e));
	e->now = bpf_ktime_get_ns();
	e->lost = READ_ONCE(listen->lost);
	e->key = *key;
	e->flow = *f;
	if (twin) {
		e->packets = twin->packets;
		e->bytes = twin->bytes;
		e->via = twin->hop.via;
	}
	e->half = half;
	e->kind = kind;
	e->end = end;
	return e;
}

/* Reports the event, or does not, as it has not happened after all. */
static __always_inline void flow_event_end(struct flow_event *e, int happened)
{
	if (!e)
		return;
	if (happened)
		bpf_ringbuf_submit(e, 0);
	else
		bpf_ringbuf_discard(e, 0);
}

/* Reports what goes on. Global: verified once. */
__noinline int flow_report(const struct tuple *key, const struct flow *f,
			   const struct flow *twin, __u32 half, __u32 kind)
{
	if (!key || !f || !twin)
		return 0;
	flow_event_end(
		flow_event_begin(key, f, twin, half, kind, FLOW_END_NONE), 1);
	return 0;
}
