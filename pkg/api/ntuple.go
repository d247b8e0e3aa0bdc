// SPDX-License-Identifier: GPL-2.0-only

package api

import (
	"context"
	"net/http"
)

// NTuple is a rule of ntuple of an interface.
type NTuple struct {
	Interface string `json:"interface"`
	// Rule is its text; of a rule for both families there are two.
	Rule  string      `json:"rule"`
	Place NTuplePlace `json:"place"`
	// Location is that in the NIC's table; nil if it is not there.
	Location *uint32 `json:"location,omitempty"`
	// Hits are the frames that it was the first rule to match; nil if that is not
	// counted, as in a NIC.
	Hits *uint64 `json:"hits,omitempty"`
	// NICHits are what the NIC says of the packets that all its rules together have
	// matched, by the driver's names, and Driver is that, of a rule in a NIC. Many tell nothing.
	NICHits map[string]uint64 `json:"nic_hits,omitempty"`
	Driver  string            `json:"driver,omitempty"`
	// Why it is not in the NIC.
	Why string `json:"why,omitempty"`
}

// NTuplePlace is where a rule is.
type NTuplePlace string

// Places.
const (
	PlaceNIC NTuplePlace = "NIC"
	PlaceXDP NTuplePlace = "XDP"
	// PlaceMissing: it shall be in the NIC, and is not.
	PlaceMissing NTuplePlace = "missing"
)

// NTuples returns the rules of ntuple that are in force.
func (c *Client) NTuples(ctx context.Context) ([]NTuple, error) {
	var list []NTuple
	return list, c.call(ctx, http.MethodGet, "/v1/ntuple", nil, &list)
}
