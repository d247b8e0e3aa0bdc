// SPDX-License-Identifier: GPL-2.0-only

package diff

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A policer that marks packets of L4S instead of dropping them, in nftables' words: the
// chain that it has instead of a verdict. It comes last, so that the others' rules have the
// same handles without it.
// Longer datagrams with a changed IPv6 header the kernel's own UDP takes for broken: see Differences.
const policed = `table inet police {
	chain sent {
		type filter hook prerouting priority -150; policy accept;
		udp sport & 3 == 1 ip ecn set ect1
		udp sport & 3 == 1 udp length <= 76 ip6 ecn set ect1
		tcp sport & 3 == 2 ip ecn set ect1
		udp sport & 3 == 3 ip ecn set ce
	}
	chain forward {
		type filter hook forward priority 0; policy accept;
		meta l4proto udp limit rate over 1/second burst 20 packets jump over
		meta l4proto tcp limit rate over 1/second burst 100 packets jump over
		ip ecn ce counter
		ip6 ecn ce counter
	}
	chain over {
		ip ecn { ect1, ce } ip ecn set ce return
		ip6 ecn { ect1, ce } ip6 ecn set ce return
		drop
	}
}
`

// marks has l2d's policers drop, and the option that makes them mark.
func marks(ruleset string) string {
	begin := strings.Index(ruleset, "chain over {")
	end := begin + strings.Index(ruleset[begin:], "\n\t}")
	ruleset = ruleset[:begin] + "chain over {" + ruleset[end:]
	return strings.ReplaceAll(ruleset, "jump over", "drop")
}

// TestPolice compares policers that mark with rules of nftables that do the same.
func TestPolice(t *testing.T) {
	file := filepath.Join(t.TempDir(), "police.nft")
	if err := os.WriteFile(file, []byte(policed), 0o600); err != nil {
		t.Fatal(err)
	}
	r := newRig(t)
	for seed := seedOf(); seed < seedOf()+2; seed++ { // at TC, and at XDP
		res, err := r.Run(t.Context(), file, Options{Packets: 1000, Seed: seed, change: marks, marksECT1: true})
		if err != nil {
			t.Fatal(err)
		}
		if res.Mismatch != nil {
			t.Fatal(res.Mismatch)
		}
		stats, err := r.loaded.e.stats()
		if err != nil {
			t.Fatal(err)
		}
		t.Log(res)
		if stats["policer_marked"] == 0 || stats["drop_policy"] == 0 {
			t.Errorf("%d packets marked, %d dropped", stats["policer_marked"], stats["drop_policy"])
		}
	}
}
