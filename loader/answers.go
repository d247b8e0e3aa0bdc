// SPDX-License-Identifier: GPL-2.0-only

package loader

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/cilium/ebpf"
)

// answerSettings are the sysctls of the kernel's own answers, by the variable of
// the programs that has their value: the answers of reject statements follow
// them, as they are when the dataplane is loaded.
var answerSettings = []struct {
	variable, sysctl string
	bits             int
}{
	{"answer_ttl", "ipv4/ip_default_ttl", 8},
	{"answer_hop_limit", "ipv6/conf/all/hop_limit", 8},
	{"answer_interval", "ipv4/icmp_ratelimit", 32},
	{"answer_interval6", "ipv6/icmp/ratelimit", 32},
}

// setAnswers gives the programs of an object the sysctls of the thread's
// network namespace. A kernel without IPv6 has none of its: the defaults stay.
func setAnswers(spec *ebpf.CollectionSpec) error {
	for _, s := range answerSettings {
		v := spec.Variables[s.variable]
		if v == nil {
			continue
		}
		text, err := os.ReadFile("/proc/sys/net/" + s.sysctl)
		if os.IsNotExist(err) {
			continue
		}
		if err != nil {
			return err
		}
		n, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, s.bits)
		if err != nil {
			return fmt.Errorf("sysctl net/%s: %w", s.sysctl, err)
		}
		if s.bits == 8 {
			err = v.Set(uint8(n))
		} else {
			err = v.Set(uint32(n))
		}
		if err != nil {
			return fmt.Errorf("%s: %w", s.variable, err)
		}
	}
	return nil
}
