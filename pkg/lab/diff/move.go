// SPDX-License-Identifier: GPL-2.0-only

package diff

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// move is a change of a route while flows go on, as when a provider fails: packets to a host
// go by another port.
type move struct {
	host netip.Addr
	port int // that they go by from now on; negative: as at the beginning
}

// movePackets is how many packets there are from one move to the next.
const movePackets = 60

// moveTime is longer than XDP remembers a way.
const moveTime = 150 * time.Millisecond

const (
	moveWord = "move"
	backWord = "back"
)

// moveLine is a move as a line of a replay file.
func (r *Rig) moveLine(m *move) string {
	port := backWord
	if m.port >= 0 {
		port = r.ports[m.port].name
	}
	return strings.Join([]string{moveWord, m.host.String(), port}, " ")
}

// parseMove reads what stands behind the word.
func (r *Rig) parseMove(words []string) (*move, error) {
	if len(words) != 2 {
		return nil, errors.New("want: move ADDRESS INTERFACE, or move ADDRESS back")
	}
	host, err := netip.ParseAddr(words[0])
	if err != nil {
		return nil, err
	}
	if words[1] == backWord {
		return &move{host, -1}, nil
	}
	for i, p := range r.ports {
		if p.name == words[1] {
			return &move{host, i}, nil
		}
	}
	return nil, fmt.Errorf("no interface %q", words[1])
}

// newMove chooses a host that is no gateway, and a way to it.
func (t *trial) newMove() *move {
	p := &t.ports[t.IntN(len(t.ports))]
	hosts := p.hosts[t.IntN(2)]
	if len(hosts) < 2 {
		return nil
	}
	m := &move{host: choose(t, hosts[1:]), port: t.IntN(len(t.ports)+1) - 1}
	if _, moved := t.moved[m.host]; m.port < 0 && !moved {
		return nil
	}
	return m
}

// maybeMove changes a route when it is time to.
func (t *trial) maybeMove() error {
	if !t.moves || t.sent-t.movedAt < movePackets {
		return nil
	}
	m := t.newMove()
	if m == nil {
		return nil
	}
	t.movedAt = t.sent
	_, err := t.fire(shot{move: m})
	return err
}

// reroute makes a move in both routers, and waits until it is in force.
func (r *Rig) reroute(m *move) error {
	v := version(m.host)
	bits := m.host.BitLen()
	route := netlink.Route{Dst: &net.IPNet{IP: m.host.AsSlice(), Mask: net.CIDRMask(bits, bits)}}
	change := netlink.RouteDel
	if m.port >= 0 {
		route.Gw = r.ports[m.port].hosts[v][0].AsSlice()
		change = netlink.RouteReplace
	}
	for _, router := range r.routers {
		if m.port >= 0 {
			route.LinkIndex = router.index[m.port]
		}
		err := router.self.do(func() error { return change(&route) })
		if err != nil && (m.port >= 0 || !errors.Is(err, unix.ESRCH)) {
			return fmt.Errorf("%s: %w", r.moveLine(m), err)
		}
	}
	if m.port >= 0 {
		r.moved[m.host] = m.port
	} else {
		delete(r.moved, m.host)
	}
	time.Sleep(moveTime)
	return nil
}

// moveBack gives all hosts the routes of the beginning.
func (r *Rig) moveBack() error {
	for host := range r.moved {
		if err := r.reroute(&move{host, -1}); err != nil {
			return err
		}
	}
	return nil
}
