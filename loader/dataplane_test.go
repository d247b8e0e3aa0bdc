// SPDX-License-Identifier: GPL-2.0-only

package loader

import (
	"testing"

	"github.com/randomizedcoder/l2d/pkg/flow"
)

func testTimeouts() flow.Timeouts { return flow.DefaultTimeouts() }

func TestForwardAndMasquerade(t *testing.T) {
	r := newRouter(t)
	var d *Dataplane
	r.in("r", func() (err error) {
		d, err = Apply(r.config(testPolicy{masquerade: true}))
		return err
	})
	defer d.Close()
	st, err := d.Status()
	t.Logf("%+v %v", st, err)
	for _, addr := range []string{"198.51.7.2", "2001:db8:7::2"} {
		out, err := r.host("l", "ping", "-c", "3", "-i", "0.2", "-W", "2", addr).CombinedOutput()
		t.Log(string(out), err)
		if err != nil {
			t.Errorf("no answer from %s", addr)
		}
	}
	st, err = d.Status()
	t.Logf("%+v %v", st.Stats, err)
}
