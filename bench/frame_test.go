// SPDX-License-Identifier: GPL-2.0-only

package bench

import (
	"net"
	"strings"
	"testing"
)

var (
	macA = net.HardwareAddr{2, 0, 0, 0, 0, 1}
	macB = net.HardwareAddr{2, 0, 0, 0, 0, 2}
)

func TestSampleCheck(t *testing.T) {
	promise := Promise{TTL: startTTL}
	good := sample(firstFrame(macA, macB, false))
	if err := good.check(macB, promise, Mix{}); err != nil {
		t.Fatalf("the generator's own frame: %v", err)
	}
	for _, c := range []struct {
		name      string
		at        int
		complaint string
	}{
		{"MAC", 0, "sent to"},
		{"TTL", ipOff + 8, "TTL"},
		{"source", ipOff + 15, "source"},
		{"destination", ipOff + 18, "destination"},
		{"header checksum", ipOff + 10, "header checksum"},
		{"port", udpOff + 2, "destination port"},
		{"UDP checksum", udpOff + 6, "UDP checksum"},
		{"payload", FrameLen - 1, "UDP checksum"},
	} {
		bad := append(sample{}, good...)
		bad[c.at] ^= 1
		err := bad.check(macB, promise, Mix{})
		if err == nil || !strings.Contains(err.Error(), c.complaint) {
			t.Errorf("%s: got %v, want a complaint about %q", c.name, err, c.complaint)
		}
	}
	if err := append(good, 0).check(macB, promise, Mix{}); err == nil {
		t.Error("a longer frame passes")
	}
	six := sample(firstFrame(macA, macB, true))
	if err := six.check(macB, promise, Mix{}); err != nil {
		t.Fatalf("the generator's own frame of IPv6: %v", err)
	}
	for at, complaint := range map[int]string{
		ipOff + 7: "TTL", ipOff + 12: "source", ipOff + 24: "destination", ipOff + 37: "destination",
		ipOff + 43: "destination port", ipOff + 46: "UDP checksum", frame6Len - 1: "UDP checksum",
	} {
		bad := append(sample{}, six...)
		bad[at] ^= 0x10
		if err := bad.check(macB, promise, Mix{}); err == nil || !strings.Contains(err.Error(), complaint) {
			t.Errorf("IPv6, byte %d: got %v, want a complaint about %q", at, err, complaint)
		}
	}
}
