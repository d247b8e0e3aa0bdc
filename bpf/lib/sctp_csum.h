/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once

#include "common.h"
#include "crc32c.h"
#include "frag.h"
#include "kernel.h"
#include "types.h"

/*
 * The checksum of SCTP, over the header and all that follows it, and no address.
 * The kernel makes it anew where it writes a port; here the change is added, so that
 * a wrong one stays wrong. XDP leaves SCTP to TC.
 */

#if !CTX_XDP

#define SCTP_CSUM_OFF 8

/* Bytes from the transport header on. */
static __always_inline __u32 sctp_len(const struct pkt *p)
{
	return p->len - (L4_OFF(p) - L3_OFF(p));
}

/*
 * Adds to the checksum, which was sum, a change that ends at byte `end` of the
 * header: crc is that of the changed bytes. One that the device is to make is not
 * there yet.
 */
__noinline int sctp_csum_update(struct __sk_buff *skb, const struct pkt *p,
				__u32 sum, __u32 crc, __u32 end)
{
	if (!p || is_part(p))
		return -1; /* of how much is not known */
	if (skb_is_partial(skb))
		return 0;
	sum ^= crc32c_skip(crc, sctp_len(p) - end);
	return bpf_skb_store_bytes(skb, L4_OFF(p) + SCTP_CSUM_OFF, &sum,
				   sizeof(sum), BPF_F_RECOMPUTE_CSUM);
}

/* Gives the packet the ports of p->tuple. */
__noinline int sctp_set_ports(struct __sk_buff *skb, const struct pkt *p)
{
	struct {
		__u32 ports;
		__u32 tag;
		__u32 sum;
	} header;
	__u32 ports;

	if (!p || ctx_load(skb, L4_OFF(p), &header, sizeof(header)) < 0)
		return -1;
	ports = (__u32)p->tuple.dport << 16 | p->tuple.sport;
	if (bpf_skb_store_bytes(skb, L4_OFF(p), &ports, sizeof(ports),
				BPF_F_RECOMPUTE_CSUM))
		return -1;
	return sctp_csum_update(skb, p, header.sum,
				crc32c_add(0, header.ports ^ ports),
				sizeof(ports));
}

/* The CRC of a change of n bytes from p->elem to p->key, the checksum's own apart,
 * which begin at byte `at` of the header.
 */
__noinline __u32 nft_sctp_change(const struct pkt *p, __u32 at, __u32 n)
{
	struct bpf_iter_num it;
	__u32 i, crc = 0;
	int *next;

	if (!p)
		return 0;
	bpf_iter_num_new(&it, 0, n);
	while ((next = bpf_iter_num_next(&it))) {
		i = *next;
		if (i >= sizeof(p->elem) || i >= sizeof(p->key))
			break;
		if (at + i - SCTP_CSUM_OFF >= sizeof(__u32))
			crc ^= (__u8)(p->elem[i] ^ p->key[i]);
		crc = crc32c_skip(crc, 1);
	}
	bpf_iter_num_destroy(&it);
	return crc;
}

#endif
