// SPDX-License-Identifier: GPL-2.0-only

package metrics

import (
	"errors"
	"io/fs"
	"log/slog"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/vishvananda/netlink"

	"github.com/randomizedcoder/l2d/loader"
	"github.com/randomizedcoder/l2d/pkg/ethioctl"
)

// mostDriver is how many statistics of one driver are served at most.
const mostDriver = 64

func linkDesc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("l2d_interface_"+name, help, append([]string{"interface"}, labels...), nil)
}

// linkCounts are what the kernel counts of every interface.
var linkCounts = []struct {
	desc *prometheus.Desc
	of   func(*netlink.LinkStatistics) uint64
}{
	{linkDesc("receive_packets_total", "Packets that an interface of the dataplane has received, before XDP redirects them."), func(s *netlink.LinkStatistics) uint64 { return s.RxPackets }},
	{linkDesc("receive_bytes_total", "Bytes of these."), func(s *netlink.LinkStatistics) uint64 { return s.RxBytes }},
	{linkDesc("receive_errors_total", "Frames that were received and were bad."), func(s *netlink.LinkStatistics) uint64 { return s.RxErrors }},
	{linkDesc("receive_dropped_total", "Frames that the kernel dropped."), func(s *netlink.LinkStatistics) uint64 { return s.RxDropped }},
	{linkDesc("receive_missed_total", "Frames for which the interface had no room."), func(s *netlink.LinkStatistics) uint64 { return s.RxMissedErrors }},
	{linkDesc("transmit_packets_total", "Packets that an interface has sent."), func(s *netlink.LinkStatistics) uint64 { return s.TxPackets }},
	{linkDesc("transmit_bytes_total", "Bytes of these."), func(s *netlink.LinkStatistics) uint64 { return s.TxBytes }},
	{linkDesc("transmit_errors_total", "Packets that could not be sent."), func(s *netlink.LinkStatistics) uint64 { return s.TxErrors }},
	{linkDesc("transmit_dropped_total", "Packets that were to be sent and dropped."), func(s *netlink.LinkStatistics) uint64 { return s.TxDropped }},
}

var (
	descLinkUp = linkDesc("up", "1 while an interface has a carrier and is up.")
	descDriver = linkDesc("driver_total", "What the driver counts that says of something going wrong, of all queues together.", "statistic")
)

func describeLinks(ch chan<- *prometheus.Desc) {
	for _, c := range linkCounts {
		ch <- c.desc
	}
	ch <- descLinkUp
	ch <- descDriver
}

// collectLinks reads the interfaces of the dataplane. One that goes away meanwhile
// has no numbers.
func collectLinks(ch chan<- prometheus.Metric, of []loader.InterfaceStatus, log *slog.Logger) {
	for _, i := range of {
		link, err := netlink.LinkByName(i.Name)
		if err != nil || link.Attrs().Statistics == nil {
			continue
		}
		a := link.Attrs()
		ch <- prometheus.MustNewConstMetric(descLinkUp, prometheus.GaugeValue, truth(a.OperState == netlink.OperUp), i.Name)
		for _, c := range linkCounts {
			ch <- prometheus.MustNewConstMetric(c.desc, prometheus.CounterValue, float64(c.of(a.Statistics)), i.Name)
		}
		list, err := ethioctl.Statistics(ethioctl.Kernel{}, i.Name)
		if err != nil {
			if !errors.Is(err, fs.ErrNotExist) {
				log.Warn("metrics: an interface is left out", "err", err)
			}
			continue
		}
		for _, s := range troubles(list) {
			ch <- prometheus.MustNewConstMetric(descDriver, prometheus.CounterValue, float64(s.Value), i.Name, s.Name)
		}
	}
}

var (
	// ofTrouble are the statistics that say why packets were lost. Drivers name them
	// as they like.
	ofTrouble = regexp.MustCompile(`(?i)drop|discard|err|miss|no_?(buf|dma|desc)|alloc_fail|timeout|overrun|fifo|crc|length|csum|redirect`)
	// ofQueue is the number of a queue in the name of one.
	ofQueue = regexp.MustCompile(`[-_. \[]*[0-9]+[-_. \]:]+`)
)

// troubles are the statistics that matter, by their names. Those of queues are added
// up, unless the driver does it: their number does not grow with that of the CPUs.
func troubles(list []ethioctl.Statistic) []ethioctl.Statistic {
	all, queues := map[string]uint64{}, map[string]uint64{}
	for _, s := range list {
		if !ofTrouble.MatchString(s.Name) {
			continue
		}
		name := strings.Trim(ofQueue.ReplaceAllString(s.Name, "_"), "_")
		if name == s.Name {
			all[name] = s.Value
		} else {
			queues[name] += s.Value
		}
	}
	for name, n := range queues {
		if _, there := all[name]; !there {
			all[name] = n
		}
	}
	var out []ethioctl.Statistic
	for _, name := range slices.Sorted(maps.Keys(all)) {
		out = append(out, ethioctl.Statistic{Name: name, Value: all[name]})
	}
	return out[:min(len(out), mostDriver)]
}
