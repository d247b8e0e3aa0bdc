// SPDX-License-Identifier: GPL-2.0-only

package config

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

const withLAN = least + `
host:
  links:
    br0: {kind: bridge, addresses: [192.168.1.1/24, "fd00::1/64"]}
network:
  lan: {interface: br0, domain: home.arpa}
`

// TestLAN: what is said of the LAN's interface elsewhere is not said again.
func TestLAN(t *testing.T) {
	c, err := Parse("l2d.yaml", []byte(withLAN))
	if err != nil {
		t.Fatal(err)
	}
	l := c.Network.LAN
	if got := l.Prefixes(4); !slices.Equal(got, []netip.Prefix{netip.MustParsePrefix("192.168.1.0/24")}) {
		t.Errorf("IPv4 prefixes: %v", got)
	}
	if got := l.Prefixes(6); !slices.Equal(got, []netip.Prefix{netip.MustParsePrefix("fd00::/64")}) {
		t.Errorf("IPv6 prefixes: %v", got)
	}
	if got := l.DNS; !slices.Equal(got, []netip.Addr{netip.MustParseAddr("192.168.1.1"), netip.MustParseAddr("fd00::1")}) {
		t.Errorf("DNS servers: %v", got)
	}
}

func TestServices(t *testing.T) {
	c, err := Parse("l2d.yaml", []byte(withLAN+`
services:
  slices: {network: {cpus: 8-15, memory_high: 4G, memory_max: 8G}}
  radvd: {slice: network, nice: -5, mode: systemd, cpu_weight: 200, memory_max: 64M, restart: on-failure, max_interval: 60s}
`))
	if err != nil {
		t.Fatal(err)
	}
	s := c.Services.Slices[0]
	if s.Name != "network" || len(s.CPUs) != 8 || s.MemoryHigh != 4<<30 || s.MemoryMax != 8<<30 {
		t.Errorf("slice: %+v", s)
	}
	r := c.Services.Radvd
	if r.Slice != "network" || *r.Nice != -5 || r.Mode != ModeSystemd || r.CPUWeight != 200 || r.MemoryMax != 64<<20 || r.Restart != RestartOnFailure {
		t.Errorf("service: %+v", r.Service)
	}
	if r.MaxInterval != time.Minute || r.MinInterval != 20*time.Second {
		t.Errorf("intervals: %+v", r)
	}
	plain, err := Parse("l2d.yaml", []byte(least))
	if err != nil || !c.SameButHost(plain) {
		t.Errorf("services are not the dataplane's: %v", err)
	}
}

func TestServicesRefused(t *testing.T) {
	for _, test := range []struct{ add, want string }{
		{"services: {radvd: {mode: docker}}", "want auto, systemd, child or watch"},
		{"services: {radvd: {nice: 20}}", "want a whole number from -20 to 19"},
		{"services: {radvd: {memory_max: 1X}}", "want bytes, or with K, M, G or T"},
		{"services: {radvd: {memory_max: 16777216T}}", "want bytes"},
		{"services: {radvd: {memory_high: 2M, memory_max: 1M}}", "is less than memory_high"},
		{"services: {radvd: {slice: none}}", `services.radvd.slice: "none": no such slice: want services.slices with it`},
		{"services: {slices: {a-b: {}}}", "want a name of lower-case letters"},
		{"services: {radvd: {max_interval: 3s}}", "from 4s to 30m0s"},
		{"services: {radvd: {max_interval: 8s, min_interval: 7s}}", "more than three quarters of max_interval"},
		{"services: {radvd: {lifetime: 10s}}", "forgotten before it is heard of again"},
		{"services: {radvd: {preferred_lifetime: 48h}}", "more than valid_lifetime"},
		{"services: {radvd: {prefixes: ['fd00::1/64']}}", "want an IPv6 network"},
		{"services: {radvd: {user: 0}}", "want a user's name"},
		{"services: {nothing: {}}", "unknown key"},
	} {
		_, err := Parse("l2d.yaml", []byte(withLAN+test.add+"\n"))
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", test.add, err, test.want)
		}
	}
	_, err := Parse("l2d.yaml", []byte(least+"services: {radvd: {}}\n"))
	if err == nil || !strings.Contains(err.Error(), "there is no LAN") {
		t.Errorf("without a LAN: %v", err)
	}
	for _, lan := range []string{"{}", "{interface: br0, domain: a..b}", "{interface: br0, dns: [x]}", "{interface: br0, addresses: [10.0.0.0]}"} {
		if _, err := Parse("l2d.yaml", []byte(least+"network: {lan: "+lan+"}\n")); err == nil {
			t.Errorf("network.lan: %s is accepted", lan)
		}
	}
}

// TestSecretFiles: whatever can be a secret of a file is known as one, each file once.
func TestSecretFiles(t *testing.T) {
	c, err := Parse("/x/l2d.yaml", []byte(`dataplane: {ruleset: x, interfaces: [{name: a}]}
control: {listen: "127.0.0.1:8080", token: /s/page}
services:
  hostapd: {country: US, ssid: s, passphrase: /s/wifi, bridge: br0, radios: {wlan0: {channel: 6}, wlan1: {channel: 36, passphrase: /s/other}, wlan2: {channel: 36, passphrase: "credential:wifi"}}}
  recursor: {listen: [127.0.0.1], api: {key: /s/api, listen: "127.0.0.1:8082"}}
  llama: [{name: l, model: /m, listen: "127.0.0.1:8090", api_key: /s/llama}, {name: m, model: /m, listen: "127.0.0.1:8091", api_key: /s/wifi}]
`))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := c.SecretFiles(), []string{"/s/page", "/s/wifi", "/s/other", "/s/api", "/s/llama"}; !slices.Equal(got, want) {
		t.Errorf("%q, not %q", got, want)
	}
}
