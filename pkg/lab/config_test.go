// SPDX-License-Identifier: GPL-2.0-only

package lab

import (
	"os"
	"strings"
	"testing"
)

// The lab's copy of a configuration keeps all but the pins, the socket, and what is of another machine.
func TestCopyConfig(t *testing.T) {
	for _, name := range []string{"l2", "hardened"} {
		t.Run(name, func(t *testing.T) {
			l := &Lab{id: "test", dir: t.TempDir()}
			d, err := NewL2D(l, "l2d", "l2ctl", example(t, name+"/l2d.yaml"))
			if err != nil {
				t.Fatal(err)
			}
			got, err := os.ReadFile(d.Config())
			if err != nil {
				t.Fatal(err)
			}
			for _, want := range []string{"ruleset: firewall.nft\n", "pin_path: /sys/fs/bpf/l2d-test\n", "socket: " + d.Socket() + "\n", "name: br0\n"} {
				if strings.Count(string(got), want) != 1 {
					t.Errorf("want %q once in\n%s", want, got)
				}
			}
			if strings.Contains(string(got), "services:") || strings.Contains(string(got), "network:") {
				t.Errorf("services of another machine in\n%s", got)
			}
			if strings.Contains(string(got), "cpus:") {
				t.Errorf("CPUs of another machine in\n%s", got)
			}
			if name == "l2" && !strings.Contains(string(got), `xdp: "off"`) {
				t.Errorf("xdp of br0 is not the string \"off\" in\n%s", got)
			}
		})
	}
}
