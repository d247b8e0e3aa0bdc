// SPDX-License-Identifier: GPL-2.0-only

package policy

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"slices"
	"testing"

	"github.com/randomizedcoder/l2d/pkg/nft"
)

// count runs a packet n times and returns how often it was accepted.
func (h *harness) count(pk packet, n int) (accepted int) {
	h.t.Helper()
	for range n {
		if h.run("policy_input", &pk).accept {
			accepted++
		}
	}
	return accepted
}

func TestComputedValues(t *testing.T) {
	for _, tt := range []struct {
		rule     string
		min, max int // of 400
	}{
		{"numgen inc mod 4 0 accept", 100, 100},
		{"numgen inc mod 4 1-3 accept", 300, 300},
		{"numgen inc mod 4 offset 10 10 accept", 100, 100},
		{"numgen inc mod 4 offset 10 0 accept", 0, 0},
		{"numgen inc mod 4 vmap { 0 : drop, 1-2 : accept }", 200, 200},
		{"numgen inc mod 2 0 numgen inc mod 2 1 accept", 100, 100},
		{"numgen random mod 4 0 accept", 50, 160},
		{"numgen random mod 4 offset 100 100-103 accept", 400, 400},
		{"numgen random mod 2 vmap { 0 : accept, 1 : drop }", 130, 270},
		{"meta random < 0x40000000 accept", 50, 160},
		{"meta random & 1 == 0 accept", 130, 270},
		{"tcp dport 22 meta random >= 0x80000000 numgen inc mod 1 0 accept", 130, 270},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			p := compile(t, inInput(tt.rule))
			if n := newHarness(t, p).count(lanSSH, 400); n < tt.min || n > tt.max {
				t.Errorf("%d of 400 accepted, want %d to %d", n, tt.min, tt.max)
			}
		})
	}
}

func TestMetaCPU(t *testing.T) {
	rules := ""
	for i := range runtime.NumCPU() {
		rules += fmt.Sprintf("meta cpu %d accept\n", i)
	}
	if n := newHarness(t, compile(t, inInput(rules))).count(lanSSH, 10); n != 10 {
		t.Errorf("%d of 10 accepted", n)
	}
	if n := newHarness(t, compile(t, inInput("meta cpu > 4095 accept"))).count(lanSSH, 10); n != 0 {
		t.Errorf("%d of 10 accepted on a CPU that is not there", n)
	}
}

// nft writes shifts into maps and statements; of a comparison it shifts the
// constant.
func TestShifts(t *testing.T) {
	for _, tt := range []struct {
		op    nft.BitwiseOp
		shift uint32
		want  uint32 // of 60
	}{{nft.BitwiseLshift, 4, 960}, {nft.BitwiseLshift, 28, 0xc0000000}, {nft.BitwiseRshift, 3, 7}, {nft.BitwiseRshift, 0, 60}} {
		rs := readRuleset(t, inInput("meta length 60 accept"))
		r := rs.Rules()[0]
		load, cmp := r.Exprs[0].(*nft.ExprMeta), r.Exprs[1].(*nft.ExprCmp)
		binary.NativeEndian.PutUint32(cmp.Data, tt.want)
		r.Exprs = slices.Insert(r.Exprs, 1, nft.Expr(&nft.ExprBitwise{Op: tt.op, Src: load.Reg, Dst: cmp.Reg, Len: 4, Shift: tt.shift}))
		p, err := Compile(rs, Options{Links: testLinks})
		if err != nil {
			t.Fatal(err)
		}
		h := newHarness(t, p)
		if !h.run("policy_input", &lanSSH).accept || h.run("policy_input", &wanDNS).accept {
			t.Errorf("%+v: does not tell 60 from 200", tt)
		}
	}
}

// What differs from one rule to the next says nothing about later rules.
func TestLintComputedValues(t *testing.T) {
	p := compile(t, inInput("meta random < 7 drop\nmeta random < 7 drop\nmeta cpu 1 accept\nnumgen inc mod 2 0 accept\nnumgen inc mod 2 0 accept"))
	if w := p.Lint(); len(w) != 0 {
		t.Errorf("warnings %v", w)
	}
}
