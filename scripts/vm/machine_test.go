// SPDX-License-Identifier: GPL-2.0-only

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestMachine is of what a machine has that a host's kernel may lack: modules are
// there, load, and do what they are for.
func TestMachine(t *testing.T) {
	if os.Getenv(inMachine) == "" {
		t.Skip("not in a virtual machine: make test-vm")
	}
	do := func(t *testing.T, command string) string {
		t.Helper()
		argv := strings.Fields(command)
		out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v: %s", command, err, out)
		}
		return string(out)
	}
	do(t, "ip link add queue0 type dummy")
	for _, qdisc := range []string{"cake bandwidth 20mbit", "fq_codel", "fq", "htb"} {
		t.Run(qdisc, func(t *testing.T) {
			do(t, "tc qdisc replace dev queue0 root "+qdisc)
			if got := do(t, "tc qdisc show dev queue0"); !strings.Contains(got, "qdisc "+strings.Fields(qdisc)[0]) {
				t.Error(got)
			}
		})
	}
	t.Run("WiFi", func(t *testing.T) {
		do(t, "modprobe mac80211_hwsim radios=2")
		if phys, err := filepath.Glob("/sys/class/ieee80211/*"); err != nil || len(phys) != 2 {
			t.Errorf("%v, %v", phys, err)
		}
	})
	for _, link := range []string{"wireguard", "bond", "vrf table 10", "bridge", "ifb", "vxlan id 5 dstport 4789"} {
		t.Run(link, func(t *testing.T) {
			do(t, "ip link add link0 type "+link)
			do(t, "ip link del link0")
		})
	}
	for _, module := range []string{"igb", "e1000e", "vmxnet3", "virtio_net", "tcp_bbr"} {
		t.Run(module, func(t *testing.T) { do(t, "modprobe "+module) })
	}
}
