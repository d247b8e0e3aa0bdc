// SPDX-License-Identifier: GPL-2.0-only

package doctor

import (
	"fmt"
	"slices"
	"strings"
)

// Severity is how bad a finding is.
type Severity string

// Severities, from the least to the worst.
const (
	Good    Severity = "ok"
	Note    Severity = "note"    // to be known
	Warning Severity = "warning" // works, and not as well as it could
	Failure Severity = "error"   // does not work, or is not safe
)

// severities in their order.
var severities = []Severity{Good, Note, Warning, Failure}

// Worse tells whether it is worse than another one.
func (s Severity) Worse(than Severity) bool {
	return slices.Index(severities, s) > slices.Index(severities, than)
}

// Finding is the outcome of a check.
type Finding struct {
	Area string `json:"area"`
	// Check is the name of what was looked at.
	Check    string   `json:"check"`
	Severity Severity `json:"severity"`
	Text     string   `json:"text"`
	// Evidence is what it was seen by, Remedy what would change it.
	Evidence string `json:"evidence,omitempty"`
	Remedy   string `json:"remedy,omitempty"`
}

// Area is a part of the host.
type Area struct {
	Name, Help string
	check      func(*report)
	// also is another name of it.
	also string
}

// Areas are all of them, in the order in which they are looked at.
var Areas = []Area{
	{"kernel", "BPF, type information, hardening, command line", checkKernel, ""},
	{"cpu", "isolation of the packet CPUs, timer ticks, frequency", checkCPU, ""},
	{"irq", "interrupts of NICs, packet steering, irqbalance", checkIRQ, ""},
	{"nic", "drivers, offloads, queues, errors", checkNIC, ""},
	{"qdisc", "DualPI2, queues of the ports, ECN, congestion control", checkQdisc, "l4s"},
	{"wifi", "airtime queue limits, airtime fairness, regulatory domain", checkWiFi, ""},
	{"slices", "CPUs and memory of systemd's slices", checkSlices, ""},
	{"nftables", "what else filters", checkNftables, ""},
	{"forwarding", "sysctls of a router", checkForwarding, ""},
	{"time", "clock source and synchronisation", checkTime, ""},
	{"disk", "room on file systems", checkDisk, ""},
	{"secrets", "modes of files with secrets", checkSecrets, ""},
	{"gpu", "NVIDIA driver, power and temperature", checkGPU, ""},
	{"l2d", "the daemon", checkDaemon, ""},
}

// Names are the areas' names, with the others that some have.
func Names() []string {
	names := make([]string, 0, len(Areas)+1)
	for _, a := range Areas {
		if names = append(names, a.Name); a.also != "" {
			names = append(names, a.also)
		}
	}
	return names
}

// Examine looks at some areas of a host, or at all if none is named.
func Examine(h *Host, areas ...string) ([]Finding, error) {
	for _, name := range areas {
		if !slices.Contains(Names(), name) {
			return nil, fmt.Errorf("area %q: want one of %s", name, strings.Join(Names(), ", "))
		}
	}
	var out []Finding
	for _, a := range Areas {
		if len(areas) > 0 && !slices.Contains(areas, a.Name) && (a.also == "" || !slices.Contains(areas, a.also)) {
			continue
		}
		r := &report{Host: h, area: a.Name}
		a.check(r)
		out = append(out, r.findings...)
	}
	return out, nil
}

// Worst is the worst severity of findings; Good if there are none.
func Worst(list []Finding) Severity {
	worst := Good
	for _, f := range list {
		if f.Severity.Worse(worst) {
			worst = f.Severity
		}
	}
	return worst
}

// report collects the findings of an area.
type report struct {
	*Host
	area     string
	findings []Finding
}

func (r *report) add(s Severity, check, text, evidence, remedy string) {
	r.findings = append(r.findings, Finding{r.area, check, s, text, strings.TrimSpace(evidence), remedy})
}

// good says that something is as it should be.
func (r *report) good(check, text string, args ...any) {
	r.add(Good, check, fmt.Sprintf(text, args...), "", "")
}

// sysctl is a setting below /proc/sys, by its path; empty if there is no such one.
func (r *report) sysctl(path string) string { return r.read("proc/sys/" + path) }

// sysctlName is the name of a path below /proc/sys: dots that are part of it, as of
// an interface's, become slashes.
func sysctlName(path string) string { return strings.NewReplacer("/", ".", ".", "/").Replace(path) }

// setSysctl is the remedy that a configuration file has.
func setSysctl(path, value string) string {
	return "host.sysctl: {" + sysctlName(path) + ": " + value + "}"
}
