// SPDX-License-Identifier: GPL-2.0-only

package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/randomizedcoder/l2d/pkg/config"
	"github.com/randomizedcoder/l2d/pkg/reconcile"
)

// declared are the resources of a section host in a file.
func declared(t *testing.T, host string) ([]reconcile.Resource, error) {
	t.Helper()
	c, err := config.Parse("f", []byte("dataplane: {ruleset: x, interfaces: [{name: a}]}\nhost:\n"+host))
	if err != nil {
		t.Fatal(err)
	}
	return Resources(c)
}

// TestLinks: what is not there is made with all that is declared of it, in one plan,
// and goes when that is undone.
func TestLinks(t *testing.T) {
	ns(t)
	run(t, "ip", "link", "add", "eth0", "type", "veth", "peer", "name", "far0")
	list, err := declared(t, `  sysctl: { net.ipv4.conf.br0.rp_filter: 2 }
  nics: { br0: { mtu: 1400 } }
  links:
    br0: { kind: bridge, members: [eth0], options: { stp: true }, addresses: [192.0.2.1/24, 198.51.100.1/24, 192.0.2.9/24, "fd00::1/64"] }
    far0: { addresses: [] }
`)
	if err != nil {
		t.Fatal(err)
	}
	e := engine(t, t.TempDir(), Kinds()...)
	plan, err := e.Plan(t.Context(), list)
	if err != nil || len(plan.Changes) != 5 {
		t.Fatalf("%+v, %v", plan, err)
	}
	for _, failing := range []bool{true, false} {
		_, err = e.Apply(t.Context(), plan, reconcile.Options{Gates: []reconcile.Gate{{Name: "look", Check: func(context.Context) error {
			for text, args := range map[string]string{
				"mtu 1400": "ip link show br0", ",UP>": "ip link show br0", "stp_state 1": "ip -d link show br0", "master br0": "ip link show eth0",
				"fd00::1/64": "ip address show br0", "brd 192.0.2.255 scope global secondary br0": "ip address show br0",
			} {
				if out := output(t, strings.Fields(args)...); !strings.Contains(out, text) {
					t.Errorf("no %q: %s", text, out)
				}
			}
			if failing {
				return errInjected
			}
			return nil
		}}}})
		if failing != (err != nil) {
			t.Fatal(err)
		}
		_, missing := link("br0")
		if failing != (missing != nil) || failing == strings.Contains(output(t, "ip", "link", "show", "far0"), "UP") {
			t.Errorf("br0: %v; far0: %s", missing, output(t, "ip", "link", "show", "far0"))
		}
		if plan, err = e.Plan(t.Context(), list); err != nil || failing != (len(plan.Changes) == 5) || failing == (len(plan.Changes) == 0) {
			t.Fatalf("%+v, %v", plan, err)
		}
	}

	// An address that a route needs is not taken with a promise to bring all back.
	run(t, "ip", "route", "add", "default", "via", "192.0.2.254")
	if list, err = declared(t, "  links: { br0: { kind: bridge, addresses: [198.51.100.1/24] } }\n"); err != nil {
		t.Fatal(err)
	}
	if plan, err = e.Plan(t.Context(), list); err != nil || plan.Worst() != reconcile.NotRevertable || !strings.Contains(plan.Changes[0].Effect.Why, "192.0.2.254") {
		t.Errorf("%+v, %v", plan, err)
	}
	run(t, "ip", "route", "del", "default")
	if plan, err = e.Plan(t.Context(), list); err != nil || plan.Worst() != reconcile.Disruptive {
		t.Fatalf("%+v, %v", plan, err)
	}
	before := output(t, "ip", "-4", "-o", "address")
	_, err = e.Apply(t.Context(), plan, reconcile.Options{Gates: []reconcile.Gate{{Name: "fail", Check: func(context.Context) error { return errInjected }}}})
	if after := output(t, "ip", "-4", "-o", "address"); !errors.Is(err, errInjected) || numbers.ReplaceAllString(after, "") != numbers.ReplaceAllString(before, "") {
		t.Errorf("%v: was\n%sis\n%s", err, before, after)
	}
}

// TestLinkProblems: what cannot be is told before anything is touched.
func TestLinkProblems(t *testing.T) {
	ns(t)
	run(t, "ip", "link", "add", "eth0", "type", "veth", "peer", "name", "far0")
	run(t, "ip", "link", "add", "there", "type", "bridge")
	e := engine(t, t.TempDir(), Kinds()...)
	for _, c := range []struct{ links, want string }{
		{"eth0: {kind: bridge}", `link eth0: is: "bridge": there is one of that name: a device: want another name`},
		{"eth9: {addresses: [10.0.0.1/8]}", "f:4:3: link eth9: no such interface: want one of"},
		{"br0: {kind: bridge, members: [eth9]}", "f:4:3: host.links.br0: eth9: no such interface: want one of"},
		{"br0: {kind: bridge}\n  br1: {kind: bridge, members: [br0]}", "f:5:3: host.links.br1: br0: a bridge cannot be a member of one: want an interface that is none"},
		{"br0: {kind: bridge, members: [there]}", "there: a bridge cannot be a member of one"},
		{"br0: {kind: bridge, members: [eth0]}\n  br1: {kind: bridge, members: [eth0]}", "f:5:3: host.links.br1: eth0: it is a member of br0, too"},
		{"v1: {kind: vlan, parent: v2, id: 1}\n  v2: {kind: vlan, parent: v1, id: 2}", "it is on top of itself"},
	} {
		list, err := declared(t, " links:\n  "+c.links+"\n")
		if err == nil {
			_, err = e.Plan(t.Context(), list)
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.links, err)
		}
	}
	// A member that is not there is told once.
	list, _ := declared(t, " links: {br0: {kind: bridge, members: [eth9]}}\n")
	if _, err := e.Plan(t.Context(), list); err != nil {
		t.Errorf("and again: %v", err)
	}
	if list, err := declared(t, " links: {eth9: {addresses: [10.0.0.1/8], optional: true}}\n"); err != nil || len(list) != 0 {
		t.Errorf("an optional one: %v, %v", list, err)
	}
	problems := lacking(&reconcile.Resource{Kind: LinkKind, Name: "br0", Want: reconcile.State{"vlan_filtering": "on", "stp": "on"}}, tried{lacks: map[string]bool{"vlan_filtering": true}})
	if len(problems) != 1 || problems[0].Key != "vlan_filtering" {
		t.Errorf("%v", problems)
	}
	// What the kernel cannot make is not planned, nor what is of it.
	if vlan := vlanIs(config.VLAN8021Q, 1, tryParent); tryLink(vlan).err != nil {
		list, err := declared(t, " sysctl: {net.ipv4.conf.v1.rp_filter: 1}\n links: {v1: {kind: vlan, parent: eth0, id: 1}}\n")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := e.Plan(t.Context(), list); err == nil || !strings.Contains(err.Error(), "this kernel cannot make it") || strings.Contains(err.Error(), "rp_filter") {
			t.Error(err)
		}
	}
}

// TestLinkOwner: what a network manager manages is left to it, unless the file says
// otherwise.
func TestLinkOwner(t *testing.T) {
	ns(t)
	run(t, "ip", "link", "add", "eth0", "type", "veth", "peer", "name", "far0")
	l, err := netlink.LinkByName("eth0")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ path, text, owner string }{
		{"run/systemd/netif/links", "# made by systemd\nADMIN_STATE=configured\nOPER_STATE=routable\n", "systemd-networkd"},
		{"run/systemd/netif/links", "ADMIN_STATE=unmanaged\n", ""},
		{"run/NetworkManager/devices", "[device]\nmanaged=true\n", "NetworkManager"},
		{"run/NetworkManager/devices", "[device]\nmanaged=false\n", ""},
		{"run", "", ""},
	} {
		root := t.TempDir()
		if err := os.MkdirAll(filepath.Join(root, c.path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, c.path, fmt.Sprint(l.Attrs().Index)), []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, force := range []string{"", ", force: true"} {
			list, err := declared(t, " links: {eth0: {addresses: [10.0.0.1/8]"+force+"}}\n")
			if err != nil {
				t.Fatal(err)
			}
			plan, err := engine(t, t.TempDir(), &Link{root}).Plan(t.Context(), list)
			if left := c.owner != "" && force == ""; err != nil || left != (len(plan.Changes) == 0) || left != (len(plan.Notes) == 1 && strings.Contains(plan.Notes[0], c.owner+" manages it")) {
				t.Errorf("%+v%s: %+v, %v", c, force, plan, err)
			}
		}
	}
}
