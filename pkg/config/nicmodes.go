// SPDX-License-Identifier: GPL-2.0-only

package config

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"github.com/randomizedcoder/l2d/pkg/ethnl"
)

// NICModes are the settings of a network interface that are no numbers. What is nil
// is left alone.
type NICModes struct {
	// PrivateFlags by the driver's names.
	PrivateFlags map[string]bool `json:"private_flags,omitempty"`
	// FEC are words of [ethnl.FECModes].
	FEC []string `json:"fec,omitempty"`
	// WoL are what wakes the host, by the kernel's names; off alone for nothing.
	WoL []string `json:"wol,omitempty"`
	RSS *RSS     `json:"rss,omitempty"`
}

// RSS is how an interface spreads packets over its receive queues.
type RSS struct {
	// Key is the hash's secret, bytes in hexadecimal with colons between them;
	// empty leaves it alone.
	Key string `json:"key,omitempty"`
	// Queues take turns in the table.
	Queues []uint32 `json:"queues,omitempty"`

	queuesAt position
}

// QueuesAt is an error with the place of the queues in a file.
func (r *RSS) QueuesAt(file, nic string) Error {
	return Error{File: file, Line: r.queuesAt.line, Column: r.queuesAt.column, Key: "host.nics." + nic + ".rss.queues"}
}

// offWord is the word for none.
const offWord = "off"

// wakeNames are the kernel's names of wol_mode_names, net/ethtool/common.c.
var wakeNames = []string{"arp", "bcast", "filter", "magic", "magicsecure", "mcast", "phy", "ucast"}

func (d *decoder) nicModes(m *NICModes) map[string]field {
	return map[string]field{
		"private_flags": func(v node) {
			m.PrivateFlags = map[string]bool{}
			v.switches("flags of the driver's, such as {legacy-rx: false}", m.PrivateFlags)
		},
		"fec": func(v node) { v.words(&m.FEC, ethnl.FECModes()) },
		"wol": func(v node) { v.words(&m.WoL, wakeNames) },
		"rss": func(v node) { m.RSS = &RSS{}; d.rss(v, m.RSS) },
	}
}

// words reads off, or one or some of a few words.
func (v node) words(dst *[]string, all []string) {
	want := offWord + ", or some of " + strings.Join(slices.DeleteFunc(slices.Clone(all), func(w string) bool { return w == offWord }), ", ")
	var words []string
	read := func(v node) {
		s, ok := v.n.(*ast.StringNode)
		switch {
		case !ok, s.Value != offWord && !slices.Contains(all, s.Value):
			v.fail(want)
		case slices.Contains(words, s.Value):
			v.failf("given twice", want)
		default:
			words = append(words, s.Value)
		}
	}
	before := len(v.d.errs)
	if _, list := v.n.(*ast.SequenceNode); list {
		v.list(want, func(_ int, v node) { read(v) })
	} else {
		read(v)
	}
	switch {
	case len(v.d.errs) > before:
	case len(words) == 0, len(words) > 1 && slices.Contains(words, offWord):
		v.fail(want)
	default:
		*dst = words
	}
}

func (d *decoder) rss(v node, r *RSS) {
	v.mapping(map[string]field{
		"key": func(v node) {
			v.str(&r.Key, "bytes in hexadecimal with colons between them, in quotes, as ethtool -x shows them", isHashKey)
		},
		"queues": func(v node) {
			r.queuesAt = positionOf(v.n)
			v.numbers(&r.Queues, "queues, such as 0-7 or [0, 1, 4]", maxQueue)
		},
	})
}

// maxQueue is the highest number of a queue: more than any device has.
const maxQueue = 65535

func isHashKey(s string) bool {
	for part := range strings.SplitSeq(s, ":") {
		if b, err := hex.DecodeString(part); err != nil || len(b) != 1 {
			return false
		}
	}
	return true
}

// numbers reads a list of whole numbers, or a text such as 0-3,8.
func (v node) numbers(dst *[]uint32, what string, most uint32) {
	var out []uint32
	before := len(v.d.errs)
	switch n := v.n.(type) {
	case *ast.SequenceNode:
		v.list(what, func(_ int, v node) {
			var x uint32
			v.number(&x, 0, most)
			out = append(out, x)
		})
	case *ast.IntegerNode:
		var x uint32
		v.number(&x, 0, most)
		out = append(out, x)
	case *ast.StringNode:
		var err error
		if out, err = parseNumbers(n.Value, most); err != nil {
			v.failf(err.Error(), what)
		}
	default:
		v.fail(what)
	}
	if len(v.d.errs) > before {
		return
	}
	if len(out) == 0 {
		v.fail(what)
		return
	}
	*dst = out
}

// parseNumbers reads ranges and numbers with commas between them.
func parseNumbers(s string, most uint32) ([]uint32, error) {
	var out []uint32
	for part := range strings.SplitSeq(s, ",") {
		from, to, isRange := strings.Cut(strings.TrimSpace(part), "-")
		a, err := decimal(from, most)
		b := a
		if err == nil && isRange {
			b, err = decimal(to, most)
		}
		if err != nil {
			return nil, err
		}
		if b < a {
			return nil, fmt.Errorf("%d is before %d", b, a)
		}
		for x := a; x <= b; x++ {
			out = append(out, x)
		}
	}
	return out, nil
}

func decimal(s string, most uint32) (uint32, error) {
	x, err := strconv.ParseUint(s, 10, 32)
	if err != nil || strconv.FormatUint(x, 10) != s || uint32(x) > most {
		return 0, fmt.Errorf("%q is no whole number from 0 to %d", s, most)
	}
	return uint32(x), nil
}
