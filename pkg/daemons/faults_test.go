// SPDX-License-Identifier: GPL-2.0-only

package daemons_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/randomizedcoder/l2d/internal/ownns"
	"github.com/randomizedcoder/l2d/internal/servicetest"
	"github.com/randomizedcoder/l2d/pkg/daemons"
)

func TestMain(m *testing.M) { ownns.Main(m) }

// TestOthersUnharmed: one daemon that cannot run is named, and those that run beside it are the same processes, and well.
func TestOthersUnharmed(t *testing.T) {
	names := []string{"kea-dhcp4", "kea-dhcp6", "radvd", "recursor"}
	programs := []string{"kea-dhcp4", "kea-dhcp6", "radvd", "pdns_recursor"}
	servicetest.Need(t, programs...)
	servicetest.Neighbour(t, "daemons", "br0", "eth0")
	for _, addr := range []string{"192.168.1.1/24", "fd00::1/64"} {
		servicetest.Run(t, "ip", "addr", "add", addr, "dev", "br0", "nodad")
	}
	h := servicetest.NewHost(t, daemons.All()...)
	for i, name := range programs {
		programs[i] = servicetest.Program(t, name)
	}
	config := func() string {
		return fmt.Sprintf(`
network: {lan: {interface: br0, addresses: [192.168.1.1/24, "fd00::1/64"]}}
services:
  kea_dhcp4: {mode: child, binary: %q, lease_file: %q, pools: [192.168.1.100-192.168.1.200]}
  kea_dhcp6: {mode: child, binary: %q, lease_file: %q, pools: ["fd00::1000-fd00::1fff"]}
  radvd: {mode: child, user: nobody, binary: %q}
  recursor: {mode: child, binary: %q}
`, programs[0], filepath.Join(h.Dir, "kea4", "leases"), programs[1], filepath.Join(h.Dir, "kea6", "leases"), programs[2], programs[3])
	}
	h.Must(config())
	pids := map[string]int{}
	for _, name := range names {
		servicetest.Eventually(t, func() error {
			s := h.Status(name)
			if s.Error != "" {
				return fmt.Errorf("%s: %s", name, s.Error)
			}
			pids[name] = s.PID
			return nil
		})
	}
	ends := filepath.Join(servicetest.Dir(t), "ends")
	for i, broken := range names {
		good := programs[i]
		// It passes its own check, and ends when it is started.
		text := fmt.Sprintf("#!/bin/sh\ncase \"$*\" in *' -t '*|*-c\\ -C*|-t*|*--config=check*) exec %s \"$@\";; esac\necho 'cannot go on' >&2; exit 3\n", good)
		if err := os.WriteFile(ends, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
		programs[i] = ends
		if err := h.Apply(config()); err == nil || !strings.Contains(err.Error(), broken) || !strings.Contains(err.Error(), "cannot go on") {
			t.Errorf("%s ends at its start: %v", broken, err)
		}
		programs[i] = good
		for _, name := range names {
			s := h.Status(name)
			if s.Error != "" || name != broken && s.PID != pids[name] {
				t.Errorf("when %s ends at its start, %s: %+v, process %d before", broken, name, s, pids[name])
			}
			pids[name] = s.PID
		}
	}
}
