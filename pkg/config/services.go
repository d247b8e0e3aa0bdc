// SPDX-License-Identifier: GPL-2.0-only

package config

import (
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/goccy/go-yaml/ast"
)

// Services are the daemons around the dataplane. Each has a file of this package with its
// options, a field here, and a line in [decoder.services].
type Services struct {
	// Slices are groups of services with common limits, each once.
	Slices []Slice `json:"slices,omitempty"`
	// Radvd is nil if it is not wanted.
	Radvd *Radvd `json:"radvd,omitempty"`
	// Hostapd is nil if it is not wanted.
	Hostapd *Hostapd `json:"hostapd,omitempty"`
	// KeaDHCP4 and KeaDHCP6 are nil if they are not wanted.
	KeaDHCP4 *Kea `json:"kea_dhcp4,omitempty"`
	KeaDHCP6 *Kea `json:"kea_dhcp6,omitempty"`
	// Recursor is nil if it is not wanted.
	Recursor *Recursor `json:"recursor,omitempty"`
	// Llama are instances, each once.
	Llama []Llama `json:"llama,omitempty"`
}

func (d *decoder) services(v node, c *Services) {
	v.mapping(map[string]field{
		"slices": func(v node) { d.slices(v, c) },
		"radvd":  func(v node) { d.radvd(v, c) },

		"hostapd":   func(v node) { d.hostapd(v, c) },
		"kea_dhcp4": func(v node) { d.kea(v, 4, &c.KeaDHCP4) },
		"kea_dhcp6": func(v node) { d.kea(v, 6, &c.KeaDHCP6) },
		"recursor":  func(v node) { d.recursor(v, c) },
		"llama":     func(v node) { d.llamas(v, c) },
	})
}

// Modes that a service runs in.
const (
	ModeAuto    = "auto"    // systemd, if that is the first process, else child
	ModeSystemd = "systemd" // a unit of systemd
	ModeChild   = "child"   // a process that l2d starts and supervises
	ModeWatch   = "watch"   // somebody else's: nothing but its health is looked at
)

// Restart policies.
const (
	RestartAlways    = "always"
	RestartOnFailure = "on-failure"
	RestartNever     = "no"
)

// Service is what can be said of every service.
type Service struct {
	// Mode is one of the Mode constants.
	Mode string `json:"mode"`
	// Binary is the program, if it is not the one in PATH.
	Binary string `json:"binary,omitempty"`
	// Slice is the name of one of the slices; empty for none.
	Slice string `json:"slice,omitempty"`
	Limits
	// Nice is nil if it is not said.
	Nice *int `json:"nice,omitempty"`
	// Restart is one of the Restart constants.
	Restart string `json:"restart"`

	at, sliceAt position
	key         string
}

// At is an error with the place of the service in a file.
func (s *Service) At(file string) Error {
	return Error{File: file, Line: s.at.line, Column: s.at.column, Key: s.key}
}

// Key is the path of the service in the file: services.radvd.
func (s *Service) Key() string { return s.key }

// Limits bound what a service or a slice takes.
type Limits struct {
	// CPUs that it runs on; without any it is not said.
	CPUs []int `json:"cpus,omitempty"`
	// CPUWeight is its share when others want to run, too, 1 to 10000; 0 is not said.
	CPUWeight uint32 `json:"cpu_weight,omitempty"`
	// MemoryHigh and MemoryMax in bytes: from where on it is slowed down, and where it
	// ends; 0 is not said.
	MemoryHigh uint64 `json:"memory_high,omitempty"`
	MemoryMax  uint64 `json:"memory_max,omitempty"`
}

// Slice is a group of services.
type Slice struct {
	Name string `json:"name"`
	Limits

	at position
}

// At is an error with the place of the slice in a file.
func (s *Slice) At(file string) Error {
	return Error{File: file, Line: s.at.line, Column: s.at.column, Key: "services.slices." + s.Name}
}

// newService has the defaults of a service that is declared at v.
func newService(v node) Service {
	return Service{Mode: ModeAuto, Restart: RestartAlways, at: positionOf(v.n), key: v.key}
}

// service reads a mapping with the keys of every service, and those of one in particular.
func (d *decoder) service(v node, s *Service, own map[string]field) bool {
	fields := map[string]field{
		"mode":   func(v node) { v.oneOf(&s.Mode, ModeAuto, ModeSystemd, ModeChild, ModeWatch) },
		"binary": func(v node) { v.str(&s.Binary, "an absolute path of a program", isCleanAbs) },
		"slice": func(v node) {
			s.sliceAt = positionOf(v.n)
			v.str(&s.Slice, "the name of one of services.slices", isUnitName)
		},
		"nice":    func(v node) { v.nice(&s.Nice) },
		"restart": func(v node) { v.oneOf(&s.Restart, RestartAlways, RestartOnFailure, RestartNever) },
	}
	maps.Copy(fields, d.limits(&s.Limits))
	maps.Copy(fields, own)
	before := len(d.errs)
	ok := v.mapping(fields) && len(d.errs) == before
	if ok {
		d.withSlice = append(d.withSlice, s)
	}
	return ok
}

func (d *decoder) limits(l *Limits) map[string]field {
	return map[string]field{
		"cpus":        func(v node) { v.cpuList(&l.CPUs) },
		"cpu_weight":  func(v node) { v.number(&l.CPUWeight, 1, 10000) },
		"memory_high": func(v node) { v.bytes(&l.MemoryHigh) },
		"memory_max": func(v node) {
			v.bytes(&l.MemoryMax)
			if l.MemoryMax != 0 && l.MemoryHigh > l.MemoryMax {
				v.failf("is less than memory_high", "at least as much")
			}
		},
	}
}

func (d *decoder) slices(v node, c *Services) {
	v.entries("slices by name, such as {network: {memory_max: 8G}}", func(name, v node) {
		if !v.given(name) {
			return
		}
		s := Slice{Name: name.text(), at: positionOf(name.n)}
		if !isUnitName(s.Name) {
			name.fail(wantUnitName)
			return
		}
		before := len(d.errs)
		if v.mapping(d.limits(&s.Limits)) && len(d.errs) == before {
			c.Slices = append(c.Slices, s)
		}
	})
}

// checkSlices refuses slices that are not declared.
func (d *decoder) checkSlices(c *Services) {
	if !d.sound("services.slices") {
		return
	}
	names := make([]string, len(c.Slices))
	for i := range c.Slices {
		names[i] = c.Slices[i].Name
	}
	for _, s := range d.withSlice {
		found := s.Slice == ""
		for _, n := range names {
			found = found || n == s.Slice
		}
		if !found {
			want := "services.slices with it"
			if len(names) > 0 {
				want = "one of " + strings.Join(names, ", ")
			}
			d.add(Error{Line: s.sliceAt.line, Column: s.sliceAt.column, Key: s.key + ".slice", Value: s.Slice, Problem: "no such slice", Want: want})
		}
	}
}

const wantUnitName = "a name of lower-case letters, digits and _, at most 32"

// isUnitName tells a name that can be part of those of units and files. A hyphen would
// nest systemd's slices.
func isUnitName(s string) bool {
	if s == "" || len(s) > 32 {
		return false
	}
	for _, r := range s {
		if (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '_' {
			return false
		}
	}
	return true
}

// nice reads a niceness.
func (v node) nice(dst **int) {
	const want = "a whole number from -20 to 19"
	n, ok := v.n.(*ast.IntegerNode)
	if !ok {
		v.fail(want)
		return
	}
	x, err := strconv.Atoi(n.Token.Value)
	if err != nil || strconv.Itoa(x) != n.Token.Value || x < -20 || x > 19 {
		v.fail(want)
		return
	}
	*dst = &x
}

// bytes reads an amount of memory.
func (v node) bytes(dst *uint64) {
	const want = "bytes, or with K, M, G or T 1024 times as many, such as 512M"
	text := v.text()
	digits := strings.TrimRight(text, "KMGT")
	shift := 0
	if unit := text[len(digits):]; unit != "" {
		if len(unit) > 1 {
			v.fail(want)
			return
		}
		shift = 10 * (strings.Index("KMGT", unit) + 1)
	}
	n, err := strconv.ParseUint(digits, 10, 64)
	if !v.isWord() || err != nil || n == 0 || n > math.MaxInt64>>shift || strconv.FormatUint(n, 10) != digits {
		v.fail(want)
		return
	}
	*dst = n << shift
}

// Secret is where a secret comes from: never the file that says so.
type Secret struct {
	// File is an absolute path, Credential the name of one of systemd's; one of them.
	File       string `json:"file,omitempty"`
	Credential string `json:"credential,omitempty"`

	at  position
	key string
}

// At is an error with the place of the secret in a file.
func (s *Secret) At(file string) Error {
	return Error{File: file, Line: s.at.line, Column: s.at.column, Key: s.key}
}

// String is how the file says it.
func (s *Secret) String() string {
	if s.Credential != "" {
		return credentialPrefix + s.Credential
	}
	return s.File
}

const credentialPrefix = "credential:"

// SecretFiles are the files that the configuration names as secrets, each once.
func (c *Config) SecretFiles() []string {
	all := []*Secret{c.Control.Token}
	if h := c.Services.Hostapd; h != nil {
		for i := range h.Radios {
			all = append(all, h.Radios[i].Passphrase)
		}
	}
	if r := c.Services.Recursor; r != nil && r.API != nil {
		all = append(all, r.API.Key)
	}
	for i := range c.Services.Llama {
		all = append(all, c.Services.Llama[i].APIKey)
	}
	var files []string
	for _, s := range all {
		if s != nil && s.File != "" && !slices.Contains(files, s.File) {
			files = append(files, s.File)
		}
	}
	return files
}

// secret reads where a secret comes from.
func (v node) secret(dst **Secret) {
	const want = "an absolute path of a file that has it, or credential:NAME for one of systemd's"
	s := &Secret{at: positionOf(v.n), key: v.key}
	var text string
	accept := func(text string) bool {
		name, is := strings.CutPrefix(text, credentialPrefix)
		if is {
			return name != "" && filepath.Base(name) == name && name != "." && name != ".." && !strings.ContainsFunc(name, unicode.IsSpace)
		}
		return isCleanAbs(text)
	}
	// What it is instead may be the secret itself: it is not repeated.
	if t, ok := v.n.(*ast.StringNode); !ok || !accept(t.Value) {
		v.d.add(Error{Line: s.at.line, Column: s.at.column, Key: v.key, Problem: "is not where a secret is", Want: want})
		return
	}
	v.str(&text, want, accept)
	if name, is := strings.CutPrefix(text, credentialPrefix); is {
		s.Credential = name
	} else {
		s.File = text
	}
	*dst = s
}
