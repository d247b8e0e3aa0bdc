// SPDX-License-Identifier: GPL-2.0-only

package policy

import (
	"fmt"
	"maps"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// inNetns moves the test's thread to a new network namespace, for good, with
// testLinks in it: a bridge br0 of group 5, a veth wan0, bridges.
func inNetns(t *testing.T) {
	t.Helper()
	needRoot(t)
	runtime.LockOSThread() // never unlocked: the thread ends with the test
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatal(err)
	}
	names := slices.DeleteFunc(slices.Collect(maps.Keys(testLinks)), func(name string) bool { return name == "lo" })
	slices.Sort(names) // the veth is the last: its peer takes any index
	for _, name := range names {
		attrs := netlink.NewLinkAttrs()
		attrs.Name, attrs.Index = name, testLinks[name]
		var l netlink.Link = &netlink.Bridge{LinkAttrs: attrs}
		if name == "wan0" {
			l = &netlink.Veth{LinkAttrs: attrs, PeerName: "peer"}
		}
		if err := netlink.LinkAdd(l); err != nil {
			t.Fatal(err)
		}
		if name == "br0" {
			if err := netlink.LinkSetGroup(l, 5); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// expect runs each rule of a chain of one on a packet.
func expect(t *testing.T, hook string, pk packet, rules map[string]bool) {
	t.Helper()
	for rule, accept := range rules {
		p := compile(t, fmt.Sprintf("table inet t { chain c { type filter hook %s priority 0; policy drop;\n%s accept\n}\n}\n", hook, rule))
		if r := newHarness(t, p).run("policy_"+hook, &pk); r.accept != accept {
			t.Errorf("%s: %s: accepted %v", hook, rule, r.accept)
		}
		p.Lint()
	}
}

func TestDevices(t *testing.T) {
	inNetns(t)
	forwarded := packet{src: "192.168.1.7", dst: "203.0.113.9", proto: protoTCP, th: tcp(40000, 443, 2), iif: "br0", oif: "wan0", len: 60}
	expect(t, "forward", forwarded, map[string]bool{
		"iifgroup 5":                       true,
		"iifgroup 0":                       false,
		"iifgroup != 5":                    false,
		"oifgroup 0":                       true,
		"iifgroup { 4, 5, 77 }":            true,
		"iifgroup . oifgroup { 5 . 0 }":    true,
		"iiftype ether":                    true,
		"iiftype loopback":                 false,
		"oiftype { ether, loopback }":      true,
		`meta iifkind "bridge"`:            true,
		`meta iifkind "veth"`:              false,
		`meta oifkind "veth"`:              true,
		`meta oifkind { "dummy", "veth" }`: true,
		`meta iifkind . meta oifkind { "bridge" . "veth" }`: true,
	})
	in := forwarded
	in.oif = ""
	expect(t, "input", in, map[string]bool{
		// Without an interface nothing is so, nor is it not so.
		"oifgroup 0":             false,
		"oifgroup != 0":          false,
		"oiftype != ether":       false,
		`meta oifkind != "veth"`: false,
		"iifgroup 5":             true,
	})
	// It takes effect with the next packet.
	p := compile(t, inInput("iifgroup 9 accept"))
	h := newHarness(t, p)
	if h.run("policy_input", &in).accept {
		t.Error("of group 9 before it is")
	}
	l, err := netlink.LinkByName("br0")
	if err == nil {
		err = netlink.LinkSetGroup(l, 9)
	}
	if err != nil {
		t.Fatal(err)
	}
	if !h.run("policy_input", &in).accept {
		t.Error("not of group 9")
	}
}

func TestClock(t *testing.T) {
	inNetns(t)
	now := time.Now().UTC()
	for now.Second() > 50 {
		time.Sleep(time.Second)
		now = time.Now().UTC()
	}
	at := func(d time.Duration, layout string) string { return now.Add(d).In(time.Local).Format(layout) }
	date := "2006-01-02 15:04:05"
	expect(t, "input", lanSSH, map[string]bool{
		fmt.Sprintf("meta time > %q", at(-5*time.Second, date)):                                        true,
		fmt.Sprintf("meta time < %q", at(-5*time.Second, date)):                                        false,
		fmt.Sprintf("meta time %q-%q", at(-5*time.Second, date), at(60*time.Second, date)):             true,
		fmt.Sprintf("meta time %q-%q", at(60*time.Second, date), at(120*time.Second, date)):            false,
		fmt.Sprintf("meta hour %q-%q", at(-5*time.Second, "15:04:05"), at(60*time.Second, "15:04:05")): true,
		fmt.Sprintf("meta hour %q-%q", at(60*time.Second, "15:04:05"), at(99*time.Second, "15:04:05")): false,
		fmt.Sprintf("meta day %d", int(now.Weekday())):                                                 true,
		fmt.Sprintf("meta day != %d", int(now.Weekday())):                                              false,
		fmt.Sprintf("meta day { %d, %d }", int(now.Weekday()), (int(now.Weekday())+1)%7):               true,
		"meta ipsec missing": true,
		"meta ipsec exists":  false,
	})
}
