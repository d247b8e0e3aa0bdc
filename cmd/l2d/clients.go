// SPDX-License-Identifier: GPL-2.0-only

package main

import (
	"context"
	"fmt"
	"io/fs"
	"net/netip"
	"strings"

	"github.com/randomizedcoder/l2d/pkg/config"
	"github.com/randomizedcoder/l2d/pkg/hostapd"
	"github.com/randomizedcoder/l2d/pkg/kea"
	"github.com/randomizedcoder/l2d/pkg/llama"
	"github.com/randomizedcoder/l2d/pkg/names"
	"github.com/randomizedcoder/l2d/pkg/recursor"
	"github.com/randomizedcoder/l2d/pkg/service"
)

// newNames is what hosts are called: by their leases, and by reservations before all. Stations and other
// neighbours have the name with all their addresses.
func (d *daemon) newNames() *names.Book {
	book := names.New(
		// Those of servers that l2d has nothing to do with.
		names.Dnsmasq("/var/lib/misc/dnsmasq.leases"), names.KeaFile("/var/lib/kea/dhcp4.leases"), names.KeaFile("/var/lib/kea/kea-leases4.csv"), names.KeaFile("/var/lib/kea/kea-leases6.csv"),
		d.leaseNames, d.reservedNames,
	)
	book.Follow(d.macNames, hostapd.Neighbours)
	return book
}

// config is what is declared of the host and its services: a change of these alone leaves the
// dataplane's plan as it is.
func (d *daemon) config() *config.Config {
	d.host.mu.Lock()
	c := d.host.config
	d.host.mu.Unlock()
	if c == nil {
		p, _ := d.state()
		c = p.Config
	}
	return c
}

// keas are the DHCP servers that are declared.
func keas(c *config.Config) (list []*config.Kea) {
	for _, k := range []*config.Kea{c.Services.KeaDHCP4, c.Services.KeaDHCP6} {
		if k != nil {
			list = append(list, k)
		}
	}
	return list
}

// Leases implements api.Service.
func (d *daemon) Leases(ctx context.Context) ([]kea.Lease, error) {
	c := d.config()
	servers := keas(c)
	if len(servers) == 0 {
		return nil, fmt.Errorf("services.kea_dhcp4 and kea_dhcp6 are not declared: %w", fs.ErrNotExist)
	}
	var all []kea.Lease
	for _, k := range servers {
		list, err := kea.Leases(ctx, k.Family, kea.New(k.Family).Socket(k, service.DirsOf(c)), k.LeaseFile)
		if err != nil {
			return nil, err
		}
		all = append(all, list...)
	}
	return all, nil
}

// leaseNames are those of hosts that have a lease now.
func (d *daemon) leaseNames(ctx context.Context) map[netip.Addr]string {
	list, _ := d.Leases(ctx) // what cannot be read has no names; l2ctl leases says why
	return names.Leases(list)
}

func (d *daemon) reservedNames(context.Context) map[netip.Addr]string {
	out := map[netip.Addr]string{}
	for _, k := range keas(d.config()) {
		for i := range k.Reservations {
			out[k.Reservations[i].Address] = k.Reservations[i].Name
		}
	}
	return out
}

// macNames are the names of hosts by their MAC addresses, from leases and reservations.
func (d *daemon) macNames(ctx context.Context) map[string]string {
	list, _ := d.Leases(ctx) // as above
	out := names.LeaseMACs(list)
	for _, k := range keas(d.config()) {
		for i := range k.Reservations {
			out[k.Reservations[i].MAC] = k.Reservations[i].Name
		}
	}
	return out
}

// Names implements api.Service.
func (d *daemon) Names(context.Context) (map[netip.Addr]string, error) { return d.names.All(), nil }

// KeaStatistics implements metrics.Clients.
func (d *daemon) KeaStatistics(ctx context.Context) map[int]map[string]float64 {
	c := d.config()
	out := map[int]map[string]float64{}
	for _, k := range keas(c) {
		socket := kea.New(k.Family).Socket(k, service.DirsOf(c))
		if stats, err := (&kea.Control{Path: socket}).Statistics(ctx); socket != "" && err == nil {
			out[k.Family] = stats // whether it is well is another metric
		}
	}
	return out
}

// recursor is the client of the recursor that is declared.
func (d *daemon) recursor() (recursor.Client, error) {
	if d.config().Services.Recursor == nil {
		return nil, fmt.Errorf("services.recursor is not declared: %w", fs.ErrNotExist)
	}
	list := d.services.UnitsOf(recursor.New().Name())
	if len(list) == 0 {
		return nil, fmt.Errorf("services.recursor does not run: %w", fs.ErrNotExist)
	}
	c, err := recursor.ClientOf(list[0])
	if err != nil {
		return nil, fmt.Errorf("services.recursor %w", err)
	}
	return c, nil
}

// DNSTop implements api.Service.
func (d *daemon) DNSTop(ctx context.Context, what string) ([]recursor.Share, error) {
	r, err := d.recursor()
	if err != nil {
		return nil, err
	}
	return r.Top(ctx, what)
}

// DNSFlush implements api.Service.
func (d *daemon) DNSFlush(ctx context.Context, name string) (string, error) {
	r, err := d.recursor()
	if err != nil {
		return "", err
	}
	return r.Flush(ctx, name)
}

// RecursorStatistics implements metrics.Clients.
func (d *daemon) RecursorStatistics(ctx context.Context) map[string]uint64 {
	r, err := d.recursor()
	if err != nil {
		return nil
	}
	stats, _ := r.Statistics(ctx) // whether it is well is another metric
	return stats
}

// LlamaStatistics implements metrics.Clients.
func (d *daemon) LlamaStatistics(ctx context.Context) map[string]llama.Statistics {
	out := map[string]llama.Statistics{}
	for _, u := range d.services.UnitsOf(llama.Name) {
		if stats, err := llama.StatisticsOf(ctx, u); err == nil { // whether it is well is another metric
			out[strings.TrimPrefix(u.Name, llama.UnitName(""))] = stats
		}
	}
	return out
}
