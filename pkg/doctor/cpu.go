// SPDX-License-Identifier: GPL-2.0-only

package doctor

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/randomizedcoder/l2d/pkg/cpus"
)

func checkCPU(r *report) {
	m, err := cpus.Read(r.Root)
	if err != nil {
		r.add(Failure, "cpus", "it cannot be read which CPUs there are", err.Error(), "")
		return
	}
	packet := r.packetCPUs()
	r.declared(m, packet)
	if packet = cpus.Both(packet, m.Online); len(packet) == 0 {
		return
	}
	r.isolation(m, packet)
	r.siblings(packet)
	r.ticks(m, packet)
	r.strays(packet)
	r.governors(packet)
	r.elsewhere()
}

func (r *report) declared(m cpus.Machine, packet []int) {
	switch problem, want := m.Refuses(packet); {
	case len(packet) == 0:
		r.add(Note, "packet-cpus", "it is not said which CPUs handle packets", "CPUs "+cpus.Format(m.Online)+" are online", "dataplane.cpus in the configuration")
	case problem != "":
		r.add(Failure, "packet-cpus", problem, "dataplane.cpus: "+cpus.Format(packet), "dataplane.cpus with "+want)
	default:
		r.good("packet-cpus", "CPUs %s are to handle packets", cpus.Format(packet))
	}
}

// isolation compares what the command line keeps off the packet CPUs.
func (r *report) isolation(m cpus.Machine, packet []int) {
	line := parseCommandLine(r.read("proc/cmdline"))
	lacks := map[string][]int{
		"isolcpus":  cpus.Without(packet, m.Isolated),
		"nohz_full": cpus.Without(packet, m.Tickless),
		"rcu_nocbs": cpus.Without(packet, line.cpus("rcu_nocbs", m)),
	}
	var evidence []string
	for _, key := range slices.Sorted(maps.Keys(lacks)) {
		if len(lacks[key]) > 0 {
			evidence = append(evidence, key+" lacks CPUs "+cpus.Format(lacks[key]))
		}
	}
	house := cpus.Without(m.Online, packet)
	switch {
	case len(evidence) == 0:
		r.good("isolation", "CPUs %s are isolated, tickless, and without RCU's callbacks", cpus.Format(packet))
	case len(house) == 0:
		r.add(Note, "isolation", "all CPUs handle packets: none can be isolated", "", "")
	default:
		r.add(Warning, "isolation", "other work can get on the packet CPUs", strings.Join(evidence, "; "),
			"boot with: "+line.with(cpus.Format(packet), cpus.Format(house)))
	}
}

// commandLine is the kernel's.
type commandLine []string

func parseCommandLine(s string) commandLine { return strings.Fields(s) }

// cpus are those that an argument names, with flags in front of them.
func (c commandLine) cpus(key string, m cpus.Machine) (out []int) {
	for _, arg := range c {
		value, ok := strings.CutPrefix(arg, key+"=")
		if !ok {
			continue
		}
		for value != "" && (value[0] < '0' || value[0] > '9') {
			if value == "all" {
				return m.Possible
			}
			_, value, _ = strings.Cut(value, ",")
		}
		if list, err := cpus.Parse(value); err == nil {
			out = list
		}
	}
	if key == "rcu_nocbs" { // nohz_full has it done along
		out = append(slices.Clone(m.Tickless), out...)
	}
	return out
}

// with is the command line with the packet CPUs isolated, and interrupts that nobody
// places on the others.
func (c commandLine) with(packet, house string) string {
	set := []string{"isolcpus=domain,managed_irq," + packet, "nohz_full=" + packet, "rcu_nocbs=" + packet, "irqaffinity=" + house}
	out := slices.DeleteFunc(slices.Clone(c), func(arg string) bool {
		key, _, _ := strings.Cut(arg, "=")
		return slices.ContainsFunc(set, func(s string) bool { return strings.HasPrefix(s, key+"=") })
	})
	return strings.Join(append(out, set...), " ")
}

// siblings are threads of the same core, which share its units and caches.
func (r *report) siblings(packet []int) {
	var with []string
	shared := false
	for _, n := range packet {
		list, err := cpus.Parse(r.read(fmt.Sprintf("sys/devices/system/cpu/cpu%d/topology/thread_siblings_list", n)))
		if err != nil || len(list) < 2 {
			continue
		}
		shared = true
		if other := cpus.Without(list, packet); len(other) > 0 {
			with = append(with, fmt.Sprintf("%d with %s", n, cpus.Format(other)))
		}
	}
	switch {
	case len(with) > 0:
		r.add(Warning, "smt", "packet CPUs share their cores with CPUs that do other work", strings.Join(with, ", "), "both threads of a core in dataplane.cpus, or neither; or the kernel command line with nosmt")
	case shared:
		r.good("smt", "both threads of each packet core handle packets")
	default:
		r.good("smt", "packet CPUs do not share their cores")
	}
}

// manyTicks is how many timer interrupts a second a CPU without ticks has at most:
// the kernel still needs one a second, and drivers have timers.
const manyTicks = 50

// ticks looks at the local timer of CPUs that are to have none.
func (r *report) ticks(m cpus.Machine, packet []int) {
	tickless := cpus.Both(packet, m.Tickless)
	if len(tickless) == 0 {
		return // isolation has told
	}
	before, after := r.samples()
	var many []string
	for _, n := range tickless {
		if rate := moved(before, after, "LOC", n) * 1e9 / uint64(r.Interval); rate > manyTicks {
			many = append(many, fmt.Sprintf("CPU %d: %d a second", n, rate))
		}
	}
	if len(many) > 0 {
		r.add(Warning, "ticks", "tickless CPUs are interrupted by timers", strings.Join(many, ", "), "less than two tasks on each of them: ps -eLo psr,comm shows which are there")
		return
	}
	r.good("ticks", "CPUs %s have no timer ticks", cpus.Format(tickless))
}

// strays are interrupts on packet CPUs that are no network interface's.
func (r *report) strays(packet []int) {
	before, after := r.samples()
	ours := map[string]bool{}
	for _, l := range r.Links {
		for _, i := range r.interrupts(l.Name) {
			ours[strconv.Itoa(i.Number)] = true
		}
	}
	var list []string
	for _, name := range slices.Sorted(maps.Keys(after.interrupts)) {
		if !isNumber(name) || ours[name] {
			continue
		}
		var on []int
		for _, n := range packet {
			if moved(before, after, name, n) > 0 {
				on = append(on, n)
			}
		}
		if len(on) > 0 {
			list = append(list, fmt.Sprintf("%s (%s) on CPU %s", name, after.interrupts[name].name, cpus.Format(on)))
		}
	}
	m, _ := cpus.Read(r.Root)
	others := cpus.Without(m.Online, packet)
	switch {
	case len(list) > 0 && len(others) > 0:
		r.add(Warning, "strays", "interrupts that are no network interface's come to packet CPUs", strings.Join(list, ", "),
			"echo "+cpus.Format(others)+" >/proc/irq/NUMBER/smp_affinity_list, or irqaffinity= on the kernel command line")
		return
	case len(list) > 0:
		return // they have no place else, as is said already
	}
	r.good("strays", "no other interrupts came to packet CPUs")
}

func (r *report) governors(packet []int) {
	var slow []int
	found := ""
	for _, n := range packet {
		g := r.read(fmt.Sprintf("sys/devices/system/cpu/cpu%d/cpufreq/scaling_governor", n))
		if g != "" && g != "performance" {
			slow, found = append(slow, n), g
		}
	}
	if len(slow) > 0 {
		r.add(Warning, "governor", "packet CPUs may be slowed down while they wait", "governor of CPUs "+cpus.Format(slow)+": "+found, "host.governor: {"+cpus.Format(slow)+": performance}")
		return
	}
	r.good("governor", "packet CPUs are not slowed down by a governor")
}

// elsewhere is packets that other CPUs handled, as the dataplane has counted them.
func (r *report) elsewhere() {
	if !r.attached() || len(r.Status.CPUs) == 0 {
		return
	}
	r.samples() // the time in between
	total, list := r.Status.Elsewhere()
	if r.Later != nil {
		if later, now := r.Later.Elsewhere(); later > total {
			r.add(Warning, "elsewhere", "packets are handled by other CPUs", fmt.Sprintf("%d packets on CPUs %s in %s", later-total, cpus.Format(now), r.Interval),
				"l2ctl plan and l2ctl apply place the interrupts; an interface without any needs host.nics.NAME.rps")
			return
		}
	}
	if total > 0 {
		r.add(Note, "elsewhere", "other CPUs have handled packets before, and do not now", fmt.Sprintf("%d packets on CPUs %s since the dataplane was first attached", total, cpus.Format(list)), "")
		return
	}
	r.good("elsewhere", "no packet was handled by another CPU")
}
