// SPDX-License-Identifier: GPL-2.0-only

package doctor

import (
	"fmt"
	"strings"

	"github.com/randomizedcoder/l2d/pkg/host"
)

func checkNftables(r *report) {
	r.tables()
	r.xtables()
	r.managers()
	r.tracking()
}

// tables looks for those that filter beside the dataplane, and those that sleep
// without one.
func (r *report) tables() {
	var awake, asleep, adopted []string
	for _, t := range r.Tables {
		switch {
		case t.Chains == 0: // a mirror of sets, or empty
		case t.Dormant && t.Adoption:
			adopted = append(adopted, t.Name)
		case t.Dormant:
			asleep = append(asleep, t.Name)
		default:
			awake = append(awake, t.Name)
		}
	}
	switch {
	case len(adopted) > 0 && !r.attached():
		r.add(Failure, "tables", "tables that l2d has put to sleep are enforced by nobody: "+strings.Join(adopted, ", "), "flags dormant, and no attached dataplane", "systemctl start l2d; or l2ctl detach, which wakes them")
	case len(awake) > 0 && r.attached():
		r.add(Warning, "tables", "nftables filters, too, what reaches the router's stack: "+strings.Join(awake, ", "), "awake, with chains", "nft delete table, if the ruleset has its rules; or ruleset: kernel")
	case len(awake) == 0 && !r.attached() && len(asleep) > 0:
		r.add(Warning, "tables", "nothing filters: all tables are dormant", strings.Join(asleep, ", "), "l2ctl reload, or nft without flags dormant")
	case len(awake) == 0 && !r.attached():
		r.add(Warning, "tables", "nothing filters: no dataplane is attached, and nftables has no chains", "nft list tables", "systemctl start l2d")
	default:
		r.good("tables", "one thing filters: %s", map[bool]string{true: "the dataplane", false: "nftables"}[r.attached()])
	}
}

// xtables are the tables of iptables-legacy, which nft does not list.
func (r *report) xtables() {
	var names []string
	for _, family := range []string{"ip", "ip6", "arp"} {
		for _, name := range strings.Fields(r.read("proc/net/" + family + "_tables_names")) {
			names = append(names, family+" "+name)
		}
	}
	if len(names) > 0 {
		r.add(Warning, "xtables", "iptables-legacy has tables, which nft does not show", strings.Join(names, ", "), "iptables-legacy-save to see them; rmmod iptable_filter iptable_nat")
		return
	}
	r.good("xtables", "iptables-legacy has no tables")
}

// managers are programs that write rulesets.
func (r *report) managers() {
	for _, name := range []string{"firewalld", "ufw", "ferm", "shorewall"} {
		if pid := host.Process(r.Root, name); pid != 0 {
			r.add(Warning, "managers", name+" writes rules of its own", fmt.Sprintf("process %d", pid), "systemctl disable --now "+name+", or ruleset: kernel")
			return
		}
	}
	r.good("managers", "no other program manages a firewall")
}

// tracking looks at the kernel's connection tracking, which costs what the dataplane
// does already.
func (r *report) tracking() {
	n := r.sysctl("net/netfilter/nf_conntrack_count")
	if n != "" && n != "0" && r.attached() {
		r.add(Note, "tracking", "the kernel tracks connections, too", "net.netfilter.nf_conntrack_count = "+n, "no rule of nftables with ct or nat that is awake")
		return
	}
	r.good("tracking", "connections are tracked once")
}
