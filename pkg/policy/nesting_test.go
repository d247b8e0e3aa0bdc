// SPDX-License-Identifier: GPL-2.0-only

package policy

import (
	"fmt"
	"strings"
	"testing"

	"github.com/randomizedcoder/l2d/pkg/nft"
)

// chainOfJumps is a base chain and n regular ones, each of which jumps to the
// next, and the last one to what last names.
func chainOfJumps(n int, last string) *nft.Ruleset {
	t := &nft.Table{Family: nft.FamilyInet, Name: "t"}
	for i := range n + 1 {
		ch := &nft.Chain{Table: t, Name: fmt.Sprintf("c%d", i)}
		if i == 0 {
			ch.Base = &nft.Base{Type: "filter", Hook: nft.HookForward, Policy: nft.VerdictAccept}
		}
		to := fmt.Sprintf("c%d", i+1)
		if i == n {
			to = last
		}
		if to != "" {
			ch.Rules = []*nft.Rule{{Chain: ch, Handle: uint64(i + 1), Exprs: []nft.Expr{
				&nft.ExprImmediate{Verdict: &nft.Verdict{Code: nft.VerdictJump, Chain: to}},
			}}}
		}
		t.Chains = append(t.Chains, ch)
	}
	return &nft.Ruleset{Tables: []*nft.Table{t}}
}

// Jumps that no kernel takes are refused, as deep as it takes them they compile.
func TestJumps(t *testing.T) {
	for _, tt := range []struct {
		name string
		rs   *nft.Ruleset
		want string // in the error
	}{
		{"as deep as allowed", chainOfJumps(maxJumps, ""), ""},
		{"deeper", chainOfJumps(maxJumps+1, ""), "17 deep, more than 16"},
		{"to itself", chainOfJumps(3, "c3"), "chain c3: its jumps lead back to it"},
		{"in a circle", chainOfJumps(3, "c1"), "chain c1: its jumps lead back to it"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Compile(tt.rs, Options{})
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
}
