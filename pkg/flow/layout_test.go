// SPDX-License-Identifier: GPL-2.0-only

package flow

import (
	"testing"
	"time"
)

// TestAge: it is right to the millisecond for as long as a flow may live, and to
// the tick where another build that did not know better has made the flow.
func TestAge(t *testing.T) {
	const day = 24 * time.Hour
	for _, began := range []uint64{0, 1 << 40, 1<<52 - 1<<30, 5 << 52} {
		for _, age := range []time.Duration{0, time.Millisecond, 5 * time.Millisecond, 140 * time.Millisecond, time.Hour, 51 * day, 53 * day, 200 * day} {
			now := began + uint64(age)
			f := rawFlow{Created: uint32(began >> tickShift), Fraction: uint8(began >> msShift & 127)}
			if got := f.age(now); (got - age).Abs() > 1<<msShift {
				t.Errorf("began at %d, %v later: %v", began, age, got)
			}
			f.Fraction = 0
			if got := f.age(now); (got - age).Abs() > 1<<tickShift {
				t.Errorf("began at %d, %v later, by ticks: %v", began, age, got)
			}
		}
	}
	// It began while the table was being read.
	f := rawFlow{Created: 5}
	if got := f.age(5<<tickShift - 1); got != 0 {
		t.Error(got)
	}
}
