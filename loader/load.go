// SPDX-License-Identifier: GPL-2.0-only

package loader

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/cilium/ebpf"
)

// stateMaps outlive a policy: flows and what goes with them. They are taken
// over by name from the pins of the running dataplane.
var stateMaps = []string{
	"l2_flows", "l2_half_open", "l2_frags", "l2_settings", "l2_ifaces",
	"l2_stats", "l2_events", "l2_gc", "l2_xdp_ports", "l2_clock",
	"l2_half_way",
}

func isStateMap(name string) bool {
	for _, s := range stateMaps {
		if s == name {
			return true
		}
	}
	return false
}

// Program is a program as the kernel took it.
type Program struct {
	Name string `json:"name"`
	// VerifiedInstructions is what the verifier walked, JITedBytes the size
	// of the native code.
	VerifiedInstructions uint32 `json:"verified_instructions"`
	JITedBytes           uint32 `json:"jited_bytes"`
	// LoadTime is how long it took to load the object that the program is
	// in, with its maps and its other programs.
	LoadTime time.Duration `json:"load_time_ns"`
}

// loaded are the verified programs and all maps of a dataplane, not attached.
type loaded struct {
	programs map[string]*ebpf.Program // l2_xdp, l2_ingress, l2_egress, l2_gc_start
	maps     map[string]*ebpf.Map
	report   []Program
}

func (l *loaded) close() {
	for _, p := range l.programs {
		p.Close()
	}
	for _, m := range l.maps {
		m.Close()
	}
}

// load verifies the dataplane of cfg. State maps come from state where it has
// them, else they are made.
func load(cfg *Config, state map[string]*ebpf.Map) (_ *loaded, err error) {
	csumFlag, err := probeCsumIPv6()
	if err != nil {
		return nil, err
	}
	l := &loaded{programs: map[string]*ebpf.Program{}, maps: map[string]*ebpf.Map{}}
	defer func() {
		if err != nil {
			l.close()
		}
	}()
	for name, m := range state {
		if l.maps[name], err = m.Clone(); err != nil {
			return nil, fmt.Errorf("map %s: %w", name, err)
		}
	}
	for _, object := range []func() (*ebpf.CollectionSpec, error){loadL2TC, loadL2XDP} {
		spec, err := object()
		if err != nil {
			return nil, err
		}
		if err := prepare(spec, cfg, csumFlag); err != nil {
			return nil, err
		}
		if err := l.add(spec); err != nil {
			return nil, err
		}
	}
	return l, nil
}

// prepare makes an object of the build the object of a configuration.
func prepare(spec *ebpf.CollectionSpec, cfg *Config, csumFlag uint64) error {
	if err := cfg.Policy.Splice(spec); err != nil {
		return fmt.Errorf("policy: %w", err)
	}
	if err := resolveWorkCallback(spec); err != nil {
		return err
	}
	if err := setAnswers(spec); err != nil {
		return err
	}
	for name, entries := range map[string]uint32{
		"l2_flows":     2 * cfg.MaxFlows, // an entry for each direction
		"l2_half_open": 2 * cfg.MaxHalfOpen,
	} {
		if m := spec.Maps[name]; m != nil {
			m.MaxEntries = entries
		}
	}
	if v := spec.Variables["csum_ipv6_flag"]; v != nil {
		if err := v.Set(csumFlag); err != nil {
			return fmt.Errorf("csum_ipv6_flag: %w", err)
		}
	}
	return nil
}

// add loads an object, with the maps that are there already.
func (l *loaded) add(spec *ebpf.CollectionSpec) error {
	shared := map[string]*ebpf.Map{}
	for name := range spec.Maps {
		if m := l.maps[name]; m != nil && !isPrivateMap(name) {
			shared[name] = m
		}
	}
	start := time.Now()
	coll, err := ebpf.NewCollectionWithOptions(spec, ebpf.CollectionOptions{MapReplacements: shared})
	if err != nil {
		return describeLoadError(err)
	}
	took := time.Since(start)
	for name, m := range coll.Maps {
		if l.maps[name] != nil || isPrivateMap(name) {
			m.Close()
			continue
		}
		l.maps[name] = m
	}
	for name, p := range coll.Programs {
		l.programs[name] = p
		info, err := p.Info()
		if err != nil {
			return fmt.Errorf("program %s: %w", name, err)
		}
		r := Program{Name: name}
		r.VerifiedInstructions, _ = info.VerifiedInstructions()
		r.JITedBytes, _ = info.JitedSize()
		r.LoadTime = took
		l.report = append(l.report, r)
	}
	return nil
}

// isPrivateMap tells the maps of an object's own variables.
func isPrivateMap(name string) bool {
	return strings.HasPrefix(name, ".") || strings.Contains(name, ".rodata")
}

// describeLoadError keeps the end of the verifier's log: the part that says
// what it did not like.
func describeLoadError(err error) error {
	const lines = 12
	var ve *ebpf.VerifierError
	if !errors.As(err, &ve) || len(ve.Log) == 0 {
		return err
	}
	return fmt.Errorf("%w\n%s", err, strings.Join(ve.Log[max(0, len(ve.Log)-lines):], "\n"))
}

// Check loads and verifies the dataplane of cfg. It attaches and pins nothing.
func Check(cfg Config) ([]Program, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	l, err := load(&cfg, nil)
	if err != nil {
		return nil, err
	}
	defer l.close()
	return l.report, nil
}
