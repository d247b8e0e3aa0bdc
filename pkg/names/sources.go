// SPDX-License-Identifier: GPL-2.0-only

package names

import (
	"bufio"
	"context"
	"io"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/randomizedcoder/l2d/pkg/kea"
)

// Leases are the names of hosts that have an address now.
func Leases(list []kea.Lease) map[netip.Addr]string {
	out := map[netip.Addr]string{}
	for i := range list {
		if l := &list[i]; l.Name != "" && l.Prefix.IsSingleIP() && l.Active(time.Now()) {
			out[l.Address()] = l.Name
		}
	}
	return out
}

// LeaseMACs are the names of hosts that have an address now, by the MAC addresses that they asked with.
func LeaseMACs(list []kea.Lease) map[string]string {
	out := map[string]string{}
	for i := range list {
		if l := &list[i]; l.Name != "" && l.MAC != "" && l.Active(time.Now()) {
			out[l.MAC] = l.Name
		}
	}
	return out
}

// KeaFile is a source of the leases that Kea has written to a file.
func KeaFile(path string) Source {
	return func(context.Context) map[netip.Addr]string {
		list, _ := kea.ReadFile(path) // what cannot be read has no names
		return Leases(list)
	}
}

// Dnsmasq is a source of the leases that dnsmasq has written to a file.
func Dnsmasq(path string) Source {
	return func(context.Context) map[netip.Addr]string {
		f, err := os.Open(path)
		if err != nil {
			return nil
		}
		defer f.Close()
		return parseDnsmasq(f)
	}
}

// parseDnsmasq reads lines of expiry, MAC address, address, name and the client's identifier. Others
// are passed over.
func parseDnsmasq(r io.Reader) map[netip.Addr]string {
	out := map[netip.Addr]string{}
	for lines := bufio.NewScanner(r); lines.Scan(); {
		f := strings.Fields(lines.Text())
		if len(f) < 4 {
			continue
		}
		a, err := netip.ParseAddr(f[2])
		if name := kea.CleanName(f[3]); err == nil && name != "" {
			out[a] = name
		}
	}
	return out
}
