// SPDX-License-Identifier: GPL-2.0-only

package host

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/randomizedcoder/l2d/pkg/config"
	"github.com/randomizedcoder/l2d/pkg/ethioctl"
	"github.com/randomizedcoder/l2d/pkg/reconcile"
)

// nicRank is behind those of sysctls.
const nicRank = 10

// nicResources are those of an interface, in the order that changes are made in.
// There are none of an optional interface that is not there.
func nicResources(file string, n *config.NIC) (out []reconcile.Resource, err error) {
	if absent(n) {
		return nil, nil
	}
	rank := nicRank
	add := func(kind string, want reconcile.State) {
		if len(want) > 0 {
			out = append(out, reconcile.Resource{
				Kind: kind, Name: n.Name, Want: want, Rank: rank, Enforce: n.Enforce,
				At: reconcile.PlaceOf(n.At(file)), KeysAt: keysAt(file, n, kind, want),
			})
		}
		rank++
	}
	for _, g := range nicGroups {
		want := reconcile.State{}
		for key, v := range n.Settings[g.Name] {
			want[key] = strconv.FormatUint(uint64(v), 10)
		}
		add(g.Name, want)
	}
	add(FECKind, modesWant(n.FEC))
	add(WoLKind, modesWant(n.WoL))
	add(PrivateFlagsKind, switchesWant(n.PrivateFlags))
	add(FeaturesKind, switchesWant(n.Features))
	mtu := reconcile.State{}
	if n.MTU != 0 {
		mtu[valueKey] = strconv.FormatUint(uint64(n.MTU), 10)
	}
	add(MTUKind, mtu)
	if n.AQM != nil {
		add(AQMKind, aqmWant(n.AQM))
	}
	if n.RSS != nil {
		add(RSSKind, rssWant(n.RSS))
		err = checkQueues(file, n)
	}
	return out, err
}

// keysAt are the places of what is wanted of a kind, whose attributes are named as they are
// in the file.
func keysAt(file string, n *config.NIC, kind string, want reconcile.State) map[string]reconcile.Place {
	places := map[string]reconcile.Place{}
	for key := range want {
		path := kind + "." + key
		if key == valueKey {
			path = kind
		}
		if e, ok := n.KeyAt(file, path); ok {
			places[key] = reconcile.PlaceOf(e)
		}
	}
	return places
}

func modesWant(words []string) reconcile.State {
	if words == nil {
		return nil
	}
	return reconcile.State{valueKey: modesText(words)}
}

func switchesWant(on map[string]bool) reconcile.State {
	want := reconcile.State{}
	for key, v := range on {
		want[key] = onOff(v)
	}
	return want
}

func rssWant(r *config.RSS) reconcile.State {
	want := reconcile.State{}
	if r.Key != "" {
		want[rssKey] = strings.ToLower(r.Key)
	}
	if len(r.Queues) > 0 {
		want[rssQueues] = cycleText(r.Queues)
	}
	return want
}

// queuesOf is how many receive queues an interface is going to have: those that are
// declared, or that it has. It is 0 if that is not known.
func queuesOf(dev ethioctl.Device, n *config.NIC) uint32 {
	channels := n.Settings["channels"]
	combined, both := channels["combined"]
	rx, receive := channels["rx"]
	if both || receive {
		return combined + rx
	}
	now, err := ethioctl.Queues(dev, n.Name)
	if err != nil {
		return 0
	}
	return now
}

// checkQueues refuses queues that there are not going to be.
func checkQueues(file string, n *config.NIC) error {
	queues := queuesOf(ethioctl.Kernel{}, n)
	for _, q := range n.RSS.Queues {
		if queues > 0 && q >= queues {
			e := n.RSS.QueuesAt(file, n.Name)
			e.Problem, e.Want = fmt.Sprintf("%s has no receive queue %d", n.Name, q), fmt.Sprintf("queues from 0 to %d, or more of channels", queues-1)
			return e
		}
	}
	return nil
}
