// SPDX-License-Identifier: GPL-2.0-only

package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
)

// servicesConfig declares the services. Those of the lab's Internet sign nothing.
const servicesConfig = `
network: { lan: { interface: br0, addresses: ["%s/24", "%s/64"] } }
services:
  kea_dhcp4: { mode: child, binary: %q, lease_file: %q, pools: [%s-%s] }
  recursor: { mode: child, dnssec: process, forward_recursive: { .: [%s] } }
`

// checkServices has l2d run Kea and the recursor for a client of the LAN, and end them.
func checkServices(ctx context.Context, t *trial) (err error) {
	d, err := l2dOf(t)
	if err != nil {
		return err
	}
	kea, err := t.tool("kea-dhcp4")
	if err != nil {
		return err
	}
	before, err := os.ReadFile(d.Config())
	if err != nil {
		return err
	}
	leases := filepath.Join(toolDir(t.id), "kea", "leases4.csv")
	text := fmt.Appendf(before, servicesConfig, AddrRouterLAN.V4, AddrRouterLAN.V6, kea, leases, dhcpPool[0], dhcpPool[1], AddrServer.V4)
	if err := d.apply(ctx, text); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.apply(ctx, before)) }()

	addr, err := t.leaseOf(ctx, "l2d's Kea", func() string {
		log, err := d.l2ctl(ctx, "services", "logs", "kea-dhcp4")
		return errors.Join(errors.New(log), err).Error()
	})
	if err != nil {
		return err
	}
	if err := d.knowsLease(ctx, addr); err != nil {
		return err
	}
	return wrap(t.dnsUDP(ctx, Client1, AddrRouterLAN.V4), "the recursor")
}

// apply puts a configuration in force, with its services.
func (d *L2D) apply(ctx context.Context, config []byte) error {
	if err := os.WriteFile(d.Config(), config, 0o644); err != nil {
		return err
	}
	_, err := d.l2ctl(ctx, "apply")
	return err
}

// knowsLease asks "l2ctl leases --json".
func (d *L2D) knowsLease(ctx context.Context, addr netip.Addr) error {
	out, err := d.l2ctl(ctx, "leases", "--json")
	if err != nil {
		return err
	}
	var list []struct {
		Prefix netip.Prefix `json:"prefix"`
	}
	if err := json.Unmarshal([]byte(out), &list); err != nil {
		return fmt.Errorf("l2ctl leases --json: %w", err)
	}
	if len(list) != 1 || list[0].Prefix.Addr() != addr {
		return fmt.Errorf("l2ctl leases has %s, and the client %s", out, addr)
	}
	return nil
}
