// SPDX-License-Identifier: GPL-2.0-only

package flow

import "time"

// Dependence says what of a remote end NAT tells apart: RFC 4787, 4.1 and 5.
type Dependence string

// From what lets most through, and is most predictable, to what lets the least.
const (
	EndpointIndependent Dependence = "endpoint-independent"
	AddressDependent    Dependence = "address-dependent"
	EndpointDependent   Dependence = "endpoint-dependent"
)

// NATSettings say how sources are translated, as far as the ruleset leaves it open.
type NATSettings struct {
	// Mapping is what a client's socket has the same external port towards.
	Mapping Dependence `json:"mapping"`
	// Filtering is who may send to that port. It is no wider than Mapping.
	Filtering Dependence `json:"filtering"`
	// PortRange has the first and the last of the ports that clients get where
	// the ruleset gives none; zeros: one of the same class as their own.
	PortRange [2]uint16 `json:"port_range"`
	// ReservedPorts are given to no client.
	ReservedPorts []uint16 `json:"reserved_ports"`
	// PortRest is how long no other client gets a port that no flow uses any
	// more; 0: until that is noticed.
	PortRest time.Duration `json:"port_rest"`
}

// DefaultNAT returns the settings of a new configuration.
func DefaultNAT() NATSettings {
	return NATSettings{Mapping: EndpointIndependent, Filtering: EndpointDependent}
}
