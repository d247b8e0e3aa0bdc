// SPDX-License-Identifier: GPL-2.0-only

package loader

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/randomizedcoder/l2d/pkg/nft"
	"github.com/randomizedcoder/l2d/pkg/policy"
)

// compiled is a real ruleset.
func compiled(t *testing.T, text string) Policy {
	t.Helper()
	return compiledWith(t, policy.Options{}, text)
}

func compiledWith(t *testing.T, options policy.Options, text string) Policy {
	t.Helper()
	file := filepath.Join(t.TempDir(), "test.nft")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	rs, err := nft.ReadFile(context.Background(), file, nil)
	if err != nil {
		t.Fatal(err)
	}
	p, err := policy.Compile(rs, options)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestSetExpiry: elements that have expired make room in a full set without any
// process of l2d, in a policy that replaced another one, too.
func TestSetExpiry(t *testing.T) {
	t.Parallel()
	r := newRouter(t)
	lan, wan := r.tap(t, "l"), r.tap(t, "w")
	f := families[0]
	for round, mark := range []int{1, 2, 3} {
		var others strings.Builder // have them in a map of maps, the third time
		for i := range round / 2 * policy.MaxSetMaps {
			fmt.Fprintf(&others, "set other%d { type ipv4_addr; size 4; }\n", i)
		}
		d := r.mustApply(r.config(compiled(t, fmt.Sprintf(`table inet t {
			%s
			set marks { type mark; flags dynamic, timeout; }
			set seen { type ipv4_addr; size 4; flags dynamic, timeout; timeout 3s; }
			chain forward {
				type filter hook forward priority filter; policy drop
				update @marks { meta mark }
				meta l4proto udp meta mark set %d add @seen { ip saddr } accept
			}
		}`, &others, mark))))
		d.Close() // nobody is there from now on
		// All at once: before the first ones expire.
		forwarded := func(hosts ...byte) int {
			for _, host := range hosts {
				src, dst := at(netip.AddrFrom4([4]byte{192, 168, byte(100 + round), host}), 5000), at(f.wanless, 5000)
				lan.send(ipPacket(src.Addr(), dst.Addr(), unix.IPPROTO_UDP, 64, udpDatagram(src, dst, nil)))
			}
			n := 0
			for _, p := range wan.drain() {
				if p.proto == unix.IPPROTO_UDP && p.dst.Port() == 5000 {
					n++
				}
			}
			return n
		}
		if n := forwarded(0, 1, 2, 3, 4, 5, 6, 7); n < 1 || n > 4 {
			t.Fatalf("%d sources in a set of 4", n)
		}
		eventually(t, 60*time.Second, "room in the set", func() bool { return forwarded(100) > 0 }) // has not been in it
	}
}
