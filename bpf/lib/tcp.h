/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once

#include "common.h"
#include "frag.h"
#include "types.h"

/*
 * TCP connection states as nf_conntrack keeps them
 * (net/netfilter/nf_conntrack_proto_tcp.c). Its windows: tcp_window.h.
 */

#define TH_FIN 0x01
#define TH_SYN 0x02
#define TH_RST 0x04
#define TH_ACK 0x10
#define TH_URG 0x20

enum tcp_verdict {
	TCP_KEEP, /* of the connection */
	TCP_IGNORE, /* of it, but nothing is to be learnt from it */
	TCP_INVALID,
	TCP_REOPEN, /* a SYN for a finished connection begins a new one */
};

#define NO TCP_NONE
#define SS TCP_SYN_SENT
#define SR TCP_SYN_RECV
#define ES TCP_ESTABLISHED
#define FW TCP_FIN_WAIT
#define CW TCP_CLOSE_WAIT
#define LA TCP_LAST_ACK
#define TW TCP_TIME_WAIT
#define CL TCP_CLOSE
#define S2 TCP_SYN_SENT2
#define IV 254 /* invalid */
#define IG 255 /* let through, leave the state: the other end will judge */

/* clang-format off */
static const __u8 tcp_next[2 * EVENT_MAX * TCP_STATE_MAX] = {
	/* original direction
	 *     NO  SS  SR  ES  FW  CW  LA  TW  CL  S2
	 */
	/*syn*/ SS, SS, IG, IG, IG, IG, IG, SS, SS, S2,
	/*s/a*/ IV, IV, SR, IV, IV, IV, IV, IV, IV, SR,
	/*fin*/ IV, IV, FW, FW, LA, LA, LA, TW, CL, IV,
	/*ack*/ ES, IV, ES, ES, CW, CW, TW, TW, CL, IV,
	/*rst*/ IV, CL, CL, CL, CL, CL, CL, CL, CL, CL,
	/*nil*/ IV, IV, IV, IV, IV, IV, IV, IV, IV, IV,
	/* reply direction */
	/*syn*/ IV, S2, IV, IV, IV, IV, IV, SS, IV, S2,
	/*s/a*/ IV, SR, IG, IG, IG, IG, IG, IG, IG, SR,
	/*fin*/ IV, IV, FW, FW, LA, LA, LA, TW, CL, IV,
	/*ack*/ IV, IG, SR, ES, CW, CW, TW, TW, CL, IG,
	/*rst*/ IV, CL, CL, CL, CL, CL, CL, CL, CL, CL,
	/*nil*/ IV, IV, IV, IV, IV, IV, IV, IV, IV, IV,
};
/* clang-format on */

#undef NO
#undef SS
#undef SR
#undef ES
#undef FW
#undef CW
#undef LA
#undef TW
#undef CL
#undef S2

static __always_inline __u8 tcp_flags(const struct pkt *p)
{
	return p->th[13];
}

/* Combinations that RFC 9293 knows, ECN and PSH aside. */
static __always_inline int tcp_header_valid(const struct pkt *p)
{
	if (p->th_len < sizeof(struct tcphdr) || p->th[12] < 0x50)
		return 0;
	/* Options that reach beyond the packet. */
	if (!is_part(p) &&
	    p->l4_off - p->l3_off + (p->th[12] >> 4) * 4U > p->len)
		return 0;
	switch (tcp_flags(p) & (TH_FIN | TH_SYN | TH_RST | TH_ACK | TH_URG)) {
	case TH_SYN:
	case TH_SYN | TH_URG:
	case TH_SYN | TH_ACK:
	case TH_RST:
	case TH_RST | TH_ACK:
	case TH_FIN | TH_ACK:
	case TH_FIN | TH_ACK | TH_URG:
	case TH_ACK:
	case TH_ACK | TH_URG:
		return 1;
	}
	return 0;
}

static __always_inline __u32 tcp_event(const struct pkt *p)
{
	__u8 flags = tcp_flags(p);

	if (flags & TH_RST)
		return EVENT_RST;
	if (flags & TH_SYN)
		return flags & TH_ACK ? EVENT_SYNACK : EVENT_SYN;
	if (flags & TH_FIN)
		return EVENT_FIN;
	return flags & TH_ACK ? EVENT_ACK : EVENT_NONE;
}

/* The next state, or IV or IG. */
static __always_inline __u8 tcp_transition(__u32 event, int reply, __u8 state)
{
	__u32 i = ((reply ? EVENT_MAX : 0) + event) * TCP_STATE_MAX + state;

	return i < sizeof(tcp_next) ? tcp_next[i] : IV;
}
