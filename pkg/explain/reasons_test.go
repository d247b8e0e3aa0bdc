// SPDX-License-Identifier: GPL-2.0-only

package explain

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/randomizedcoder/l2d/loader"
)

var update = flag.Bool("update", false, "write the golden files")

const reasonsRuleset = `
table inet t {
	chain prerouting {
		type filter hook prerouting priority -300; policy accept;
		udp dport 6 reject
	}
	chain forward {
		type filter hook forward priority filter; policy accept;
		udp dport 7 drop
		udp dport 8 ct count over 0 drop
	}
}
table ip nat {
	chain prerouting {
		type nat hook prerouting priority dstnat; policy accept;
		udp dport 13 dnat to 203.0.113.1
	}
	chain output {
		type nat hook output priority -100; policy accept;
		udp dport 9 dnat to 192.168.7.1
	}
	chain postrouting {
		type nat hook postrouting priority srcnat; policy accept;
		udp dport 10 snat to 198.51.7.1:5000
	}
}
`

// TestReasons: each reason for a drop is told, with what to do about it.
func TestReasons(t *testing.T) {
	r := newRouter(t)
	target := r.target(reasonsRuleset)
	for _, c := range []struct{ reason, packet, frame string }{
		{"drop_policy", "iif lan0 udp 192.168.7.2:1 > 1.1.1.1:7", ""},
		{"drop_policy", "iif lan0 udp 192.168.7.2:1 > 1.1.1.1:6", ""},
		{"drop_policy", "iif lan0 udp 192.168.7.2:1 > 1.1.1.1:8", ""},
		{"drop_martian", "iif lan0 udp 127.0.0.1:1 > 1.1.1.1:12", ""},
		{"drop_no_route", "iif lan0 udp 192.168.7.2:1 > 1.1.1.1:13", ""},
		{"drop_nat_local", "oif wan0 udp 198.51.7.1:1 > 198.51.7.2:9", ""},
		{"drop_fragment_tiny", "", "45000018000120004011" + "0000c0a80702c6330709" + "00010002"},
		{"drop_fragment", "", "4500001c000100b94011" + "0000c6330701c6330702" + "0001000200080000"},
		{"drop_malformed", "", "4f00001c000100004011" + "0000c0a80702c6330709" + "0001000c00080000"},
	} {
		name := c.reason + " " + c.packet + c.frame
		t.Run(name, func(t *testing.T) {
			req := Request{Packet: c.packet}
			if c.frame != "" {
				b, err := hex.DecodeString(c.frame)
				if err != nil {
					t.Fatal(err)
				}
				binary.BigEndian.PutUint16(b[10:], checksum(b[:20], 0))
				if req.Frame, req.In = b, "lan0"; c.reason == "drop_fragment" {
					req.In, req.Out = "", "wan0"
				}
			}
			var e *Explanation
			r.in("", func() (err error) {
				e, err = Run(target, req)
				return err
			})
			if e.Reason != c.reason {
				t.Errorf("%s %q, want %s: %v", e.Verdict, e.Reason, c.reason, e.Stats)
			}
			var b bytes.Buffer
			if err := e.Write(&b, "firewall.nft", true); err != nil {
				t.Fatal(err)
			}
			if e.Verdict == Rejected {
				return // the answer has a number of its own each time
			}
			golden(t, strings.TrimSuffix(strings.NewReplacer(" ", "_", ":", "_", ">", "to").Replace(c.reason+"_"+c.packet), "_"), b.Bytes())
		})
	}
}

// golden compares a text with what is written down of it.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := "testdata/" + name + ".txt"
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s:\n%s\nwant\n%s", path, got, want)
	}
}

// TestAdvice: something is said of every reason.
func TestAdvice(t *testing.T) {
	names, err := loader.StatNames()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if strings.HasPrefix(name, "drop_") && name != "drop_policy" && advice[name] == "" {
			t.Errorf("nothing is said of %s", name)
		}
	}
}
