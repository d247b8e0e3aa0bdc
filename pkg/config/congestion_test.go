// SPDX-License-Identifier: GPL-2.0-only

package config

import (
	"strings"
	"testing"
)

func TestCongestionControl(t *testing.T) {
	c, err := Parse("/x/l2d.yaml", []byte(least+`host:
  sysctl: {net.ipv4.tcp_ecn_option: 2}
  congestion_control:
    default: bbr3
    allowed: [reno, cubic, reno]
    ecn: {incoming: accurate, outgoing: classic, fallback: false}
    enforce: true
`))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for i := range c.Host.Sysctls {
		s := &c.Host.Sysctls[i]
		at := s.At("f")
		got = append(got, strings.Join([]string{s.Name, s.Value, at.Key}, " "))
		if s.Enforce != (i > 0) {
			t.Errorf("%+v", s)
		}
	}
	want := []string{
		"net.ipv4.tcp_ecn_option 2 host.sysctl.net.ipv4.tcp_ecn_option",
		"net.ipv4.tcp_congestion_control bbr3 host.congestion_control.default",
		"net.ipv4.tcp_allowed_congestion_control cubic reno host.congestion_control.allowed",
		"net.ipv4.tcp_ecn_fallback 0 host.congestion_control.ecn.fallback",
		"net.ipv4.tcp_ecn 4 host.congestion_control.ecn",
	}
	if g, w := strings.Join(got, "\n"), strings.Join(want, "\n"); g != w {
		t.Errorf("%s\nnot\n%s", g, w)
	}
}

func TestCongestionControlProblems(t *testing.T) {
	for file, want := range map[string]string{
		"default: a_name_of_16_lettr":               `:8:14: host.congestion_control.default: "a_name_of_16_lettr": want the name of a congestion control`,
		"allowed: cubic":                            `host.congestion_control.allowed: "cubic": want a list of congestion controls`,
		"allowed: [cubic, 5]":                       `host.congestion_control.allowed[1]: "5": want the name`,
		"ecn: {incoming: on}":                       `host.congestion_control.ecn.incoming: "on": want none, classic or accurate`,
		"ecn: {incoming: none, outgoing: accurate}": `host.congestion_control.ecn: "a mapping": not a combination that the kernel has: want incoming and outgoing: none and none`,
		"ecn: {outgoing: classic}":                  `host.congestion_control.ecn: "a mapping": not a combination`,
		"ecn: {fallback: 1}":                        `host.congestion_control.ecn.fallback: "1": want true or false`,
		"routes: {10.0.0.1/8: cubic}":               `host.congestion_control.routes: "10.0.0.1/8": want the prefix of a route`,
		"routes: {10.0.0.0/8: 5}":                   `host.congestion_control.routes.10.0.0.0/8: "5": want the name of a congestion control`,
		"algorithm: cubic":                          `host.congestion_control.algorithm: unknown key: want one of allowed, bbr3, default, ecn, enforce, routes, source`,
	} {
		if _, err := Parse("/x/l2d.yaml", []byte(least+"host:\n  congestion_control:\n    "+file+"\n")); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v\nnot %s", file, err, want)
		}
	}
}
