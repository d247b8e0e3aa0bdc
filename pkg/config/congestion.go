// SPDX-License-Identifier: GPL-2.0-only

package config

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// Sysctls that the section congestion_control stands for.
const (
	defaultCongestionControl = "net.ipv4.tcp_congestion_control"
	allowedCongestionControl = "net.ipv4.tcp_allowed_congestion_control"
	tcpECN                   = "net.ipv4.tcp_ecn"
	tcpECNFallback           = "net.ipv4.tcp_ecn_fallback"
)

// How much of ECN a direction of connections has.
const (
	ecnOff      = "none"
	ecnClassic  = "classic"
	ecnAccurate = "accurate"
)

// ecnModes are the values of tcp_ecn by what connections that come in and that go out
// have: ip-sysctl.rst of the kernel.
var ecnModes = map[[2]string]int{
	{ecnOff, ecnOff}: 0, {ecnClassic, ecnClassic}: 1, {ecnClassic, ecnOff}: 2,
	{ecnAccurate, ecnAccurate}: 3, {ecnAccurate, ecnClassic}: 4, {ecnAccurate, ecnOff}: 5,
}

// congestionControl reads how TCP of the host itself shares links, as sysctls.
func (d *decoder) congestionControl(v node, c *Host) {
	var list []Sysctl
	var routes []Route
	var bbr3 BBR3
	enforce := false
	add := func(v node, name, value string) {
		list = append(list, Sysctl{Name: name, Value: value, at: positionOf(v.n), key: v.key})
	}
	v.mapping(map[string]field{
		"default": func(v node) {
			var name string
			if v.str(&name, "the name of a congestion control, such as cubic", isAlgorithm); name != "" {
				add(v, defaultCongestionControl, name)
			}
		},
		"allowed": func(v node) {
			var names []string
			v.list("congestion controls, such as [cubic, bbr]", func(_ int, v node) {
				var name string
				if v.str(&name, "the name of a congestion control, such as cubic", isAlgorithm); name != "" {
					names = append(names, name)
				}
			})
			if len(names) > 0 {
				slices.Sort(names)
				add(v, allowedCongestionControl, strings.Join(slices.Compact(names), " "))
			}
		},
		"ecn":     func(v node) { d.ecn(v, add) },
		"routes":  func(v node) { routes = d.routeAlgorithms(v) },
		"source":  func(v node) { v.oneOf(&bbr3.Source, BBR3Auto, BBR3BPF, BBR3Module, BBR3None, BBR3Drain) },
		"bbr3":    func(v node) { d.bbr3(v, &bbr3) },
		"enforce": func(v node) { v.boolean(&enforce) },
	})
	for i := range list {
		list[i].Enforce = enforce
	}
	c.Sysctls = append(c.Sysctls, list...)
	for i := range routes {
		routes[i].Enforce = enforce
	}
	c.Routes = routes
	bbr3.Enforce = enforce
	c.BBR3 = wantBBR3(v, bbr3, list, routes)
}

// Route is a route of the main table, which others make.
type Route struct {
	Prefix netip.Prefix `json:"prefix"`
	// CongestionControl of connections by it; "none" leaves that to the default.
	CongestionControl string `json:"congestion_control"`
	// Enforce has it set again when something else has changed it.
	Enforce bool `json:"enforce,omitempty"`

	at  position
	key string
}

// At is an error with the place of the route in a file.
func (r *Route) At(file string) Error {
	return Error{File: file, Line: r.at.line, Column: r.at.column, Key: r.key}
}

// routeAlgorithms reads congestion controls by prefix.
func (d *decoder) routeAlgorithms(v node) (out []Route) {
	seen := map[netip.Prefix]bool{}
	v.entries("prefixes, such as {10.0.0.0/8: cubic}", func(name, v node) {
		if !v.given(name) {
			return
		}
		p, err := netip.ParsePrefix(name.text())
		if err != nil || p != p.Masked() || p.Addr().Is4In6() || seen[p] {
			name.fail("the prefix of a route, once, such as 10.0.0.0/8, 0.0.0.0/0 or fd00::/8")
			return
		}
		seen[p] = true
		r := Route{Prefix: p, at: positionOf(name.n), key: v.key}
		if v.str(&r.CongestionControl, "the name of a congestion control, such as cubic, or none", isAlgorithm); r.CongestionControl != "" {
			out = append(out, r)
		}
	})
	return out
}

// isAlgorithm is what the kernel takes as a name: TCP_CA_NAME_MAX.
func isAlgorithm(s string) bool {
	return s != "" && len(s) < 16 && !strings.ContainsAny(s, " \t\n\x00")
}

// ecn reads what is asked of connections in each direction.
func (d *decoder) ecn(v node, add func(v node, name, value string)) {
	in, out, before := "", "", len(d.errs)
	words := []string{ecnOff, ecnClassic, ecnAccurate}
	v.mapping(map[string]field{
		"incoming": func(v node) { v.oneOf(&in, words...) },
		"outgoing": func(v node) { v.oneOf(&out, words...) },
		"fallback": func(v node) {
			var on bool
			if v.boolean(&on); v.isBool() {
				add(v, tcpECNFallback, strconv.Itoa(map[bool]int{true: 1}[on]))
			}
		},
	})
	if len(d.errs) > before || in == "" && out == "" {
		return
	}
	mode, ok := ecnModes[[2]string{in, out}]
	if !ok {
		v.failf("not a combination that the kernel has", "incoming and outgoing: none and none, classic and classic or none, accurate and accurate, classic or none")
		return
	}
	add(v, tcpECN, strconv.Itoa(mode))
}

func (v node) isBool() bool { _, ok := v.n.(*ast.BoolNode); return ok }
