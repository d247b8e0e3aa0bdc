// SPDX-License-Identifier: GPL-2.0-only

package doctor

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/randomizedcoder/l2d/pkg/cpus"
	"github.com/randomizedcoder/l2d/pkg/host"
)

func checkIRQ(r *report) {
	r.irqbalance()
	for _, l := range r.Links {
		if list := r.interrupts(l.Name); len(list) > 0 {
			r.placement(l, list)
		}
		r.steering(l)
		r.threads(l)
	}
	r.flows()
	r.backlog()
}

// interrupts are those of a link that has a driver.
func (h *Host) interrupts(link string) []host.Interrupt {
	list, err := host.Interrupts(h.Root, link)
	if err != nil {
		return nil
	}
	return list
}

func (r *report) irqbalance() {
	if pid := host.Process(r.Root, "irqbalance"); pid != 0 {
		r.add(Warning, "irqbalance", "irqbalance moves interrupts where it likes, every ten seconds", fmt.Sprintf("process %d", pid), "systemctl disable --now irqbalance")
		return
	}
	r.good("irqbalance", "irqbalance does not run")
}

// affinity are the CPUs that serve an interrupt: that of those which may that does. Until the
// next interrupt after a change it is still another one.
func (r *report) affinity(number int) []int {
	dir := fmt.Sprintf("proc/irq/%d/", number)
	may, _ := cpus.Parse(r.read(dir + "smp_affinity_list"))
	does, _ := cpus.Parse(r.read(dir + "effective_affinity_list"))
	if both := cpus.Both(does, may); len(both) > 0 {
		return both
	}
	return may
}

// placement looks where the queues of a link are served.
func (r *report) placement(l Link, list []host.Interrupt) {
	queues, outside := map[int][]int{}, []string(nil)
	packet := r.packetCPUs()
	for _, i := range list {
		on := r.affinity(i.Number)
		queues[i.Queue] = append(queues[i.Queue], on...)
		if len(packet) > 0 && len(cpus.Without(on, packet)) > 0 {
			outside = append(outside, fmt.Sprintf("%d (%s) on CPU %s", i.Number, i.Action, cpus.Format(on)))
		}
	}
	var words []string
	used := map[string]int{}
	for _, q := range slices.Sorted(maps.Keys(queues)) {
		set := cpus.Format(queues[q])
		words, used[set] = append(words, set), used[set]+1
	}
	m, _ := cpus.Read(r.Root)
	among := len(m.Online)
	if len(packet) > 0 && r.routes(l.Name) {
		among = len(packet)
	}
	spread := "queues on CPUs " + strings.Join(words, ", ")
	switch {
	case len(outside) > 0 && r.routes(l.Name):
		r.add(Warning, "placement", l.Name+": interrupts are served by other CPUs than those that are to handle packets", strings.Join(outside, ", "),
			"l2ctl apply with dataplane.cpus; or host.nics."+l.Name+".irqs, if it is to be so")
	case len(used) < min(len(queues), among) && !r.isRadio(l.Name):
		r.add(Warning, "placement", l.Name+": several queues are served by the same CPU while others have none", spread, "host.nics."+l.Name+".irqs: dataplane, or a list of CPUs")
	default:
		r.add(Good, "placement", l.Name+": "+plural(len(list), "interrupt", "interrupts")+", "+spread, "", "")
	}
}

// steering looks whether packets are steered to where they cannot go.
func (r *report) steering(l Link) {
	m, err := cpus.Read(r.Root)
	if err != nil {
		return
	}
	for _, path := range r.glob("sys/class/net/" + l.Name + "/queues/rx-*/rps_cpus") {
		set, err := cpus.ParseMask(r.read(path))
		if err != nil || len(set) == 0 {
			continue
		}
		packet := r.packetCPUs()
		if off := cpus.Without(set, m.Online); len(off) > 0 {
			r.add(Warning, "rps", l.Name+": packets are steered to CPUs that are not online", "/"+path+": CPUs "+cpus.Format(off), "host.nics."+l.Name+".rps with CPUs of "+cpus.Format(m.Online))
			return
		}
		if other := cpus.Without(set, packet); len(other) > 0 && len(packet) > 0 && r.routes(l.Name) {
			r.add(Warning, "rps", l.Name+": packets are steered to CPUs that are not to handle them", "/"+path+": CPUs "+cpus.Format(other), "host.nics."+l.Name+".rps: dataplane, or none")
			return
		}
	}
	r.good("rps", "%s: steers no packets astray", l.Name)
}

// pollers counts the threads that poll the queues of an interface, or a radio, and tells which of
// them may run on other CPUs than those of packets.
func (r *report) pollers(name string, packet []int) (n int, astray []string) {
	for _, path := range r.glob("proc/[0-9]*/comm") {
		comm := r.read(path)
		if !strings.HasPrefix(comm, "napi/"+name+"-") {
			continue
		}
		n++
		dir := strings.TrimSuffix(path, "/comm")
		for _, line := range strings.Split(r.read(dir+"/status"), "\n") {
			text, ok := strings.CutPrefix(line, "Cpus_allowed_list:")
			if may, err := cpus.Parse(text); ok && err == nil && len(cpus.Without(may, packet)) > 0 {
				astray = append(astray, fmt.Sprintf("%s (process %s) on CPUs %s", comm, strings.TrimPrefix(dir, "proc/"), cpus.Format(may)))
			}
		}
	}
	return n, astray
}

// threads looks where threads that poll a link's queues may run.
func (r *report) threads(l Link) {
	packet := r.packetCPUs()
	if r.read("sys/class/net/"+l.Name+"/threaded") != "1" || len(packet) == 0 || !r.routes(l.Name) {
		return
	}
	if _, astray := r.pollers(l.Name, packet); len(astray) > 0 {
		r.add(Warning, "threads", l.Name+": threads that poll its queues may run on other CPUs than those that are to handle packets", strings.Join(astray, ", "),
			"host.nics."+l.Name+".threads: "+cpus.Format(packet)+", or threaded: false")
		return
	}
	r.good("threads", "%s: threads that poll its queues run on the packet CPUs", l.Name)
}

// flows looks whether tables of flows have what they need.
func (r *report) flows() {
	tables := 0
	for _, path := range r.glob("sys/class/net/*/queues/rx-*/rps_flow_cnt") {
		if number(r.read(path)) > 0 {
			tables++
		}
	}
	const path = "net/core/rps_sock_flow_entries"
	if v := r.sysctl(path); tables > 0 && v == "0" {
		r.add(Warning, "rfs", "queues have tables of flows that nothing is entered in", "net.core.rps_sock_flow_entries = 0", setSysctl(path, "32768"))
		return
	}
	if tables > 0 {
		r.good("rfs", "%s of flows", plural(tables, "queue has a table", "queues have tables"))
	}
}

// manySqueezes is how often a second the softirqs of all CPUs may end with packets left.
const manySqueezes = 10

// backlog looks at packets that the softirqs did not get to.
func (r *report) backlog() {
	before, after := r.samples()
	if len(before.softnet) == 0 || len(before.softnet) != len(after.softnet) {
		return
	}
	var dropped, squeezed, sinceBoot uint64
	for i := range after.softnet {
		dropped += after.softnet[i][1] - before.softnet[i][1]
		squeezed += after.softnet[i][2] - before.softnet[i][2]
		sinceBoot += after.softnet[i][1]
	}
	switch {
	case dropped > 0:
		r.add(Failure, "backlog", "CPUs drop packets before anything has looked at them", fmt.Sprintf("%d in %s, /proc/net/softnet_stat", dropped, r.Interval), setSysctl("net/core/netdev_max_backlog", "5000"))
	case squeezed*uint64(time.Second) > manySqueezes*uint64(r.Interval):
		r.add(Warning, "backlog", "softirqs end with packets left", fmt.Sprintf("%d times in %s, /proc/net/softnet_stat", squeezed, r.Interval),
			"host.sysctl: {net.core.netdev_budget: 600, net.core.netdev_budget_usecs: 8000}, or more CPUs")
	case sinceBoot > 0:
		r.add(Note, "backlog", "CPUs have dropped packets since the start, and do not now", fmt.Sprintf("%d, /proc/net/softnet_stat", sinceBoot), setSysctl("net/core/netdev_max_backlog", "5000"))
	default:
		r.good("backlog", "CPUs keep up with their packets")
	}
}
