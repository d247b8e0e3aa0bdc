// SPDX-License-Identifier: GPL-2.0-only

package ntuple

import (
	"strings"

	"github.com/randomizedcoder/l2d/pkg/ethioctl"
)

// Counted are what a NIC says of the packets that its rules have matched, all rules
// together: none counts by rule, and some drivers say nothing. Filters that a driver makes by
// itself, for the flows that it sends (ATR), have their own numbers.
func Counted(d ethioctl.Device, link string) ([]ethioctl.Statistic, error) {
	all, err := ethioctl.Statistics(d, link)
	var out []ethioctl.Statistic
	for _, s := range all {
		if strings.Contains(s.Name, "fdir") && strings.Contains(s.Name, "match") && !strings.Contains(s.Name, "atr") {
			out = append(out, s)
		}
	}
	return out, err
}
