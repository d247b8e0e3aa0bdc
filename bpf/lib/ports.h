/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once

#include "common.h"

/* The protocols whose ports conntrack knows, and NAT translates: they begin with
 * those of the source and of the destination.
 */
static __always_inline int has_ports(__u8 l4proto)
{
	switch (l4proto) {
	case IPPROTO_TCP:
	case IPPROTO_UDP:
	case IPPROTO_UDPLITE:
	case IPPROTO_SCTP:
		return 1;
	}
	return 0;
}
