/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once

#include "common.h"
#include "types.h"

/* RFC 4620, not in the kernel's headers for programs. */
#define ICMPV6_NI_QUERY 139
#define ICMPV6_NI_REPLY 140

/* As two ports of a tuple are in memory. */
#define PORTS(source, destination) ((__u32)(destination) << 16 | (source))

/* What stands for the port of the end that a query is for: its type and, as in the
 * kernel's tuples, its code.
 */
static __always_inline __be16 icmp_request(__u8 type, __u8 code)
{
	return bpf_htons(code << 8 | type);
}

/* A query's identifier is its port, its request the other end; 0: it is no query,
 * and no answer to one.
 */
static __always_inline __u32 icmp_ports(__u8 l4proto, const __u8 *th)
{
	int is_v6 = l4proto == IPPROTO_ICMPV6;
	__be16 id = *(const __be16 *)&th[4];
	__u8 type = th[0], code = th[1];

	switch (type) {
	case ICMP_ECHO:
	case ICMP_TIMESTAMP:
	case ICMP_INFO_REQUEST:
	case ICMP_ADDRESS:
		return is_v6 ? 0 : PORTS(id, icmp_request(type, code));
	case ICMP_ECHOREPLY:
		return is_v6 ? 0 : PORTS(icmp_request(ICMP_ECHO, code), id);
	case ICMP_TIMESTAMPREPLY:
	case ICMP_INFO_REPLY:
	case ICMP_ADDRESSREPLY:
		return is_v6 ? 0 : PORTS(icmp_request(type - 1, code), id);
	case ICMPV6_ECHO_REQUEST:
	case ICMPV6_NI_QUERY:
		return is_v6 ? PORTS(id, icmp_request(type, code)) : 0;
	case ICMPV6_ECHO_REPLY:
	case ICMPV6_NI_REPLY:
		return is_v6 ? PORTS(icmp_request(type - 1, code), id) : 0;
	}
	return 0;
}

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
