// SPDX-License-Identifier: GPL-2.0-only

package main

import (
	"net/netip"
	"testing"

	"github.com/randomizedcoder/l2d/pkg/flow"
)

func TestNamed(t *testing.T) {
	names := map[netip.Addr]string{netip.MustParseAddr("192.168.1.10"): "nas", netip.MustParseAddr("fd00::10"): "nas6"}
	for line, want := range map[string]string{
		"tcp 5 src=192.168.1.10 dst=9.9.9.9 sport=1 dport=2 src=9.9.9.9 dst=192.168.1.1": "tcp 5 src=nas dst=9.9.9.9 sport=1 dport=2 src=9.9.9.9 dst=192.168.1.1",
		"udp 5 src=fd00::10 dst=192.168.1.10":                                            "udp 5 src=nas6 dst=nas",
		"in=192.168.1.10":                                                                "in=192.168.1.10",
	} {
		if got := named(line, names); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestFlowsID(t *testing.T) {
	f := flow.Flow{Protocol: "udp", ID: 4000000000}
	for c, want := range map[flowsListCmd]string{{}: f.String(), {ID: true}: f.String() + " id=4000000000"} {
		if got := c.line(&f, nil); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
