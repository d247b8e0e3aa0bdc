// SPDX-License-Identifier: GPL-2.0-only

package api

import (
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"github.com/randomizedcoder/l2d/pkg/flow"
)

// Flow is a flow as the dataplane tracks it.
type Flow = flow.Flow

// FlowFilter selects flows. A zero field selects all.
type FlowFilter struct {
	// Addr is a prefix in which one of the flow's addresses lies, before or
	// after translation.
	Addr netip.Prefix
	// Port is one of the flow's ports, before or after translation.
	Port uint16
	// Proto is a protocol's name or number.
	Proto string
	// State is a state's name as the flow list shows it.
	State string
}

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

func parseFilter(q url.Values) (FlowFilter, error) {
	var f FlowFilter
	var err error
	if s := q.Get("addr"); s != "" {
		if f.Addr, err = ParsePrefix(s); err != nil {
			return f, err
		}
	}
	if s := q.Get("port"); s != "" {
		n, err := strconv.ParseUint(s, 10, 16)
		if err != nil || n == 0 {
			return f, fmt.Errorf("port %q: want a number from 1 to 65535", s)
		}
		f.Port = uint16(n)
	}
	f.Proto = strings.ToLower(q.Get("proto"))
	f.State = strings.ToLower(q.Get("state"))
	return f, nil
}

func (f FlowFilter) query() url.Values {
	q := url.Values{}
	if f.Addr.IsValid() {
		q.Set("addr", f.Addr.String())
	}
	if f.Port != 0 {
		q.Set("port", strconv.Itoa(int(f.Port)))
	}
	if f.Proto != "" {
		q.Set("proto", f.Proto)
	}
	if f.State != "" {
		q.Set("state", f.State)
	}
	return q
}
