// SPDX-License-Identifier: GPL-2.0-only

package kea

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
)

// ReadFile reads the leases of a file of the memfile backend, and of what Kea has of it aside while it
// cleans up: the cleaned one or the previous one, then the one that is being cleaned, then the one it appends to. No file
// at all is no leases: Kea makes it with the first one.
func ReadFile(path string) ([]Lease, error) {
	leases := map[netip.Prefix]Lease{}
	old := path + ".completed"
	if _, err := os.Stat(old); err != nil {
		old = path + ".2"
	}
	for _, p := range []string{old, path + ".1", path} {
		f, err := os.Open(p)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		err = parseFile(f, leases)
		f.Close()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", p, err)
		}
	}
	return sorted(slices.Collect(maps.Values(leases))), nil
}

// maxLine is more than a lease takes, with a context of its user, in bytes.
const maxLine = 1 << 20

// parseFile reads lines of comma-separated values below a line with the columns' names, which versions
// differ in. A later line for an address takes the place of an earlier one; one with no
// lifetime says that the lease was deleted. Lines that are none, as the last one may be that is being
// written, are passed over as Kea does.
func parseFile(r io.Reader, leases map[netip.Prefix]Lease) error {
	s := bufio.NewScanner(r)
	s.Buffer(nil, maxLine)
	if !s.Scan() {
		return s.Err() // nothing was written yet
	}
	columns := map[string]int{}
	for i, name := range strings.Split(s.Text(), ",") {
		columns[name] = i
	}
	for _, name := range []string{"address", "valid_lifetime", "expire", "state"} {
		if _, ok := columns[name]; !ok {
			return fmt.Errorf("no column %s: this is no file of leases", name)
		}
	}
	for s.Scan() {
		l, valid, ok := parseLine(strings.Split(s.Text(), ","), columns)
		switch {
		case !ok:
		case valid == 0:
			delete(leases, l.Prefix)
		default:
			leases[l.Prefix] = l
		}
	}
	return s.Err()
}

func parseLine(values []string, columns map[string]int) (l Lease, valid uint64, ok bool) {
	get := func(name string) string {
		if i, ok := columns[name]; ok && i < len(values) {
			return values[i]
		}
		return ""
	}
	a, err := netip.ParseAddr(get("address"))
	if err != nil || a.Zone() != "" {
		return l, 0, false
	}
	valid, err1 := strconv.ParseUint(get("valid_lifetime"), 10, 32)
	end, err2 := strconv.ParseInt(get("expire"), 10, 64)
	state, err3 := strconv.ParseUint(get("state"), 10, 32)
	if errors.Join(err1, err2, err3) != nil || end < 0 || end > maxTime {
		return l, 0, false
	}
	bits := a.BitLen()
	if get("lease_type") == prefixDelegation {
		n, err := strconv.ParseUint(get("prefix_len"), 10, 8)
		if err != nil || n > uint64(bits) {
			return l, 0, false
		}
		bits = int(n)
	}
	subnet, _ := strconv.ParseUint(get("subnet_id"), 10, 32)
	// Commas in names are escaped: those are no names.
	return Lease{
		Prefix: netip.PrefixFrom(a, bits), MAC: hexBytes(get("hwaddr")), DUID: hexBytes(get("duid")), ClientID: hexBytes(get("client_id")),
		Name: CleanName(get("hostname")), Expires: expiry(valid, end), State: stateOf(state), Subnet: uint32(subnet),
	}, valid, true
}

// prefixDelegation is the number of leases of prefixes.
const prefixDelegation = "2"
