/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once

#include "common.h"
#include "types.h"

/* RFC 4620, not in the kernel's headers for programs. */
#define ICMPV6_NI_QUERY 139
#define ICMPV6_NI_REPLY 140

/*
 * Whether NAT leaves the identifier of a message as it is, whatever its flow's
 * tuples say: icmpv6_manip_pkt() only knows that of echo.
 */
static __always_inline int icmp_keeps_id(__u8 l4proto, __u8 type)
{
	return l4proto == IPPROTO_ICMPV6 &&
	       (type == ICMPV6_NI_QUERY || type == ICMPV6_NI_REPLY);
}

/* Whether a query, rather than its answer, is in a packet of ICMP's. */
static __always_inline int icmp_is_query(const struct pkt *p)
{
	switch (p->th[0]) {
	case ICMP_ECHO:
	case ICMP_TIMESTAMP:
	case ICMP_INFO_REQUEST:
	case ICMP_ADDRESS:
		return p->l4proto == IPPROTO_ICMP;
	case ICMPV6_ECHO_REQUEST:
	case ICMPV6_NI_QUERY:
		return p->l4proto == IPPROTO_ICMPV6;
	}
	return 0;
}

/* Whether an answer to a query is. */
static __always_inline int icmp_is_answer(const struct pkt *p)
{
	switch (p->th[0]) {
	case ICMP_ECHOREPLY:
	case ICMP_TIMESTAMPREPLY:
	case ICMP_INFO_REPLY:
	case ICMP_ADDRESSREPLY:
		return p->l4proto == IPPROTO_ICMP;
	case ICMPV6_ECHO_REPLY:
	case ICMPV6_NI_REPLY:
		return p->l4proto == IPPROTO_ICMPV6;
	}
	return 0;
}
