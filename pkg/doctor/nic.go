// SPDX-License-Identifier: GPL-2.0-only

package doctor

import (
	"fmt"
	"strings"

	"github.com/randomizedcoder/l2d/pkg/config"
	"github.com/randomizedcoder/l2d/pkg/cpus"
	"github.com/randomizedcoder/l2d/pkg/host"
)

func checkNIC(r *report) {
	r.missing()
	for _, l := range r.Links {
		if !r.routes(l.Name) && r.driver(l.Name) == "" {
			continue
		}
		r.xdp(l)
		r.offloads(l)
		r.queueCount(l)
		r.duplex(l)
		r.errors(l)
	}
}

// missing are interfaces that the configuration demands.
func (r *report) missing() {
	if r.Config == nil {
		return
	}
	var names []string
	for _, i := range r.Config.Dataplane.Interfaces {
		if r.link(i.Name) == nil && !i.Optional {
			names = append(names, i.Name)
		}
	}
	if len(names) > 0 {
		r.add(Failure, "missing", "interfaces of the dataplane are not there", strings.Join(names, ", "), "their names as ip link shows them, or optional: true")
		return
	}
	r.good("missing", "all interfaces of the dataplane are there that must be")
}

// xdp looks whether the driver can run the dataplane's short way.
func (r *report) xdp(l Link) {
	if l.XDP == nil || !r.routes(l.Name) {
		return
	}
	wants := config.XDPAuto
	for _, i := range r.Config.Dataplane.Interfaces {
		if i.Name == l.Name {
			wants = i.XDP
		}
	}
	evidence := fmt.Sprintf("XDP features %#x", *l.XDP)
	if driver := r.driver(l.Name); driver != "" {
		evidence += ", driver " + driver
	}
	switch {
	case wants == config.XDPOff:
	case *l.XDP&host.XDPBasic == 0 && wants == config.XDPNative:
		r.add(Failure, "xdp", l.Name+": its driver has no XDP, which the configuration demands", evidence, "xdp: auto, or another NIC")
	case *l.XDP&host.XDPBasic == 0:
		r.add(Note, "xdp", l.Name+": its driver has no XDP: packets go by TC alone", evidence, "")
	case *l.XDP&host.XDPSendsBy == 0:
		r.add(Note, "xdp", l.Name+": XDP cannot send by it now: packets to it go by TC", evidence, "")
	default:
		r.good("xdp", "%s: its driver has XDP, and sends what is redirected", l.Name)
	}
}

// forwards tells whether the host forwards what comes in by a link.
func (r *report) forwards(l Link) bool {
	return r.routes(l.Name) || r.sysctl("net/ipv4/ip_forward") == "1" || r.sysctl("net/ipv6/conf/all/forwarding") == "1"
}

// offloads looks at what merges packets: what was merged must be taken apart again as
// it was, which LRO cannot.
func (r *report) offloads(l Link) {
	if len(l.Features) == 0 {
		return
	}
	set := func(feature string, on bool) string {
		return fmt.Sprintf("host.nics.%s.features: {%s: %t}", l.Name, feature, on)
	}
	switch driver := r.driver(l.Name); {
	case l.Features["rx-lro"] && r.forwards(l):
		r.add(Failure, "offloads", l.Name+": LRO merges packets that are forwarded, and they cannot be taken apart as they were", "rx-lro: on, driver "+driver, set("rx-lro", false))
	case l.Features["rx-gro-list"] && r.routes(l.Name):
		r.add(Warning, "offloads", l.Name+": GRO makes lists of packets, which rx-udp-gro-forwarding does without", "rx-gro-list: on", set("rx-gro-list", false))
	case has(l.Features, "rx-hashing", false) && len(r.glob("sys/class/net/"+l.Name+"/queues/rx-*")) > 1:
		r.add(Warning, "offloads", l.Name+": flows are not spread over the queues", "rx-hashing: off", set("rx-hashing", true))
	case has(l.Features, "rx-gro", false) && r.driver(l.Name) != "":
		r.add(Note, "offloads", l.Name+": each packet goes through the stack by itself", "rx-gro: off", set("rx-gro", true))
	default:
		r.good("offloads", "%s: offloads that forwarding can have", l.Name)
	}
}

// has tells whether there is a feature, and in which state.
func has(features map[string]bool, name string, on bool) bool {
	v, ok := features[name]
	return ok && v == on
}

// queueCount compares the queues of a link with the CPUs.
func (r *report) queueCount(l Link) {
	driver := r.driver(l.Name)
	if driver == "" || r.isRadio(l.Name) {
		return
	}
	queues := len(r.glob("sys/class/net/" + l.Name + "/queues/rx-*"))
	m, err := cpus.Read(r.Root)
	if err != nil {
		return
	}
	packet := r.packetCPUs()
	set := func(n int) string { return fmt.Sprintf("host.nics.%s.channels: {combined: %d}", l.Name, n) }
	highest := 0
	for _, n := range append(packet, m.Online...) {
		if len(packet) == 0 || n <= packet[len(packet)-1] {
			highest = max(highest, n)
		}
	}
	evidence := fmt.Sprintf("%s, driver %s", plural(queues, "receive queue", "receive queues"), driver)
	switch {
	case driver == "i40e" && r.routes(l.Name) && queues <= highest:
		// i40e_xdp_xmit of i40e_txrx.c
		r.add(Warning, "queues", fmt.Sprintf("%s: XDP can send by it only from CPUs below the number of its queues, and CPU %d handles packets", l.Name, highest), evidence, set(highest+1))
	case driver == "ixgbe" && len(m.Possible) > 128 && r.routes(l.Name):
		r.add(Warning, "queues", l.Name+": the driver has no XDP with more than 128 possible CPUs", fmt.Sprintf("%d possible CPUs", len(m.Possible)), "the kernel command line with nr_cpus=")
	case len(packet) > 0 && queues < len(packet) && r.routes(l.Name):
		r.add(Note, "queues", l.Name+": it has fewer queues than there are CPUs for packets", evidence, set(len(packet))+", if the device has them; or host.nics."+l.Name+".rps")
	default:
		r.add(Good, "queues", l.Name+": "+evidence, "", "")
	}
}

func (r *report) duplex(l Link) {
	if !l.Up || r.driver(l.Name) == "" || r.isRadio(l.Name) {
		return
	}
	dir := "sys/class/net/" + l.Name + "/"
	if r.read(dir+"duplex") == "half" {
		r.add(Warning, "duplex", l.Name+": it can only send or receive at a time", "duplex: half", "autonegotiation at both ends")
		return
	}
	if r.read(dir+"carrier") == "0" {
		r.add(Note, "duplex", l.Name+": it is up, and has no carrier", "", "a cable")
		return
	}
	r.good("duplex", "%s: full duplex", l.Name)
}

// counters of errors, and what each means.
var nicErrors = []struct{ name, what, remedy string }{
	{"rx_missed_errors", "the device had no room for packets", "host.nics.%s.rings with more, or more queues"},
	{"rx_fifo_errors", "the device's buffer was full", "host.nics.%s.rings with more, or pause frames"},
	{"rx_crc_errors", "frames were damaged on the way", "another cable, or another transceiver, at %s"},
	{"tx_carrier_errors", "the carrier was lost while it sent", "another cable, or another transceiver, at %s"},
}

func (r *report) errors(l Link) {
	for _, e := range nicErrors {
		if n := number(r.read("sys/class/net/" + l.Name + "/statistics/" + e.name)); n > 0 {
			r.add(Warning, "errors", l.Name+": "+e.what, fmt.Sprintf("%s: %d", e.name, n), fmt.Sprintf(e.remedy, l.Name))
			return
		}
	}
	r.good("errors", "%s: no errors of the device", l.Name)
}
