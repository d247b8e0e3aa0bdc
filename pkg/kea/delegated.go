// SPDX-License-Identifier: GPL-2.0-only

package kea

import (
	"hash/fnv"
	"net/netip"

	"github.com/randomizedcoder/l2d/pkg/config"
	"github.com/randomizedcoder/l2d/pkg/prefixes"
)

// delegated is a network that the LAN has of what the provider delegates.
type delegated struct {
	network netip.Prefix
	// pools are the prefixes of which clients get parts. Of several networks of one delegation, the first has them.
	pools []netip.Prefix
}

// delegations are those that there are now.
func delegations(k *config.Kea, lan *config.LAN) ([]delegated, error) {
	if k.Delegated == nil {
		return nil, nil
	}
	networks, err := prefixes.Delegated(lan)
	if err != nil {
		return nil, err
	}
	out := make([]delegated, len(networks))
	seen := map[netip.Prefix]bool{}
	for i, n := range networks {
		out[i].network = n
		if k.Delegated.Length == 0 {
			continue
		}
		provided, ok, err := prefixes.Provided(n)
		if err != nil {
			return nil, err
		}
		if !ok || seen[provided] || provided.Bits() > k.Delegated.Length {
			continue
		}
		seen[provided] = true
		used, err := prefixes.Used(provided)
		if err != nil {
			return nil, err
		}
		out[i].pools = prefixes.Rest(provided, used, k.Delegated.Length)
	}
	return out, nil
}

// delegatedSubnets are these networks as Kea has them.
func delegatedSubnets(k *config.Kea, lan *config.LAN, list []delegated) (out []object) {
	for _, d := range list {
		s := object{"id": subnetID(d.network), "subnet": d.network.String(), "interface": lan.Interface, "pools": []object{}}
		if r := k.Delegated.Pool; r != nil {
			s["pools"] = []object{{"pool": config.Range{First: inside(d.network, r.First), Last: inside(d.network, r.Last)}.String()}}
		}
		var pools []object
		for _, p := range d.pools {
			pools = append(pools, prefixPool(p, k.Delegated.Length))
		}
		if pools != nil {
			s["pd-pools"] = pools
		}
		out = append(out, s)
	}
	return out
}

// inside is the address of a network with the last half of another one.
func inside(network netip.Prefix, id netip.Addr) netip.Addr {
	a, b := network.Addr().As16(), id.As16()
	copy(a[8:], b[8:])
	return netip.AddrFrom16(a)
}

// firstDelegated is the first number of delegated subnets: those that are declared have lower ones.
const firstDelegated = 1 << 30

// subnetID is the number of a subnet in Kea's leases: the same one whenever the network comes back.
func subnetID(network netip.Prefix) uint32 {
	h := fnv.New32a()
	b := network.Addr().As16()
	h.Write(b[:8])
	return firstDelegated | h.Sum32()&(firstDelegated-1)
}
