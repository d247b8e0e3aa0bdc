// SPDX-License-Identifier: GPL-2.0-only

package host

import (
	"strings"
	"testing"
	"time"
)

func TestLinksGate(t *testing.T) {
	ns(t)
	vethSysctls(t)
	run(t, "ip", "link", "add", "gone", "type", "veth", "peer", "name", "gone1")
	for _, name := range []string{"veth0", "veth1.7", "gone", "gone1"} {
		run(t, "ip", "link", "set", name, "up")
	}
	var before map[int]bool
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		var err error
		if before, err = carrying(); err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, carries := range before {
			if carries {
				n++
			}
		}
		if n == 4 {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("%d links carry", n)
		}
	}
	run(t, "ip", "link", "del", "gone")
	if err := waitLinks(t.Context(), before, time.Second); err != nil {
		t.Errorf("all is well: %v", err)
	}
	run(t, "ip", "link", "set", "veth1.7", "down")
	err := waitLinks(t.Context(), before, 10*time.Millisecond)
	if err == nil || !strings.Contains(err.Error(), "veth0") || !strings.Contains(err.Error(), "veth1.7") {
		t.Errorf("a link that is down: %v", err)
	}
}
