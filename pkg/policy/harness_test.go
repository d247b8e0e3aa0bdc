// SPDX-License-Identifier: GPL-2.0-only

package policy

import (
	"context"
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"

	"github.com/randomizedcoder/l2d/loader"
	"github.com/randomizedcoder/l2d/pkg/nft"
)

//go:generate clang-19 -O2 -g -Wall -Werror -mcpu=v3 -target bpfel -fdebug-compilation-dir=. -idirafter /usr/include/x86_64-linux-gnu -idirafter /usr/include/aarch64-linux-gnu -c testdata/harness.c -o testdata/harness.o
//go:generate llvm-strip-19 -g testdata/harness.o

// The interfaces of the test rulesets.
var testLinks = map[string]int{"lo": 1, "wan0": 3, "br0": 7, "hs0": 11, "hs1": 12}

func needRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: reads rulesets in a network namespace and loads BPF programs")
	}
}

// readRuleset reads a ruleset given as text.
func readRuleset(t testing.TB, text string) *nft.Ruleset {
	t.Helper()
	needRoot(t)
	path := filepath.Join(t.TempDir(), "test.nft")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return readFile(t, path)
}

func readFile(t testing.TB, path string) *nft.Ruleset {
	t.Helper()
	needRoot(t)
	var links []nft.Link
	for name, index := range testLinks {
		links = append(links, nft.Link{Name: name, Index: index})
	}
	rs, err := nft.ReadFile(context.Background(), path, links)
	if err != nil {
		t.Fatal(err)
	}
	return rs
}

func compile(t testing.TB, text string) *Program {
	t.Helper()
	return compileWith(t, text, Options{Links: testLinks})
}

func compileWith(t testing.TB, text string, opt Options) *Program {
	t.Helper()
	p, err := Compile(readRuleset(t, text), opt)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// harness runs a compiled ruleset in the kernel.
type harness struct {
	t      testing.TB
	p      *Program
	coll   *ebpf.Collection
	layout *layout
	pkt    int            // offset of struct pkt in the input, in bytes
	size   int            // of the input
	member map[string]int // offset of each member of struct pkt
	ct     int            // offset of struct ct_facts in the input
}

func newHarness(t testing.TB, p *Program) *harness {
	t.Helper()
	needRoot(t)
	spec, err := ebpf.LoadCollectionSpec("testdata/harness.o")
	if err != nil {
		t.Fatal(err)
	}
	h := &harness{t: t, p: p}
	h.types(spec)
	splice(t, p, spec)
	if h.coll, err = ebpf.NewCollection(spec); err != nil {
		t.Fatalf("%+v", err)
	}
	t.Cleanup(h.coll.Close)
	return h
}

// splice makes an object one with a policy, as the loader does.
func splice(t testing.TB, p *Program, spec *ebpf.CollectionSpec) {
	t.Helper()
	if err := p.Splice(spec); err != nil {
		t.Fatal(err)
	}
	for _, prog := range spec.Programs {
		prog.Instructions = loader.Reached(prog.Instructions)
	}
}

// TestUnusedFunctions: a program has the functions that a policy's code needs, and no others.
func TestUnusedFunctions(t *testing.T) {
	for rule, want := range map[string]bool{"counter": false, "fib daddr oif lo counter": true} {
		spec, err := ebpf.LoadCollectionSpec("testdata/harness.o")
		if err != nil {
			t.Fatal(err)
		}
		splice(t, compile(t, "table ip t { chain c { type filter hook prerouting priority 0; policy accept; "+rule+"\n}\n}\n"), spec)
		for name, prog := range spec.Programs {
			has := slices.ContainsFunc(prog.Instructions, func(ins asm.Instruction) bool { return ins.Symbol() == "nft_fib_oif" })
			if has != want {
				t.Errorf("%s, %s: has nft_fib_oif: %v", rule, name, has)
			}
		}
	}
}

// types finds where the members of the input are.
func (h *harness) types(spec *ebpf.CollectionSpec) {
	h.t.Helper()
	var input *btf.Struct
	if err := spec.Types.TypeByName("input", &input); err != nil {
		h.t.Fatal(err)
	}
	h.size = int(input.Size)
	h.pkt = int(input.Members[1].Offset.Bytes())
	h.ct = int(input.Members[2].Offset.Bytes())
	var fn *btf.Func
	if err := spec.Types.TypeByName("policy_input", &fn); err != nil {
		h.t.Fatal(err)
	}
	var err error
	if h.layout, err = layoutOf(fn); err != nil {
		h.t.Fatal(err)
	}
	var pkt *btf.Struct
	if err := spec.Types.TypeByName("pkt", &pkt); err != nil {
		h.t.Fatal(err)
	}
	h.member = make(map[string]int)
	for _, m := range pkt.Members {
		h.member[m.Name] = int(m.Offset.Bytes())
	}
}

// result is what the policy did with a packet.
type result struct {
	accept bool
	nat    uint32
	rng    []byte // struct nat_range
	reject uint32
	rule   RuleInfo // the last that counted the packet
	// Of connection tracking, and the zone that a chain chose.
	state uint32
	zone  uint16
	dirs  byte
}

// run runs a policy function, such as "policy_input", on a packet.
func (h *harness) run(function string, pk *packet) result {
	h.t.Helper()
	in := make([]byte, h.size)
	for _, ph := range phaseTable {
		if ph.function == function {
			binary.NativeEndian.PutUint32(in, 1<<ph.bit)
		}
	}
	pk.write(in[h.pkt:], h.layout)
	if pk.flow != nil {
		pk.flow.write(in[h.ct:])
	}
	if pk.later {
		binary.NativeEndian.PutUint16(in[h.pkt+h.member["fragment"]:], 2)
	}
	if pk.frame != nil {
		h.frame(in, pk.frame)
		in = append(in, pk.frame...)
	}
	none := ^uint32(0)
	binary.NativeEndian.PutUint32(in[h.pkt+h.member["rule"]:], none)
	code, out, err := h.coll.Programs["harness"].Test(in)
	if err != nil {
		h.t.Fatal(err)
	}
	if code > 1 {
		h.t.Fatalf("%s returned %d", function, int32(code))
	}
	r := result{
		accept: code == 1,
		nat:    binary.NativeEndian.Uint32(out[h.pkt+h.layout.offsets[fieldNat]:]),
		rng:    out[h.pkt+h.layout.offsets[fieldNatRange]:][:natRangeLen],
		state:  binary.NativeEndian.Uint32(out[h.pkt+h.layout.offsets[fieldCtState]:]),
		zone:   binary.NativeEndian.Uint16(out[h.pkt+h.layout.offsets[fieldZone]:]),
		dirs:   out[h.pkt+h.layout.offsets[fieldZoneDirs]],
		reject: binary.NativeEndian.Uint32(out[h.pkt+h.layout.offsets[fieldReject]:]),
	}
	if index := binary.NativeEndian.Uint32(out[h.pkt+h.member["rule"]:]); index != none {
		r.rule = h.p.Rules[index]
	}
	return r
}

// etherLen is the length of an Ethernet header in bytes.
const etherLen = 14

// frame tells where the headers of a frame are, which comes behind the input.
func (h *harness) frame(in, frame []byte) {
	u16 := func(name string, v int) {
		binary.NativeEndian.PutUint16(in[h.pkt+h.member[name]:], uint16(v))
	}
	header := 40
	if frame[etherLen]>>4 == 4 {
		header = int(frame[etherLen]&15) * 4
	}
	u16("l3_off", h.size+etherLen)
	u16("l4_off", h.size+etherLen+header)
	in[h.pkt+h.member["ll_len"]] = etherLen
}

// counter returns what a rule has counted.
func (h *harness) counter(index uint32) (packets, bytes uint64) {
	h.t.Helper()
	var values [][16]byte
	if err := h.coll.Maps[countersMap].Lookup(index, &values); err != nil {
		h.t.Fatal(err)
	}
	for _, v := range values {
		packets += binary.NativeEndian.Uint64(v[:])
		bytes += binary.NativeEndian.Uint64(v[8:])
	}
	return packets, bytes
}
