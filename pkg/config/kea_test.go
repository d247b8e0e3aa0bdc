// SPDX-License-Identifier: GPL-2.0-only

package config

import (
	"net/netip"
	"strings"
	"testing"
	"time"
)

func TestKea(t *testing.T) {
	c, err := Parse("l2d.yaml", []byte(withLAN+`
services:
  kea_dhcp4:
    nice: -5
    pools: [192.168.1.100-192.168.1.200]
    reservations: {nas: {mac: "02:00:5E:10:00:01", address: 192.168.1.10}}
  kea_dhcp6:
    pools: ["fd00::1000-fd00::1fff"]
    lifetime: 2h
    delegate: [{prefix: "2001:db8:1000::/40", length: 56}]
`))
	if err != nil {
		t.Fatal(err)
	}
	k := c.Services.KeaDHCP4
	if k.Lifetime != time.Hour || k.Renew != 15*time.Minute || k.Rebind != 30*time.Minute || *k.Nice != -5 || k.UDP {
		t.Errorf("DHCPv4: %+v", k)
	}
	if r := k.Reservations[0]; r.Name != "nas" || r.MAC != "02:00:5e:10:00:01" || r.Address != netip.MustParseAddr("192.168.1.10") {
		t.Errorf("reservation: %+v", r)
	}
	if k := c.Services.KeaDHCP6; k.Preferred != 2*time.Hour || k.Delegate[0].Length != 56 || k.LeaseFile == c.Services.KeaDHCP4.LeaseFile {
		t.Errorf("DHCPv6: %+v", k)
	}
}

func TestKeaRefused(t *testing.T) {
	const pool = "pools: [192.168.1.100-192.168.1.200]"
	for _, test := range []struct{ add, want string }{
		{"kea_dhcp4: {}", "services.kea_dhcp4.pools: is missing"},
		{"kea_dhcp4: {pools: [192.168.1.200-192.168.1.100]}", "want the first and the last address"},
		{"kea_dhcp4: {pools: ['fd00::1-fd00::2']}", "want the first and the last address"},
		{"kea_dhcp4: {pools: [192.168.2.100-192.168.2.200]}", "is not in one of the LAN's networks: want a range of 192.168.1.0/24"},
		{"kea_dhcp4: {pools: [192.168.1.1-192.168.1.9]}", "has the router's own address 192.168.1.1"},
		{"kea_dhcp4: {pools: [192.168.1.10-192.168.1.20, 192.168.1.20-192.168.1.30]}", "overlaps 192.168.1.10-192.168.1.20"},
		{"kea_dhcp4: {" + pool + ", renew: 2h}", "is more than rebind"},
		{"kea_dhcp4: {" + pool + ", lifetime: 1s}", "want a duration"},
		{"kea_dhcp4: {" + pool + ", rebind: 2h}", "is more than lifetime"},
		{"kea_dhcp4: {" + pool + ", lease_file: /tmp/leases.csv}", "want a file in a directory that becomes the daemon's own"},
		{"kea_dhcp4: {" + pool + ", control_socket: /run/kea/x}", "is l2d's own, unless the mode is watch"},
		{"kea_dhcp4: {" + pool + ", preferred: 1h}", "unknown key"},
		{"kea_dhcp6: {socket: udp}", "unknown key"},
		{"kea_dhcp6: {delegate: [{prefix: '2001:db8::/56', length: 48}]}", "not shorter than the prefix's"},
		{"kea_dhcp4: {" + pool + ", reservations: {nas: {mac: x, address: 192.168.1.10}}}", "want six bytes"},
		{"kea_dhcp4: {" + pool + ", reservations: {nas: {address: 192.168.1.10}}}", "has not both"},
		{"kea_dhcp4: {" + pool + ", reservations: {nas: {mac: '02:00:00:00:00:01', address: 10.0.0.1}}}", "is not a client's address of the LAN"},
		{"kea_dhcp4: {" + pool + ", reservations: {nas: {mac: '02:00:00:00:00:01', address: 192.168.1.1}}}", "is not a client's address of the LAN"},
		{"kea_dhcp4: {" + pool + ", reservations: {a: {mac: '02:00:00:00:00:01', address: 192.168.1.9}, b: {mac: '02:00:00:00:00:01', address: 192.168.1.8}}}", "has the same MAC address, or address, as a"},
	} {
		_, err := Parse("l2d.yaml", []byte(withLAN+"services: {"+test.add+"}\n"))
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", test.add, err, test.want)
		}
	}
	_, err := Parse("l2d.yaml", []byte(least+"services: {kea_dhcp4: {"+pool+"}}\n"))
	if err == nil || !strings.Contains(err.Error(), "there is no LAN") {
		t.Errorf("without a LAN: %v", err)
	}
	if _, err := Parse("l2d.yaml", []byte(least+"services: {kea_dhcp4: {mode: watch, control_socket: /run/kea/kea4-ctrl-socket}}\n")); err != nil {
		t.Errorf("watched: %v", err)
	}
}

func TestRecursor(t *testing.T) {
	c, err := Parse("l2d.yaml", []byte(withLAN+`
services:
  recursor:
    forward: {corp.example: [10.0.0.53, "[fd00::53]:5300"]}
    forward_recursive: {".": [9.9.9.9]}
    insecure: [corp.example]
    api: {key: /etc/l2d/recursor.secret}
`))
	if err != nil {
		t.Fatal(err)
	}
	r := c.Services.Recursor
	if got := len(r.Listen); got != 4 || r.Listen[2] != netip.MustParseAddr("192.168.1.1") || r.Listen[3] != netip.MustParseAddr("fd00::1") {
		t.Errorf("listens at %v", r.Listen)
	}
	if join(r.Allow) != "127.0.0.0/8, ::1/128, 192.168.1.0/24, fd00::/64" {
		t.Errorf("allows %v", r.Allow)
	}
	if r.DNSSEC != DNSSECValidate || !r.ServeRFC1918 || r.API.Listen.String() != "127.0.0.1:8082" {
		t.Errorf("defaults: %+v", r)
	}
	if f := r.Forward; len(f) != 2 || f[0].Servers[0].Port() != 53 || f[0].Servers[1].Port() != 5300 || f[0].Recursive || !f[1].Recursive {
		t.Errorf("forwards: %+v", f)
	}
}

func TestRecursorRefused(t *testing.T) {
	for _, test := range []struct{ add, want string }{
		{"listen: [0.0.0.0]", "want an address"},
		{"allow: [192.168.1.1/24]", "want a network"},
		{"dnssec: maybe", "want off, process or validate"},
		{"forward: {a..b: [10.0.0.1]}", "want a zone"},
		{"forward: {a.b: []}", "has no server"},
		{"forward: {a.b: [10.0.0.1:0]}", "want an address"},
		{"forward: {a.b: [10.0.0.1]}, forward_recursive: {a.b: [10.0.0.1]}", "forwards a.b twice"},
		{"trust_anchors: {a.b: [x]}", "want a key tag"},
		{"trust_anchors: {a.b: ['1 2 3 AB\"']}", "want a key tag"},
		{"insecure: ['a\"b']", "want a zone"},
		{"api: {listen: '127.0.0.1:8082'}", "has no key"},
		{"api: {key: 12345678}", "is not where a secret is"},
		{"control_dir: /run/x", "is l2d's own, unless the mode is watch"},
	} {
		_, err := Parse("l2d.yaml", []byte(withLAN+"services: {recursor: {"+test.add+"}}\n"))
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", test.add, err, test.want)
		}
	}
}
