// SPDX-License-Identifier: GPL-2.0-only

package host

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	netlinkconn "github.com/mdlayher/netlink"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/randomizedcoder/l2d/pkg/config"
	"github.com/randomizedcoder/l2d/pkg/reconcile"
	"github.com/randomizedcoder/l2d/pkg/tcnl"
)

// qdiscHost is a namespace with interfaces of different sorts: with four queues and
// with one, with no queue and down. Nothing is sent there.
func qdiscHost(t *testing.T) []string {
	t.Helper()
	ns(t)
	if err := os.WriteFile("/proc/sys/net/ipv6/conf/default/disable_ipv6", []byte("1"), 0); err != nil {
		t.Fatal(err)
	}
	run(t, "ip", "link", "add", "multi0", "numtxqueues", "4", "numrxqueues", "4", "type", "ifb")
	run(t, "ip", "link", "add", "single0", "type", "ifb")
	run(t, "ip", "link", "add", "veth0", "numrxqueues", "4", "numtxqueues", "4", "type", "veth", "peer", "name", "veth1")
	run(t, "ip", "link", "add", "down0", "type", "ifb")
	for _, name := range []string{"multi0", "single0", "veth0", "veth1"} {
		run(t, "ip", "link", "set", name, "up")
	}
	return []string{"multi0", "single0", "veth0", "down0"}
}

// rawQdiscs is all that the kernel says of the qdiscs and classes of interfaces, but
// for statistics.
func rawQdiscs(t *testing.T, names ...string) string {
	t.Helper()
	var out strings.Builder
	for _, name := range names {
		l, err := netlink.LinkByName(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, command := range []int{unix.RTM_GETQDISC, unix.RTM_GETTCLASS} {
			req := nl.NewNetlinkRequest(command, unix.NLM_F_DUMP)
			req.AddData(&nl.TcMsg{Family: nl.FAMILY_ALL, Ifindex: int32(l.Attrs().Index)})
			list, err := req.Execute(unix.NETLINK_ROUTE, 0)
			if err != nil {
				t.Fatal(err)
			}
			var lines []string
			for _, b := range list {
				m := nl.DeserializeTcMsg(b)
				attributes, err := nl.ParseRouteAttr(b[m.Len():])
				if err != nil {
					t.Fatal(err)
				}
				line := fmt.Sprintf("%s %x %x", name, m.Handle, m.Parent)
				for _, a := range attributes {
					switch a.Attr.Type {
					case nl.TCA_KIND:
						line += " " + strings.TrimRight(string(a.Value), "\x00")
					case nl.TCA_OPTIONS:
						line += fmt.Sprintf(" %x", a.Value)
					}
				}
				if int(m.Ifindex) == l.Attrs().Index {
					lines = append(lines, line)
				}
			}
			slices.Sort(lines)
			out.WriteString(strings.Join(lines, "\n") + "\n")
		}
	}
	return out.String()
}

// faultyConn is a connection that stops at one of its writes.
type faultyConn struct {
	tcnl.Conn
	left int // writes until then; below 0: never
	die  bool
	seen int
}

func (f *faultyConn) Execute(m netlinkconn.Message) ([]netlinkconn.Message, error) {
	if m.Header.Flags&netlinkconn.Acknowledge == 0 {
		return f.Conn.Execute(m)
	}
	if f.left == 0 {
		f.left = -1
		if f.die {
			panic(errInjected)
		}
		return nil, errInjected
	}
	f.left--
	f.seen++
	return f.Conn.Execute(m)
}

// faultyQdisc is the kind with such a connection.
func faultyQdisc(t *testing.T) (*Qdisc, *faultyConn) {
	t.Helper()
	conn, err := netlinkconn.Dial(unix.NETLINK_ROUTE, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	f := &faultyConn{Conn: conn, left: -1}
	c := tcnl.New(f)
	return &Qdisc{func() (*tcnl.Client, error) { return c, nil }, &kernelQdiscs{has: map[string]bool{}}}, f
}

// wantQdisc is a resource as [qdiscResources] makes it, of what a file declares.
func wantQdisc(name string, want map[string]string) reconcile.Resource {
	return qdiscResources("l2d.yaml", &config.Qdisc{Name: name, Root: want})[0]
}

// optionValues are some values of options of all kinds.
var optionValues = map[string]string{
	"bfifo limit": "64KiB", "pfifo limit": "77", "fq limit": "4096", "fq quantum": "3000", "fq pacing": "off", "fq maxrate": "100mbit",
	"fq flow_limit": "77", "fq initial_quantum": "9000", "fq orphan_mask": "511", "fq low_rate_threshold": "1mbit", "fq horizon": "5s",
	"fq priomap": "1 2 2 2 1 2 0 0 1 1 1 1 1 1 1 2", "fq weights": "589824 196608 65536",
	"fq refill_delay": "80ms", "fq ce_threshold": "5ms", "fq horizon_drop": "off", "fq timer_slack": "20us", "fq buckets_log": "9",
	"fq_codel target": "7.003ms", "fq_codel interval": "90ms", "fq_codel limit": "1234", "fq_codel ecn": "off", "fq_codel flows": "64", "fq_codel ce_threshold": "2ms", "fq_codel memory_limit": "4MiB", "fq_codel quantum": "300",
	"fq_codel drop_batch": "32", "fq_codel ce_threshold_selector": "1", "fq_codel ce_threshold_mask": "3",
	"cake bandwidth": "900mbit", "cake diffserv": "diffserv4", "cake atm": "ptm", "cake flows": "dual-srchost", "cake overhead": "18", "cake rtt": "30ms", "cake target": "1.5ms",
	"cake memlimit": "8MiB", "cake raw": "off", "cake wash": "on", "cake mpu": "64", "cake ingress": "on", "cake ack_filter": "aggressive", "cake split_gso": "off", "cake fwmark": "15",
	"cake autorate_ingress": "on", "cake nat": "on",
	"cake_mq bandwidth": "2.5gbit", "cake_mq diffserv": "besteffort", "cake_mq overhead": "-14", "cake_mq raw": "off", "cake_mq flows": "hosts", "cake_mq ack_filter": "filter",
	"cake_mq atm": "atm", "cake_mq rtt": "30ms", "cake_mq target": "1.5ms", "cake_mq memlimit": "8MiB", "cake_mq nat": "on", "cake_mq wash": "on", "cake_mq mpu": "64", "cake_mq ingress": "on", "cake_mq split_gso": "off", "cake_mq fwmark": "15",
	"dualpi2 limit": "5000", "dualpi2 memory_limit": "20MiB", "dualpi2 target": "20ms", "dualpi2 tupdate": "18ms", "dualpi2 alpha": "0.15", "dualpi2 beta": "3",
	"dualpi2 step_packets": "7", "dualpi2 step_thresh": "", "dualpi2 min_qlen_step": "2", "dualpi2 coupling": "3", "dualpi2 drop_overload": "off", "dualpi2 drop_early": "on",
	"dualpi2 classic_protection": "25", "dualpi2 ecn": "any", "dualpi2 split_gso": "off",
}

// randomQdisc is some qdisc of those that a kernel has.
func randomQdisc(r *rand.Rand, kinds []string, prefix string) map[string]string {
	kind := kinds[r.IntN(len(kinds))]
	out := map[string]string{prefix + kindKey: kind}
	if kind == AnyDefault {
		return out
	}
	for _, o := range tcnl.KindOf(kind).Options {
		if v, ok := optionValues[kind+" "+o.Name]; ok && r.IntN(2) == 0 {
			out[prefix+o.Name] = v
		}
	}
	// Of these one is chosen, or one goes with the other.
	switch _, packets := out[prefix+"step_packets"]; {
	case packets:
		delete(out, prefix+"step_thresh")
	case out[prefix+"step_thresh"] == "" && kind == "dualpi2":
		out[prefix+"step_thresh"] = "2ms"
	}
	if out[prefix+"ce_threshold"] == "" && kind == "fq_codel" {
		delete(out, prefix+"ce_threshold_selector")
		delete(out, prefix+"ce_threshold_mask")
	}
	if out[prefix+"overhead"] == "" {
		delete(out, prefix+"raw")
	} else {
		out[prefix+"raw"] = "off"
	}
	if kind == "htb" {
		randomClasses(r, kinds, out)
	}
	if kind == "mq" && r.IntN(4) > 0 {
		maps.Copy(out, randomQdisc(r, leafKinds(kinds), "queues "))
	}
	return out
}

// randomClasses adds some classes to an htb, with qdiscs at some of them.
func randomClasses(r *rand.Rand, kinds []string, out map[string]string) {
	pick := func(values ...string) string { return values[r.IntN(len(values))] }
	out["handle"], out["default"] = "1:", pick("10", "20", "20")
	trees := []string{"1:10 1:20", "1:1 1:1>1:10 1:1>1:20", "1:1 1:1>1:10 1:1>1:20 1:1>1:30", "1:1 1:2 1:1>1:10 1:2>1:20"}
	out["classes"] = pick(trees...)
	for _, id := range []string{"1:1", "1:2", "1:10", "1:20", "1:30"} {
		if !strings.Contains(" "+strings.ReplaceAll(out["classes"], ">", " ")+" ", " "+id+" ") {
			continue
		}
		class := "class " + id + " "
		out[class+"rate"] = pick("1mbit", "10mbit", "40gbit")
		for option, v := range map[string]string{"ceil": pick("80mbit", "100gbit"), "burst": pick("15000", "3333"), "prio": pick("1", "5"), "quantum": "3000", "overhead": "24", "mpu": "64"} {
			inner := id == "1:1" || id == "1:2"
			if r.IntN(2) == 0 && (!inner || option != "prio" && option != "quantum") {
				out[class+option] = v
			}
		}
		if leaf := randomQdisc(r, leafKinds(kinds), "leaf "+id+" "); r.IntN(2) == 0 && id != "1:1" && id != "1:2" {
			maps.Copy(out, leaf)
		}
	}
}

func leafKinds(kinds []string) []string {
	leaves := slices.DeleteFunc(slices.Clone(kinds), func(k string) bool { return k == AnyDefault || !tcnl.KindOf(k).Classless })
	if len(leaves) == 0 {
		return []string{"pfifo"}
	}
	return leaves
}

// TestQdiscRollback: whichever write fails or is the last one, of random changes from
// random states, what the kernel says is the same before and after.
func TestQdiscRollback(t *testing.T) {
	names := qdiscHost(t)
	k, f := faultyQdisc(t)
	kinds := []string{AnyDefault}
	for i := range tcnl.Kinds {
		kinds = append(kinds, tcnl.Kinds[i].Name)
	}
	lacks := k.kernel.lacks(kinds[1:]...)
	kinds = slices.DeleteFunc(kinds, func(kind string) bool { return slices.Contains(lacks, kind) })
	t.Logf("kinds: %s", strings.Join(kinds, ", "))
	for _, must := range []string{"mq", "pfifo", "bfifo", "pfifo_fast", "noqueue"} {
		if !slices.Contains(kinds, must) {
			t.Errorf("no %s", must)
		}
	}
	random := func(r *rand.Rand, kinds []string) (list []reconcile.Resource) {
		one := slices.DeleteFunc(slices.Clone(kinds), func(k string) bool { return k != AnyDefault && tcnl.KindOf(k).Multiqueue })
		for _, name := range names {
			of := kinds
			if name == "single0" || name == "down0" {
				of = one
			}
			if r.IntN(2) > 0 && len(of) > 0 {
				list = append(list, wantQdisc(name, randomQdisc(r, of, "")))
			}
		}
		return list
	}
	writes, inPlace := 0, 0
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		// Of few kinds, so that many changes are of parameters alone.
		r.Shuffle(len(kinds), func(i, j int) { kinds[i], kinds[j] = kinds[j], kinds[i] })
		few := kinds[:1+r.IntN(3)]
		e := engine(t, t.TempDir(), k)
		plan, err := e.Plan(t.Context(), random(r, few))
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if _, err := e.Apply(t.Context(), plan, reconcile.Options{}); err != nil {
			t.Fatalf("seed %d: %v: %+v", seed, err, plan.Changes)
		}
		before := rawQdiscs(t, names...)
		list := random(r, few)
		for at := 0; ; at++ {
			dir := t.TempDir()
			e := engine(t, dir, k)
			plan, err := e.Plan(t.Context(), list)
			if err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			if plan.Worst() == reconcile.NotRevertable {
				t.Fatalf("seed %d: not revertable: %+v", seed, plan)
			}
			f.left, f.die, f.seen = at, at%2 == 0, 0
			err = applyOrDie(t.Context(), e, plan)
			if f.left >= 0 { // fewer writes than that
				if err != nil {
					t.Fatalf("seed %d: %v", seed, err)
				}
				f.left = -1
				if again, err := e.Plan(t.Context(), list); err != nil || len(again.Changes) > 0 {
					t.Fatalf("seed %d: not as declared: %v, %+v", seed, err, again.Changes)
				}
				writes += f.seen
				for _, c := range plan.Changes {
					if c.Effect.Impact == reconcile.InPlace && c.From[kindKey] == c.To[kindKey] {
						inPlace++
					}
				}
				// All of it is undone, too.
				last := &reconcile.Plan{Changes: plan.Changes}
				for i := range slices.Backward(last.Changes) {
					c := &last.Changes[i]
					if err := k.Set(t.Context(), c.Name, c.Undo); err != nil {
						t.Fatalf("seed %d: undo: %v", seed, err)
					}
				}
			} else if e.Pending() != nil {
				if err := reconcileAgain(t, dir, k); err != nil {
					t.Fatalf("seed %d, write %d: %v", seed, at, err)
				}
			} else if !errors.Is(err, errInjected) {
				t.Fatalf("seed %d, write %d: %v", seed, at, err)
			}
			if after := rawQdiscs(t, names...); after != before {
				t.Fatalf("seed %d, write %d: not undone:\n%s\nnot\n%s\n%+v", seed, at, after, before, plan.Changes)
			}
			if f.left >= 0 || err == nil {
				break
			}
		}
	}
	t.Logf("%d writes, %d changes in place", writes, inPlace)
	if writes < 200 || inPlace < 5 {
		t.Errorf("only %d writes, %d changes in place", writes, inPlace)
	}
}

// reconcileAgain is what the next daemon does.
func reconcileAgain(t *testing.T, dir string, k *Qdisc) error {
	t.Helper()
	e := reconcile.New(dir, slog.New(slog.DiscardHandler), k)
	return e.Recover(t.Context())
}

func TestQdisc(t *testing.T) {
	names := qdiscHost(t)
	before := rawQdiscs(t, names...)
	e := engine(t, t.TempDir(), Kinds()...)
	list := []reconcile.Resource{
		wantQdisc("multi0", map[string]string{kindKey: "mq", "queues " + kindKey: "pfifo", "queues " + "limit": "77"}),
		wantQdisc("single0", map[string]string{kindKey: "bfifo", "limit": "64KiB"}),
		wantQdisc("veth0", map[string]string{kindKey: "pfifo", "limit": "9"}),
		wantQdisc("down0", map[string]string{kindKey: "pfifo_fast"}),
	}
	plan, err := e.Plan(t.Context(), list)
	if err != nil || len(plan.Changes) != 4 {
		t.Fatalf("%v, %+v", err, plan)
	}
	var text strings.Builder
	if err := plan.Write(&text); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"! l2d.yaml:0:0: qdisc veth0: kind: \"pfifo\": packets never wait here: the interface hands them on at once",
		"~ qdisc multi0  (disruptive: packets that wait in the queue are lost)\n    queues kind: - -> pfifo\n    queues pfifo limit: - -> 77\n",
		"~ qdisc veth0\n    kind: noqueue (default) -> pfifo\n", "kind: none (default) -> pfifo_fast\n",
	} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("%q is not in\n%s", want, text.String())
		}
	}
	p, err := e.Apply(t.Context(), plan, reconcile.Options{Confirm: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"multi0": ":4 limit 77p", "single0": "root refcnt 2 limit 64Kb", "veth0": "limit 9p", "down0": "qdisc pfifo_fast",
	} {
		if got := output(t, "tc", "qdisc", "show", "dev", name); !strings.Contains(got, want) {
			t.Errorf("%s: %q is not in\n%s", name, want, got)
		}
	}
	if again, err := e.Plan(t.Context(), list); err != nil || len(again.Changes) != 0 {
		t.Errorf("not all is as declared: %v, %+v", err, again)
	}
	if err := e.Rollback(t.Context(), p.ID); err != nil {
		t.Fatal(err)
	}
	if after := rawQdiscs(t, names...); after != before {
		t.Errorf("not undone:\n%s\nnot\n%s", after, before)
	}
}

func TestQdiscProblems(t *testing.T) {
	qdiscHost(t)
	e := engine(t, t.TempDir(), Kinds()...)
	k, _ := faultyQdisc(t)
	lacking := k.kernel.lacks("dualpi2", "cake_mq", "cake", "fq")
	if len(lacking) == 0 {
		t.Skip("this kernel has all kinds")
	}
	at := wantQdisc("multi0", map[string]string{kindKey: lacking[0]})
	at.At = reconcile.Place{File: "l2d.yaml", Line: 7, Column: 5}
	before := rawQdiscs(t, "multi0", "single0", "veth0")
	_, err := e.Plan(t.Context(), []reconcile.Resource{
		at,
		wantQdisc("single0", map[string]string{kindKey: "mq"}),
		wantQdisc("eth7", map[string]string{kindKey: "pfifo"}),
		wantQdisc("veth0", map[string]string{kindKey: "mq", "queues " + kindKey: lacking[0]}),
	})
	for _, want := range []string{
		`l2d.yaml:7:5: qdisc multi0: kind: "` + lacking[0] + `": this kernel does not have it (CONFIG_NET_SCH_`, "): want one of bfifo, ",
		`qdisc single0: kind: "mq": the interface has one queue: want another kind`, "qdisc eth7: no such interface: want one of ",
		`qdisc veth0: queues kind: "` + lacking[0] + `": this kernel does not have it`,
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in\n%v", want, err)
		}
	}
	if rawQdiscs(t, "multi0", "single0", "veth0") != before {
		t.Error("a plan changes something")
	}
}

// TestQdiscStrange: what cannot be put back is said before it is replaced.
func TestQdiscStrange(t *testing.T) {
	qdiscHost(t)
	e := engine(t, t.TempDir(), Kinds()...)
	effect := func(name string) reconcile.Effect {
		t.Helper()
		plan, err := e.Plan(t.Context(), []reconcile.Resource{wantQdisc(name, map[string]string{kindKey: "pfifo"})})
		if err != nil || len(plan.Changes) != 1 {
			t.Fatalf("%v, %+v", err, plan)
		}
		return plan.Changes[0].Effect
	}
	run(t, "tc", "qdisc", "add", "dev", "single0", "root", "tbf", "rate", "1mbit", "burst", "10k", "latency", "50ms")
	if got := effect("single0"); got.Impact != reconcile.NotRevertable || !strings.Contains(got.Why, "the qdisc tbf is of a kind that is not known") {
		t.Errorf("%+v", got)
	}
	run(t, "tc", "qdisc", "add", "dev", "multi0", "root", "handle", "1:", "mq")
	run(t, "tc", "qdisc", "add", "dev", "multi0", "parent", "1:2", "tbf", "rate", "1mbit", "burst", "10k", "latency", "50ms")
	if got := effect("multi0"); got.Impact != reconcile.NotRevertable || !strings.Contains(got.Why, "tbf") {
		t.Errorf("%+v", got)
	}
}
