// SPDX-License-Identifier: GPL-2.0-only

package observe

import (
	"strings"
	"time"

	"github.com/randomizedcoder/l2d/loader"
)

// Collect reads what there is to see but for hosts, flows and services, which the
// caller adds.
func Collect(dp *loader.Status) (*Sample, error) {
	s := &Sample{
		Time: time.Now(), Interfaces: readInterfaces(dp.Interfaces), CPUs: readCPUs(dp.CPUs), Drops: map[string]uint64{},
		Temperatures: readTemperatures("/sys/class/hwmon"),
		Flows: Flows{
			Confirmed: dp.Flows.Confirmed, MaxConfirmed: uint64(dp.Flows.MaxConfirmed), HalfOpen: dp.Flows.HalfOpen, MaxHalfOpen: uint64(dp.Flows.MaxHalfOpen),
			Mappings: dp.Flows.Mappings, Begun: dp.Stats["flow_new"], Expired: dp.Stats["flow_expired"],
		},
	}
	for name, n := range dp.Stats {
		if reason, drop := strings.CutPrefix(name, "drop_"); drop {
			s.Drops[reason] = n
		}
	}
	var err error
	s.Queues, err = readQueues(dp.Interfaces)
	return s, err
}
