// SPDX-License-Identifier: GPL-2.0-only

package lab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// The pool of the reference deployment.
var dhcpPool = [2]netip.Addr{netip.MustParseAddr("192.168.1.100"), netip.MustParseAddr("192.168.1.200")}

const dhcpConfig = `{
  "Dhcp4": {
    "interfaces-config": { "interfaces": [ "br0" ], "dhcp-socket-type": "raw" },
    "lease-database": { "type": "memfile", "persist": false },
    "valid-lifetime": 3600, "renew-timer": 900, "rebind-timer": 1800,
    "subnet4": [ {
      "id": 1, "subnet": "192.168.1.0/24",
      "pools": [ { "pool": "192.168.1.100 - 192.168.1.200" } ],
      "option-data": [
        { "name": "routers", "data": "192.168.1.1" },
        { "name": "domain-name-servers", "data": "192.168.1.1" }
      ]
    } ],
    "loggers": [ { "name": "kea-dhcp4", "output_options": [ { "output": "stderr" } ], "severity": "INFO" } ]
  }
}
`

// dhcpScript stands in for the client's own: it changes nothing and says what it
// was told.
const dhcpScript = `#!/bin/sh
echo "$reason ${new_ip_address:-none} router=$new_routers dns=$new_domain_name_servers" >> "$1.events"
`

func dhcpChecks() []Check {
	return []Check{{"services", "DHCP", "a client on br0 gets a lease from a server on a packet socket", checkDHCP}}
}

// checkDHCP lets the rule count that drops a packet from 0.0.0.0: the server's
// packet socket has seen it before.
func checkDHCP(ctx context.Context, t *trial) error {
	return t.decidedBy(ctx, func() error { return t.lease(ctx) }, inSpecial4)
}

func (t *trial) lease(ctx context.Context) (err error) {
	server, err := t.startDHCPServer(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.Stop()) }()

	file := func(name string) string { return filepath.Join(t.dir, "dhclient."+name) }
	script := strings.Replace(dhcpScript, `"$1.events"`, "'"+file("events")+"'", 1)
	if err := os.WriteFile(file("script"), []byte(script), 0o755); err != nil {
		return err
	}
	for _, name := range []string{"events", "conf"} {
		if err := os.WriteFile(file(name), nil, 0o644); err != nil {
			return err
		}
	}
	client, err := t.start(Client2, "dhclient", processOptions{}, "dhclient", "-4", "-d", "-v", "-1",
		"-cf", file("conf"), "-lf", file("leases"), "-pf", file("pid"), "-sf", file("script"), ifHost)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, client.Stop()) }()

	return poll(ctx, checkLimit/2, func() error {
		events, err := os.ReadFile(file("events"))
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(events)) {
			f := strings.Fields(line)
			if len(f) != 4 || f[0] != "BOUND" {
				continue
			}
			addr, err := netip.ParseAddr(f[1])
			if err != nil {
				return err
			}
			if addr.Less(dhcpPool[0]) || dhcpPool[1].Less(addr) {
				return fmt.Errorf("lease of %s, want one from %s to %s", addr, dhcpPool[0], dhcpPool[1])
			}
			if want := AddrRouterLAN.V4.String(); f[2] != "router="+want || f[3] != "dns="+want {
				return fmt.Errorf("lease with %s %s, want %s for both", f[2], f[3], want)
			}
			t.note("%s from %s", addr, filepath.Base(server.cmd.Path))
			return nil
		}
		return fmt.Errorf("no lease; the client says:\n%s\nthe server says:\n%s", tail(client.log), tail(server.log))
	})
}

// startDHCPServer starts Kea on the router's bridge, or dnsmasq where there is no
// Kea. Both listen on packet sockets: the input chain drops what a client without
// an address sends, and the server must see it all the same.
func (t *trial) startDHCPServer(ctx context.Context) (*Process, error) {
	if kea, err := exec.LookPath("kea-dhcp4"); err == nil {
		config := filepath.Join(t.dir, "kea-dhcp4.json")
		if err := os.WriteFile(config, []byte(dhcpConfig), 0o644); err != nil {
			return nil, err
		}
		env := []string{"KEA_PIDFILE_DIR=" + t.dir, "KEA_LOCKFILE_DIR=" + t.dir}
		return t.startReady(ctx, "kea", "DHCP4_STARTED", env, kea, "-c", config)
	}
	dnsmasq, err := exec.LookPath("dnsmasq")
	if err != nil {
		return nil, errors.New("neither kea-dhcp4 nor dnsmasq is installed")
	}
	return t.startReady(ctx, "dnsmasq", "DHCP, IP range", nil, dnsmasq, "--keep-in-foreground", "--log-facility=-", "--log-dhcp",
		"--conf-file=/dev/null", "--port=0", "--interface="+IfLAN, "--bind-interfaces", "--leasefile-ro", "--user=root", "--pid-file",
		fmt.Sprintf("--dhcp-range=%s,%s,255.255.255.0,3600", dhcpPool[0], dhcpPool[1]),
		fmt.Sprintf("--dhcp-option=6,%s", AddrRouterLAN.V4))
}

func (t *trial) startReady(ctx context.Context, name, text string, env []string, argv ...string) (*Process, error) {
	p, err := t.start(Router, name, processOptions{env: env}, argv...)
	if err != nil {
		return nil, err
	}
	if err := t.ready(ctx, p, text); err != nil {
		return nil, errors.Join(err, p.Stop())
	}
	return p, nil
}
