// SPDX-License-Identifier: GPL-2.0-only

package config

import (
	"maps"
	"math"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"github.com/randomizedcoder/l2d/pkg/ethnl"
)

// DefaultStateDir is where what has to outlive the daemon is, if it is about more
// than the dataplane.
const DefaultStateDir = "/var/lib/l2d"

// Host is the state of the host that is declared, around the dataplane.
type Host struct {
	// StateDir has what it takes to undo a change that is not final.
	StateDir string `json:"state_dir"`
	// Sysctls are in the order of the file.
	Sysctls []Sysctl `json:"sysctl,omitempty"`
	// Links are network interfaces that are made, or have addresses, each once.
	Links []Link `json:"links,omitempty"`
	// NICs are network interfaces, each once.
	NICs []NIC `json:"nics,omitempty"`
	// Routes are settings of routes that are there, each once.
	Routes []Route `json:"routes,omitempty"`
	// BBR3 is where that congestion control comes from; nil leaves that alone.
	BBR3 *BBR3 `json:"bbr3,omitempty"`
	// Qdiscs are those of network interfaces, each once.
	Qdiscs []Qdisc `json:"qdiscs,omitempty"`
	// Governors of CPUs, each CPU once.
	Governors []Governor `json:"governor,omitempty"`
}

// NIC is a network interface and what ethtool sets of it.
type NIC struct {
	Name string `json:"name"`
	// Optional says that the interface may be absent.
	Optional bool `json:"optional,omitempty"`
	// Enforce has it set again when something else has changed it.
	Enforce bool `json:"enforce,omitempty"`
	// MTU in bytes; 0 leaves it alone.
	MTU uint32 `json:"mtu,omitempty"`
	// Settings by the name of the group, then of the setting. Of those that are on
	// or off, 1 is on.
	Settings map[string]map[string]uint32 `json:"settings,omitempty"`
	// Features by the kernel's name.
	Features map[string]bool `json:"features,omitempty"`
	NICModes
	// IRQs is which CPUs serve the interrupts of its queues, RPS and XPS which ones its
	// packets are handed to and sent by; nil leaves that alone.
	IRQs *Queues `json:"irqs,omitempty"`
	RPS  *Queues `json:"rps,omitempty"`
	XPS  *Queues `json:"xps,omitempty"`
	// Flows is the size of each receive queue's table of flows; nil leaves it alone.
	Flows *uint32 `json:"flows,omitempty"`
	// Threaded has threads poll the queues; nil leaves that alone.
	Threaded *bool `json:"threaded,omitempty"`
	// Threads is which CPUs they run on; nil leaves that alone.
	Threads *Queues `json:"threads,omitempty"`
	// AQM is how mac80211 queues what a radio sends; nil leaves that alone.
	AQM *AQM `json:"aqm,omitempty"`

	at     position
	places map[string]position // of the values of its keys
}

// At is an error with the place of the interface in a file.
func (n *NIC) At(file string) Error {
	return Error{File: file, Line: n.at.line, Column: n.at.column, Key: "host.nics." + n.Name}
}

// KeyAt is an error with the place of a value, such as that of "mtu" or "rings.rx"; ok is
// false if the file has none.
func (n *NIC) KeyAt(file, key string) (_ Error, ok bool) {
	at, ok := n.places[key]
	return Error{File: file, Line: at.line, Column: at.column, Key: "host.nics." + n.Name + "." + key}, ok
}

// note keeps the places of a key's value and of those in it.
func (n *NIC) note(key string, v node) {
	n.places[key] = positionOf(v.n)
	list, _ := v.pairs()
	for _, e := range list {
		n.places[key+"."+e.Key.GetToken().Value] = positionOf(e.Value)
	}
}

// Sysctl is a kernel setting, or some that a pattern names.
type Sysctl struct {
	// Name as in sysctl.d(5); a part of it can be *.
	Name  string `json:"name"`
	Value string `json:"value"`
	// Enforce has it set again when something else has changed it.
	Enforce bool `json:"enforce,omitempty"`

	at  position
	key string // of a section that stands for it; empty: it is named itself
}

// At is an error with the place of the setting in a file.
func (s *Sysctl) At(file string) Error {
	key := s.key
	if key == "" {
		key = "host.sysctl." + s.Name
	}
	return Error{File: file, Line: s.at.line, Column: s.at.column, Key: key}
}

func (d *decoder) host(v node, c *Host) {
	v.mapping(map[string]field{
		"state_dir": func(v node) { v.str(&c.StateDir, "an absolute path, such as "+DefaultStateDir, isCleanAbs) },
		"sysctl":    func(v node) { d.sysctls(v, c) },
		"links":     func(v node) { d.links(v, c) },
		"nics":      func(v node) { d.nics(v, c) },
		"qdiscs":    func(v node) { d.qdiscs(v, c) },

		"congestion_control": func(v node) { d.congestionControl(v, c) },
		"governor":           func(v node) { d.governor(v, c) },
	})
}

// nicGroups are the groups of a NIC's settings.
var nicGroups = []*ethnl.Group{ethnl.Channels, ethnl.Rings, ethnl.Coalesce, ethnl.Pause, ethnl.EEE}

func (d *decoder) nics(v node, c *Host) {
	v.entries("interfaces by name, such as {eth0: {rings: {rx: 4096}}}", func(name, v node) {
		if !v.given(name) {
			return
		}
		n := NIC{Name: name.text(), Settings: map[string]map[string]uint32{}, Features: map[string]bool{}, at: positionOf(name.n), places: map[string]position{}}
		if !isInterfaceName(n.Name) {
			name.fail("an interface name of 1 to 15 characters without spaces, / or :, other than lo")
			return
		}
		fields := d.nicModes(&n.NICModes)
		maps.Copy(fields, map[string]field{
			"optional": func(v node) { v.boolean(&n.Optional) },
			"enforce":  func(v node) { v.boolean(&n.Enforce) },
			"mtu":      func(v node) { v.number(&n.MTU, minMTU, maxMTU) },
			"features": func(v node) { v.switches("features, such as {rx-lro: false}", n.Features) },
			"irqs":     func(v node) { d.queues(v, &n.IRQs, true, wordDataplane, wordKeep) },
			"rps":      func(v node) { d.rps(v, &n) },
			"aqm":      func(v node) { d.aqm(v, &n) },
			"xps":      func(v node) { d.queues(v, &n.XPS, true, wordDataplane, wordNone) },
			"threaded": func(v node) {
				n.Threaded = new(bool)
				v.boolean(n.Threaded)
			},
			"threads": func(v node) { d.queues(v, &n.Threads, false, wordDataplane) },
		})
		for _, g := range nicGroups {
			fields[g.Name] = func(v node) {
				n.Settings[g.Name] = map[string]uint32{}
				v.settings(g, n.Settings[g.Name])
			}
		}
		for key, read := range fields {
			fields[key] = func(v node) {
				n.note(key, v)
				read(v)
			}
		}
		if v.mapping(fields) {
			c.NICs = append(c.NICs, n)
		}
	})
}

// An IPv4 link's least MTU, RFC 791, and the most that a packet's length can say.
const (
	minMTU = 68
	maxMTU = 65535
)

// settings reads a group of numbers and truth values.
func (v node) settings(g *ethnl.Group, to map[string]uint32) {
	fields := map[string]field{}
	for _, name := range g.Names() {
		fields[name] = func(v node) {
			var n uint32
			before := len(v.d.errs)
			if g.IsFlag(name) {
				var on bool
				if v.boolean(&on); on {
					n = 1
				}
			} else {
				v.number(&n, 0, math.MaxUint32)
			}
			if len(v.d.errs) == before {
				to[name] = n
			}
		}
	}
	v.mapping(fields)
}

// switches reads truth values by any name: the kernel knows which there are.
func (v node) switches(what string, to map[string]bool) {
	v.entries(what, func(name, v node) {
		var on bool
		if !v.given(name) {
			return
		}
		before := len(v.d.errs)
		if v.boolean(&on); len(v.d.errs) == before {
			to[name.text()] = on
		}
	})
}

func (d *decoder) sysctls(v node, c *Host) {
	v.entries("sysctls, such as {net.ipv4.ip_forward: 1}", func(name, v node) {
		s := Sysctl{Name: name.text(), at: positionOf(name.n)}
		before := len(d.errs)
		if !v.given(name) {
			return
		}
		if !isSysctl(s.Name) {
			name.fail("a name such as net.ipv4.ip_forward, or a pattern such as net.ipv4.conf.*.rp_filter")
			return
		}
		switch v.n.(type) {
		case *ast.MappingNode, *ast.MappingValueNode:
			v.mapping(map[string]field{
				"value":   func(v node) { v.scalar(&s.Value) },
				"enforce": func(v node) { v.boolean(&s.Enforce) },
			})
			if s.Value == "" && len(d.errs) == before {
				at := positionOf(v.n)
				d.add(Error{Line: at.line, Column: at.column, Key: v.key + ".value", Problem: "is missing", Want: "the value of the sysctl"})
			}
		default:
			v.scalar(&s.Value)
		}
		if len(d.errs) == before {
			c.Sysctls = append(c.Sysctls, s)
		}
	})
}

// isSysctl tells whether a name can be one, without a look at the host. Its parts
// are separated by what comes first in it, a dot or a slash.
func isSysctl(s string) bool {
	i := strings.IndexAny(s, "./")
	if i < 0 || strings.ContainsAny(s, " \t\n\x00") {
		return false
	}
	for _, part := range strings.Split(s, s[i:i+1]) {
		if part == "" || part == ".." || strings.Contains(part, "*") && part != "*" {
			return false
		}
	}
	return true
}

// scalar reads a number in plain decimal digits, or a text of one line.
func (v node) scalar(dst *string) {
	const want = "a number in decimal digits, or a text of one line; other numbers in quotes"
	switch n := v.n.(type) {
	case *ast.IntegerNode:
		x, err := strconv.ParseInt(n.Token.Value, 10, 64)
		if err != nil || strconv.FormatInt(x, 10) != n.Token.Value {
			v.fail(want)
			return
		}
		*dst = n.Token.Value
	case *ast.StringNode:
		if n.Value == "" || strings.ContainsAny(n.Value, "\n\x00") {
			v.fail(want)
			return
		}
		*dst = n.Value
	default:
		v.fail(want)
	}
}
