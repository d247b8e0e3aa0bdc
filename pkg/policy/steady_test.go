// SPDX-License-Identifier: GPL-2.0-only

package policy

import (
	"slices"
	"testing"
)

// TestSteady: rules that no packet of an established flow comes to do not keep XDP from the
// ruleset, and others do; in the program that tells of its steps, too.
func TestSteady(t *testing.T) {
	writers := []string{"nft_payload_set", "nft_tcp_set"}
	const write = "ip dscp set cs1"
	for _, tt := range []struct {
		base, rules string
		tcOnly      bool
	}{
		{"forward priority 0", write, true},
		{"forward priority 0", "ct state established,related accept\n" + write, false},
		{"forward priority 0", "ct state != established " + write, false},
		{"forward priority 0", "ct state new,untracked " + write, false},
		{"forward priority 0", "ct state established,new " + write, true},
		{"forward priority 0", "ct state established counter return\n" + write, false},
		{"forward priority 0", "ct state established ip saddr 10.0.0.1 accept\n" + write, true},
		{"forward priority 0", "ct state established limit rate 5/second accept\n" + write, true},
		{"forward priority 0", "ct state established log\n" + write, true},
		{"forward priority 0", "ct state established jump r\n" + write, true},
		{"forward priority 0", "ct state established goto r\n" + write, false},
		{"forward priority 0", "ct state new jump w", false},
		{"forward priority 0", "jump w", true},
		{"forward priority 0", "ct state vmap { established : accept, related : accept, invalid : drop }\n" + write, false},
		{"forward priority 0", "ct state vmap { established : jump r, new : jump w }", false},
		{"forward priority 0", "ct state vmap { new : jump w, * : accept }\n" + write, false},
		{"forward priority 0", "ct state vmap { new : accept, * : jump w }", true},
		{"forward priority 0", "ct state vmap { new : accept, invalid : drop }\n" + write, true},
		{"forward priority 0", "ct state vmap { established : continue, new : accept } counter\n" + write, true},
		{"forward priority mangle", "tcp flags syn tcp option maxseg size set rt mtu", false},
		{"forward priority mangle", "tcp flags syn / syn,rst tcp option maxseg size set 1300", false},
		{"forward priority mangle", "tcp flags & (fin|syn|rst|ack) == syn tcp option maxseg size set 1300", false},
		{"forward priority mangle", "tcp flags fin,rst " + write, false},
		{"forward priority mangle", "tcp flags != ack " + write, true}, // push, say
		{"forward priority mangle", "tcp flags ack " + write, true},
		{"forward priority mangle", "meta l4proto tcp jump segments", false},
		{"forward priority mangle", "meta l4proto udp @th,104,8 & 2 == 2 " + write, true}, // data
		{"forward priority mangle", "@th,104,8 & 2 == 2 " + write, true},
		{"forward priority mangle", "tcp option maxseg size set 1300", true},
		{"postrouting priority mangle", "tcp flags syn tcp option maxseg size set 1300", false},
		{"prerouting priority mangle", "ct state new meta mark set 1", false},
		{"prerouting priority mangle", "meta mark set ct mark", true},
		{"prerouting priority raw", "ct state established accept\n" + write, true}, // not known yet
		{"prerouting priority raw", "tcp flags syn " + write, true},                // packets of any flow
	} {
		p := compile(t, "table inet t {\n"+`	chain r { counter; }
	chain w { ip dscp set cs1; }
	chain segments { tcp flags syn tcp option maxseg size set 1300; }
	chain c { type filter hook `+tt.base+"; policy accept;\n"+tt.rules+"\n}\n}\n")
		if len(p.TCOnly) > 0 != tt.tcOnly {
			t.Errorf("%s: %s: at TC %q, want some: %v", tt.base, tt.rules, p.TCOnlyTexts(), tt.tcOnly)
		}
		for _, q := range []*Program{p, p.Traced().Program} {
			l := plainLayout()
			l.xdp = true
			functions, err := q.generate(l)
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range functions {
				calls := f.insns.FunctionReferences()
				if i := slices.IndexFunc(calls, func(name string) bool { return slices.Contains(writers, name) }); i >= 0 {
					t.Errorf("%s: %s: traced %v: %s calls %s", tt.base, tt.rules, q.traced, f.name, calls[i])
				}
			}
		}
	}
}

// TestSteadyReject: what only other packets are rejected by is nothing to XDP.
func TestSteadyReject(t *testing.T) {
	for rules, want := range map[string]bool{
		"ct state established accept\nreject": false,
		"ct state new reject":                 false,
		"tcp dport 23 reject":                 true,
	} {
		p := compile(t, "table inet t { chain c { type filter hook forward priority 0; "+rules+"\n}\n}\n")
		if !p.rejects || p.rejectsAtXDP != want {
			t.Errorf("%s: rejects %v, at XDP %v, want true, %v", rules, p.rejects, p.rejectsAtXDP, want)
		}
	}
}
