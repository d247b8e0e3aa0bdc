// SPDX-License-Identifier: GPL-2.0-only

package doctor

import (
	"fmt"
	"slices"
	"strings"
)

func checkQdisc(r *report) {
	r.dualpi2()
	r.defaultQdisc()
	for _, l := range r.Links {
		r.port(l)
		r.marks(l)
	}
	r.ecn()
	r.congestion()
	r.bbr3()
}

// uses tells whether a link has a queue manager of a kind at its root.
func (h *Host) uses(kind string) bool {
	return slices.ContainsFunc(h.Links, func(l Link) bool { return l.Qdisc == kind })
}

func (r *report) dualpi2() {
	switch has, known := r.Qdiscs["dualpi2"]; {
	case has, r.uses("dualpi2"):
		r.good("dualpi2", "the kernel has DualPI2")
	case known:
		r.add(Warning, "dualpi2", "the kernel has no DualPI2, which L4S wants", "it makes none in a network namespace of its own; Linux "+r.read("proc/sys/kernel/osrelease"),
			"Linux 6.17 or newer, with CONFIG_NET_SCH_DUALPI2")
	default:
		r.add(Note, "dualpi2", "it is not known whether the kernel has DualPI2", "it cannot be tried", "l2ctl doctor as root")
	}
}

func (r *report) defaultQdisc() {
	const path = "net/core/default_qdisc"
	switch v := r.sysctl(path); v {
	case "":
	case "pfifo_fast":
		r.add(Warning, "default", "new interfaces get a queue without a manager", "net.core.default_qdisc = "+v, setSysctl(path, "fq_codel"))
	default:
		r.good("default", "new interfaces get %s", v)
	}
}

// withoutManager are queues that do not manage anything.
var withoutManager = []string{"pfifo_fast", "pfifo", "bfifo", "noqueue"}

// port looks at the queue of a link that the dataplane sends by.
func (r *report) port(l Link) {
	if l.Qdisc == "" {
		return
	}
	virtual := l.Kind == "bridge" || r.isRadio(l.Name)
	wants := false
	if r.Config != nil {
		for _, i := range r.Config.Dataplane.Interfaces {
			wants = wants || i.Name == l.Name && i.AQM
		}
	}
	switch {
	case virtual && slices.Contains([]string{"dualpi2", "cake", "fq_codel", "codel", "pie", "fq_pie"}, l.Qdisc):
		r.add(Warning, "port", l.Name+": its queue manager never sees a queue, as what is below takes all packets at once", "root qdisc "+l.Qdisc,
			"none here; for a radio the limits of l2ctl doctor wifi, for a bridge a queue manager at its ports")
	case wants && slices.Contains(withoutManager, l.Qdisc) && !virtual:
		r.add(Warning, "port", l.Name+": it has no queue manager, though the configuration says so", "root qdisc "+l.Qdisc, "tc qdisc replace dev "+l.Name+" root dualpi2, or without aqm: true")
	case r.driver(l.Name) != "" && slices.Contains([]string{"pfifo_fast", "pfifo", "bfifo"}, l.Qdisc):
		r.add(Note, "port", l.Name+": it has a queue without a manager", "root qdisc "+l.Qdisc, "tc qdisc replace dev "+l.Name+" root fq_codel")
	case r.routes(l.Name) || r.driver(l.Name) != "":
		r.good("port", "%s: root qdisc %s", l.Name, l.Qdisc)
	}
}

// ecnModes are those of net.ipv4.tcp_ecn, from Documentation/networking/ip-sysctl.rst.
var ecnModes = map[string]string{
	"0": "no ECN", "1": "classic ECN is asked for", "2": "classic ECN if the other end asks for it",
	"3": "AccECN is asked for", "4": "AccECN if the other end asks for it, classic ECN is asked for", "5": "AccECN or classic ECN if the other end asks for it",
}

func (r *report) ecn() {
	const path = "net/ipv4/tcp_ecn"
	v := r.sysctl(path)
	acc := r.exists("proc/sys/net/ipv4/tcp_ecn_option")
	switch {
	case v == "":
	case v == "0":
		r.add(Warning, "ecn", "the router's own connections are told of congestion by losses alone", "net.ipv4.tcp_ecn = 0", setSysctl(path, "1"))
	default:
		r.good("ecn", "%s (net.ipv4.tcp_ecn = %s)", ecnModes[v], v)
	}
	if acc {
		r.good("accecn", "the kernel has AccECN")
		return
	}
	r.add(Note, "accecn", "the kernel has no AccECN, which L4S wants of the ends", "no net.ipv4.tcp_ecn_option", "Linux 6.18 or newer")
}

func (r *report) congestion() {
	now := r.sysctl("net/ipv4/tcp_congestion_control")
	there := strings.Fields(r.sysctl("net/ipv4/tcp_available_congestion_control"))
	if now == "" {
		return
	}
	l4s := slices.ContainsFunc(there, func(s string) bool { return s == "prague" || s == "bbr3" || s == "dctcp" })
	evidence := "of " + strings.Join(there, ", ")
	if !l4s {
		r.add(Note, "congestion", "no congestion control answers L4S marks: "+now+" is used", evidence, "bbr3 or prague")
		return
	}
	r.good("congestion", "%s is used, %s", now, fmt.Sprint(evidence))
}
