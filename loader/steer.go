// SPDX-License-Identifier: GPL-2.0-only

package loader

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"reflect"

	"github.com/cilium/ebpf"
	"github.com/randomizedcoder/l2d/pkg/ntuple"
)

// Sizes and numbers of bpf/lib/steer.h.
const (
	steerMasksMax = 16
	steerRulesMax = 256
	steerCPUsMax  = 64
	steerTagged   = 0x8000
)

// steerActions are enum steer_action.
var steerActions = map[ntuple.Action]uint32{ntuple.ToQueue: 0, ntuple.Drop: 1, ntuple.ToCPU: 2}

// steerQueue is how many packets may wait for a CPU.
const steerQueue = 2048

// cpuMapValue is struct bpf_cpumap_val.
type cpuMapValue struct{ Size, Program uint32 }

// steering is a table of rules as the programs have it.
type steering struct {
	table uint32 // 0 or 1
	masks []l2XDPSteerKey
	rules map[l2XDPSteerKey]l2XDPSteerRule
	cpus  map[int]bool
	same  bool // it is in force already
}

// newSteering makes a table of the rules of all interfaces.
func newSteering(interfaces []Interface, table uint32) (*steering, error) {
	s := &steering{table: table, rules: map[l2XDPSteerKey]l2XDPSteerRule{}, cpus: map[int]bool{}}
	for _, i := range interfaces {
		for n := range i.Rules {
			if err := s.add(uint32(i.Index), &i.Rules[n]); err != nil {
				return nil, fmt.Errorf("interface %s: rule %q: %w", i.Name, i.Rules[n].String(), err)
			}
		}
	}
	return s, nil
}

// add adds the rule of an interface behind the others. One that matches what an earlier
// one does is never reached.
func (s *steering) add(ifindex uint32, r *ntuple.Rule) error {
	key, mask := steerKey(ifindex, r)
	index := -1
	for i, m := range s.masks {
		if m == mask {
			index = i
		}
	}
	if index < 0 {
		index = len(s.masks)
		s.masks = append(s.masks, mask)
	}
	key.Mask = s.table*steerMasksMax + uint32(index)
	value := l2XDPSteerRule{Order: uint32(len(s.rules)), Action: steerActions[r.Action], Cpus: uint32(len(r.CPUs))}
	switch {
	case index >= steerMasksMax:
		return fmt.Errorf("XDP has room for %d kinds of rules, which match other fields or prefix lengths", steerMasksMax)
	case len(s.rules) >= steerRulesMax:
		return fmt.Errorf("XDP has room for %d rules", steerRulesMax)
	case len(r.CPUs) > steerCPUsMax:
		return fmt.Errorf("XDP takes %d CPUs", steerCPUsMax)
	}
	if _, again := s.rules[key]; again {
		return errors.New("another rule before it matches the same")
	}
	for i, cpu := range r.CPUs {
		value.Cpu[i] = uint32(cpu)
		s.cpus[cpu] = true
	}
	s.rules[key] = value
	return nil
}

// steerKey is what a rule matches, and which bits of that matter.
func steerKey(ifindex uint32, r *ntuple.Rule) (key, mask l2XDPSteerKey) {
	key.Ifindex, mask.Ifindex = ifindex, math.MaxUint32
	switch r.Family {
	case 4:
		key.Nfproto, mask.Nfproto = 2, 0xff // NFPROTO_IPV4
	case 6:
		key.Nfproto, mask.Nfproto = 10, 0xff // NFPROTO_IPV6
	}
	if r.Proto != 0 {
		key.L4proto, mask.L4proto = r.Proto, 0xff
	}
	steerPrefix(&key.Saddr, &mask.Saddr, r.Src)
	steerPrefix(&key.Daddr, &mask.Daddr, r.Dst)
	if r.SrcPort != 0 {
		key.Sport, mask.Sport = networkOrder(r.SrcPort), math.MaxUint16
	}
	if r.DstPort != 0 {
		key.Dport, mask.Dport = networkOrder(r.DstPort), math.MaxUint16
	}
	if r.Tagged {
		key.Vlan, mask.Vlan = steerTagged|r.VLAN, math.MaxUint16
	}
	return key, mask
}

func steerPrefix(key, mask *[16]uint8, p netip.Prefix) {
	if !p.IsValid() {
		return
	}
	copy(key[:], p.Addr().AsSlice())
	for i := range p.Bits() {
		mask[i/8] |= 0x80 >> (i % 8)
	}
}

// readSteering says which table is in force in the maps of a policy, and what is in it.
func readSteering(maps map[string]*ebpf.Map) (table uint32, rules map[l2XDPSteerKey]l2XDPSteerRule, err error) {
	if maps["l2_steer_now"] == nil || maps["l2_steer"] == nil {
		return 0, nil, nil
	}
	if err := maps["l2_steer_now"].Lookup(uint32(0), &table); err != nil {
		return 0, nil, fmt.Errorf("rules of ntuple: %w", err)
	}
	rules = map[l2XDPSteerKey]l2XDPSteerRule{}
	var key l2XDPSteerKey
	var value l2XDPSteerRule
	it := maps["l2_steer"].Iterate()
	for it.Next(&key, &value) {
		if key.Mask/steerMasksMax == table {
			rules[key] = value
		}
	}
	return table, rules, it.Err()
}

// planSteering decides which table the programs are to have: that in force, if it
// says the same, else the other one. Another policy has tables of its own.
func (r *replacement) planSteering() error {
	var table uint32
	var have map[l2XDPSteerKey]l2XDPSteerRule
	var err error
	if r.same {
		if table, have, err = readSteering(r.oldPolicy); err != nil {
			return err
		}
	}
	if r.cfg.steering, err = newSteering(r.cfg.Interfaces, table); err != nil || !r.same {
		return err
	}
	if reflect.DeepEqual(have, r.cfg.steering.rules) {
		r.cfg.steering.same = true
		return nil
	}
	r.cfg.steering, err = newSteering(r.cfg.Interfaces, 1-table)
	return err
}

// set puts into an object's constants which table it has.
func (s *steering) set(spec *ebpf.CollectionSpec) error {
	if m := spec.Maps["l2_steer_cpus"]; m != nil {
		n, err := ebpf.PossibleCPU()
		if err != nil {
			return fmt.Errorf("CPUs: %w", err)
		}
		m.MaxEntries = uint32(n)
	}
	if s == nil {
		return nil
	}
	for name, value := range map[string]uint32{"steer_masks": uint32(len(s.masks)), "steer_table": s.table} {
		if v := spec.Variables[name]; v != nil {
			if err := v.Set(value); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
	}
	return nil
}

// fillSteering has the maps hold the table that the programs are to have, which none
// that runs looks at.
func (r *replacement) fillSteering() error {
	s, maps := r.cfg.steering, r.loaded.maps
	if s.same {
		return nil
	}
	return errors.Join(s.fill(maps), s.fillCPUs(maps))
}

// fill has the maps hold the rules of the table, and no others.
func (s *steering) fill(maps map[string]*ebpf.Map) error {
	var stale []l2XDPSteerKey
	var key l2XDPSteerKey
	var value l2XDPSteerRule
	it := maps["l2_steer"].Iterate()
	for it.Next(&key, &value) {
		if key.Mask/steerMasksMax == s.table {
			stale = append(stale, key)
		}
	}
	errs := []error{it.Err()}
	for _, key := range stale {
		errs = append(errs, maps["l2_steer"].Delete(key))
	}
	for i, m := range s.masks {
		errs = append(errs, maps["l2_steer_masks"].Update(s.table*steerMasksMax+uint32(i), m, ebpf.UpdateAny))
	}
	zero := make([]uint64, ebpf.MustPossibleCPU())
	for key, value := range s.rules {
		errs = append(errs, maps["l2_steer"].Update(key, value, ebpf.UpdateAny))
		errs = append(errs, maps["l2_steer_hits"].Update(s.table*steerRulesMax+value.Order, zero, ebpf.UpdateAny))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("rules of ntuple: %w", err)
	}
	return nil
}

// fillCPUs has queues for the CPUs that rules hand packets to. Without one, the programs
// go on with a packet themselves.
func (s *steering) fillCPUs(maps map[string]*ebpf.Map) error {
	var errs []error
	for cpu := range s.cpus {
		// One that is there has packets waiting.
		if there, err := maps["l2_steer_cpus"].LookupBytes(uint32(cpu)); err == nil && there != nil {
			continue
		}
		if err := maps["l2_steer_cpus"].Update(uint32(cpu), cpuMapValue{Size: steerQueue}, ebpf.UpdateAny); err != nil {
			errs = append(errs, fmt.Errorf("CPU %d: %w", cpu, err))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("rules of ntuple: %w", err)
	}
	return nil
}

// noteSteering notes which table is in force.
func (r *replacement) noteSteering() error {
	return r.put(r.loaded.maps["l2_steer_now"], uint32(0), r.cfg.steering.table)
}

// SteeringHits are how many frames have been what each rule of an interface was the
// first to match, in the order of the rules.
func (d *Dataplane) SteeringHits(ifindex int) ([]uint64, error) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if d.maps == nil {
		return nil, errors.New("the dataplane is closed")
	}
	var order uint32
	var hits []uint64
	for _, i := range d.cfg.Interfaces {
		for range i.Rules {
			if i.Index == ifindex {
				var perCPU []uint64
				if err := d.maps["l2_steer_hits"].Lookup(d.cfg.steering.table*steerRulesMax+order, &perCPU); err != nil {
					return nil, fmt.Errorf("hits of ntuple: %w", err)
				}
				var sum uint64
				for _, n := range perCPU {
					sum += n
				}
				hits = append(hits, sum)
			}
			order++
		}
	}
	return hits, nil
}

// withoutRules refuses an interface with rules, which nothing would see to.
func withoutRules(i Interface, why string) error {
	if len(i.Rules) == 0 {
		return nil
	}
	return fmt.Errorf("interface %s: its rules of ntuple need XDP: %s", i.Name, why)
}
