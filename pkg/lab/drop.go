// SPDX-License-Identifier: GPL-2.0-only

package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"
	"time"
)

// station is where raw frames are put on the wire.
type station struct {
	ns, link string
	hop      hop
}

var (
	fromWAN = station{ISP, ifISP, hop{macISP, macWAN}}
	fromLAN = station{Client1, ifHost, hop{macClient1, macLAN}}
)

// dropCount is how many packets of a kind a drop check sends.
const dropCount = 4

// volley is a kind of packets that the router must drop.
type volley struct {
	from station
	// frame makes packet i.
	frame func(i int) []byte
	// rule must count each of them; the zero value when the dataplane drops them
	// before its rules see them.
	rule ruleName
	// arrived counts those that came through, at their destination.
	arrived func() uint64
}

var (
	// errMore tells that a rule has counted more packets than were sent.
	errMore = errors.New("too many")
	// errArrived tells that packets came through.
	errArrived = errors.New("packets arrived")
)

// dropped sends volleys and fails unless every packet was counted by its rule,
// exactly once, and none arrived.
//
// A young network is not silent: multicast listeners report for some seconds, and
// the same rule may drop that. A count that is too high is therefore looked at
// again; one that is too low, or a packet that arrives, never is.
func (t *trial) dropped(ctx context.Context, volleys ...volley) error {
	for attempt := 1; ; attempt++ {
		err := t.droppedOnce(ctx, volleys)
		if attempt == 3 || !errors.Is(err, errMore) || errors.Is(err, errArrived) {
			return err
		}
	}
}

func (t *trial) droppedOnce(ctx context.Context, volleys []volley) error {
	before, err := t.dp.Rules(ctx)
	if err != nil {
		return err
	}
	want := map[ruleName]uint64{}
	for _, v := range volleys {
		out, err := t.openTap(v.from.ns, v.from.link, nil)
		if err != nil {
			return err
		}
		for i := range dropCount {
			if err = out.send(v.frame(i)); err != nil {
				break
			}
		}
		out.close()
		if err != nil {
			return err
		}
		want[v.rule] += dropCount
		// What was sent before an answered echo request has been dealt with.
		if err := t.barrier(v.from); err != nil {
			return err
		}
	}
	var more error
	err = poll(ctx, answerTime, func() error {
		after, err := t.dp.Rules(ctx)
		if err != nil {
			return err
		}
		if err = exactly(before, after, want); errors.Is(err, errMore) {
			more = err // waiting makes it no better
			return nil
		}
		return err
	})
	errs := []error{err, more}
	for _, v := range volleys {
		if v.arrived != nil && v.arrived() != 0 {
			errs = append(errs, fmt.Errorf("%w: %d of %d", errArrived, v.arrived(), dropCount))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	for rule, n := range want {
		if rule == (ruleName{}) {
			t.result.Rules = append(t.result.Rules, "before any rule: martian address")
			continue
		}
		t.decided(rule, n)
	}
	return nil
}

// exactly compares what rules have counted with what they should have. Packets
// without a rule are not compared.
func exactly(before, after []Rule, want map[ruleName]uint64) error {
	for rule, n := range want {
		if rule == (ruleName{}) {
			continue
		}
		got, err := counted(before, after, rule)
		if err != nil {
			return err
		}
		if got == n {
			continue
		}
		err = fmt.Errorf("%q counted %d packets, want %d; these counted: %s", rule, got, n, describe(changes(before, after)))
		if got > n {
			err = fmt.Errorf("%w: %w", errMore, err)
		}
		return err
	}
	return nil
}

// barrier waits until the router has answered an echo request that it has to
// answer, sent the same way.
func (t *trial) barrier(from station) error {
	if from.ns == ISP {
		return t.echo(from, AddrServer.V4, AddrRouterWAN.V4)
	}
	return t.echo(from, AddrClient1.V4, AddrRouterLAN.V4)
}

var echoID atomic.Uint32

// echo sends an echo request as a raw frame and waits for its reply to pass the
// station.
func (t *trial) echo(from station, src, dst netip.Addr) error {
	id := uint16(0x4000 + echoID.Add(1))
	seen := make(chan struct{}, 1)
	wire, err := t.openTap(from.ns, from.link, func(p packet) bool {
		ok := p.src == dst && p.dst == src && p.icmpType == echoReplyType(dst) && p.icmpID == id && (p.proto == icmpProto || p.proto == icmp6)
		if ok {
			select {
			case seen <- struct{}{}:
			default:
			}
		}
		return ok
	})
	if err != nil {
		return err
	}
	defer wire.close()
	if err := wire.send(echoFrame(from.hop, src, dst, id, 1)); err != nil {
		return err
	}
	select {
	case <-seen:
		return nil
	case <-time.After(answerTime):
		return fmt.Errorf("no answer to an echo request from %s to %s", src, dst)
	}
}

// countUDP counts the datagrams that reach an address of a namespace until the
// returned function is called.
func (t *trial) countUDP(ns string, at netip.AddrPort) (count func() uint64, stop func(), err error) {
	var conn *net.UDPConn
	err = t.ns[ns].Do(func() (err error) {
		conn, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(at))
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	var n atomic.Uint64
	go func() {
		buf := make([]byte, 2048)
		for {
			if _, _, err := conn.ReadFromUDPAddrPort(buf); err != nil {
				return
			}
			n.Add(1)
		}
	}()
	return n.Load, func() { conn.Close() }, nil
}
