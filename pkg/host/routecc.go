// SPDX-License-Identifier: GPL-2.0-only

package host

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"strings"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/randomizedcoder/l2d/pkg/reconcile"
)

// RouteKind is the name of [Route].
const RouteKind = "route"

// algorithmKey is the attribute of a route.
const algorithmKey = "congestion_control"

// Route is the kind of routes of the main table, with the congestion control of
// connections by them. A resource has the prefix as its name; of several routes to it,
// it is the one with the lowest metric.
type Route struct{ trials *trials }

// Name implements [reconcile.Kind].
func (*Route) Name() string { return RouteKind }

// rtmsgLen is the size of a struct rtmsg; the others are RTA_NH_ID and RTAX_CC_ALGO.
const (
	rtmsgLen         = 12
	routeNextHop     = 30
	metricCongestion = 16
)

// routeMessage is a route as the kernel has it. What is not known of it goes back as it
// came.
type routeMessage struct {
	header     []byte // struct rtmsg
	attributes []netlink.Attribute
}

func (m *routeMessage) attribute(t uint16) []byte {
	for _, a := range m.attributes {
		if a.Type&^unix.NLA_F_NESTED == t {
			return a.Data
		}
	}
	return nil
}

func (m *routeMessage) number(t uint16) uint32 {
	if b := m.attribute(t); len(b) == 4 {
		return binary.NativeEndian.Uint32(b)
	}
	return 0
}

// prefix is the destination.
func (m *routeMessage) prefix() netip.Prefix {
	a, ok := netip.AddrFromSlice(m.attribute(unix.RTA_DST))
	if !ok {
		a = netip.IPv4Unspecified()
		if m.header[0] == unix.AF_INET6 {
			a = netip.IPv6Unspecified()
		}
	}
	return netip.PrefixFrom(a, int(m.header[1]))
}

// expires tells whether the kernel removes it after some time, which it does not take
// back in the form that it reports it.
func (m *routeMessage) expires() bool {
	const at = 8 // rta_expires of struct rta_cacheinfo
	b := m.attribute(unix.RTA_CACHEINFO)
	return len(b) >= at+4 && binary.NativeEndian.Uint32(b[at:]) != 0
}

// metrics are those with their values.
func (m *routeMessage) metrics() ([]netlink.Attribute, error) {
	b := m.attribute(unix.RTA_METRICS)
	if b == nil {
		return nil, nil
	}
	return netlink.UnmarshalAttributes(b)
}

// algorithm is the congestion control; [noAlgorithm] if it has none of its own.
func (m *routeMessage) algorithm() string {
	list, _ := m.metrics()
	for _, a := range list {
		if a.Type == metricCongestion {
			return strings.TrimRight(string(a.Data), "\x00")
		}
	}
	return noAlgorithm
}

// with returns what makes a route of it that has another congestion control.
func (m *routeMessage) with(algorithm string) ([]byte, error) {
	metrics, err := m.metrics()
	if err != nil {
		return nil, err
	}
	var other []netlink.Attribute
	for _, a := range metrics {
		if a.Type != metricCongestion {
			other = append(other, a)
		}
	}
	if algorithm != noAlgorithm {
		other = append(other, netlink.Attribute{Type: metricCongestion, Data: append([]byte(algorithm), 0)})
	}
	var attributes []netlink.Attribute
	for _, a := range m.attributes {
		switch a.Type &^ unix.NLA_F_NESTED {
		case unix.RTA_METRICS, unix.RTA_CACHEINFO:
			continue
		case unix.RTA_MULTIPATH:
			a.Data = stateless(a.Data)
		}
		attributes = append(attributes, a)
	}
	if len(other) > 0 {
		b, err := netlink.MarshalAttributes(other)
		if err != nil {
			return nil, err
		}
		attributes = append(attributes, netlink.Attribute{Type: unix.RTA_METRICS | unix.NLA_F_NESTED, Data: b})
	}
	b, err := netlink.MarshalAttributes(attributes)
	if err != nil {
		return nil, err
	}
	header := append([]byte{}, m.header...)
	binary.NativeEndian.PutUint32(header[8:], binary.NativeEndian.Uint32(header[8:])&unix.RTNH_F_ONLINK)
	return append(header, b...), nil
}

// stateless has of the flags of each next hop only those that are declared: that its
// link has no carrier, for example, is not taken back. They are structs rtnexthop.
func stateless(hops []byte) []byte {
	hops = bytes.Clone(hops)
	for b := hops; len(b) >= unix.SizeofRtNexthop; {
		b[2] &= unix.RTNH_F_ONLINK
		n := (int(binary.NativeEndian.Uint16(b)) + unix.NLMSG_ALIGNTO - 1) &^ (unix.NLMSG_ALIGNTO - 1)
		if n < unix.SizeofRtNexthop || n > len(b) {
			break
		}
		b = b[n:]
	}
	return hops
}

// route reads the route of a name.
func (r *Route) route(conn *netlink.Conn, name string) (*routeMessage, error) {
	prefix, err := netip.ParsePrefix(name)
	if err != nil {
		return nil, err
	}
	header := make([]byte, rtmsgLen)
	header[0] = unix.AF_INET
	if prefix.Addr().Is6() {
		header[0] = unix.AF_INET6
	}
	list, err := conn.Execute(netlink.Message{Header: netlink.Header{Type: unix.RTM_GETROUTE, Flags: netlink.Request | netlink.Dump}, Data: header})
	if err != nil {
		return nil, fmt.Errorf("routes: %w", err)
	}
	var found *routeMessage
	for _, l := range list {
		if len(l.Data) < rtmsgLen {
			continue
		}
		m := &routeMessage{header: l.Data[:rtmsgLen]}
		if m.attributes, err = netlink.UnmarshalAttributes(l.Data[rtmsgLen:]); err != nil {
			return nil, fmt.Errorf("routes: %w", err)
		}
		if m.header[4] != unix.RT_TABLE_MAIN || m.header[7] != unix.RTN_UNICAST || m.prefix() != prefix {
			continue
		}
		if found == nil || m.number(unix.RTA_PRIORITY) < found.number(unix.RTA_PRIORITY) {
			found = m
		}
	}
	if found == nil {
		return nil, fmt.Errorf("no route to %s in the main table: %w", name, fs.ErrNotExist)
	}
	return found, nil
}

// connected calls do with a connection.
func (r *Route) connected(do func(*netlink.Conn) error) error {
	conn, err := netlink.Dial(unix.NETLINK_ROUTE, nil)
	if err != nil {
		return fmt.Errorf("rtnetlink: %w", err)
	}
	return errors.Join(do(conn), conn.Close())
}

// Check implements [reconcile.Kind].
func (r *Route) Check(_ context.Context, res *reconcile.Resource) (out []reconcile.Problem) {
	out = r.trials.lacked(res, algorithmKey)
	err := r.connected(func(conn *netlink.Conn) error {
		m, err := r.route(conn, res.Name)
		switch {
		case err != nil:
			return err
		case m.expires():
			return errors.New("the route is one of router advertisements, which set it anew")
		case m.attribute(routeNextHop) != nil:
			return errors.New("the route is by a next hop with a number: the kernel does not take metrics of these back")
		}
		return nil
	})
	switch {
	case errors.Is(err, fs.ErrNotExist): // others make routes, and may do so later
		out = append(out, reconcile.Problem{Resource: res, Problem: "the main table has no such route", Skip: true})
	case err != nil:
		out = append(out, reconcile.Problem{Resource: res, Problem: err.Error()})
	}
	return out
}

// Observe implements [reconcile.Kind].
func (r *Route) Observe(_ context.Context, name string, _ []string) (reconcile.State, error) {
	out := reconcile.State{}
	err := r.connected(func(conn *netlink.Conn) error {
		m, err := r.route(conn, name)
		if err == nil {
			out[algorithmKey] = m.algorithm()
		}
		return err
	})
	return out, err
}

// Same implements [reconcile.Kind].
func (*Route) Same(_, want, have string) bool { return want == have }

// Effect implements [reconcile.Kind].
func (*Route) Effect(string, reconcile.State) reconcile.Effect {
	return reconcile.Effect{Impact: reconcile.InPlace}
}

// Before implements [reconcile.Kind].
func (r *Route) Before(ctx context.Context, name string, to reconcile.State) (reconcile.State, error) {
	return r.Observe(ctx, name, to.Keys())
}

// Set implements [reconcile.Kind].
func (r *Route) Set(_ context.Context, name string, to reconcile.State) error {
	return r.connected(func(conn *netlink.Conn) error {
		m, err := r.route(conn, name)
		if err != nil {
			return err
		}
		if m.algorithm() == to[algorithmKey] {
			return nil
		}
		b, err := m.with(to[algorithmKey])
		if err != nil {
			return err
		}
		_, err = conn.Execute(netlink.Message{Header: netlink.Header{Type: unix.RTM_NEWROUTE, Flags: netlink.Request | netlink.Acknowledge | netlink.Replace}, Data: b})
		return err
	})
}
