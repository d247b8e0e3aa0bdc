// SPDX-License-Identifier: GPL-2.0-only

package loader

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cilium/ebpf"
)

// stateMaps outlive a policy: flows and what goes with them. They are taken
// over by name from the pins of the running dataplane.
var stateMaps = []string{
	"l2_flows", "l2_half_open", "l2_frags", "l2_settings", "l2_ifaces",
	"l2_stats", "l2_events", "l2_gc", "l2_xdp_ports", "l2_vlans", "l2_clock", shapersMap,
	"l2_half_way", "l2_datagrams", "l2_fragments", "l2_reasm",
	"l2_flow_listen", "l2_flow_events",
	"l2_mappings", "l2_nat_reserved", "l2_sources",
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
	// LoadTime is how long it took to load the program, with all the others at
	// the same time.
	LoadTime time.Duration `json:"load_time_ns"`
	// Kept: it ran before, and there was nothing to load.
	Kept bool `json:"kept,omitempty"`
}

// loaded are the verified programs and all maps of a dataplane, not attached.
type loaded struct {
	programs map[string]*ebpf.Program // l2_xdp, l2_ingress, l2_egress, l2_gc_start, l2_reevaluate, and those of lo
	maps     map[string]*ebpf.Map
	report   []Program
}

func (l *loaded) close() {
	closePrograms(l.programs)
	for _, m := range l.maps {
		m.Close()
	}
}

// load verifies the dataplane of cfg. State maps come from state where it has
// them, else they are made. Programs of the same policy that run are kept where
// they would be loaded again.
func load(cfg *Config, state map[string]*ebpf.Map, running map[string]*ebpf.Program, took *phases) (_ *loaded, err error) {
	csumFlag, err := probeCsumIPv6()
	if err != nil {
		return nil, err
	}
	specs, err := objects()
	if err != nil {
		return nil, err
	}
	l := &loaded{programs: map[string]*ebpf.Program{}, maps: map[string]*ebpf.Map{}}
	defer func() {
		if err != nil {
			l.close()
		}
	}()
	took.end("objects")
	for name, m := range state {
		if l.maps[name], err = m.Clone(); err != nil {
			return nil, fmt.Errorf("map %s: %w", name, err)
		}
	}
	tables := l.makeTables(specs, cfg)
	if err := errors.Join(prepareAll(specs, cfg, csumFlag), tables()); err != nil {
		return nil, err
	}
	var parts []part
	for _, spec := range specs {
		maps, err := l.makeMaps(spec)
		if err != nil {
			return nil, err
		}
		defer closeMaps(maps)
		parts = append(parts, partsOf(spec, maps)...)
	}
	took.end("maps")
	err = l.verify(parts, running)
	took.end("programs")
	return l, err
}

// prepareAll prepares the objects of the build. The policy is put into all of them at the same time; what is read of the
// host is read by the caller's thread, which may be in another network namespace than others.
func prepareAll(specs []*ebpf.CollectionSpec, cfg *Config, csumFlag uint64) error {
	errs := make([]error, len(specs))
	var wg sync.WaitGroup
	for i, spec := range specs {
		wg.Go(func() { errs[i] = splice(spec, cfg.Policy) })
	}
	wg.Wait()
	for i, spec := range specs {
		if errs[i] != nil { // what is wrong is wrong in all of them
			return errs[i]
		}
		if err := prepare(spec, cfg, csumFlag); err != nil {
			return err
		}
	}
	return nil
}

// splice puts a policy into an object of the build, and leaves out what it does not use.
func splice(spec *ebpf.CollectionSpec, p Policy) error {
	if err := p.Splice(spec); err != nil {
		return fmt.Errorf("policy: %w", err)
	}
	for _, program := range spec.Programs {
		program.Instructions = Reached(program.Instructions)
	}
	return nil
}

// prepare makes an object with a policy the object of a configuration.
func prepare(spec *ebpf.CollectionSpec, cfg *Config, csumFlag uint64) error {
	if err := withoutLoopback(spec); err != nil {
		return err
	}
	if cfg.trial {
		makeTrial(spec, cfg.trialKeeps)
	}
	if err := resolveWorkCallback(spec); err != nil {
		return err
	}
	if err := setAnswers(spec); err != nil {
		return err
	}
	if err := cfg.steering.set(spec); err != nil {
		return err
	}
	for name, entries := range cfg.sizes() {
		if m := spec.Maps[name]; m != nil {
			m.MaxEntries = entries
		}
	}
	for name, wanted := range map[string]bool{"policy_reevaluates": cfg.Reevaluate, "policy_accounts": cfg.Accounting} {
		if v := spec.Variables[name]; v != nil && wanted {
			if err := v.Set(uint32(1)); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
	}
	if v := spec.Variables["xdp_vlans"]; v != nil {
		wanted, err := wantsVLANs(cfg.Interfaces)
		if err != nil {
			return err
		}
		if wanted {
			if err := v.Set(uint32(1)); err != nil {
				return fmt.Errorf("xdp_vlans: %w", err)
			}
		}
	}
	if v := spec.Variables["csum_ipv6_flag"]; v != nil {
		if err := v.Set(csumFlag); err != nil {
			return fmt.Errorf("csum_ipv6_flag: %w", err)
		}
	}
	return checkMapCount(spec)
}

// makeTables begins to make the tables that the settings have the sizes of, where they are not there already: the memory
// of most takes as long as a policy's code. What it returns waits for them.
func (l *loaded) makeTables(specs []*ebpf.CollectionSpec, cfg *Config) (wait func() error) {
	var missing []*ebpf.MapSpec
	for name, entries := range cfg.sizes() {
		i := slices.IndexFunc(specs, func(s *ebpf.CollectionSpec) bool { return s.Maps[name] != nil })
		if l.maps[name] != nil || i < 0 {
			continue
		}
		m := specs[i].Maps[name].Copy()
		m.MaxEntries = entries
		missing = append(missing, m)
	}
	made, errs := make([]*ebpf.Map, len(missing)), make([]error, len(missing))
	var wg sync.WaitGroup
	wg.Go(func() {
		for i, m := range missing {
			made[i], errs[i] = ebpf.NewMap(m)
		}
	})
	return func() error {
		wg.Wait()
		for i, m := range missing {
			if errs[i] != nil {
				errs[i] = fmt.Errorf("map %s: %w", m.Name, errs[i])
				continue
			}
			l.maps[m.Name] = made[i]
		}
		return errors.Join(errs...)
	}
}

// makeMaps makes those maps of an object that are not there already. It returns
// all that the object's programs refer to; the caller closes them.
func (l *loaded) makeMaps(spec *ebpf.CollectionSpec) (map[string]*ebpf.Map, error) {
	shared := map[string]*ebpf.Map{}
	for name := range spec.Maps {
		if m := l.maps[name]; m != nil && !isPrivateMap(name) {
			shared[name] = m
		}
	}
	without := *spec
	without.Programs = nil
	forgetTypes(without.Maps)
	contents := takeContents(without.Maps)
	coll, err := ebpf.NewCollectionWithOptions(&without, ebpf.CollectionOptions{MapReplacements: shared, Cache: kernelTypes()})
	if err != nil {
		return nil, err
	}
	for name, m := range coll.Maps {
		if shared[name] != nil {
			continue
		}
		if err := fill(m, contents[name]); err != nil {
			closeMaps(coll.Maps)
			return nil, fmt.Errorf("map %s: %w", name, err)
		}
	}
	for name, m := range coll.Maps {
		if l.maps[name] != nil || isPrivateMap(name) {
			continue
		}
		if l.maps[name], err = m.Clone(); err != nil {
			closeMaps(coll.Maps)
			return nil, fmt.Errorf("map %s: %w", name, err)
		}
	}
	return coll.Maps, nil
}

// forgetTypes forgets what the keys and values of maps are that lead packets elsewhere. The kernel takes no such types
// for them, which it finds out when it has made the map; the library makes another one then, but to undo the first one takes
// the kernel a grace period of RCU.
func forgetTypes(maps map[string]*ebpf.MapSpec) {
	for _, m := range maps {
		switch m.Type {
		case ebpf.DevMap, ebpf.DevMapHash, ebpf.CPUMap, ebpf.XSKMap:
			m.Key, m.Value = nil, nil
		}
	}
}

// part is one program of an object, to be loaded by itself.
type part struct {
	spec *ebpf.CollectionSpec
	maps map[string]*ebpf.Map // of the object
	// program is the program's name.
	program string
}

func partsOf(spec *ebpf.CollectionSpec, maps map[string]*ebpf.Map) []part {
	var parts []part
	for name, program := range spec.Programs {
		alone := *spec
		alone.Programs, alone.Variables = map[string]*ebpf.ProgramSpec{name: program}, nil
		parts = append(parts, part{&alone, maps, name})
	}
	return parts
}

// verify loads programs, all at the same time: the verifier takes one processor
// for each, and most of what a replacement takes.
func (l *loaded) verify(parts []part, running map[string]*ebpf.Program) error {
	slices.SortFunc(parts, func(a, b part) int { return strings.Compare(a.program, b.program) })
	programs, reports, errs := make([]*ebpf.Program, len(parts)), make([]Program, len(parts)), make([]error, len(parts))
	var wg sync.WaitGroup
	for i, p := range parts {
		wg.Go(func() { programs[i], reports[i], errs[i] = p.load(running[p.program]) })
	}
	wg.Wait()
	for i, p := range parts {
		if programs[i] != nil {
			l.programs[p.program] = programs[i]
		}
	}
	l.report = reports
	// What is wrong with a policy is wrong in all programs: one says it.
	return errs[max(0, slices.IndexFunc(errs, func(err error) bool { return err != nil }))]
}

// load returns the part's program: the one that runs, if that is it.
func (p part) load(running *ebpf.Program) (*ebpf.Program, Program, error) {
	r := Program{Name: p.program}
	start := time.Now()
	program, err := p.keep(running)
	if err != nil {
		return nil, r, fmt.Errorf("running program %s: %w", p.program, err)
	}
	if r.Kept = program != nil; !r.Kept {
		if program, err = p.verify(0); err != nil {
			return nil, r, err
		}
		r.LoadTime = time.Since(start)
	}
	info, err := program.Info()
	if err != nil {
		return program, r, fmt.Errorf("program %s: %w", p.program, err)
	}
	r.VerifiedInstructions, _ = info.VerifiedInstructions()
	r.JITedBytes, _ = info.JitedSize()
	return program, r, nil
}

// verify loads the part into the kernel. What the verifier says of it at a level
// is with the program.
func (p part) verify(level ebpf.LogLevel) (*ebpf.Program, error) {
	types := kernelTypes()
	kernel, err := types.Kernel()
	if err != nil {
		return nil, fmt.Errorf("type information of the kernel: %w", err)
	}
	coll, err := ebpf.NewCollectionWithOptions(p.spec, ebpf.CollectionOptions{
		MapReplacements: p.maps, Cache: types,
		// Of the kernel alone. The numbers of a module's types are none that a
		// program can name, and the library cannot read a module's and the
		// kernel's at the same time.
		Programs: ebpf.ProgramOptions{KernelTypes: kernel, LogLevel: level},
	})
	if err != nil {
		return nil, describeLoadError(err)
	}
	closeMaps(coll.Maps)
	return coll.Programs[p.program], nil
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
	var err error
	if cfg.steering, err = newSteering(cfg.Interfaces, 0); err != nil {
		return nil, err
	}
	l, err := load(&cfg, nil, nil, &phases{})
	if err != nil {
		return nil, err
	}
	defer l.close()
	return l.report, nil
}
