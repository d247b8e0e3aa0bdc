// SPDX-License-Identifier: GPL-2.0-only

package lab

import (
	"context"
	"fmt"
	"net/netip"
	"path/filepath"
	"regexp"
	"strconv"
	"time"
)

// ServiceFigures are how long l2d's services take, and how much they do.
type ServiceFigures struct {
	// Applied is how long "l2ctl apply" takes that starts the services: it returns when they are well.
	Applied time.Duration `json:"applied_ns"`
	// Download is the time from its beginning to the end of the first download of a host that waits for advertisements.
	Download time.Duration `json:"download_ns"`
	// Leases are exchanges of DHCPv4 that were completed in a second: discover, offer, request, acknowledgement.
	Leases float64 `json:"leases_per_second"`
}

// MeasureServices measures them in a lab with a dataplane that has no services. The DHCP server is asked at the given
// rate, in leases a second, for some seconds.
func MeasureServices(ctx context.Context, l *Lab, d *L2D, rate, seconds int) (f ServiceFigures, err error) {
	t := &trial{Lab: l, dp: d, result: &Result{}}
	kea, err := t.tool("kea-dhcp4")
	if err != nil {
		return f, err
	}
	perfdhcp, err := t.tool("perfdhcp")
	if err != nil {
		return f, err
	}
	leases := filepath.Join(toolDir(t.id), "kea", "leases4.csv")
	config := fmt.Sprintf(keaConfig+recursorConfig+radvdConfig, kea, leases, dhcpPool[0], dhcpPool[1], AddrServer.V4)
	return f, t.withGuest(func(heard *options) error {
		begin := time.Now()
		return t.withServices(ctx, config, func(*L2D) error {
			f.Applied = time.Since(begin)
			if err := t.settles(ctx, heard); err != nil {
				return err
			}
			if err := t.download(ctx, Guest, AddrServer.V6, guestDownload, ""); err != nil {
				return err
			}
			f.Download = time.Since(begin)
			f.Leases, err = t.exchanges(ctx, perfdhcp, rate, seconds)
			return err
		})
	})
}

var exchangeRate = regexp.MustCompile(`Rate: ([0-9.]+) 4-way exchanges/second`)

// exchanges has perfdhcp be as many clients as the pool has room for.
func (t *trial) exchanges(ctx context.Context, perfdhcp string, rate, seconds int) (float64, error) {
	addr := netip.PrefixFrom(dhcpPool[1].Next(), 24)
	if _, err := t.run(ctx, Guest, "", "ip", "addr", "replace", addr.String(), "dev", ifHost); err != nil {
		return 0, err
	}
	const clients = "100"
	// It ends with 3 when not all of them got a lease.
	out, err := t.run(ctx, Guest, "", perfdhcp, "-4", "-l", ifHost, "-r", strconv.Itoa(rate), "-R", clients, "-p", strconv.Itoa(seconds))
	m := exchangeRate.FindStringSubmatch(out)
	if m == nil {
		return 0, fmt.Errorf("perfdhcp says no rate: %w: %s", err, out)
	}
	return strconv.ParseFloat(m[1], 64)
}
