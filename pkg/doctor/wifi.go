// SPDX-License-Identifier: GPL-2.0-only

package doctor

import (
	"fmt"
	"strings"

	"github.com/randomizedcoder/l2d/pkg/cpus"
)

// debug is where debugfs shows radios.
const debug = "sys/kernel/debug/ieee80211/"

func checkWiFi(r *report) {
	radios := r.glob("sys/class/ieee80211/phy*")
	if len(radios) == 0 {
		r.add(Note, "radios", "there is no radio", "/sys/class/ieee80211", "")
		return
	}
	r.regulatory()
	r.radioNames()
	for _, path := range radios {
		phy := path[strings.LastIndex(path, "/")+1:]
		r.radioThreads(phy)
		if !r.exists(debug + phy) {
			r.add(Note, "aql", phy+": its queue limits cannot be seen", "no /"+debug+phy, "mount -t debugfs debugfs /sys/kernel/debug")
			continue
		}
		r.aql(phy)
		r.airtime(phy)
	}
}

// renamed is the way of NET_NAME_RENAMED: user space gave the name.
const renamed = "4"

// radioNames looks at where the names of radios' interfaces come from: the kernel's own
// are by the order in which it finds them, which a file of systemd's does not leave to chance.
func (r *report) radioNames() {
	for _, path := range r.glob("sys/class/net/*/phy80211") {
		dir := strings.TrimSuffix(path, "/phy80211")
		name := dir[strings.LastIndex(dir, "/")+1:]
		mac := r.read(path + "/macaddress")
		if r.read(dir+"/name_assign_type") == renamed || mac == "" {
			r.good("names", "%s: the interface is named by other things than its order", name)
			continue
		}
		as := name
		switch bands := r.Bands[name]; {
		case len(bands) == 1:
			as = "wlan_" + bands[0]
		case strings.HasPrefix(name, "wlan"):
			as = "ap" + strings.TrimPrefix(name, "wlan")
		}
		r.add(Warning, "names", name+": the kernel named the interface by the order of radios, which can change", "name_assign_type = "+r.read(dir+"/name_assign_type"),
			fmt.Sprintf("/etc/systemd/network/10-%s.link: [Match] MACAddress=%s [Link] Name=%s", as, mac, as))
	}
}

// radioThreads looks at the threads that poll the queues of a driver such as mt76, whose
// NAPI is of no interface. They have the radio's name.
func (r *report) radioThreads(phy string) {
	packet := r.packetCPUs()
	if len(packet) == 0 {
		return
	}
	switch n, astray := r.pollers(phy, packet); {
	case len(astray) > 0:
		r.add(Warning, "threads", phy+": threads that poll its queues may run on other CPUs than those that are to handle packets", strings.Join(astray, ", "),
			"host.nics."+r.interfaceOf(phy)+".threads: "+cpus.Format(packet))
	case n > 0:
		r.good("threads", "%s: threads that poll its queues run on packet CPUs", phy)
	}
}

// interfaceOf is the first interface of a radio.
func (r *report) interfaceOf(phy string) string {
	for _, path := range r.glob("sys/class/net/*/phy80211") {
		if r.read(path+"/name") == phy {
			dir := strings.TrimSuffix(path, "/phy80211")
			return dir[strings.LastIndex(dir, "/")+1:]
		}
	}
	return "INTERFACE"
}

func (r *report) regulatory() {
	v, seen := r.Region, "the country is "+r.Region
	if v == "" {
		v = r.read("sys/module/cfg80211/parameters/ieee80211_regdom") // what it was when the kernel started
		seen = "cfg80211.ieee80211_regdom = " + v
	}
	switch v {
	case "", "00":
		r.add(Warning, "regdom", "no country is set: radios are kept to what all countries allow", seen, "services.hostapd.country, or cfg80211.ieee80211_regdom=COUNTRY on the kernel command line")
	default:
		r.good("regdom", "the country is %s", v)
	}
}

// defaultAQL is how much airtime a station's queue may have in the device, in µs: low
// while others wait, high else. IEEE80211_DEFAULT_AQL_TXQ_LIMIT_* of net/mac80211.h.
const (
	defaultAQLLow  = 5000
	defaultAQLHigh = 12000
)

// aql looks at the airtime queue limits, which keep queues out of the device where
// mac80211's fq_codel would not see them.
func (r *report) aql(phy string) {
	if r.read(debug+phy+"/aql_enable") == "0" {
		r.add(Warning, "aql", phy+": queues grow in the device", "aql_enable = 0", "echo 1 >/"+debug+phy+"/aql_enable")
		return
	}
	if !r.exists(debug + phy + "/aql_txq_limit") {
		r.add(Note, "aql", phy+": its queue limits cannot be seen", "no /"+debug+phy+"/aql_txq_limit", "a kernel with CONFIG_MAC80211_DEBUGFS")
		return
	}
	var large, pending []string
	for _, line := range strings.Split(r.read(debug+phy+"/aql_txq_limit"), "\n") {
		// AC	AQL limit low	AQL limit high
		f := strings.Fields(line)
		if len(f) != 3 || !isNumber(f[1]) || !isNumber(f[2]) {
			continue
		}
		if number(f[1]) > defaultAQLLow || number(f[2]) > defaultAQLHigh {
			large = append(large, fmt.Sprintf("%s %s/%s µs", f[0], f[1], f[2]))
		}
	}
	for _, line := range strings.Split(r.read(debug+phy+"/aql_pending"), "\n") {
		pending = append(pending, strings.Join(strings.Fields(line), " "))
	}
	if len(large) > 0 {
		r.add(Warning, "aql", phy+": the device may hold more than is good for latency", "aql_txq_limit: "+strings.Join(large, ", "),
			fmt.Sprintf("for ac in 0 1 2 3; do echo $ac %d %d >/%s/aql_txq_limit; done", defaultAQLLow, defaultAQLHigh, debug+phy))
		return
	}
	r.add(Good, "aql", phy+": airtime queue limits are on", strings.Join(pending, ", "), "")
}

// airtime looks at which airtime counts in the turns that stations get: that of what is
// sent, and of what is received. The file is empty if neither does.
func (r *report) airtime(phy string) {
	path := debug + phy + "/airtime_flags"
	v := r.read(path)
	switch {
	case !r.exists(path):
		r.add(Note, "airtime", phy+": it cannot be seen whether stations share the airtime", "no /"+path, "a kernel with CONFIG_MAC80211_DEBUGFS")
	case !strings.Contains(v, "AIRTIME_TX") || !strings.Contains(v, "AIRTIME_RX"):
		r.add(Warning, "airtime", phy+": slow stations take the airtime of fast ones", "airtime_flags: "+strings.Join(strings.Fields(v), " "), "echo 3 >/"+path)
	default:
		r.good("airtime", "%s: stations share the airtime", phy)
	}
}
