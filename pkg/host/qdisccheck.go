// SPDX-License-Identifier: GPL-2.0-only

package host

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/randomizedcoder/l2d/pkg/reconcile"
	"github.com/randomizedcoder/l2d/pkg/tcnl"
)

// kernelQdiscs knows which kinds of qdiscs the kernel has.
type kernelQdiscs struct {
	mu  sync.Mutex
	has map[string]bool
	// ignored are options that it does not have, of kinds that it has.
	ignored map[string][]string
}

// ignores tells whether the kernel has a kind, and not one of its options.
func (k *kernelQdiscs) ignores(kind, option string) bool {
	if len(k.lacks(kind)) > 0 {
		return false
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Contains(k.ignored[kind], option)
}

// lacks are those of some kinds that the kernel does not have, as far as that can be
// told. They are tried in a network namespace that is made for that and has nothing
// else: the kernel loads modules as it would for a real interface.
func (k *kernelQdiscs) lacks(kinds ...string) []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	unknown := func(kind string) bool { return !k.has[kind] } // a module may have been installed
	if try := slices.DeleteFunc(slices.Clone(kinds), func(kind string) bool { return !unknown(kind) }); len(try) > 0 {
		done := make(chan struct{})
		var ignored map[string][]string
		go func() {
			defer close(done)
			runtime.LockOSThread() // and never unlock: the namespace ends with the thread
			if unix.Unshare(unix.CLONE_NEWNET) != nil {
				try = nil
				return
			}
			try, ignored = tcnl.Lacks(try)
		}()
		<-done
		if k.ignored == nil {
			k.ignored = map[string][]string{}
		}
		maps.Copy(k.ignored, ignored)
		for _, kind := range kinds {
			k.has[kind] = !slices.Contains(try, kind)
		}
	}
	return slices.DeleteFunc(slices.Clone(kinds), func(kind string) bool { return k.has[kind] })
}

// all are the kinds that the kernel has.
func (k *kernelQdiscs) all() string {
	names := make([]string, len(tcnl.Kinds))
	for i := range tcnl.Kinds {
		names[i] = tcnl.Kinds[i].Name
	}
	lacks := k.lacks(names...)
	return strings.Join(slices.DeleteFunc(names, func(n string) bool { return slices.Contains(lacks, n) }), ", ")
}

// Check implements [reconcile.Kind].
func (k *Qdisc) Check(_ context.Context, r *reconcile.Resource) (out []reconcile.Problem) {
	_, l, have, err := k.root(r.Name)
	if err != nil {
		return []reconcile.Problem{linkProblem(r, QdiscKind, err)}
	}
	out = k.checkKinds(r, int(l.Attrs().NumTxQueues))
	if kind := r.Want[kindKey]; kind != "" && kind != "noqueue" && kind != AnyDefault && !shapes(r.Want) {
		if why := noQueue(l, have); why != "" {
			out = append(out, reconcile.Problem{Resource: r, Key: kindKey, Problem: why, Warn: true})
		}
	}
	return out
}

// CheckAhead implements [reconcile.Ahead]: what the kernel lacks it lacks everywhere.
func (k *Qdisc) CheckAhead(_ context.Context, r *reconcile.Resource) []reconcile.Problem {
	return k.checkKinds(r, madeQueues)
}

// madeQueues is how many queues a link has that is made.
const madeQueues = 1

// checkKinds looks at the kinds of the qdiscs of an interface with so many queues.
func (k *Qdisc) checkKinds(r *reconcile.Resource, queues int) (out []reconcile.Problem) {
	for _, key := range r.Want.Keys() {
		a := parseAttr(key)
		kind := r.Want[key]
		p := reconcile.Problem{Resource: r, Key: key}
		if a.option() != nil && a.kind != "" && k.kernel.ignores(a.kind, a.name) {
			p.Problem, p.Want = "this kernel does not have it, and would ignore it", "it left out"
			out = append(out, p)
		}
		if a.name != kindKey || kind == AnyDefault {
			continue
		}
		known := tcnl.KindOf(kind)
		switch {
		case known == nil:
			p.Problem, p.Want = "no such kind of qdiscs", k.kernel.all()
		case len(k.kernel.lacks(kind)) > 0:
			p.Problem, p.Want = "this kernel does not have it (CONFIG_"+known.Config+")", "one of "+k.kernel.all()
		case a.scope == "" && known.Multiqueue && queues < 2:
			p.Problem, p.Want = "the interface has one queue", "another kind"
		default:
			continue
		}
		out = append(out, p)
	}
	return out
}

// shapes tells whether a qdisc holds packets back by itself.
func shapes(want reconcile.State) bool {
	bandwidth := want[attr{"", want[kindKey], "bandwidth"}.key()]
	return want[kindKey] == "htb" || bandwidth != "" && bandwidth != "unlimited"
}

// noQueueLinks are types of interfaces that hand packets on at once: those that have
// IFF_NO_QUEUE.
var noQueueLinks = []string{"bridge", "bond", "dummy", "geneve", "gre", "gretap", "ipip", "ipvlan", "macvlan", "netkit", "sit", "team", "veth", "vlan", "vrf", "vxlan", "wireguard"}

// noQueue says why packets never wait at an interface's qdisc; empty if they can.
func noQueue(l netlink.Link, have *tcnl.Qdisc) string {
	if _, err := os.Stat(filepath.Join("/sys/class/net", l.Attrs().Name, "phy80211")); err == nil {
		return "packets never wait here: WiFi queues them itself, below the qdisc (mac80211: fq_codel for each station, limited by AQL and airtime in debugfs)"
	}
	if have.Default() && have.Kind == "noqueue" || slices.Contains(noQueueLinks, l.Type()) {
		return "packets never wait here: the interface hands them on at once, so the qdisc has nothing to manage unless it shapes"
	}
	return ""
}

// dialTC has one client for all, made when it is needed first.
func dialTC() func() (*tcnl.Client, error) { return sync.OnceValues(tcnl.Dial) }
