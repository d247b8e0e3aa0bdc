// SPDX-License-Identifier: GPL-2.0-only

package enforce

import (
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestCheckKernel(t *testing.T) {
	for release, ok := range map[string]bool{
		"6.12.0":                 true,
		"6.12-rc1":               true,
		"6.18.44-custom":         true,
		"7.0":                    true,
		"10.1.2":                 true,
		"6.11.11":                false,
		"6.1.0-28-amd64":         false,
		"5.15.0":                 false,
		"6.9":                    false,
		"6":                      false,
		"":                       false,
		"6.12.43+deb12-amd64":    true,
		"6.12+unreleased-amd64":  true,
		"a.b.c":                  false,
		"4.19.0-27-cloud-amd64":  false,
		"6.2.16-3-pve-something": false,
	} {
		err := checkKernel(release)
		if (err == nil) != ok {
			t.Errorf("%q: %v", release, err)
		}
		if err != nil && !strings.Contains(err.Error(), "want 6.12 or newer") {
			t.Errorf("%q: %v does not say what is accepted", release, err)
		}
	}
}

func TestMissingCapabilities(t *testing.T) {
	all := ^uint64(0)
	if err := missingCapabilities(all); err != nil {
		t.Error(err)
	}
	err := missingCapabilities(all &^ (1 << unix.CAP_BPF))
	if err == nil || !strings.Contains(err.Error(), "CAP_BPF") || strings.Contains(err.Error(), "CAP_NET_ADMIN") {
		t.Errorf("without CAP_BPF: %v", err)
	}
	if err := missingCapabilities(0); strings.Count(err.Error(), "\n") != len(capabilities)-1 {
		t.Errorf("without any: %v", err)
	}
}
