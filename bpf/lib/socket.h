/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once

#include "common.h"
#include "kernel.h"
#include "types.h"
#if !CTX_XDP
#include "ours.h"
#endif

/* What rules ask of the socket that a packet of the host's own is from. */

#define SOCKET_UID 0
#define SOCKET_GID 1
#define SOCKET_CLASSID 2
#define SOCKET_PROPERTY 3

#pragma clang attribute push(__attribute__((preserve_access_index)), \
			     apply_to = record)

typedef struct {
	__u32 val;
} kuid_t;

typedef struct {
	__u32 val;
} kgid_t;

struct cred {
	kuid_t fsuid;
	kgid_t fsgid;
};

struct file {
	const struct cred *f_cred;
};

struct socket {
	struct file *file;
};

struct sock_cgroup_data {
	__u32 classid;
};

struct sock_common {
	unsigned char skc_state;
	struct sock *skc_listener;
	possible_net_t skc_net;
};

struct sock {
	struct sock_common __sk_common;
	struct socket *sk_socket;
	struct sock_cgroup_data sk_cgrp_data;
};

#pragma clang attribute pop

/* include/net/tcp_states.h; a half-open connection's stands for its listener. */
#define SK_TIME_WAIT 6
#define SK_NEW_SYN_RECV 12

#if !CTX_XDP
/* skb_to_full_sk(), of the same namespace; NULL: none. */
static __always_inline struct sock *full_socket(struct ctx_buff *ctx)
{
	struct sk_buff *skb = bpf_cast_to_kern_ctx(ctx);
	struct sock *sk;

	sk = kernel_cast(struct sock, kernel_u64(kernel_address(skb, sk)));
	if (sk->__sk_common.skc_state == SK_NEW_SYN_RECV)
		sk = kernel_cast(struct sock,
				 kernel_u64(kernel_address(
					 sk, __sk_common.skc_listener)));
	if (!kernel_u64(kernel_address(sk, __sk_common.skc_net)) ||
	    sk->__sk_common.skc_state == SK_TIME_WAIT ||
	    sk->__sk_common.skc_state == SK_NEW_SYN_RECV)
		return NULL;
	if (kernel_u64(kernel_address(sk, __sk_common.skc_net)) !=
	    kernel_u64(kernel_address(skb->dev, nd_net)))
		return NULL;
	return sk;
}

/* The stack sends its ICMP errors, and no resets, by a socket without an owner and
 * of class 0.
 */
static __always_inline int is_icmp_answer(struct ctx_buff *ctx,
					  const struct pkt *p)
{
	return (p->l4proto == IPPROTO_ICMP || p->l4proto == IPPROTO_ICMPV6) &&
	       answer_mark(ctx);
}
#endif

/*
 * Loads a property; returns whether there is one. nft_meta_get_eval(). A packet
 * that was not made here has no socket yet where a program sees it.
 */
__noinline int nft_socket(struct ctx_buff *ctx, struct pkt *p, __u32 question)
{
#if !CTX_XDP
	const struct cred *cred;
	struct sock *sk;

	if (!p)
		return 0;
	sk = full_socket(ctx);
	if (!sk && (question & SOCKET_PROPERTY) == SOCKET_CLASSID &&
	    is_icmp_answer(ctx, p)) {
		*(__u32 *)ANSWER(p, question) = 0;
		return 1;
	}
	if (!sk)
		return 0;
	if ((question & SOCKET_PROPERTY) == SOCKET_CLASSID) {
		if (!kernel_has(struct sock_cgroup_data, classid))
			return 0;
		*(__u32 *)ANSWER(p, question) = sk->sk_cgrp_data.classid;
		return 1;
	}
	if (!sk->sk_socket || !sk->sk_socket->file)
		return 0;
	cred = sk->sk_socket->file->f_cred;
	if (!cred)
		return 0;
	*(__u32 *)ANSWER(p, question) =
		(question & SOCKET_PROPERTY) == SOCKET_UID ? cred->fsuid.val :
							     cred->fsgid.val;
	return 1;
#else
	barrier(); /* or the compiler leaves the call out, and it with that */
	return 0;
#endif
}
