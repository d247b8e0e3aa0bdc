// SPDX-License-Identifier: GPL-2.0-only

package bench

import (
	"errors"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// inOwnNamespace keeps the test in a network namespace of its own, which ends with its thread.
func inOwnNamespace(t *testing.T) {
	t.Helper()
	needRoot(t)
	runtime.LockOSThread() // never unlocked
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatal(err)
	}
}

// cable makes two interfaces that are each other's far end.
func cable(t *testing.T, a, b string) {
	t.Helper()
	attrs := netlink.NewLinkAttrs()
	attrs.Name = a
	if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: b}); err != nil {
		t.Fatal(err)
	}
}

func linkOf(t *testing.T, name string) netlink.Link {
	t.Helper()
	link, err := netlink.LinkByName(name)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return link
}

// TestNICs measures through interfaces that are there already, which come back as they were.
func TestNICs(t *testing.T) {
	inOwnNamespace(t)
	cable(t, "x0", "d0")
	cable(t, "d1", "x1")
	if err := netlink.LinkSetUp(linkOf(t, "d1")); err != nil {
		t.Fatal(err)
	}
	macs := map[string]net.HardwareAddr{}
	for _, name := range []string{"x0", "d0", "d1", "x1"} {
		macs[name] = linkOf(t, name).Attrs().HardwareAddr
	}
	o := testOptions()
	o.Repetitions, o.Warmup, o.Duration = someTurns, 20*time.Millisecond, 50*time.Millisecond
	o.NICs = &NICs{Gen: "x0", Ingress: "d0", Egress: "d1", Sink: "x1"}
	cases := []Case{{Device: &Redirect{}, Flows: 16}, {Device: &NFTables{Ruleset: "../examples/l2/firewall.nft"}, Flows: 16}}
	r, err := Run(t.Context(), cases, o, func(s string) { t.Log(s) })
	if err != nil {
		t.Fatal(err)
	}
	n, last := received(r), r.Samples[len(r.Samples)-1]
	if len(r.Samples) != 2*someTurns || n[RedirectName] == 0 || n[NFTablesName] == 0 || last.Device != NFTablesName || last.Round != someTurns-1 {
		t.Errorf("%+v", r.Samples)
	}
	for name, mac := range macs {
		a := linkOf(t, name).Attrs()
		if a.HardwareAddr.String() != mac.String() || a.RawFlags&ifUp != 0 != (name == "d1") || a.Xdp != nil && a.Xdp.Attached {
			t.Errorf("%s has come back as %+v", name, a)
		}
	}
}

// TestNICsInUse: what somebody uses is refused, and what was borrowed before is given back.
func TestNICsInUse(t *testing.T) {
	inOwnNamespace(t)
	cable(t, "x0", "d0")
	cable(t, "d1", "x1")
	addr, err := netlink.ParseAddr("192.0.2.1/24")
	if err != nil {
		t.Fatal(err)
	}
	if err := netlink.AddrAdd(linkOf(t, "x1"), addr); err != nil {
		t.Fatal(err)
	}
	_, err = newTopology(1, &NICs{Gen: "x0", Ingress: "d0", Egress: "d1", Sink: "x1"})
	if err == nil || !strings.Contains(err.Error(), "NIC x1: is in use, it has the address 192.0.2.1/24") {
		t.Errorf("got %v", err)
	}
	for _, name := range []string{"x0", "d0", "d1"} {
		linkOf(t, name)
	}
	if _, err := newTopology(1, &NICs{Gen: "x0", Ingress: "d0", Egress: "d1", Sink: "lo"}); err == nil || !strings.Contains(err.Error(), "want Ethernet") {
		t.Errorf("loopback: %v", err)
	}
	missing := netlink.LinkNotFoundError{}
	if _, err := newTopology(1, &NICs{Gen: "x0", Ingress: "d0", Egress: "d1", Sink: "x7"}); !errors.As(err, &missing) {
		t.Errorf("one that is not there: %v", err)
	}
	linkOf(t, "x0")
}

func TestParseNICs(t *testing.T) {
	for _, bad := range [][]string{{"a", "b", "c"}, {"a", "b", "c", "a"}} {
		if _, err := parseNICs(bad); err == nil || !strings.Contains(err.Error(), "want four") {
			t.Errorf("%v: %v", bad, err)
		}
	}
	if n, err := parseNICs([]string{"a", "b", "c", "d"}); err != nil || *n != (NICs{"a", "b", "c", "d"}) {
		t.Errorf("%+v, %v", n, err)
	}
}
