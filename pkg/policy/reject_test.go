// SPDX-License-Identifier: GPL-2.0-only

package policy

import "testing"

func TestReject(t *testing.T) {
	const icmp, reset = rejectICMP << rejectKindShift, rejectReset << rejectKindShift
	both := func(v4, v6 uint32) uint32 { return icmp | v6<<rejectCode6Shift | v4 }
	for _, tt := range []struct {
		rule string
		want uint32
	}{
		{"reject with tcp reset", reset},
		{"tcp dport 23 reject with tcp reset", 0},
		{"reject", both(3, 4)},
		{"reject with icmpx no-route", both(0, 0)},
		{"reject with icmpx host-unreachable", both(1, 3)},
		{"reject with icmpx admin-prohibited", both(13, 1)},
		{"reject with icmp net-unreachable", both(0, 0)},
		{"reject with icmp host-unreachable", both(1, 1)},
		{"reject with icmp prot-unreachable", both(2, 2)},
		{"reject with icmp port-unreachable", both(3, 3)},
		{"reject with icmp frag-needed", both(4, 4)},
		{"reject with icmp net-prohibited", both(9, 9)},
		{"reject with icmp host-prohibited", both(10, 10)},
		{"reject with icmp admin-prohibited", both(13, 13)},
		{"reject with icmpv6 no-route", 0}, // the packet is IPv4
	} {
		t.Run(tt.rule, func(t *testing.T) {
			p := compile(t, inInput(tt.rule+"\naccept"))
			got := newHarness(t, p).run("policy_input", &lanSSH)
			if got.reject != tt.want || got.accept != (tt.want == 0) {
				t.Errorf("reject %#x, accepted %v, want %#x", got.reject, got.accept, tt.want)
			}
		})
	}
}
