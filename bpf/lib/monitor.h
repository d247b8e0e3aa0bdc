/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once

#include "common.h"
#include "marks.h"
#include "scratch.h"
#include "types.h"

/*
 * What those who watch packets are told, and of which. It is read from the kernel's
 * own structures: nothing of it is in the programs that are watched.
 */

#define MONITOR_DATA 512
#define MONITOR_WINDOW 100000000ULL /* ns */

/* What has become of a packet. */
enum monitor_fate {
	MONITOR_DROPPED,
	MONITOR_FORWARDED,
	MONITOR_ACCEPTED, /* for the router, or for the kernel to answer */
	MONITOR_SENT, /* by the router */
};

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
	__u8 fate; /* enum monitor_fate */
	__u8 data[MONITOR_DATA];
};

/* And of one that goes on: what it has become. */
struct monitor_passed {
	struct monitor_event before;
	__u32 oif; /* that it is forwarded by */
	__u32 len;
	__u32 data_len;
	__u32 unused;
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

/* The network namespace's inode number, likewise. */
volatile const __u32 monitor_netns = 0;

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
struct ns_common {
	unsigned int inum;
};

struct net {
	struct ns_common ns;
};

typedef struct {
	struct net *net;
} possible_net_t;

struct net_device {
	unsigned short type;
	int ifindex;
	possible_net_t nd_net;
};

struct sk_buff {
	struct net_device *dev;
	unsigned int len, data_len;
	unsigned char *head, *data;
	__u16 mac_header;
	__u16 tc_index;
};

struct xdp_rxq_info {
	struct net_device *dev;
};

struct xdp_buff {
	void *data, *data_end;
	struct xdp_rxq_info *rxq;
};
#pragma clang attribute pop

/* Where a member is, of a pointer that the verifier knows nothing of. */
#define read_member(to, pointer, member) \
	bpf_probe_read_kernel(           \
		&(to), sizeof(to),       \
		__builtin_preserve_access_index(&(pointer)->member))

/* A frame in memory: an address and what is there. */
struct frame {
	__u64 start;
	__u32 linear; /* bytes from there on */
	__u32 len; /* with those in pages */
	__u32 ifindex;
	__u16 type;
};

#define ARPHRD_ETHER 1
#define ARPHRD_LOOPBACK 772

/* Whether the device is in the network namespace of who watches: the kernel's
 * tracepoints are of all.
 */
static __always_inline int is_ours(struct sk_buff *skb)
{
	struct net_device *dev = NULL;
	struct net *net = NULL;
	__u32 inum = 0;

	read_member(dev, skb, dev);
	read_member(net, dev, nd_net.net);
	read_member(inum, net, ns.inum);
	return inum == monitor_netns;
}

static __always_inline void frame_at(struct frame *f, struct net_device *dev)
{
	read_member(f->ifindex, dev, ifindex);
	read_member(f->type, dev, type);
}

/* From the link-layer header on, which data may be behind. */
static __always_inline void frame_of_skb(struct frame *f, struct sk_buff *skb)
{
	unsigned char *head = NULL, *data = NULL;
	struct net_device *dev = NULL;
	__u32 in_pages = 0;
	__u16 mac = 0;
	__u64 behind;

	read_member(dev, skb, dev);
	frame_at(f, dev);
	read_member(head, skb, head);
	read_member(data, skb, data);
	read_member(mac, skb, mac_header);
	read_member(f->len, skb, len);
	read_member(in_pages, skb, data_len);
	behind = data - (head + mac);
	if (behind > ETH_HLEN)
		behind = 0;
	f->start = (__u64)data - behind;
	f->len += behind;
	f->linear = f->len - in_pages;
}

static __always_inline void frame_of_xdp(struct frame *f, struct xdp_buff *xdp)
{
	struct xdp_rxq_info *rxq = NULL;
	void *data = NULL, *end = NULL;
	struct net_device *dev = NULL;

	read_member(rxq, xdp, rxq);
	read_member(dev, rxq, dev);
	frame_at(f, dev);
	read_member(data, xdp, data);
	read_member(end, xdp, data_end);
	f->start = (__u64)data;
	f->linear = f->len = end - data;
}

/* Copies what there is room for; returns how much that is. */
static __always_inline __u32 frame_copy(const struct frame *f, __u8 *to)
{
	__u32 n = f->linear;

	if (n > MONITOR_DATA)
		n = MONITOR_DATA;
	if (!in_bounds(n, 1, MONITOR_DATA) ||
	    bpf_probe_read_kernel(to, n, (void *)f->start))
		return 0;
	return n;
}

/*
 * Whether somebody wants to be told of the frame, by what there is of it in one
 * piece. The loader replaces both with what the filter is compiled to, for frames
 * with an Ethernet header and for those that begin with IP's.
 */
#define MONITOR_FILTER(name)                                          \
	__noinline __weak int name(__u64 start, __u64 end, __u32 len) \
	{                                                             \
		barrier_var(start);                                   \
		barrier_var(end);                                     \
		barrier_var(len);                                     \
		return 1;                                             \
	}

MONITOR_FILTER(monitor_ethernet)
MONITOR_FILTER(monitor_ip)

static __always_inline int is_wanted(const struct frame *f)
{
	if (f->type == ARPHRD_ETHER || f->type == ARPHRD_LOOPBACK)
		return monitor_ethernet(f->start, f->start + f->linear, f->len);
	return monitor_ip(f->start, f->start + f->linear, f->len);
}

static __always_inline struct monitor_cpu *monitor_cpu(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&monitor_cpus, &zero);
}

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

/* All of an event but its data. */
static __always_inline void describe(struct monitor_event *e,
				     const struct monitor_cpu *c, __u64 now,
				     const struct frame *f)
{
	e->now = now;
	e->lost = c->lost;
	e->ifindex = f->ifindex;
	e->type = f->type;
	e->len = f->len;
}
