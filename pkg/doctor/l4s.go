// SPDX-License-Identifier: GPL-2.0-only

package doctor

import (
	"fmt"

	"github.com/randomizedcoder/l2d/pkg/tcnl"
)

// L4S is what the DualPI2s of a link have counted.
type L4S struct {
	// L4S and Classic are packets of its queues, Marks those that it has marked.
	L4S, Classic, Marks uint64
}

// BBR3 is what l2d has registered of that congestion control.
type BBR3 struct {
	Connections, Begun, WithoutState uint64
	// L4S says that marks are answered in proportion.
	L4S bool
}

// dualpi2Counts are those of the DualPI2s of links, by the link's index: at the root, below
// an htb that has the rate, or one for each queue.
func dualpi2Counts() map[int]*L4S {
	client, err := tcnl.Dial()
	if err != nil {
		return nil
	}
	defer func() { _ = client.Close() }()
	reports, err := client.Reports(0)
	if err != nil {
		return nil
	}
	out := map[int]*L4S{}
	for _, r := range reports {
		if r.Kind != "dualpi2" {
			continue
		}
		n := out[r.Interface]
		if n == nil {
			n = &L4S{}
			out[r.Interface] = n
		}
		for _, v := range r.Details {
			switch v.Name {
			case "l4s_packets":
				n.L4S += uint64(v.Value)
			case "classic_packets":
				n.Classic += uint64(v.Value)
			case "marks":
				n.Marks += uint64(v.Value)
			}
		}
	}
	return out
}

// marks looks at whether a DualPI2 has seen what it is for.
func (r *report) marks(l Link) {
	switch n := l.L4S; {
	case n == nil:
	case n.L4S == 0:
		r.add(Note, "marks", l.Name+": no packet of an L4S connection has come by", fmt.Sprintf("DualPI2 has had %d packets, all of them in its classic queue", n.Classic),
			"L4S needs ends that ask for it: AccECN (net.ipv4.tcp_ecn), and a congestion control that answers it")
	default:
		r.good("marks", "%s: %d packets in the L4S queue, %d in the classic one, %d marked", l.Name, n.L4S, n.Classic, n.Marks)
	}
}

// bbr3 looks at l2d's congestion control.
func (r *report) bbr3() {
	b := r.BBR3
	if b == nil {
		return
	}
	answers := "marks are lost packets to it"
	if b.L4S {
		answers = "marks are answered in proportion"
	}
	if b.WithoutState > 0 {
		r.add(Warning, "bbr3", "connections with bbr3 do as Reno does, as there was no memory for their state", fmt.Sprintf("%d of %d", b.WithoutState, b.Begun),
			setSysctl("net/core/optmem_max", "131072"))
		return
	}
	r.good("bbr3", "bbr3 is l2d's: %d connections use it, %s", b.Connections, answers)
}
