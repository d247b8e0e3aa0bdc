// SPDX-License-Identifier: GPL-2.0-only

package kea

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"time"

	"github.com/randomizedcoder/l2d/pkg/config"
)

// object is one of JSON's, whose keys come out in alphabetical order.
type object map[string]any

// Patience with an interface that is not there yet, or has no address: it is tried again
// every second for as long as it takes, so that the order in which a router starts does not matter.
const (
	socketRetries = 1 << 31
	socketWait    = 1000 // ms
)

const dataKey = "data-directory"

// render is the configuration of a server, as all versions from 2.2 on take it: later ones know
// control-socket and leases of memfile by the same names.
func render(k *config.Kea, lan *config.LAN, list []delegated, socket string) []byte {
	lease := object{"type": "memfile", "persist": true, "name": k.LeaseFile}
	server := object{
		"interfaces-config": object{
			"interfaces":                      []string{lan.Interface},
			"service-sockets-max-retries":     socketRetries,
			"service-sockets-retry-wait-time": socketWait,
		},
		"control-socket": object{"socket-type": "unix", "socket-name": socket},
		"lease-database": lease,
		"valid-lifetime": seconds(k.Lifetime),
		"renew-timer":    seconds(k.Renew),
		"rebind-timer":   seconds(k.Rebind),
		"option-data":    options(k, lan),
		// l2d's own questions, one every few seconds, are not worth a line each.
		"loggers": []object{{"name": fmt.Sprintf("kea-dhcp%d.commands", k.Family), "severity": "WARN"}},
	}
	if k.LeaseHook != "" {
		server["hooks-libraries"] = []object{{"library": k.LeaseHook}}
	}
	if k.Family == 4 {
		// The only server of the LAN: it tells clients that come with an address of another network
		// to give that up.
		server["authoritative"] = true
		server["interfaces-config"].(object)["dhcp-socket-type"] = socketType(k)
	} else {
		server["preferred-lifetime"] = seconds(k.Preferred)
		// The server's own identifier is there. Versions from 2.6.3 on know that from their environment, and say
		// that they pass this over.
		server[dataKey] = filepath.Dir(k.LeaseFile)
	}
	family := fmt.Sprint(k.Family)
	switch list := append(subnets(k, lan), delegatedSubnets(k, lan, list)...); len(list) {
	case 0: // nothing is delegated yet
	case 1:
		server["subnet"+family] = list
	default:
		// One link has all of them.
		server["shared-networks"] = []object{{"name": lan.Interface, "interface": lan.Interface, "subnet" + family: list}}
	}
	return encode(object{"Dhcp" + family: server})
}

func encode(o object) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(o); err != nil {
		panic(err) // no type of it can fail
	}
	return b.Bytes()
}

func seconds(d time.Duration) int64 { return int64(d / time.Second) }

func socketType(k *config.Kea) string {
	if k.UDP {
		return "udp"
	}
	return "raw"
}

// options are what clients of all subnets are told.
func options(k *config.Kea, lan *config.LAN) []object {
	list := []object{}
	add := func(name, data string) {
		if data != "" {
			list = append(list, object{"name": name, "data": data})
		}
	}
	servers := join(lan.Servers(k.Family))
	if k.Family == 4 {
		add("domain-name-servers", servers)
		add("domain-name", lan.Domain)
	} else {
		add("dns-servers", servers)
	}
	add("domain-search", lan.Domain)
	return list
}

func join(list []netip.Addr) string {
	texts := make([]string, len(list))
	for i, a := range list {
		texts[i] = a.String()
	}
	return strings.Join(texts, ", ")
}

// subnets are the LAN's networks of the family.
func subnets(k *config.Kea, lan *config.LAN) (out []object) {
	for i, network := range lan.Prefixes(k.Family) {
		s := object{"id": i + 1, "subnet": network.String(), "interface": lan.Interface}
		pools := []object{}
		for _, r := range k.Pools {
			if network.Contains(r.First) {
				pools = append(pools, object{"pool": r.String()})
			}
		}
		s["pools"] = pools
		if list := reservations(k, network); len(list) > 0 {
			s["reservations"] = list
		}
		if k.Family == 4 {
			s["option-data"] = []object{{"name": "routers", "data": router(lan, network).String()}}
		} else if i == 0 && len(k.Delegate) > 0 {
			s["pd-pools"] = staticPools(k)
		}
		out = append(out, s)
	}
	return out
}

// router is the router's address in a network.
func router(lan *config.LAN, network netip.Prefix) netip.Addr {
	for _, a := range lan.Addresses {
		if a.Masked() == network {
			return a.Addr()
		}
	}
	return netip.Addr{}
}

func reservations(k *config.Kea, network netip.Prefix) (out []object) {
	for i := range k.Reservations {
		r := &k.Reservations[i]
		if !network.Contains(r.Address) {
			continue
		}
		o := object{"hw-address": r.MAC, "hostname": r.Name}
		if k.Family == 4 {
			o["ip-address"] = r.Address.String()
		} else {
			o["ip-addresses"] = []string{r.Address.String()}
		}
		out = append(out, o)
	}
	return out
}

// staticPools are the prefixes that the configuration says.
func staticPools(k *config.Kea) (out []object) {
	for _, d := range k.Delegate {
		out = append(out, prefixPool(d.Prefix, d.Length))
	}
	return out
}

// prefixPool is a prefix of which clients get parts of a length.
func prefixPool(p netip.Prefix, length int) object {
	return object{"prefix": p.Addr().String(), "prefix-len": p.Bits(), "delegated-len": length}
}
