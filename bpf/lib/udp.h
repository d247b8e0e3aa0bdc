/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once

#include "common.h"
#include "frag.h"
#include "types.h"

/* The length, as udp_error() of nf_conntrack_proto_udp.c wants it: no less than
 * the header, and no more than there is. In a fragment it is the datagram's.
 */
static __always_inline int udp_header_valid(const struct pkt *p)
{
	__u16 len = bpf_ntohs(*(__be16 *)&p->th[4]);

	return len >= sizeof(struct udphdr) &&
	       (len <= p->len - (p->l4_off - p->l3_off) || is_part(p));
}

/* UDP-Lite has in the place of the length what the checksum is over, 0 for all of
 * it, and always a checksum: udplite_error(), there.
 */
static __always_inline int udplite_header_valid(const struct pkt *p)
{
	__u16 coverage = *(__be16 *)&p->th[4];
	__u16 check = *(__u16 *)&p->th[6];

	return check && (!coverage || udp_header_valid(p));
}
