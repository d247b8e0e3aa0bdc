// SPDX-License-Identifier: GPL-2.0-only

package loader

import (
	"testing"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"
)

// TestXDPRefused: an interface that cannot have XDP is TC's alone, unless it has to have it; what fails on the way is an error.
func TestXDPRefused(t *testing.T) {
	needRoot(t)
	broken, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 4, MaxEntries: 1})
	if err != nil {
		t.Fatal(err)
	}
	broken.Close()
	for name, c := range map[string]struct {
		xdp         string
		master      int
		fails, note bool
	}{
		"refused":             {xdp: XDPAuto, master: 1, note: true},
		"refused, and wanted": {xdp: XDPNative, master: 1, fails: true},
		"broken":              {xdp: XDPAuto, fails: true},
	} {
		r := &replacement{
			loaded:     &loaded{maps: map[string]*ebpf.Map{"l2_vlans": broken}},
			interfaces: []InterfaceStatus{{Name: "lo", Index: loopback.Index, XDP: XDPNative}},
		}
		v := &netlink.Vlan{LinkAttrs: netlink.LinkAttrs{ParentIndex: loopback.Index, MasterIndex: c.master}}
		status := InterfaceStatus{}
		if err := r.attachXDP(Interface{Name: "vlan9", XDP: c.xdp}, v, &status); err != nil != c.fails || (status.Note != "") != c.note {
			t.Errorf("%s: %v, %q", name, err, status.Note)
		}
	}
}
