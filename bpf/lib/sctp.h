/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once

#include "common.h"
#include "types.h"

/* SCTP's packets, and the states of associations as nf_conntrack keeps them
 * (net/netfilter/nf_conntrack_proto_sctp.c).
 */

#define SCTP_HEADER 12
#define SCTP_CHUNKS_MAX (0x10000 / sizeof(struct sctp_chunk))

struct sctp_chunk {
	__u8 type;
	__u8 flags;
	__be16 length;
};

/* What INIT and INIT ACK begin with. */
struct sctp_init {
	__be32 tag; /* that packets to the sender are to have */
	__be32 window;
	__be16 streams[2];
	__be32 tsn;
};

/* Types of chunks that mean something here: RFC 9260, 3.2. */
enum sctp_type {
	SCTP_DATA,
	SCTP_INIT,
	SCTP_INIT_ACK,
	SCTP_SACK,
	SCTP_HEARTBEAT,
	SCTP_HEARTBEAT_ACK,
	SCTP_ABORT,
	SCTP_SHUTDOWN,
	SCTP_SHUTDOWN_ACK,
	SCTP_ERROR,
	SCTP_COOKIE_ECHO,
	SCTP_COOKIE_ACK,
	SCTP_SHUTDOWN_COMPLETE = 14,
	SCTP_TYPE_MAX,
};

#define SCTP_BIT(type) (1U << SCTP_##type)
#define SCTP_OTHER (1U << 31) /* any type that is not above */

/* With the tag of its receiver, and not of its sender: ABORT, SHUTDOWN COMPLETE. */
#define SCTP_REFLECTED 1

#define NO SCTP_NONE
#define CL SCTP_CLOSED
#define CW SCTP_COOKIE_WAIT
#define CE SCTP_COOKIE_ECHOED
#define ES SCTP_ESTABLISHED
#define SS SCTP_SHUTDOWN_SENT
#define SR SCTP_SHUTDOWN_RECD
#define SA SCTP_SHUTDOWN_ACK_SENT
#define HS SCTP_HEARTBEAT_SENT
#define IV SCTP_STATE_MAX /* invalid */

/* clang-format off */
static const __u8 sctp_next[2 * SCTP_TYPE_MAX * SCTP_STATE_MAX] = {
	/* original direction
	 *                NO  CL  CW  CE  ES  SS  SR  SA  HS
	 */
	/* data        */ NO, CL, CW, CE, ES, SS, SR, SA, HS,
	/* init        */ CL, CL, CW, CE, ES, CL, CL, SA, CW,
	/* init ack    */ CL, CL, CW, CE, ES, SS, SR, SA, CL,
	/* sack        */ NO, CL, CW, CE, ES, SS, SR, SA, HS,
	/* heartbeat   */ HS, CL, CW, CE, ES, SS, SR, SA, HS,
	/* hb ack      */ CL, CL, CW, CE, ES, SS, SR, SA, HS,
	/* abort       */ CL, CL, CL, CL, CL, CL, CL, CL, CL,
	/* shutdown    */ CL, CL, CW, CE, SS, SS, SR, SA, CL,
	/* sd ack      */ SA, CL, CW, CE, ES, SA, SA, SA, SA,
	/* error       */ CL, CL, CW, CE, ES, SS, SR, SA, CL,
	/* cookie echo */ CL, CL, CE, CE, ES, SS, SR, SA, CL,
	/* cookie ack  */ CL, CL, CW, ES, ES, SS, SR, SA, CL,
	/* ecne        */ NO, CL, CW, CE, ES, SS, SR, SA, HS,
	/* cwr         */ NO, CL, CW, CE, ES, SS, SR, SA, HS,
	/* sd complete */ CL, CL, CW, CE, ES, SS, SR, CL, CL,
	/* reply direction */
	/* data        */ NO, CL, CW, CE, ES, SS, SR, SA, HS,
	/* init        */ IV, CL, CW, CE, ES, SS, SR, SA, IV,
	/* init ack    */ IV, CW, CW, CE, ES, SS, SR, SA, IV,
	/* sack        */ NO, CL, CW, CE, ES, SS, SR, SA, HS,
	/* heartbeat   */ IV, CL, CW, CE, ES, SS, SR, SA, HS,
	/* hb ack      */ IV, CL, CW, CE, ES, SS, SR, SA, ES,
	/* abort       */ IV, CL, CL, CL, CL, CL, CL, CL, IV,
	/* shutdown    */ IV, CL, CW, CE, SR, SS, SR, SA, IV,
	/* sd ack      */ IV, CL, CW, CE, ES, SA, SA, SA, IV,
	/* error       */ IV, CL, CW, CL, ES, SS, SR, SA, IV,
	/* cookie echo */ IV, CL, CE, CE, ES, SS, SR, SA, IV,
	/* cookie ack  */ IV, CL, CW, ES, ES, SS, SR, SA, IV,
	/* ecne        */ NO, CL, CW, CE, ES, SS, SR, SA, HS,
	/* cwr         */ NO, CL, CW, CE, ES, SS, SR, SA, HS,
	/* sd complete */ IV, CL, CW, CE, ES, SS, SR, CL, IV,
};
/* clang-format on */

#undef NO
#undef CL
#undef CW
#undef CE
#undef ES
#undef SS
#undef SR
#undef SA
#undef HS
#undef IV

/* The chunk at off. Returns 0, or less: there is none. */
static __always_inline int sctp_load(struct ctx_buff *ctx, const struct pkt *p,
				     __u32 off, struct sctp_chunk *chunk)
{
	if (off + sizeof(*chunk) > p->l3_off + p->len)
		return -1;
	return ctx_load(ctx, off, chunk, sizeof(*chunk));
}

/* From one chunk to the next. */
static __always_inline __u32 sctp_stride(const struct sctp_chunk *chunk)
{
	return (bpf_ntohs(chunk->length) + 3) & ~3U;
}

static __always_inline __u32 sctp_bit(__u8 type)
{
	return type < SCTP_TYPE_MAX ? 1U << type : SCTP_OTHER;
}

static __always_inline __u32 sctp_transition(__u8 type, __u8 dir, __u32 state)
{
	__u32 i = ((dir ? SCTP_TYPE_MAX : 0) + type) * SCTP_STATE_MAX + state;

	barrier_var(i);
	if (i >= sizeof(sctp_next))
		return SCTP_STATE_MAX;
	return sctp_next[i];
}
