// SPDX-License-Identifier: GPL-2.0-only

package api

import (
	"fmt"
	"net/netip"
	"net/url"
	"strconv"

	"github.com/randomizedcoder/l2d/pkg/flow"
)

// ParsePrefix reads an address or a prefix.
func ParsePrefix(s string) (netip.Prefix, error) {
	if p, err := netip.ParsePrefix(s); err == nil {
		return p.Masked(), nil
	}
	a, err := netip.ParseAddr(s)
	if err != nil || a.Zone() != "" {
		return netip.Prefix{}, fmt.Errorf("address %q: want an address or a prefix, such as 192.168.1.7, 10.0.0.0/8 or fd00::/64", s)
	}
	return netip.PrefixFrom(a, a.BitLen()), nil
}

// parseFilter reads a filter from a query. A key that is not known would select
// too much, and is refused.
func parseFilter(q url.Values) (flow.Filter, error) {
	var f flow.Filter
	for key := range q {
		var err error
		switch s := q.Get(key); key {
		case "addr":
			f.Prefix, err = ParsePrefix(s)
		case "port":
			var n uint64
			if n, err = strconv.ParseUint(s, 10, 16); err != nil || n == 0 {
				err = fmt.Errorf("port %q: want a number from 1 to 65535", s)
			}
			f.Port = uint16(n)
		case "proto":
			f.Protocol = s
		case "state":
			f.State = s
		case "mark":
			var n uint64
			if n, err = strconv.ParseUint(s, 0, 32); err != nil {
				err = fmt.Errorf("mark %q: want a number of 32 bits", s)
			}
			mark := uint32(n)
			f.Mark = &mark
		case "zone":
			var n uint64
			if n, err = strconv.ParseUint(s, 0, 16); err != nil {
				err = fmt.Errorf("zone %q: want a number of 16 bits", s)
			}
			zone := uint16(n)
			f.Zone = &zone
		default:
			err = fmt.Errorf("%q: want addr, port, proto, state, mark or zone", key)
		}
		if err != nil {
			return flow.Filter{}, BadInput(err)
		}
	}
	return f, nil
}

// query is the reverse of parseFilter.
func query(f flow.Filter) url.Values {
	q := url.Values{}
	if f.Prefix.IsValid() {
		q.Set("addr", f.Prefix.String())
	}
	if f.Port != 0 {
		q.Set("port", strconv.Itoa(int(f.Port)))
	}
	if f.Protocol != "" {
		q.Set("proto", f.Protocol)
	}
	if f.State != "" {
		q.Set("state", f.State)
	}
	if f.Mark != nil {
		q.Set("mark", strconv.FormatUint(uint64(*f.Mark), 10))
	}
	if f.Zone != nil {
		q.Set("zone", strconv.Itoa(int(*f.Zone)))
	}
	return q
}
