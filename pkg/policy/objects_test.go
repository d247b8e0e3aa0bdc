// SPDX-License-Identifier: GPL-2.0-only

package policy

import (
	"path/filepath"
	"reflect"
	"testing"

	"github.com/cilium/ebpf"
)

// The interfaces of the example rulesets.
var exampleLinks = map[string]int{"lo": 1, "enp1s0": 3, "br0": 7, "enp66s0f0np0": 11, "enp66s0f1np1": 12}

var examples = []string{"../../examples/l2/firewall.nft", "../../examples/hardened/firewall.nft"}

// useLinks makes other interfaces exist for a test.
func useLinks(t *testing.T, links map[string]int) {
	old := testLinks
	testLinks = links
	t.Cleanup(func() { testLinks = old })
}

// The example rulesets pass the verifier in the programs of the dataplane,
// which share the maps of the policy.
func TestDataplaneObjects(t *testing.T) {
	useLinks(t, exampleLinks)
	for _, example := range examples {
		t.Run(example, func(t *testing.T) {
			p, err := Compile(readFile(t, example), Options{Links: testLinks})
			if err != nil {
				t.Fatal(err)
			}
			loadObjects(t, p)
		})
	}
}

// What the examples do not use passes there too.
func TestDataplaneFeatures(t *testing.T) {
	loadObjects(t, compile(t, features))
}

const features = `table inet t {
	map m { type inet_service : verdict; elements = { 22 : jump c, 23 : drop }; }
	quota q { 180 bytes }
	limit l { rate 6/minute burst 4 packets }
	chain c { limit name "l" quota name tcp dport map { 22 : "q" } numgen inc mod 3 0 accept
		meta random < 0x1000 ct direction reply accept
		return
	}
	set banned { type ipv4_addr . inet_service; size 1000; flags dynamic, timeout; timeout 1h; }
	chain rules { tcp dport 22 update @banned { ip saddr . tcp dport limit rate over 10/minute burst 5 packets } drop
		ip saddr . tcp dport @banned meta random < 10 drop
		meta cpu 0 tcp dport vmap @m
		ct status snat ct original ip6 saddr fd00::1 tcp dport 5 ct reply proto-src 7 drop
		ip saddr vmap { 10.0.0.0/8 : goto c, * : continue }
	}
	chain rejects { tcp dport 113 reject with tcp reset
		udp dport 113 reject
	}
	chain raw { type filter hook prerouting priority -300; policy accept;
		jump rejects
		jump rules
	}
	chain in { type filter hook input priority 0; policy accept;
		jump rejects
		jump rules
	}
	chain fw { type filter hook forward priority 0; policy accept;
		jump rejects
		jump rules
	}
	chain out { type filter hook output priority 0; policy accept;
		jump rejects
		jump rules
	}
	chain post { type filter hook postrouting priority 200; policy accept;
		jump rules
	}
}
`

// loadObjects loads the programs of the dataplane with a policy.
func loadObjects(t *testing.T, p *Program) {
	t.Helper()
	shared := map[string]*ebpf.Map{}
	for _, object := range []string{"l2tc_bpfel.o", "l2xdp_bpfel.o"} {
		spec, err := ebpf.LoadCollectionSpec(filepath.Join("../../loader", object))
		if err != nil {
			t.Fatal(err)
		}
		splice(t, p, spec)
		replace := map[string]*ebpf.Map{}
		for name := range spec.Maps {
			if shared[name] != nil {
				replace[name] = shared[name]
			}
		}
		coll, err := ebpf.NewCollectionWithOptions(spec, ebpf.CollectionOptions{MapReplacements: replace})
		if err != nil {
			t.Fatalf("%s: %+v", object, err)
		}
		defer coll.Close()
		for _, name := range append(p.mapNames(), countersMap, limitsMap) {
			shared[name] = coll.Maps[name]
		}
		for name, prog := range coll.Programs {
			info, err := prog.Info()
			if err != nil {
				t.Fatal(err)
			}
			n, _ := info.VerifiedInstructions()
			t.Logf("%s: %d instructions verified", name, n)
		}
	}
	if n := shared[countersMap].MaxEntries(); int(n) != len(p.Rules) {
		t.Errorf("%d counters for %d rules", n, len(p.Rules))
	}
	if n := shared[limitsMap].MaxEntries(); int(n) != max(1, len(p.Limits)) {
		t.Errorf("%d limits for %d limits", n, len(p.Limits))
	}
}

func (p *Program) mapNames() []string {
	var names []string
	for _, s := range p.Sets {
		names = append(names, s.MapName)
	}
	return names
}

// The same ruleset and interfaces give the same instructions and indexes.
func TestDeterminism(t *testing.T) {
	r := newRandom(newRand(7))
	text := r.Forward()
	var hash [32]byte
	var code []function
	for i := range 4 {
		p := compile(t, text)
		functions, err := p.generate(plainLayout())
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			hash, code = p.Hash(), functions
			continue
		}
		if p.Hash() != hash {
			t.Error("hashes differ")
		}
		if !reflect.DeepEqual(functions, code) {
			t.Error("instructions differ")
		}
	}

	// A comment and an empty line change nothing; a verdict does.
	if h := compile(t, "# comment\n\n"+text).Hash(); h != hash {
		t.Error("the hash depends on comments")
	}
	if h := compile(t, text+"table inet t { chain f { counter drop\n}\n}\n").Hash(); h == hash {
		t.Error("the hash does not depend on the rules")
	}
}

// An element of the file belongs to what the program is.
func TestHashElements(t *testing.T) {
	hash := func(elements string) [32]byte {
		return compile(t, "table inet t { set s { type ipv4_addr; flags timeout; elements = { "+elements+" }; }\n}\n").Hash()
	}
	one := hash("192.0.2.1")
	if one != hash("192.0.2.1") || one == hash("192.0.2.2") || one == hash("192.0.2.1 timeout 1h") {
		t.Error("the hash does not tell elements apart")
	}
	if first, second := hash("192.0.2.1 timeout 1h"), hash("192.0.2.1 timeout 1h"); first != second {
		t.Error("the hash depends on when the ruleset was read")
	}
}
