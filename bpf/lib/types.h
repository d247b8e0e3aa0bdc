/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once

/*
 * Types shared by the XDP and TC programs, the code that the policy compiler
 * generates (it reads member offsets from this file's BTF) and user space.
 * Multi-byte packet fields are in network byte order unless said otherwise.
 */

/* One direction of a flow, as its packets look when they arrive. IPv4
 * addresses use the first four bytes; the rest is zero. Aligned, because the
 * compiler copies and compares in units of the alignment.
 */
struct tuple {
	__u8 saddr[16];
	__u8 daddr[16];
	__be16 sport; /* ICMP echo request: identifier */
	__be16 dport; /* ICMP echo request: type, so that replies pair up */
	__u8 l4proto;
	__u8 nfproto; /* NFPROTO_IPV4 or NFPROTO_IPV6 */
	__u16 zone; /* of conntrack, for this direction; host order */
} __attribute__((aligned(8)));

/* Addresses and ports that a NAT statement allows, both ends included. */
struct nat_range {
	__u8 min[16];
	__u8 max[16];
	__be16 port_min;
	__be16 port_max;
} __attribute__((aligned(8)));

/* Hooks; as pkg/nft numbers them, egress has none in the kernel. */
#define NF_INET_PRE_ROUTING 0
#define NF_INET_LOCAL_IN 1
#define NF_INET_FORWARD 2
#define NF_INET_LOCAL_OUT 3
#define NF_INET_POST_ROUTING 4
#define NF_EGRESS 6

#define NOTES_MAX 16 /* counts that a packet has room for: early.h */

/*
 * A parsed packet. nh and th hold copies of the headers as the packet stands
 * at the current hook (after destination NAT in the chains that follow it), so
 * that a payload expression is a plain load from this struct. A later fragment
 * has the transport header of its first one, as if it had been reassembled.
 */
struct pkt {
	struct tuple tuple;
	__u8 nh[40]; /* IPv4 header without options, or IPv6 header */
	__u8 th[20]; /* start of the transport header */
	__u32 iif; /* 0: none (output, postrouting of the host's packets) */
	__u32 oif; /* 0: not known yet (prerouting, input) */
	__u32 len; /* bytes from the network header on */
	__u32 mark;
	__u32 ct_state; /* CT_STATE_* of the packet */
	__u32 nat; /* NAT_* that a NAT chain asks for; 0: nothing */
	__u32 rule; /* counter index of the last rule that matched */
	__u32 reject; /* REJECT_* that a rule has dropped it with */
	__u32 send_by; /* the interface that a rule sends the frame by */
	__be16 protocol; /* EtherType */
	__u16 fragment; /* FRAGMENT_* */
	__u16 l3_off; /* from the start of the packet's data */
	__u16 l4_off;
	__u8 l4proto;
	__u8 nfproto;
	__u8 th_len; /* valid bytes in th */
	__u8 pkt_type; /* PACKET_HOST, PACKET_BROADCAST, PACKET_MULTICAST */
	__u8 hook; /* NF_*, for rules that ask what depends on it */
	__u8 ll_len; /* of the link-layer header it arrived with; 0: none */
	__u16 zone; /* that a chain before conntrack chose; host order */
	__u64 now; /* CLOCK_MONOTONIC in ns, coarse */
	__u32 priority; /* of the socket buffer, as queue managers read it */
	__u8 zone_dirs; /* directions that zone is of: ZONE_*; 0: none chosen */
	__u8 send_to; /* family of the neighbour nat_range.min to send to; 0: none */
	__u16 fragment_max; /* of a whole datagram: largest fragment, bytes */

	/*
	 * Working memory of the ruleset's code, of undefined content between
	 * two rules: the kernel's stack is too small for it. Nothing above may
	 * move behind it: pkt_begin() clears what is before. Aligned to 8 bytes.
	 */
	__u8 key[72]; /* of a set's element, behind an LPM trie's prefix length */
	__u8 regs[64]; /* values that a rule computes */
	__u8 elem[104]; /* an element that a rule adds to a set */
	struct nat_range nat_range; /* of a NAT statement, as p->nat says */

	/* Of the chains that XDP runs early: early.h. */
	__u32 noted[NOTES_MAX]; /* counter indexes */
	__u32 notes;
	__u32 notes_frame; /* the first of them, with the frame's length */

	/* The coarse clock, and the jiffies that it was read at: pkt_begin(). */
	__u64 coarse;
	__u64 jiffies;
};

_Static_assert(offsetof(struct pkt, key) % 8 == 0, "pkt.key is aligned");

/* pkt.fragment: a whole packet, the first fragment of a datagram that is whole
 * and stands for it, a first fragment alone, or a later one's offset in units of
 * 8 bytes, host order.
 */
#define FRAGMENT_NONE 0
#define FRAGMENT_WHOLE 0xfffe
#define FRAGMENT_FIRST 0xffff

/* A transport header's start, to be copied in words. */
struct th_words {
	__u32 w[5];
};

/* Bounds that the verifier cannot know once a pkt has been out of sight. */
#define L3_OFF(p) ((p)->l3_off & 0x1f)
#define L4_OFF(p) ((p)->l4_off & 0x1ff)

/* pkt.zone_dirs: NF_CT_ZONE_DIR_* of the kernel. */
#define ZONE_ORIGINAL (1U << 0)
#define ZONE_REPLY (1U << 1)

/* ct.mapped */
#define MAPPED_DST (1U << 0) /* a mapping says who the packet is for */
#define MAPPED_HAIRPIN (1U << 1) /* and its sender is inside, too */

/* What a NAT chain asks for in pkt.nat: NF_NAT_RANGE_* of linux/netfilter/nf_nat.h,
 * and which statement it is.
 */
#define NAT_ADDRESS (1U << 0)
#define NAT_PORTS (1U << 1)
#define NAT_PERSISTENT (1U << 3)
#define NAT_RANDOM (1U << 2 | 1U << 4) /* random, fully-random: any of them */
#define NAT_PREFIX (1U << 6)
/* In policy_nat only: of the router's own packets a rule translates the destination;
 * and there are NAT chains for the family.
 */
#define NAT_OUTPUT (1U << 26)
#define NAT_CHAINS4 (1U << 27)
#define NAT_CHAINS6 (1U << 28)
#define NAT_REDIRECT (1U << 29)
#define NAT_MASQUERADE (1U << 30)
#define NAT_STATEMENT (1U << 31) /* always there */

/* pkt.reject: the codes of an ICMP error, for IPv4 and from bit 8 on for IPv6,
 * and above what it is to be answered with.
 */
#define REJECT_CODE6_SHIFT 8
#define REJECT_KIND_SHIFT 16
#define REJECT_ICMP 1
#define REJECT_RESET 2
#define REJECT_KIND(p) ((p)->reject >> REJECT_KIND_SHIFT & 0xff)
#define REJECT_AFTER_NAT (1U << 24) /* at input, behind its NAT chains */
#define REJECT_FRAME (1U << 25) /* by a chain of a device's frames */

/* Where a rule rejects. */
#define REJECT_PREROUTING 0
#define REJECT_INPUT 1
#define REJECT_FORWARD 2
#define REJECT_OUTPUT 3
#define REJECT_KERNEL_FORWARD 4 /* has one hop less already */

/* What a rule, or a base chain's policy, has counted. Per CPU. */
struct counter {
	__u64 packets;
	__u64 bytes;
};

/* Token bucket of a limit statement, in the units of net/netfilter/nft_limit.c. */
struct limit {
	struct bpf_spin_lock lock;
	__u32 flags; /* LIMIT_* */
	__u64 last; /* ns */
	__u64 tokens; /* ns */
	__u64 tokens_max; /* ns */
	__u64 rate; /* packets or bytes per nsecs */
	__u64 nsecs;
};

#define LIMIT_BYTES (1U << 0) /* counts bytes, not packets */
#define LIMIT_OVER (1U << 1) /* matches what exceeds the rate */

/* Value of a set's element in a map. */
struct set_elem {
	__u64 expires; /* CLOCK_MONOTONIC in ns; 0: never */
};

/* Enums that values of maps have, in a byte: who dumps a map reads names. */
#define in_a_byte __attribute__((packed))

/* enum tcp_conntrack of include/uapi/linux/netfilter/nf_conntrack_tcp.h */
enum tcp_state {
	TCP_NONE,
	TCP_SYN_SENT,
	TCP_SYN_RECV,
	TCP_ESTABLISHED,
	TCP_FIN_WAIT,
	TCP_CLOSE_WAIT,
	TCP_LAST_ACK,
	TCP_TIME_WAIT,
	TCP_CLOSE,
	TCP_SYN_SENT2,
	TCP_STATE_MAX,
} in_a_byte;

/* enum sctp_conntrack of include/uapi/linux/netfilter/nf_conntrack_sctp.h */
enum sctp_state {
	SCTP_NONE,
	SCTP_CLOSED,
	SCTP_COOKIE_WAIT,
	SCTP_COOKIE_ECHOED,
	SCTP_ESTABLISHED,
	SCTP_SHUTDOWN_SENT,
	SCTP_SHUTDOWN_RECD,
	SCTP_SHUTDOWN_ACK_SENT,
	SCTP_HEARTBEAT_SENT,
	SCTP_STATE_MAX,
} in_a_byte;

/* What a TCP segment is to its connection. */
enum tcp_event {
	EVENT_SYN,
	EVENT_SYNACK,
	EVENT_FIN,
	EVENT_ACK,
	EVENT_RST,
	EVENT_NONE,
	EVENT_MAX,
} in_a_byte;

/* Addresses and ports that a packet leaves with. */
struct endpoints {
	__u8 saddr[16];
	__u8 daddr[16];
	__be16 sport;
	__be16 dport;
} __attribute__((aligned(4)));

/* Where the last route lookup sent a flow; XDP's memory of it. */
struct hop {
	__u32 checked; /* ticks; 0: never, or just being written */
	__u32 oif; /* 0: none that XDP may send by */
	__u8 dmac[6]; /* the two as in a frame */
	__u8 smac[6];
	__u16 mtu;
	__u16 via; /* where packets go, for user space; 0: up, or not known */
};

/* What a direction's TCP segments have shown: tcp_window.h. Host order. */
struct tcp_seen {
	__u32 end; /* behind the last byte sent */
	__u32 maxend; /* behind the last byte that it may send */
	__u32 maxwin; /* largest window offered; 0: nothing seen */
	__u32 maxack; /* highest acknowledgement */
	__u8 scale; /* of its windows */
	__u8 flags; /* SEEN_* */
};

/* The last segment of a connection that mattered. Host order. */
struct tcp_last {
	__u32 seq;
	__u32 ack;
	__u32 end;
	__u16 win;
	enum tcp_event event;
	__u8 dir; /* 1: of the reply direction */
	__u8 retrans; /* how often it came again */
	__u8 scale; /* of a SYN that was let through */
	__u8 flags; /* likewise, and LAST_* */
};

/*
 * One direction of a flow; the key is the tuple its packets arrive with. The
 * other direction's key is the reverse of out.
 *
 * With its key and what the kernel adds, FLOW_OVERHEAD bytes before the key, an
 * entry is an object of 256 bytes that begins with a cache line. The first line
 * links it, the second has the key and the addresses of out, the third the rest
 * of what each packet needs, and the last one what TCP, labels and rules need.
 */
struct flow {
	struct endpoints out;
	__u32 expires; /* ticks; both directions have the same, within a second */
	__u64 packets;
	__u64 bytes;
	union {
		__u8 state; /* by the flow's protocol: */
		enum tcp_state tcp_state;
		enum sctp_state sctp_state;
	};
	__u8 flags; /* FLOW_* */
	__u16 zone; /* of the other direction's key */
	__u32 mark; /* both directions have the same, and the same labels */
	/* What the translation adds to checksums; 0: it changes nothing. */
	__u32 addr_diff;
	__u32 port_diff;
	struct hop hop;
	/* Another cache line. */
	struct tcp_seen seen;
	struct tcp_last last; /* of the original direction's entry */
	__u32 labels[4];
	__u32 created; /* ticks */
	__u16 until_low; /* expires in ms, for rules that ask: flow_left() */
	__u8 created_fraction; /* of a tick: flow_created() */
	__u8 unused;
};

/* The kernel's struct htab_elem, and its allocator's word before each object. */
#define FLOW_OVERHEAD (48 + 8)

_Static_assert(FLOW_OVERHEAD + sizeof(struct tuple) + sizeof(struct flow) <=
		       256,
	       "an entry is an object of 256 bytes, the next size is 512");
_Static_assert((FLOW_OVERHEAD + sizeof(struct tuple) +
		offsetof(struct flow, seen)) %
			       64 ==
		       0,
	       "what each packet needs ends with a cache line");

#define FLOW_REPLY (1U << 0) /* this is the reply direction */
#define FLOW_SEEN_REPLY (1U << 1) /* packets have been seen both ways */
#define FLOW_ASSURED (1U << 2) /* IPS_ASSURED */
#define FLOW_ASKED_PORT (1U << 3) /* a rule had a say in its source port */
#define FLOW_STALE (1U << 4) /* begun under another ruleset: reevaluate.h */
#define FLOW_MASQUERADED \
	(1U << 5) /* its source is the address of an interface */
#define FLOW_MAPPED_SRC (1U << 6) /* its source is that of a mapping */
#define FLOW_MAPPED_DST (1U << 7) /* its destination is */

/*
 * The key of a mapping: one end of it, for each of its two entries; mapping.h.
 */
struct mapping_key {
	__u8 addr[16];
	__u8 remote[16]; /* the remote address that it is for; 0: any */
	__be16 port;
	__u16 zone; /* of conntrack; host order */
	__u8 l4proto;
	__u8 nfproto;
	__u8 outside; /* 0: the client's end, 1: what others see */
	__u8 unused;
} __attribute__((aligned(8)));

struct mapping {
	__u8 addr[16]; /* the other end */
	__be16 port;
	__u16 via; /* the interface that its packets leave by, as struct hop */
	__u32 used; /* ticks: when a flow was last known to use it */
	__u16 zone; /* of the other end */
	__u8 unused[2];
};

/* Who begins flows: source.h. */
struct source_key {
	__u8 addr[16];
	__u16 zone; /* of conntrack; host order */
	__u8 nfproto;
	__u8 unused[5];
} __attribute__((aligned(8)));

struct source {
	__u32 flows; /* that it has, as far as is known */
	__u32 found; /* by the collector, in this walk */
	__u32 walk;
};

/* Ports that NAT does not choose. */
struct reserved_ports {
	__u64 bits[1024]; /* of port n: bit n % 64 of word n / 64 */
};

/* What of a remote end a NAT tells apart: RFC 4787, 4.1 and 5. */
enum nat_dependence {
	NAT_ENDPOINT_DEPENDENT, /* address and port */
	NAT_ADDRESS_DEPENDENT,
	NAT_ENDPOINT_INDEPENDENT,
} in_a_byte;

/* What happened to packets and flows; a reason's name is its user interface. */
#define STATISTICS(STAT)                                                                \
	STAT(XDP_FORWARDED)                                                             \
	STAT(XDP_PASSED)                                                                \
	STAT(TC_FORWARDED)                                                              \
	STAT(LOCAL_IN)                                                                  \
	STAT(LOCAL_OUT)                                                                 \
	STAT(TO_KERNEL) /* accepted, and the kernel has to answer or fragment */        \
	STAT(FRAGMENT_HELD) /* until the others of its datagram are there */            \
	STAT(DATAGRAM_WHOLE) /* all fragments of one were there */                      \
	STAT(FLOW_NEW)                                                                  \
	STAT(FLOW_CONFIRMED)                                                            \
	STAT(FLOW_EXPIRED)                                                              \
	STAT(FLOW_TABLE_FULL)                                                           \
	STAT(FLOW_INVALID) /* packets that are of no flow, and begin none */            \
	STAT(NAT_COLLISION) /* the source port was taken, another was tried */          \
	STAT(NAT_TRIES) /* ports that were tried, for all flows together */             \
	STAT(NAT_TRIES_8) /* flows that had one after at most as many tries */          \
	STAT(NAT_TRIES_64)                                                              \
	STAT(NAT_TRIES_248)                                                             \
	STAT(DROP_POLICY)                                                               \
	STAT(DROP_MALFORMED)                                                            \
	STAT(DROP_FRAGMENT) /* the router's own, later one before its first */          \
	STAT(DROP_FRAGMENT_MALFORMED) /* lengths and ends that contradict each other */ \
	STAT(DROP_FRAGMENT_TINY) /* the transport header in several */                  \
	STAT(DROP_FRAGMENT_OVERLAP)                                                     \
	STAT(DROP_FRAGMENT_DUPLICATE)                                                   \
	STAT(DROP_FRAGMENT_TIMEOUT) /* others of the datagram did not come */           \
	STAT(DROP_FRAGMENT_LIMIT) /* of fragments, of datagrams or of memory */         \
	STAT(DROP_NO_ROUTE)                                                             \
	STAT(DROP_MARTIAN) /* a source that no host can have */                         \
	STAT(DROP_NAT_NO_ADDRESS)                                                       \
	STAT(DROP_NAT_EXHAUSTED)                                                        \
	STAT(DROP_NAT_MOVED) /* masqueraded, and its way is by another interface now */ \
	STAT(DROP_NAT_LOCAL) /* would need lo, as the programs cannot use it */         \
	STAT(DROP_FLOW_CLASH)                                                           \
	STAT(DROP_CT_COUNT_FULL) /* ct count knows as many as it can */                 \
	STAT(DROP_INTERNAL)                                                             \
	STAT(LOG_LOST)                                                                  \
	STAT(DROP_SOURCE_LIMIT) /* its sender has begun enough flows */                 \
	STAT(SOURCE_TABLE_FULL) /* a flow whose sender is not counted */                \
	STAT(NAT_MAPPING_FULL) /* a flow has a source of its own for want of room */    \
	STAT(DROP_STEER) /* a rule of ntuple */                                         \
	STAT(POLICER_MARKED) /* a rule with a limit had dropped it */                   \
	STAT(SHAPED) /* sent to where what comes in waits */                            \
	STAT(DROP_NAT_REDIRECT) /* ICMP's, about what NAT has changed */

#define STAT_NUMBER(name) STAT_##name,
#define STAT_MEMBER(name) __u64 name;

enum stat { STATISTICS(STAT_NUMBER) STAT_MAX };

/* How often each has happened, by the names that bpftool shows. */
struct statistics {
	STATISTICS(STAT_MEMBER)
};

/* Timeouts in ticks. */
struct settings {
	__u32 tcp[TCP_STATE_MAX];
	__u32 tcp_unacknowledged; /* of data, or of a flow picked up */
	__u32 tcp_retransmitted; /* often, without an answer */
	__u32 udp_unreplied;
	__u32 udp_stream;
	__u32 sctp[SCTP_STATE_MAX];
	__u32 icmp;
	__u32 generic;
	/* What is no timeout. */
	__u8 tcp_liberal; /* all segments are in the window */
	__u8 tcp_loose; /* connections are picked up */
	__u8 tcp_any_rst; /* resets before the window are good */
	__u8 tcp_max_retrans;
	enum nat_dependence nat_mapping;
	enum nat_dependence nat_filtering;
	/* Ports that NAT chooses from, host order; 0: as it sees fit. */
	__u16 nat_port_min;
	__u16 nat_port_max;
	__u32 flows_per_source; /* 0: as many as there is room for */
	__u32 nat_port_rest; /* ticks that a port stays its client's, unused */
	__u8 nat_reserves; /* l2_nat_reserved has any */
	__u8 unused[3];
};

/* What the programs know of an interface, by its index. */
struct iface {
	__u8 mac[6];
	__u8 flags; /* IFACE_* */
	__u8 unused;
	__u32 parent; /* of a VLAN on the XDP path: its NIC; of a shaper; else 0 */
	__be16 vlan_proto;
	__be16 vlan_tci;
};

/* A VLAN on a NIC that runs XDP. */
struct vlan_key {
	__u32 parent;
	__be16 proto;
	__u16 id;
};

#define IFACE_MANAGED (1U << 0)
#define IFACE_L3 (1U << 1) /* frames have no Ethernet header */
#define IFACE_XDP_PORT \
	(1U << 2) /* XDP may send by it; it, or its NIC, is in l2_xdp_ports */
#define IFACE_SHAPED (1U << 3) /* what comes in waits first: shaper.h */
#define IFACE_SHAPER (1U << 4) /* where it arrives then, for parent */

/* What the fragments of one datagram have in common. */
struct frag_key {
	__u8 saddr[16];
	__u8 daddr[16];
	__u32 id;
	__u8 nfproto;
	__u8 l4proto; /* IPv4 only */
	__u16 unused;
};

/* What later fragments of the router's own get from their first one. */
struct frag {
	__u8 th[20];
	__u8 th_len;
	__u8 l4proto;
	__u8 unused[2];
	__u32 expires; /* ticks */
};

/* A packet that a log statement reported. */
struct log_event {
	__u64 now; /* CLOCK_MONOTONIC in ns */
	__u32 log; /* index of the log statement */
	__u32 rule; /* counter index of the last rule that matched before */
	__u32 iif;
	__u32 oif;
	__u32 len;
	__u32 mark;
	__u32 ct_state;
	__u32 uid; /* of the socket, with LOG_SOCKET */
	__u32 gid;
	__u8 nfproto;
	__u8 l4proto;
	__u8 th_len;
	__u8 flags; /* LOG_* */
	__u8 nh[40]; /* the headers as they are at the hook */
	__u8 th[20];
	__u16 l4_off; /* from the network header */
	__u16 data_len;
	__u8 mac[14]; /* the Ethernet header, with LOG_MAC */
	__u8 unused[2];
	__u8 data[256]; /* from the network header, as the packet came */
};

#define LOG_MAC (1U << 0)
#define LOG_SOCKET (1U << 1)

/* Of the argument of nft_log(): the statement, and with the highest bit the
 * slots of p->regs that have the socket's user and group.
 */
#define LOG_INDEX 0xffff
#define LOG_HAS_SOCKET (1U << 31)
