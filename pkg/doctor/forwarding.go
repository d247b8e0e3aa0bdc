// SPDX-License-Identifier: GPL-2.0-only

package doctor

import "strings"

func checkForwarding(r *report) {
	r.forward()
	var deaf []string
	for _, l := range r.Links {
		if !r.routes(l.Name) {
			continue
		}
		r.port4(l)
		if r.port6(l) {
			deaf = append(deaf, l.Name)
		}
	}
	if deaf != nil {
		r.add(Note, "ipv6", "router advertisements are ignored, as the host is a router itself: right, but for a provider's", "accept_ra = 1 of "+strings.Join(deaf, ", "),
			"host.sysctl: {net.ipv6.conf.NAME.accept_ra: 2} for an interface towards a provider")
	}
	r.bridged()
	r.neighbours()
}

// expect compares a setting with what a router needs.
func (r *report) expect(s Severity, check, path, want, text string) bool {
	v := r.sysctl(path)
	if v == "" || v == want {
		return true
	}
	r.add(s, check, text, sysctlName(path)+" = "+v, setSysctl(path, want))
	return false
}

func (r *report) forward() {
	four := r.expect(Failure, "forward", "net/ipv4/ip_forward", "1", "the kernel does not forward IPv4, which the dataplane's routes ask for")
	six := r.expect(Failure, "forward", "net/ipv6/conf/all/forwarding", "1", "the kernel does not forward IPv6")
	if four && six {
		r.good("forward", "the kernel forwards")
	}
}

// slashes has a link's name as part of a path below /proc/sys.
func slashes(l Link, family, name string) string {
	return "net/" + family + "/conf/" + l.Name + "/" + name
}

// port4 looks at what of a link's settings has effect: of some, that for all links counts,
// too. IN_DEV_RX_REDIRECTS of linux/inetdevice.h.
func (r *report) port4(l Link) {
	good := r.expect(Failure, "ipv4", slashes(l, "ipv4", "forwarding"), "1", l.Name+": the kernel does not forward what comes in here")
	all := func(name string) string { return r.sysctl("net/ipv4/conf/all/" + name) }
	if all("accept_source_route") != "0" {
		good = r.expect(Warning, "ipv4", slashes(l, "ipv4", "accept_source_route"), "0", l.Name+": senders may say which way packets take") && good
	}
	if all("accept_redirects") != "0" {
		good = r.expect(Warning, "ipv4", slashes(l, "ipv4", "accept_redirects"), "0", l.Name+": neighbours may change its routes") && good
	}
	if good {
		r.good("ipv4", "%s: forwards IPv4, and takes its routes from nobody", l.Name)
	}
}

// port6 looks at router advertisements: a router ignores those it could have its own
// default route from, unless it is told otherwise. Redirects it ignores always. It returns
// whether they are ignored where they may not be meant for it.
func (r *report) port6(l Link) (deaf bool) {
	router := r.sysctl(slashes(l, "ipv6", "forwarding")) == "1"
	switch {
	case router && r.sysctl(slashes(l, "ipv6", "accept_ra")) == "1":
		if !r.upstream(l.Name) {
			return true
		}
		r.add(Warning, "ipv6", l.Name+": router advertisements are ignored, as the host is a router itself", sysctlName(slashes(l, "ipv6", "accept_ra"))+" = 1",
			setSysctl(slashes(l, "ipv6", "accept_ra"), "2")+", and the default route of IPv6 comes by it, too")
	case router:
		r.good("ipv6", "%s: advertisements and redirects are treated as a router's", l.Name)
	default:
		r.expect(Warning, "ipv6", slashes(l, "ipv6", "accept_redirects"), "0", l.Name+": neighbours may change its routes")
	}
	return false
}

// upstream tells whether the default route of IPv4 goes by an interface.
func (r *report) upstream(name string) bool {
	for line := range strings.Lines(r.read("proc/net/route")) {
		if f := strings.Fields(line); len(f) > 7 && f[0] == name && f[1] == "00000000" && f[7] == "00000000" {
			return true
		}
	}
	return false
}

// bridged looks at packets that a bridge passes to the filters of the network layer.
func (r *report) bridged() {
	var seen, set []string
	for _, name := range []string{"iptables", "ip6tables", "arptables"} {
		path := "net/bridge/bridge-nf-call-" + name
		if v := r.sysctl(path); v != "" && v != "0" {
			seen, set = append(seen, sysctlName(path)+" = "+v), append(set, sysctlName(path)+": 0")
		}
	}
	if seen != nil {
		r.add(Warning, "bridge", "frames that a bridge passes on meet the filters of routed packets", strings.Join(seen, ", "), "host.sysctl: {"+strings.Join(set, ", ")+"}")
		return
	}
	r.good("bridge", "frames that a bridge passes on meet no filters of routed packets")
}

// neighbours looks at the room for neighbours: below it, new ones push out others.
func (r *report) neighbours() {
	for _, family := range []string{"ipv4", "ipv6"} {
		path := "net/" + family + "/neigh/default/gc_thresh3"
		most := number(r.sysctl(path))
		lines := strings.Count(r.read("proc/net/arp"), "\n")
		if family == "ipv4" && most > 0 && uint64(lines)*10 > most*8 {
			r.add(Warning, "neighbours", "the table of neighbours is nearly full", "/proc/net/arp", setSysctl(path, "8192"))
			return
		}
	}
	r.good("neighbours", "there is room for neighbours")
}
