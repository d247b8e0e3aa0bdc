// SPDX-License-Identifier: GPL-2.0-only

package ethnl

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// client talks about a namespace of its own, in which there are a pair of veths
// with four queues and a tap device.
func client(t *testing.T) *Client {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	runtime.LockOSThread() // and never unlock: the thread ends with the test
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatal(err)
	}
	run(t, "ip", "link", "add", "v0", "numrxqueues", "4", "numtxqueues", "4", "type", "veth", "peer", "name", "v1")
	run(t, "ip", "tuntap", "add", "tap0", "mode", "tap")
	c, err := Dial()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func run(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v: %s", args, err, out)
	}
	return string(out)
}

func TestSettings(t *testing.T) {
	c := client(t)
	for range 2 { // an answer that is left over would be the next one's
		s, err := c.Get(Channels, "v0")
		if err != nil || s.Max["rx"] != 4 || s.Max["tx"] != 4 {
			t.Fatalf("%v, %v", s, err)
		}
	}
	if err := c.Set(Channels, "v0", map[string]uint32{"rx": 3, "tx": 2}); err != nil {
		t.Fatal(err)
	}
	if s, err := c.Get(Channels, "v0"); err != nil || s.Now["rx"] != 3 || s.Now["tx"] != 2 {
		t.Errorf("%v, %v", s, err)
	}
	if err := c.Set(Coalesce, "tap0", map[string]uint32{"rx-frames": 17}); err != nil {
		t.Fatal(err)
	}
	if s, err := c.Get(Coalesce, "tap0"); err != nil || s.Now["rx-frames"] != 17 || len(s.Now) != 1 {
		t.Errorf("%v, %v", s, err)
	}
}

func TestFeatures(t *testing.T) {
	c := client(t)
	before, err := c.Features("v0")
	if err != nil {
		t.Fatal(err)
	}
	if f := before["tx-tcp-segmentation"]; !f.Active || !f.Wanted || f.Fixed {
		t.Errorf("TSO: %+v", f)
	}
	if f, there := before["rx-lro"]; !there || f.Active || !f.Fixed {
		t.Errorf("LRO: %+v", f)
	}
	if err := c.SetFeatures("v0", map[string]bool{"tx-scatter-gather": false, "rx-gro": true}); err != nil {
		t.Fatal(err)
	}
	after, err := c.Features("v0")
	if err != nil {
		t.Fatal(err)
	}
	if f := after["tx-scatter-gather"]; f.Active || f.Wanted {
		t.Errorf("scatter-gather: %+v", f)
	}
	// It depends on the other one.
	if f := after["tx-tcp-segmentation"]; f.Active || !f.Wanted {
		t.Errorf("TSO: %+v", f)
	}
	if f := after["rx-gro"]; !f.Active {
		t.Errorf("GRO: %+v", f)
	}
}

func TestErrors(t *testing.T) {
	c := client(t)
	if _, err := c.Get(Rings, "v0"); err != nil && !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("rings of a veth: %v", err)
	}
	if _, err := c.Get(Coalesce, "v0"); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("coalescing of a veth: %v", err)
	}
	if _, err := c.Get(Channels, "nosuch"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no interface: %v", err)
	}
	if _, err := c.Features("nosuch"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no interface: %v", err)
	}
	if err := c.Set(Channels, "v0", map[string]uint32{"rx": 5}); err == nil || !strings.Contains(err.Error(), "requested channel count exceeds maximum") {
		t.Errorf("too many channels: %v", err)
	}
	if err := c.Set(Channels, "v0", map[string]uint32{"nosuch": 5}); err == nil {
		t.Error("a setting that does not exist is set")
	}
	if err := c.SetFeatures("v0", map[string]bool{"nosuch": true}); err == nil {
		t.Error("a feature that does not exist is set")
	}
	if _, err := c.Get(Channels, "v0"); err != nil {
		t.Errorf("after errors: %v", err)
	}
}
