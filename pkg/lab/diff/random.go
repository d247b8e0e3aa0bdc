// SPDX-License-Identifier: GPL-2.0-only

package diff

import (
	"fmt"
	"math/rand/v2"

	"github.com/randomizedcoder/l2d/internal/nftrand"
)

// RandomRuleset returns the text of a random ruleset about the rig's interfaces
// and the addresses behind them.
// Areas of the language other than the basic one can be chosen: see [nftrand.Generator].
func (r *Rig) RandomRuleset(seed uint64, only ...string) string {
	rnd := rand.New(rand.NewPCG(seed, 1))
	g := nftrand.Generator{Rand: rnd, Only: only, ShowPorts: rand.New(rand.NewPCG(seed, 2)).IntN(2) == 0}
	address := func(v int) func() string {
		return func() string {
			p := r.ports[rnd.IntN(len(r.ports))]
			if rnd.IntN(4) == 0 {
				return p.addrs[v].Addr().String()
			}
			return nftrand.Pick(rnd, p.hosts[v]).String()
		}
	}
	g.IP4, g.IP6 = address(0), address(1)
	far := func(v int) func() string {
		return func() string { return nftrand.Pick(rnd, r.ports[rnd.IntN(len(r.ports))].hosts[v]).String() }
	}
	g.Far4, g.Far6 = far(0), far(1)
	next := func(v int) func() string {
		return func() string {
			p := nftrand.Pick(rnd, r.ports)
			return fmt.Sprintf("%v device %q", nftrand.Pick(rnd, p.hosts[v]), p.name)
		}
	}
	g.Next4, g.Next6 = next(0), next(1)
	g.Port = func() int { return int(nftrand.Pick(rnd, append(commonPorts, clientPorts...))) }
	g.Interface = func() string { return r.ports[rnd.IntN(len(r.ports))].name }
	// Ready to be used as it is: not all that nft lists can it read again.
	return counted(g.Router(r.ports[1].name))
}
