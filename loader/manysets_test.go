// SPDX-License-Identifier: GPL-2.0-only

package loader

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/randomizedcoder/l2d/pkg/nft"
	"github.com/randomizedcoder/l2d/pkg/policy"
)

// TestManySets: sets that programs find in a map of maps change while they run, are
// taken over with the programs, and are carried over to and from a policy of few sets.
func TestManySets(t *testing.T) {
	t.Parallel()
	r := newRouter(t)
	lan, wan := r.tap(t, "l"), r.tap(t, "w")
	f := families[0]
	ruleset := func(others int) *policy.Program {
		var sets strings.Builder
		for i := range others {
			fmt.Fprintf(&sets, "set other%d { type ipv4_addr; size 4; flags timeout; }\n", i)
		}
		return compiled(t, fmt.Sprintf(`table inet t {
			%s
			set let { type ipv4_addr; size 4; flags timeout; }
			chain forward { type filter hook forward priority filter; policy drop
				ip saddr @let meta l4proto udp accept
			}
		}`, &sets)).(*policy.Program)
	}
	many, few := ruleset(2*policy.MaxSetMaps), ruleset(0)
	port := uint16(5000)
	forwards := func() bool {
		port++
		src, dst := at(f.lan, port), at(f.wanless, 5000)
		lan.send(ipPacket(src.Addr(), dst.Addr(), unix.IPPROTO_UDP, 64, udpDatagram(src, dst, nil)))
		for _, p := range wan.drain() {
			if p.proto == unix.IPPROTO_UDP && p.src.Port() == port {
				return true
			}
		}
		return false
	}
	change := func(d *Dataplane, p *policy.Program, do func(s *policy.Set, maps policy.Maps) error) {
		t.Helper()
		set, err := p.Set(nft.FamilyInet, "t", "let")
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Maps(func(m map[string]*ebpf.Map) error { return do(set, m) }); err != nil {
			t.Fatal(err)
		}
	}
	add := func(s *policy.Set, m policy.Maps) error { return s.Add(m, f.lan.String(), time.Hour) }

	d := r.mustApply(r.config(many))
	if forwards() {
		t.Error("forwards from an address in no set")
	}
	change(d, many, add)
	eventually(t, patience, "the address in the set", forwards)
	for _, step := range []struct {
		policy *policy.Program
		kept   bool
	}{{many, true}, {few, false}, {few, true}, {many, false}} {
		d.Close()
		d = r.mustApply(r.config(step.policy))
		if d.Kept() != step.kept {
			t.Errorf("kept: %v", d.Kept())
		}
		s, err := d.Status()
		if err != nil {
			t.Fatal(err)
		}
		if kept := len(keptPrograms(s)) > 0; kept != step.kept {
			t.Errorf("programs kept: %v", keptPrograms(s))
		}
		eventually(t, patience, "the address still in the set", forwards)
	}
	change(d, many, func(s *policy.Set, m policy.Maps) error { return s.Delete(m, f.lan.String()) })
	if forwards() {
		t.Error("forwards from an address that is in the set no more")
	}
}
