// SPDX-License-Identifier: GPL-2.0-only

/*
 * Runs one policy function on a struct pkt that the test gives as the packet's
 * bytes, and writes it back as the function left it.
 */
#include "../../../bpf/lib/ctx_skb.h"
#include "../../../bpf/lib/policy.h"

struct input {
	__u32 phase; /* the bit of PHASE_* */
	struct pkt pkt;
	struct ct_facts ct;
};

const struct input *unused_input __attribute__((unused));

#define RUN(PHASE, name)                                                  \
	if (in.phase == PHASE_##PHASE)                                    \
	verdict = policy_accepts(PHASE, name, skb, &in.pkt) ? NF_ACCEPT : \
							      NF_DROP

SEC("tc")
int harness(struct __sk_buff *skb)
{
	int verdict = -1;
	struct ct_facts *ct = facts();
	struct input in;

	if (!ct || bpf_skb_load_bytes(skb, 0, &in, sizeof(in)))
		return -1;
	*ct = in.ct;
	RUN(PREROUTING_RAW, prerouting_raw);
	RUN(PREROUTING_EARLY, prerouting_early);
	RUN(PREROUTING, prerouting);
	RUN(INPUT, input);
	RUN(FORWARD, forward);
	RUN(OUTPUT_RAW, output_raw);
	RUN(OUTPUT, output);
	RUN(POSTROUTING, postrouting);
	RUN(POSTROUTING_NAT, postrouting_nat);
	RUN(POSTROUTING_LATE, postrouting_late);
	if (bpf_skb_store_bytes(skb, 0, &in, sizeof(in), 0))
		return -1;
	return verdict;
}

char _license[] SEC("license") = "GPL";
