// SPDX-License-Identifier: GPL-2.0-only

package ntuple

import (
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"

	"github.com/randomizedcoder/l2d/internal/fakenic"
	"github.com/randomizedcoder/l2d/pkg/ethioctl"
)

func parse(t *testing.T, texts ...string) (list []Rule) {
	t.Helper()
	for _, text := range texts {
		r, err := Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if r.String() != text {
			t.Fatalf("%q is read as %q", text, r.String())
		}
		list = append(list, r)
	}
	return list
}

// randomRule is one that a NIC could be told of.
func randomRule(r *rand.Rand) (out Rule) {
	out.Family = 4 + 2*r.IntN(2)
	out.Proto = []uint8{0, 6, 17, 132, 47}[r.IntN(5)]
	if out.Proto == 47 && r.IntN(2) == 0 {
		out.Proto = map[int]uint8{4: 1, 6: 58}[out.Family]
	}
	prefix := func() netip.Prefix {
		b := make([]byte, map[int]int{4: 4, 6: 16}[out.Family])
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		a, _ := netip.AddrFromSlice(b)
		p, _ := a.Prefix(1 + r.IntN(a.BitLen()))
		return p
	}
	if r.IntN(2) == 0 {
		out.Src = prefix()
	}
	if r.IntN(2) == 0 {
		out.Dst = prefix()
	}
	if HasPorts(out.Proto) {
		out.SrcPort, out.DstPort = uint16(r.IntN(3)), uint16(r.IntN(65536))
	}
	if r.IntN(3) == 0 {
		out.VLAN, out.Tagged = uint16(1+r.IntN(4094)), true
	}
	out.Action = Drop
	if r.IntN(2) == 0 {
		out.Action, out.Queue = ToQueue, uint32(r.IntN(64))
	}
	return out
}

// TestText: a rule is the same after its text, and after the kernel's bytes.
func TestText(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 5000 {
		rule := randomRule(r)
		again, err := Parse(rule.String())
		if err != nil || fmt.Sprintf("%+v", again) != fmt.Sprintf("%+v", rule) {
			t.Fatalf("%q: %v: %+v, not %+v", rule.String(), err, again, rule)
		}
		s, err := rule.Spec()
		if err != nil {
			t.Fatal(err)
		}
		s.SetLocation(uint32(r.IntN(100)))
		back, located, err := ParseSpec(SpecText(s))
		if err != nil || !located || back != s {
			t.Fatalf("%q: %v, %v", SpecText(s), located, err)
		}
		if text := SpecText(s); strings.Contains(text, rawWord) {
			t.Fatalf("%q: not known again", rule.String())
		}
	}
	for _, text := range []string{"all cpu 0-3,8", "vlan 7 drop", "tcp dport 22 drop", "proto 47 drop"} {
		parse(t, text)
	}
	for _, bad := range []string{"", "tcp4 dport 22", "tcp5 drop", "tcp4 dport 65536 drop", "src 10.0.0.1/8 drop", "queue", "cpu x"} {
		if r, err := Parse(bad); err == nil {
			t.Errorf("%q is %+v", bad, r)
		}
	}
}

// TestForeignRule: what others have given a NIC, and no rule of l2d's can be, is not
// lost.
func TestForeignRule(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 2000 {
		var s ethioctl.Spec
		base := randomRule(r)
		s, _ = base.Spec()
		for range 1 + r.IntN(3) {
			s[r.IntN(160)] ^= byte(1 << r.IntN(8))
		}
		s.SetLocation(7)
		back, located, err := ParseSpec(SpecText(s))
		if err != nil || !located || back != s {
			t.Fatalf("%s: %q: %v", hex.EncodeToString(s[:]), SpecText(s), err)
		}
	}
}

// TestSpec compares with what ethtool -N sends: of "flow-type tcp4 src-ip 192.0.2.0 m
// 0.0.0.255 dst-port 135 vlan 7 m 0xf000 action -1".
func TestSpec(t *testing.T) {
	s, err := parse(t, "tcp4 src 192.0.2.0/24 dport 135 vlan 7 drop")[0].Spec()
	if err != nil {
		t.Fatal(err)
	}
	if s.Type() != 0x80000001 || s.Cookie() != 1<<64-1 {
		t.Errorf("type %#x, cookie %#x", s.Type(), s.Cookie())
	}
	for what, c := range map[string]struct {
		have []byte
		want string
	}{
		"header": {s.Header()[:13], "c0000200" + "00000000" + "0000" + "0087" + "00"}, "mask": {s.Mask()[:13], "ffffff00" + "00000000" + "0000" + "ffff" + "00"},
		"tag": {s.Ext()[8:12], "00000007"}, "its mask": {s.ExtMask()[8:12], "00000fff"},
	} {
		if got := hex.EncodeToString(c.have); got != c.want {
			t.Errorf("%s: %s, not %s", what, got, c.want)
		}
	}
}

// places says of each rule where it is: N for the NIC, X for XDP, B for both, - for neither.
func places(list []Placed) string {
	var b strings.Builder
	for _, p := range list {
		b.WriteByte("-XNB"[map[bool]int{true: 1}[p.XDP]+2*map[bool]int{true: 1}[p.Hardware]])
	}
	return b.String()
}

func TestPlace(t *testing.T) {
	for _, c := range []struct {
		driver, want string
		rules        []string
	}{
		// The reference deployment's drops: one mask.
		{"ixgbe", "NNNNN", []string{"tcp4 dport 135 drop", "tcp4 dport 139 drop", "tcp4 dport 445 drop", "udp4 dport 137 drop", "udp4 dport 138 drop"}},
		{"ixgbe", "NX", []string{"tcp dport 135 drop"}}, // both families
		{"ixgbe", "NX", []string{"tcp4 dport 135 drop", "tcp4 src 192.0.2.1 drop"}},
		{"ixgbe", "NX", []string{"ip4 src 192.0.2.1 drop", "tcp4 src 192.0.2.1 dport 9 drop"}},
		{"ixgbe", "XN", []string{"tcp4 dport 135 drop", "tcp4 src 192.0.2.1 queue 3"}}, // a queue has the first say
		{"ixgbe", "NN", []string{"tcp4 src 192.0.2.0/24 drop", "tcp4 src 198.51.0.0/24 queue 3"}},
		{"ixgbe", "NX", []string{"tcp4 src 192.0.2.0/24 drop", "tcp4 src 198.51.0.0/16 drop"}},
		{"ixgbe", "X-", []string{"icmp drop", "tcp6 dport 9 queue 1"}},
		// The first rule decides, wherever it is.
		{"ixgbe", "XX", []string{"tcp4 dport 135 cpu 1", "tcp4 src 192.0.2.1 drop"}},
		{"ixgbe", "XN", []string{"tcp4 dport 135 cpu 1", "udp4 dport 135 drop"}},
		{"ixgbe", "BX", []string{"tcp4 dport 135 queue 1", "tcp4 src 192.0.2.1 drop"}},
		{"ixgbe", "NX", []string{"tcp4 dport 135 queue 1", "udp4 src 192.0.2.1 drop"}},
		{"i40e", "NNXX", []string{"tcp4 dport 135 drop", "udp6 src 2001:db8::1 drop", "tcp4 sport 1 drop", "ip4 src 192.0.2.1 drop"}},
		{"i40e", "X", []string{"tcp4 src 192.0.2.0/24 drop"}},
		{"atlantic", "NNXX", []string{"tcp4 dport 135 drop", "ip4 src 192.0.2.1 drop", "ip4 src 192.0.2.0/24 drop", "tcp4 dport 9 vlan 7 drop"}},
		{"atlantic", "NNNNNNNNX", []string{"tcp4 dport 1 drop", "tcp4 dport 2 drop", "tcp4 dport 3 drop", "tcp4 dport 4 drop", "tcp4 dport 5 drop", "tcp4 dport 6 drop", "tcp4 dport 7 drop", "tcp4 dport 8 drop", "tcp4 dport 9 drop"}},
		{"bnxt_en", "NXN-", []string{"tcp4 dport 135 queue 1", "tcp4 src 192.0.2.1 drop", "udp6 dport 9 drop", "sctp4 dport 1 queue 2"}},
		{"veth", "X", []string{"tcp4 dport 135 drop"}},
		{"ice", "N", []string{"tcp4 dport 135 queue 2"}}, // the kernel is asked
	} {
		list := Place(NIC{Driver: c.driver, NTuple: true}, parse(t, c.rules...))
		got := places(list)
		if c.driver == "bnxt_en" {
			got = strings.ReplaceAll(got, "B", "N")
		}
		if got != c.want {
			t.Errorf("%s, %q: %s, not %s: %+v", c.driver, c.rules, got, c.want, list)
		}
		for _, p := range list {
			if (p.Why == "") != p.Hardware {
				t.Errorf("%s: %q: %v, %q", c.driver, p.String(), p.Hardware, p.Why)
			}
		}
	}
	if got := places(Place(NIC{Driver: "ixgbe"}, parse(t, "tcp4 dport 135 drop"))); got != "X" {
		t.Errorf("without the feature: %s", got)
	}
}

// TestPlacedIsTaken: whatever is placed in an 82599, it takes.
func TestPlacedIsTaken(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	taken := 0
	for range 500 {
		n := fakenic.New("fake0")
		var rules []Rule
		for range 1 + r.IntN(6) {
			rule := randomRule(r)
			rule.Queue %= 8
			rules = append(rules, rule)
		}
		for i, p := range Place(NIC{Driver: "ixgbe", NTuple: true}, rules) {
			if !p.Hardware {
				continue
			}
			s, err := p.Spec()
			if err != nil {
				t.Fatal(err)
			}
			s.SetLocation(uint32(i))
			if _, err := ethioctl.Insert(n, "fake0", s); err != nil {
				t.Fatalf("%q of %+v: %v", p.String(), rules, err)
			}
			taken++
		}
	}
	if taken < 300 {
		t.Errorf("only %d rules", taken)
	}
}

func TestProbe(t *testing.T) {
	n := fakenic.New("fake0")
	before := fmt.Sprint(n.State())
	list, there, err := Probe(n, "fake0", NIC{Driver: "ixgbe", NTuple: true})
	if err != nil || len(there) != 0 {
		t.Fatalf("%v, %v", err, there)
	}
	taken := map[string]bool{}
	for _, p := range list {
		taken[p.Kind] = p.Taken
		if p.Taken == (p.Error != "") {
			t.Errorf("%+v", p)
		}
	}
	for kind, want := range map[string]bool{
		"tcp4: a destination port": true, "tcp4: a prefix": true, "ip4: an address": true, "ip4: a protocol": false, "tcp6: a destination port": false,
		"a VLAN": false, "tcp4: drop": true, "two protocols at once": true, "two masks at once": false,
	} {
		if got, ok := taken[kind]; !ok || got != want {
			t.Errorf("%s: %v", kind, got)
		}
	}
	if after := fmt.Sprint(n.State()); after != before {
		t.Errorf("left: %s, not %s", after, before)
	}
	if _, _, err := Probe(unsupported{}, "fake0", NIC{}); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("%v", err)
	}
}

type unsupported struct{}

func (unsupported) Do(string, []byte) error { return errors.ErrUnsupported }
