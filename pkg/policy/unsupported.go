// SPDX-License-Identifier: GPL-2.0-only

package policy

import (
	"fmt"
	"strings"

	"github.com/randomizedcoder/l2d/pkg/nft"
)

// Unsupported says that a rule, or a base chain, cannot be compiled.
type Unsupported struct {
	// Table as "family name".
	Table string
	Chain string
	// Handle of the rule; 0 when it is the chain itself.
	Handle uint64
	// Line of the rule in its file; 0 when not known.
	Line int
	// Text of the rule, or the chain's "type … hook …".
	Text string
	// Expr is the name of the expression, or of the chain's property.
	Expr string
	// Why says what about it is not supported; may be empty.
	Why string
	// Supported lists what would be.
	Supported string
}

// Error implements error.
func (u *Unsupported) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "table %s chain %s", u.Table, u.Chain)
	what := "expression "
	if u.Handle != 0 {
		fmt.Fprintf(&b, " rule handle %d", u.Handle)
	} else {
		what = ""
	}
	if u.Line != 0 {
		fmt.Fprintf(&b, " (line %d)", u.Line)
	}
	fmt.Fprintf(&b, ": \"%s\": %s%q: not supported", u.Text, what, u.Expr)
	if u.Why != "" {
		fmt.Fprintf(&b, ": %s", u.Why)
	}
	if u.Supported != "" {
		fmt.Fprintf(&b, "; supported: %s", u.Supported)
	}
	return b.String()
}

// refusal is what lowering an expression returns when it cannot; lowerRule
// completes it with the rule.
type refusal struct {
	why, supported string
}

func (r *refusal) Error() string { return r.why }

func refuse(supported, why string, args ...any) error {
	return &refusal{fmt.Sprintf(why, args...), supported}
}

func unsupportedRule(r *nft.Rule, expr string, why, supported string) *Unsupported {
	return &Unsupported{
		Table:     r.Chain.Table.String(),
		Chain:     r.Chain.Name,
		Handle:    r.Handle,
		Line:      r.Line,
		Text:      r.Text,
		Expr:      expr,
		Why:       why,
		Supported: supported,
	}
}
