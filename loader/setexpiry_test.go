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
			set seen { type ipv4_addr; size 4; flags dynamic, timeout; timeout 1s; }
			chain forward {
				type filter hook forward priority filter; policy drop
				update @marks { meta mark }
				meta l4proto udp meta mark set %d add @seen { ip saddr } accept
			}
		}`, &others, mark))))
		d.Close() // nobody is there from now on
		forwarded := 0
		send := func(host int) {
			from := netip.AddrFrom4([4]byte{192, 168, byte(100 + round), byte(host)})
			src, dst := at(from, 5000), at(f.wanless, 5000)
			lan.send(ipPacket(src.Addr(), dst.Addr(), unix.IPPROTO_UDP, 64, udpDatagram(src, dst, nil)))
			for _, p := range wan.drain() {
				if p.proto == unix.IPPROTO_UDP && p.src == src {
					forwarded++
				}
			}
		}
		for host := range 8 {
			send(host)
		}
		if forwarded < 1 || forwarded > 4 {
			t.Fatalf("%d sources in a set of 4", forwarded)
		}
		eventually(t, 40*time.Second, "room in the set", func() bool {
			before := forwarded
			send(100) // has not been in the set
			return forwarded > before
		})
	}
}
