// SPDX-License-Identifier: GPL-2.0-only

package host

import (
	"strings"
	"testing"

	"github.com/randomizedcoder/l2d/pkg/config"
	"github.com/randomizedcoder/l2d/pkg/reconcile"
)

// routes is all that ip shows of those of the main table, of both families and with
// their options; but for those that come when a link has a carrier.
func routes(t *testing.T) string {
	t.Helper()
	var out strings.Builder
	for _, family := range []string{"-4", "-6"} {
		for line := range strings.Lines(output(t, "ip", "-d", family, "route", "show")) {
			if !strings.Contains(line, "fe80:") {
				out.WriteString(line)
			}
		}
	}
	return out.String()
}

func TestRouteCongestionControl(t *testing.T) {
	ns(t)
	run(t, "ip", "link", "add", "v0", "type", "veth", "peer", "name", "v1")
	for _, args := range []string{
		"link set v0 up", "link set v1 up", "address add 10.9.0.1/24 dev v0", "address add fd09::1/64 dev v0 nodad",
		"route add 10.8.0.0/16 via 10.9.0.2 metric 7 mtu lock 1400 initcwnd 20 proto 99", "route add 10.8.0.0/16 via 10.9.0.3 metric 9",
		"route add default nexthop via 10.9.0.2 weight 3 nexthop via 10.9.0.3", "route add 10.7.0.0/16 via 10.1.1.1 dev v0 onlink congctl reno",
		"route add fd08::/32 via fd09::2 metric 5", "nexthop add id 5 via 10.9.0.4 dev v0", "route add 10.6.0.0/16 nhid 5",
	} {
		run(t, append([]string{"ip"}, strings.Fields(args)...)...)
	}
	c, err := config.Parse("/x/l2d.yaml", []byte("dataplane: {ruleset: x, interfaces: [{name: a}]}\nhost:\n  congestion_control:\n"+
		"    routes: {10.8.0.0/16: reno, 0.0.0.0/0: bbr, 10.7.0.0/16: none, \"fd08::/32\": reno, 10.9.0.0/24: reno, 10.5.0.0/16: reno}\n"))
	if err != nil {
		t.Fatal(err)
	}
	list, err := Resources(c)
	if err != nil {
		t.Fatal(err)
	}
	before := routes(t)
	e := engine(t, t.TempDir(), Kinds()...)
	plan, err := e.Plan(t.Context(), list)
	if err != nil || len(plan.Changes) != 5 || len(plan.Notes) != 1 || !strings.Contains(plan.Notes[0], "route 10.5.0.0/16: the main table has no such route") {
		t.Fatalf("%v, %+v", err, plan)
	}
	p, err := e.Apply(t.Context(), plan, reconcile.Options{Confirm: 1 << 40})
	if err != nil {
		t.Fatal(err)
	}
	// All else of the routes is as it was.
	want := before
	if got := strings.NewReplacer(" congctl reno", "", " congctl bbr", "").Replace(routes(t)); got != strings.ReplaceAll(want, " congctl reno", "") {
		t.Errorf("%s\nnot\n%s", got, want)
	}
	for _, line := range strings.Split(routes(t), "\n") {
		for prefix, algorithm := range map[string]string{"unicast 10.8.0.0/16 via 10.9.0.2": "reno", "unicast 10.8.0.0/16 via 10.9.0.3": "", "unicast 10.7.": "", "unicast fd08::/32": "reno", "unicast 10.9.0.0/24": "reno", "unicast default proto": "bbr"} {
			if strings.HasPrefix(line, prefix) && !strings.Contains(line, "nexthop") && strings.Contains(line, "congctl "+algorithm) != (algorithm != "") {
				t.Errorf("%q: not %q", line, algorithm)
			}
		}
	}
	if again, err := e.Plan(t.Context(), list); err != nil || len(again.Changes) != 0 {
		t.Errorf("not all is as declared: %v, %+v", err, again)
	}
	if err := e.Rollback(t.Context(), p.ID); err != nil {
		t.Fatal(err)
	}
	if after := routes(t); after != before {
		t.Errorf("not undone:\n%s\nnot\n%s", after, before)
	}
}

func TestRouteLacks(t *testing.T) {
	ns(t)
	run(t, "ip", "link", "set", "lo", "up")
	run(t, "ip", "route", "add", "10.8.0.0/16", "dev", "lo")
	run(t, "ip", "nexthop", "add", "id", "5", "dev", "lo")
	run(t, "ip", "route", "add", "10.6.0.0/16", "nhid", "5")
	e := engine(t, t.TempDir(), Kinds()...)
	_, err := e.Plan(t.Context(), []reconcile.Resource{
		{Kind: RouteKind, Name: "10.8.0.0/16", Want: reconcile.State{algorithmKey: "cubik"}}, {Kind: RouteKind, Name: "10.6.0.0/16", Want: reconcile.State{algorithmKey: "reno"}},
	})
	for _, want := range []string{
		`route 10.8.0.0/16: congestion_control: "cubik": this kernel has no congestion control cubik: want cubic, or one of `,
		`route 10.6.0.0/16: the route is by a next hop with a number`,
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in\n%v", want, err)
		}
	}
}
