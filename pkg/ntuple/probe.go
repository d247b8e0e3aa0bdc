// SPDX-License-Identifier: GPL-2.0-only

package ntuple

import (
	"errors"
	"fmt"

	"github.com/randomizedcoder/l2d/pkg/ethioctl"
)

// Probed is what a NIC says to a kind of rules.
type Probed struct {
	// Kind says what such rules match and do.
	Kind string `json:"kind"`
	// Taken says that it takes them; else Error has its words.
	Taken bool   `json:"taken"`
	Error string `json:"error,omitempty"`
	// Use says why l2d would not give it such a rule though it takes them; empty if it
	// would.
	Use string `json:"not_used,omitempty"`
}

// probes are rules of each kind. They are about ports and addresses that are for no
// traffic: discard, and those of documentation (RFC 863, 5737, 3849). Those that match a port
// alone change nothing but the queue of it.
var probes = []struct {
	kind  string
	rules []string
}{
	{"tcp4: a destination port", []string{"tcp4 dport 9 queue 0"}},
	{"tcp4: a source port", []string{"tcp4 sport 9 queue 0"}},
	{"tcp4: an address", []string{"tcp4 src 192.0.2.1 queue 0"}},
	{"tcp4: a prefix", []string{"tcp4 src 192.0.2.0/24 queue 0"}},
	{"tcp4: both addresses and ports", []string{"tcp4 src 192.0.2.1 dst 198.51.100.1 sport 9 dport 9 queue 0"}},
	{"udp4: a destination port", []string{"udp4 dport 9 queue 0"}},
	{"sctp4: a destination port", []string{"sctp4 dport 9 queue 0"}},
	{"ip4: an address", []string{"ip4 src 192.0.2.1 queue 0"}},
	{"ip4: a protocol", []string{"icmp src 192.0.2.1 queue 0"}},
	{"tcp6: a destination port", []string{"tcp6 dport 9 queue 0"}},
	{"udp6: a destination port", []string{"udp6 dport 9 queue 0"}},
	{"ip6: an address", []string{"ip6 src 2001:db8::1 queue 0"}},
	{"tcp4: a destination port in a VLAN", []string{"tcp4 src 192.0.2.1 dport 9 vlan 4094 queue 0"}},
	{"a VLAN", []string{"vlan 4094 queue 0"}},
	{"tcp4: drop", []string{"tcp4 src 192.0.2.1 dst 198.51.100.1 sport 9 dport 9 drop"}},
	{"two protocols at once", []string{"tcp4 src 192.0.2.1 dport 9 queue 0", "udp4 src 192.0.2.1 dport 9 queue 0"}},
	{"two masks at once", []string{"tcp4 src 192.0.2.1 queue 0", "tcp4 src 192.0.2.1 dport 9 queue 0"}},
}

// Probe asks a NIC for rules of each kind, one after the other, and removes what it
// has added. The error is errors.ErrUnsupported if it has no rules at all. Rules that are
// there already, which it returns too, can be in the way of others.
func Probe(d ethioctl.Device, link string, nic NIC) (out []Probed, there []ethioctl.Spec, err error) {
	table, err := ethioctl.Rules(d, link)
	if err != nil {
		return nil, nil, err
	}
	for _, p := range probes {
		r := Probed{Kind: p.kind}
		var rules []Rule
		for _, text := range p.rules {
			rule, err := Parse(text)
			if err != nil {
				return nil, nil, err
			}
			rules = append(rules, rule)
		}
		err := try(d, link, nic, table, rules)
		var stuck *stuckError
		switch {
		case errors.As(err, &stuck):
			return out, table.Rules, err
		case err != nil:
			r.Error = err.Error()
		default:
			r.Taken = true
			for _, placed := range Place(nic, rules) {
				if r.Use == "" {
					r.Use = placed.Why
				}
			}
		}
		out = append(out, r)
	}
	return out, table.Rules, nil
}

// stuckError is that of a rule that could not be removed.
type stuckError struct{ error }

// try adds rules and removes them.
func try(d ethioctl.Device, link string, nic NIC, table ethioctl.Table, rules []Rule) (err error) {
	used := map[uint32]bool{}
	for _, s := range table.Rules {
		used[s.Location()] = true
	}
	next := FirstLocation(nic.Driver)
	for i := range rules {
		s, err := rules[i].Spec()
		if err != nil {
			return err
		}
		for used[next] {
			next++
		}
		used[next] = true
		if s.SetLocation(next); table.AnyLocation {
			s.SetLocation(ethioctl.AnyLocation)
		}
		at, err := ethioctl.Insert(d, link, s)
		if err != nil {
			return err
		}
		defer func() {
			if e := ethioctl.Delete(d, link, at); e != nil {
				err = errors.Join(err, &stuckError{fmt.Errorf("a rule of the probe is left: %w", e)})
			}
		}()
	}
	return nil
}
