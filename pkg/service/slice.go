// SPDX-License-Identifier: GPL-2.0-only

package service

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/coreos/go-systemd/v22/dbus"
	godbus "github.com/godbus/dbus/v5"

	"github.com/randomizedcoder/l2d/pkg/config"
	"github.com/randomizedcoder/l2d/pkg/cpus"
	"github.com/randomizedcoder/l2d/pkg/reconcile"
)

// SliceKind is the name of [Slices].
const SliceKind = "slice"

// sliceRank is before that of the services, which are in them.
const sliceRank = rank - 2

// Slices is the kind of groups of services with common limits: systemd's slices or, without
// systemd, control groups.
type Slices struct {
	// units is nil where systemd is not the first process.
	units  *units
	groups *cgroups
}

// Attributes of a slice, each with a number, a list of CPUs, or none.
const (
	cpusKey   = "cpus"
	weightKey = "cpu_weight"
	highKey   = "memory_high"
	maxKey    = "memory_max"

	none = "none"
)

// sliceFiles are the files of a group by attribute, and what they have when nothing is said.
var sliceFiles = map[string][2]string{
	cpusKey: {cpusFile, ""}, weightKey: {weightFile, "100"}, highKey: {highFile, "max"}, maxKey: {maxFile, "max"},
}

// sliceProperties are systemd's properties by attribute.
var sliceProperties = map[string]string{cpusKey: "AllowedCPUs", weightKey: "CPUWeight", highKey: "MemoryHigh", maxKey: "MemoryMax"}

// Resources are the slices of a configuration.
func (*Slices) Resources(c *config.Config) (out []reconcile.Resource) {
	for i := range c.Services.Slices {
		s := &c.Services.Slices[i]
		at := s.At(c.Path)
		out = append(out, reconcile.Resource{
			Kind: SliceKind, Name: s.Name, Want: limitState(&s.Limits), Rank: sliceRank,
			At: reconcile.PlaceOf(at),
		})
	}
	return out
}

func limitState(l *config.Limits) reconcile.State {
	number := func(n uint64) string {
		if n == 0 {
			return none
		}
		return strconv.FormatUint(n, 10)
	}
	s := reconcile.State{cpusKey: cpus.Format(l.CPUs), weightKey: number(uint64(l.CPUWeight)), highKey: number(l.MemoryHigh), maxKey: number(l.MemoryMax)}
	if len(l.CPUs) == 0 {
		s[cpusKey] = none
	}
	return s
}

// Name implements [reconcile.Kind].
func (*Slices) Name() string { return SliceKind }

// Check implements [reconcile.Kind].
func (k *Slices) Check(_ context.Context, r *reconcile.Resource) []reconcile.Problem {
	if k.units == nil && k.groups.root == "" {
		return []reconcile.Problem{{Resource: r, Problem: "its limits cannot be kept: " + k.groups.why, Want: "systemd, or control groups", Skip: true}}
	}
	return nil
}

// Observe implements [reconcile.Kind].
func (k *Slices) Observe(ctx context.Context, name string, keys []string) (reconcile.State, error) {
	if k.units != nil {
		return k.observeUnit(ctx, name, keys)
	}
	s := reconcile.State{}
	for _, key := range keys {
		f := sliceFiles[key]
		b, err := os.ReadFile(filepath.Join(k.groups.root, name, f[0]))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		if s[key] = strings.TrimSpace(string(b)); err != nil || s[key] == f[1] {
			s[key] = none
		}
	}
	return s, nil
}

func (k *Slices) observeUnit(ctx context.Context, name string, keys []string) (reconcile.State, error) {
	c, err := k.units.dial(ctx)
	if err != nil {
		return nil, err
	}
	p, err := c.GetAllPropertiesContext(ctx, sliceName(name))
	if err != nil {
		return nil, fmt.Errorf("systemd: %s: %w", sliceName(name), err)
	}
	s := reconcile.State{}
	for _, key := range keys {
		s[key] = none
		switch v := p[sliceProperties[key]].(type) {
		case uint64:
			if v != math.MaxUint64 {
				s[key] = strconv.FormatUint(v, 10)
			}
		case []byte:
			if list := ofBits(v); len(list) > 0 {
				s[key] = cpus.Format(list)
			}
		}
	}
	return s, nil
}

// Same implements [reconcile.Kind].
func (*Slices) Same(key, want, have string) bool {
	return want == have || (key == highKey || key == maxKey) && samePages(want, have)
}

// samePages tells whether amounts of memory are the same to the kernel, which counts in pages.
func samePages(want, have string) bool {
	w, errW := strconv.ParseUint(want, 10, 64)
	h, errH := strconv.ParseUint(have, 10, 64)
	page := uint64(os.Getpagesize())
	return errW == nil && errH == nil && w/page == h/page
}

// Effect implements [reconcile.Kind].
func (*Slices) Effect(string, reconcile.State) reconcile.Effect {
	return reconcile.Effect{Impact: reconcile.InPlace}
}

// Before implements [reconcile.Kind].
func (k *Slices) Before(ctx context.Context, name string, to reconcile.State) (reconcile.State, error) {
	return k.Observe(ctx, name, to.Keys())
}

// Set implements [reconcile.Kind].
func (k *Slices) Set(ctx context.Context, name string, to reconcile.State) error {
	if k.units != nil {
		return k.setUnit(ctx, name, to)
	}
	dir, err := k.groups.slice(name)
	if err != nil {
		return err
	}
	for _, key := range to.Keys() {
		f, value := sliceFiles[key], to[key]
		if value == none {
			value = f[1]
		}
		if err := os.WriteFile(filepath.Join(dir, f[0]), []byte(value+"\n"), 0); err != nil {
			return fmt.Errorf("%s %q: %w", f[0], value, err)
		}
	}
	return nil
}

func (k *Slices) setUnit(ctx context.Context, name string, to reconcile.State) error {
	c, err := k.units.dial(ctx)
	if err != nil {
		return err
	}
	list, err := limitProperties(to)
	if err != nil {
		return err
	}
	if err := c.SetUnitPropertiesContext(ctx, sliceName(name), true, list...); err != nil {
		return fmt.Errorf("systemd: %s: %w", sliceName(name), err)
	}
	return nil
}

// limitProperties are attributes of a slice, or of a service, for systemd.
func limitProperties(to reconcile.State) (list []dbus.Property, err error) {
	for _, key := range to.Keys() {
		var v any = uint64(math.MaxUint64)
		switch {
		case key == cpusKey:
			var set []int
			if to[key] != none {
				if set, err = cpus.Parse(to[key]); err != nil {
					return nil, err
				}
			}
			v = toBits(set)
		case to[key] != none:
			if v, err = strconv.ParseUint(to[key], 10, 64); err != nil {
				return nil, err
			}
		}
		list = append(list, dbus.Property{Name: sliceProperties[key], Value: godbus.MakeVariant(v)})
	}
	return list, nil
}

// toBits is a list of CPUs as systemd has it: bit 0 of byte 0 is CPU 0.
func toBits(list []int) []byte {
	out := []byte{}
	for _, n := range list {
		for len(out) <= n/8 {
			out = append(out, 0)
		}
		out[n/8] |= 1 << (n % 8)
	}
	return out
}

func ofBits(b []byte) (list []int) {
	for i := range 8 * len(b) {
		if b[i/8]&(1<<(i%8)) != 0 {
			list = append(list, i)
		}
	}
	return list
}
