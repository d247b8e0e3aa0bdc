// SPDX-License-Identifier: GPL-2.0-only

package config

import (
	"slices"

	"github.com/goccy/go-yaml/ast"
)

// AccessCategories are those of WMM, the most urgent first: the order of mac80211.
var AccessCategories = []string{"vo", "vi", "be", "bk"}

// Airtime that can count in the turns of stations.
const (
	AirtimeTX = "tx"
	AirtimeRX = "rx"
)

// AQM is how mac80211 queues what a radio sends; nil and 0 leave something alone.
type AQM struct {
	// Limits of airtime in the device by access category.
	Limits map[string]AQL `json:"limits,omitempty"`
	// Threshold is the airtime in µs of all stations together, from which on the low limits hold.
	Threshold uint32 `json:"threshold,omitempty"`
	// Airtime that counts in the turns of stations: AirtimeTX and AirtimeRX, in that order.
	Airtime []string `json:"airtime,omitempty"`
	// Limit in packets, MemoryLimit and Quantum in bytes, are those of fq_codel.
	Limit       uint32 `json:"limit,omitempty"`
	MemoryLimit uint32 `json:"memory_limit,omitempty"`
	Quantum     uint32 `json:"quantum,omitempty"`

	at position
}

// AQL is how much airtime in µs a station may have in the device: Low while others
// have some there, High else.
type AQL struct {
	Low  uint32 `json:"low"`
	High uint32 `json:"high"`
}

// At is an error with the place of a radio's queues in a file.
func (a *AQM) At(file, nic string) Error {
	return Error{File: file, Line: a.at.line, Column: a.at.column, Key: "host.nics." + nic + ".aqm"}
}

// maxAQL is one second of airtime, in µs: more than that is no limit.
const maxAQL = 1000000

// aqm reads the queues of a radio.
func (d *decoder) aqm(v node, n *NIC) {
	a := &AQM{at: positionOf(v.n)}
	before := len(d.errs)
	v.mapping(map[string]field{
		"aql":           func(v node) { a.Limits = d.aql(v) },
		"aql_threshold": func(v node) { v.number(&a.Threshold, 1, maxAQL) },
		"airtime":       func(v node) { v.airtime(&a.Airtime) },
		"limit":         func(v node) { v.number(&a.Limit, 1, 1<<20) },
		"memory_limit":  func(v node) { v.number(&a.MemoryLimit, 1<<16, 1<<30) },
		"quantum":       func(v node) { v.number(&a.Quantum, 1, 1<<16) },
	})
	if len(d.errs) == before {
		n.AQM = a
	}
}

// aql reads a pair of limits for all access categories, or pairs by category.
func (d *decoder) aql(v node) map[string]AQL {
	out := map[string]AQL{}
	pair := func(v node) (l AQL) {
		before := len(d.errs)
		v.mapping(map[string]field{
			"low":  func(v node) { v.number(&l.Low, 1, maxAQL) },
			"high": func(v node) { v.number(&l.High, 1, maxAQL) },
		})
		if len(d.errs) == before && (l.Low == 0 || l.High < l.Low) {
			v.failf("both limits are needed, and high is not below low", "limits in µs, such as {low: 5000, high: 12000}")
		}
		return l
	}
	if v.hasKeyOf(AccessCategories) {
		fields := map[string]field{}
		for _, ac := range AccessCategories {
			fields[ac] = func(v node) { out[ac] = pair(v) }
		}
		v.mapping(fields)
		return out
	}
	l := pair(v)
	for _, ac := range AccessCategories {
		out[ac] = l
	}
	return out
}

// hasKeyOf tells whether the value is a mapping that has one of some keys.
func (v node) hasKeyOf(names []string) bool {
	entries, _ := v.pairs()
	return slices.ContainsFunc(entries, func(e *ast.MappingValueNode) bool { return slices.Contains(names, e.Key.GetToken().Value) })
}

func (v node) airtime(dst *[]string) {
	out := []string{}
	v.list("what counts, such as [tx, rx]", func(_ int, v node) {
		var word string
		switch v.oneOf(&word, AirtimeTX, AirtimeRX); {
		case word == "":
		case slices.Contains(out, word):
			v.failf("given twice", "each once")
		default:
			out = append(out, word)
		}
	})
	slices.Sort(out)
	slices.Reverse(out) // as the kernel says it
	*dst = out
}
