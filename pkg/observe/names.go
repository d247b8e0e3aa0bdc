// SPDX-License-Identifier: GPL-2.0-only

package observe

import (
	"bufio"
	"io"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"
)

// LeaseFiles are where DHCP servers keep who has which address: Kea's memfile and
// dnsmasq's.
var LeaseFiles = []string{
	"/var/lib/kea/kea-leases4.csv", "/var/lib/kea/dhcp4.leases", "/var/lib/kea/kea-leases6.csv",
	"/var/lib/misc/dnsmasq.leases",
}

// namesEvery is how often lease files are looked at.
const namesEvery = 30 * time.Second

// Names are those that hosts gave when they asked for an address.
type Names struct {
	Files []string

	mu    sync.Mutex
	at    time.Time
	names map[netip.Addr]string
}

// Of is the name of a host; empty if it has none.
func (n *Names) Of(a netip.Addr) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	if now := time.Now(); now.Sub(n.at) > namesEvery {
		n.at, n.names = now, map[netip.Addr]string{}
		for _, file := range n.Files {
			n.read(file)
		}
	}
	return n.names[a]
}

// read takes the names of a file, if it is there.
func (n *Names) read(file string) {
	f, err := os.Open(file)
	if err != nil {
		return
	}
	defer f.Close()
	parseLeases(f, func(a netip.Addr, name string) { n.names[a] = name })
}

// parseLeases reads what Kea or dnsmasq have written. The latest lease of an address
// is the last one. Lines that are something else are passed over.
func parseLeases(r io.Reader, found func(netip.Addr, string)) {
	lines := bufio.NewScanner(r)
	column := -1 // of the name, in Kea's
	for lines.Scan() {
		fields := strings.Split(lines.Text(), ",")
		if fields[0] == "address" {
			for i, name := range fields {
				if name == "hostname" {
					column = i
				}
			}
			continue
		}
		address, name := fields[0], ""
		switch {
		case column >= 0 && column < len(fields):
			name = fields[column]
		case column < 0:
			// Expiry, MAC address, address, name, client's identifier.
			f := strings.Fields(lines.Text())
			if len(f) < 4 {
				continue
			}
			address, name = f[2], f[3]
		}
		a, err := netip.ParseAddr(address)
		if name = clean(name); err == nil && name != "" && name != "*" {
			found(a, name)
		}
	}
}

// clean is a name without what a client could put in it to do harm on a terminal or
// a page: what is no letter, digit, dot, dash or underscore.
func clean(name string) string {
	name = strings.TrimSuffix(name, ".")
	name = strings.Map(func(r rune) rune {
		if r < 0x80 && (r == '.' || r == '-' || r == '_' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z') {
			return r
		}
		return -1
	}, name)
	return name[:min(len(name), 63)]
}
