// SPDX-License-Identifier: GPL-2.0-only

package loader

import (
	"testing"

	"github.com/cilium/ebpf"
)

// The programs know the clock from the beginning, and again after a change.
func TestClock(t *testing.T) {
	t.Parallel()
	r := newRouter(t)
	d := r.mustApply(r.config(testPolicy{}))
	want, err := readClock()
	if err != nil {
		t.Fatal(err)
	}
	known := func() (c l2TCClock) {
		if err := d.Map("l2_clock", func(m *ebpf.Map) error { return m.Lookup(uint32(0), &c) }); err != nil {
			t.Fatal(err)
		}
		return c
	}
	if got := known(); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	other := l2TCClock{TaiOffset: want.TaiOffset + 1, MinutesWest: 5}
	if err := d.Map("l2_clock", func(m *ebpf.Map) error { return m.Put(uint32(0), other) }); err != nil {
		t.Fatal(err)
	}
	if got := known(); got != other {
		t.Errorf("%+v, want %+v", got, other)
	}
	if err := d.RefreshClock(); err != nil {
		t.Fatal(err)
	}
	if got := known(); got != want {
		t.Errorf("after a refresh %+v, want %+v", got, want)
	}
}
