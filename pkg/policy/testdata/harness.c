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

/* Too large for the stack. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct input);
} harness_input SEC(".maps");

#define RUN(PHASE, name)                                                   \
	if (in->phase == PHASE_##PHASE)                                    \
	verdict = policy_accepts(PHASE, name, skb, &in->pkt) ? NF_ACCEPT : \
							       NF_DROP

SEC("tc")
int harness(struct __sk_buff *skb)
{
	__u32 zero = 0;
	int verdict = -1;
	struct ct_facts *ct = facts();
	struct input *in = bpf_map_lookup_elem(&harness_input, &zero);

	if (!ct || !in || bpf_skb_load_bytes(skb, 0, in, sizeof(*in)))
		return -1;
	*ct = in->ct;
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
	RUN(PREROUTING_NAT, prerouting_nat);
	RUN(INPUT_NAT, input_nat);
	RUN(INPUT_LATE, input_late);
	RUN(OUTPUT_EARLY, output_early);
	RUN(OUTPUT_NAT, output_nat);
	RUN(INGRESS, ingress);
	RUN(EGRESS, egress);
	if (bpf_skb_store_bytes(skb, 0, in, sizeof(*in), 0))
		return -1;
	return verdict;
}

char _license[] SEC("license") = "GPL";
