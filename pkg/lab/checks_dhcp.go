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

// dhcpName is what the client calls itself.
const dhcpName = "tablet"

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
echo "$reason ${new_ip_address:-none} router=$new_routers dns=$new_domain_name_servers" >> '%s'
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
	_, err = t.leaseOf(ctx, filepath.Base(server.cmd.Path), func() string { return tail(server.log) })
	return err
}

// leaseOf has a client ask a server that runs, and returns its address. log is what the server has
// said.
func (t *trial) leaseOf(ctx context.Context, server string, log func() string) (addr netip.Addr, err error) {
	dhclient, err := t.tool("dhclient")
	if err != nil {
		return addr, err
	}
	file := func(name string) string { return filepath.Join(t.dir, "dhclient."+name) }
	script := filepath.Join(toolDir(t.id), "dhclient-script")
	if err := os.WriteFile(script, fmt.Appendf(nil, dhcpScript, file("events")), 0o755); err != nil {
		return addr, err
	}
	for name, text := range map[string]string{"events": "", "conf": fmt.Sprintf("send host-name %q;\n", dhcpName)} {
		if err := os.WriteFile(file(name), []byte(text), 0o644); err != nil {
			return addr, err
		}
	}
	client, err := t.start(Client2, "dhclient", processOptions{}, dhclient, "-4", "-d", "-v", "-1",
		"-cf", file("conf"), "-lf", file("leases"), "-pf", file("pid"), "-sf", script, ifHost)
	if err != nil {
		return addr, err
	}
	defer func() { err = errors.Join(err, client.Stop()) }()

	err = poll(ctx, checkLimit/2, func() error {
		events, err := os.ReadFile(file("events"))
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(events)) {
			f := strings.Fields(line)
			if len(f) != 4 || f[0] != "BOUND" {
				continue
			}
			if addr, err = netip.ParseAddr(f[1]); err != nil {
				return err
			}
			if addr.Less(dhcpPool[0]) || dhcpPool[1].Less(addr) {
				return fmt.Errorf("lease of %s, want one from %s to %s", addr, dhcpPool[0], dhcpPool[1])
			}
			if want := AddrRouterLAN.V4.String(); f[2] != "router="+want || f[3] != "dns="+want {
				return fmt.Errorf("lease with %s %s, want %s for both", f[2], f[3], want)
			}
			t.note("%s from %s", addr, server)
			return nil
		}
		return fmt.Errorf("no lease; the client says:\n%s\nthe server says:\n%s", tail(client.log), log())
	})
	return addr, err
}

// startDHCPServer starts Kea on the router's bridge. It listens on a packet
// socket: the input chain drops what a client without an address sends, and the
// server must see it all the same. (dnsmasq, on a UDP socket, does not.)
func (t *trial) startDHCPServer(ctx context.Context) (*Process, error) {
	kea, err := t.tool("kea-dhcp4")
	if err != nil {
		return nil, err
	}
	config := filepath.Join(t.dir, "kea-dhcp4.json")
	if err := os.WriteFile(config, []byte(dhcpConfig), 0o644); err != nil {
		return nil, err
	}
	env := []string{"KEA_PIDFILE_DIR=" + t.dir, "KEA_LOCKFILE_DIR=" + t.dir}
	p, err := t.start(Router, "kea", processOptions{env: env}, kea, "-c", config)
	if err != nil {
		return nil, err
	}
	if err := t.ready(ctx, p, "DHCP4_STARTED"); err != nil {
		return nil, errors.Join(err, p.Stop())
	}
	return p, nil
}

// tool copies an installed program into the lab and returns the path of the copy.
// Distributions confine the DHCP programs by their path to the files of the host's
// own services; those of a lab are elsewhere.
func (l *Lab) tool(name string) (string, error) {
	installed, err := exec.LookPath(name)
	if err != nil {
		return "", err
	}
	program, err := os.ReadFile(installed)
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(toolDir(l.id), 0o755); err != nil {
		return "", err
	}
	path := filepath.Join(toolDir(l.id), name)
	return path, os.WriteFile(path, program, 0o755)
}
