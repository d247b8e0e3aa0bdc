// SPDX-License-Identifier: GPL-2.0-only

package loader

import (
	"strings"
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

func TestDev(t *testing.T) {
	r := newRouter(t)
	for _, mode := range []string{XDPAuto, XDPOff} {
		if mode == XDPOff {
			r.must("ip", "netns", "exec", r.name+"l", "ethtool", "-K", "eth0", "tx", "on", "tso", "on")
			r.must("ip", "netns", "exec", r.name+"w", "ethtool", "-K", "eth0", "tx", "on", "tso", "on")
		}
		var d *Dataplane
		r.in("r", func() (err error) {
			c := r.config(testPolicy{masquerade: true})
			for i := range c.Interfaces {
				c.Interfaces[i].XDP = mode
			}
			d, err = Apply(c)
			return err
		})
		for _, v := range []string{"198.51.7.2", "2001:db8:7::2"} {
			for _, args := range [][]string{{}} {
				srv := r.host("w", "iperf3", "-s", "-1")
				srv.Start()
				r.host("w", "sleep", "0.3").Run()
				out, err := r.host("l", append([]string{"iperf3", "-c", v, "-t", "1", "-f", "m"}, args...)...).CombinedOutput()
				lines := strings.Split(strings.TrimSpace(string(out)), "\n")
				t.Log(mode, v, args, err, "\n", strings.Join(lines[max(0, len(lines)-5):], "\n"))
				srv.Process.Kill()
				srv.Wait()
			}
			out, err := r.host("l", "traceroute", "-n", "-q", "1", "-w", "2", v).CombinedOutput()
			t.Log(string(out), err)
		}
		r.must("ip", "-n", r.name+"r", "link", "set", "wan0", "mtu", "1400");r.must("ip", "-n", r.name+"w", "link", "set", "eth0", "mtu", "1400")
		for _, v := range []string{"198.51.7.2", "2001:db8:7::2"} {
			out, err := r.host("l", "ping", "-M", "do", "-s", "1440", "-c", "2", "-W", "1", v).CombinedOutput()
			t.Log(string(out), err)
			r.host("l", "ip", "route", "flush", "cache").Run()
			out, err = r.host("l", "ping", "-M", "dont", "-s", "1440", "-c", "2", "-W", "1", v).CombinedOutput()
			t.Log(string(out), err)
			r.host("l", "ip", "route", "flush", "cache").Run()
			out, err = r.host("l", "ping", "-M", "dont", "-s", "4440", "-c", "2", "-W", "1", v).CombinedOutput()
			t.Log(string(out), err)
		}
		r.must("ip", "-n", r.name+"r", "link", "set", "wan0", "mtu", "1500");r.must("ip", "-n", r.name+"w", "link", "set", "eth0", "mtu", "1500"); r.must("ip", "-n", r.name+"l", "route", "flush", "cache");r.must("ip","-n", r.name+"l", "-6", "route", "flush", "cache")
		st, err := d.Status()
		t.Logf("%+v %v", st.Stats, err)
		d.Close()
	}
}
