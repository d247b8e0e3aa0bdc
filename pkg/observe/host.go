// SPDX-License-Identifier: GPL-2.0-only

package observe

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"

	"github.com/randomizedcoder/l2d/loader"
	"github.com/randomizedcoder/l2d/pkg/cpus"
	"github.com/randomizedcoder/l2d/pkg/tcnl"
)

// readInterfaces reads the dataplane's interfaces. One that goes away meanwhile is
// left out.
func readInterfaces(of []loader.InterfaceStatus) (out []Interface) {
	for _, i := range of {
		link, err := netlink.LinkByName(i.Name)
		if err != nil || link.Attrs().Statistics == nil {
			continue
		}
		a, s := link.Attrs(), link.Attrs().Statistics
		out = append(out, Interface{
			Name: i.Name, XDP: i.XDP == loader.XDPNative,
			// Some, such as tun devices and dummies, do not say.
			Up:        a.OperState == netlink.OperUp || a.OperState == netlink.OperUnknown && a.RawFlags&1 != 0,
			RxPackets: s.RxPackets, RxBytes: s.RxBytes, TxPackets: s.TxPackets, TxBytes: s.TxBytes,
			Lost: s.RxErrors + s.RxDropped + s.RxMissedErrors + s.TxErrors + s.TxDropped,
		})
	}
	return out
}

// readQueues reads the qdiscs of the dataplane's interfaces, and of their shapers.
func readQueues(of []loader.InterfaceStatus) (out []Queue, err error) {
	client, err := tcnl.Dial()
	if err != nil {
		return nil, err
	}
	defer func() { _ = client.Close() }()
	all, err := client.Reports(0)
	if err != nil {
		return nil, fmt.Errorf("qdiscs: %w", err)
	}
	for _, i := range of {
		out = append(out, queuesOf(i.Name, i.Index, all)...)
		if i.Shaper == "" {
			continue
		}
		if l, err := net.InterfaceByName(i.Shaper); err == nil { // else it has just gone
			out = append(out, queuesOf(i.Shaper, l.Index, all)...)
		}
	}
	return out, nil
}

// queuesOf are the qdiscs of an interface.
func queuesOf(name string, index int, all []tcnl.Report) (out []Queue) {
	for j := range all {
		if r := &all[j]; r.Interface == index && r.Kind != "noqueue" {
			out = append(out, queue(name, r))
		}
	}
	return out
}

func queue(link string, r *tcnl.Report) Queue {
	q := Queue{
		Interface: link, Parent: r.Parent, Kind: r.Kind, Packets: r.Packets, Drops: uint64(r.Drops), Backlog: uint64(r.Backlog), Delay: -1,
	}
	q.details(r.Details)
	for _, t := range r.Tins {
		q.details(t.Values)
	}
	return q
}

// details takes what a kind counts by itself, by the names of package tcnl.
func (q *Queue) details(values []tcnl.Value) {
	for _, v := range values {
		switch v.Name {
		case "marks", "step_marks", "ce_threshold_marks":
			q.Marks += uint64(v.Value)
		case "classic_delay_seconds", "l4s_delay_seconds", "average_delay_seconds":
			q.Delay = max(q.Delay, v.Value)
		}
	}
}

// readCPUs are those that have handled a packet, with what they do.
func readCPUs(of []loader.CPUStatus) (out []CPU) {
	ticks, _ := cpus.ReadTicks() // always there
	for _, c := range of {
		t := ticks[c.CPU]
		out = append(out, CPU{
			CPU: c.CPU, XDP: c.XDPForwarded, TC: c.TCForwarded, Other: c.Local + c.Own, Dropped: c.Dropped,
			Ticks: t.All(), Busy: t.Busy(), Softirq: t.SoftIRQ,
		})
	}
	return out
}

// mostSensors bounds what is read at every moment.
const mostSensors = 32

// readTemperatures reads the sensors below a directory such as /sys/class/hwmon:
// Documentation/hwmon/sysfs-interface.rst of the kernel. Those that cannot be read
// now, as of a NIC that is down, are left out.
func readTemperatures(dir string) (out []Temperature) {
	files, _ := filepath.Glob(filepath.Join(dir, "hwmon*", "temp*_input"))
	slices.Sort(files)
	for _, file := range files[:min(len(files), mostSensors)] {
		text, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		milli, err := strconv.Atoi(strings.TrimSpace(string(text)))
		if err != nil {
			continue
		}
		name := oneLine(filepath.Join(filepath.Dir(file), "name"))
		if label := oneLine(strings.TrimSuffix(file, "_input") + "_label"); label != "" {
			name += " " + label
		}
		out = append(out, Temperature{name, float64(milli) / 1000})
	}
	return out
}

func oneLine(file string) string {
	text, _ := os.ReadFile(file)
	return strings.TrimSpace(string(text))
}
