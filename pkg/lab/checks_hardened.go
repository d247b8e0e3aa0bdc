// SPDX-License-Identifier: GPL-2.0-only

package lab

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// A limit's bucket in examples/hardened/firewall.nft holds limitBurst packets;
// limitSent are sent at once.
const (
	limitBurst = 5
	limitSent  = 12
)

// limitRefill is the time in which the faster bucket, 10 a second, gets a packet
// back. A burst that took longer than half of it is sent again.
const limitRefill = 100 * time.Millisecond

var (
	hardSSH   = ruleName{"input", "iifname br0 tcp dport 22 ct state new limit rate 6/minute burst 5 packets accept"}
	hardNoSSH = ruleName{"input", "tcp dport 22 drop"}
	hardEcho4 = ruleName{"input", "icmp type echo-request limit rate 10/second burst 5 packets accept"}
	hardNo4   = ruleName{"input", "icmp type echo-request drop"}
	hardEcho6 = ruleName{"input", "icmpv6 type echo-request limit rate 10/second burst 5 packets accept"}
	hardNo6   = ruleName{"input", "icmpv6 type echo-request drop"}
)

// HardenedChecks returns what must hold with examples/hardened: limits that bite,
// as the kernel's token buckets do.
func HardenedChecks() []Check {
	const group = "limits"
	list := []Check{{group, "SSH", "6 a minute: 5 of 12 connections at once, over both families", checkLimitSSH}}
	return append(list, both(group, "echo", "10 a second: 5 of 12 requests at once", checkLimitEcho)...)
}

func checkLimitSSH(ctx context.Context, t *trial) error {
	return t.burst(ctx, hardSSH, hardNoSSH,
		func(i int) []byte {
			family := 4 + 2*(i%2)
			return tcpFrame(fromLAN.hop, AddrClient1.Of(family), AddrRouterLAN.Of(family), portStranger+uint16(i), portSSH, tcpSYN)
		},
		func(p packet) bool {
			return p.proto == unix.IPPROTO_TCP && p.sport == portSSH && p.flags == tcpSYN|tcpACK
		})
}

func checkLimitEcho(ctx context.Context, t *trial, family int) error {
	src, dst := AddrClient1.Of(family), AddrRouterLAN.Of(family)
	return t.burst(ctx, pick(family, hardEcho4, hardEcho6), pick(family, hardNo4, hardNo6),
		func(i int) []byte { return echoFrame(fromLAN.hop, src, dst, 0x5000, uint16(i)) },
		func(p packet) bool { return p.src == dst && p.icmpType == echoReplyType(netip.Addr(dst)) })
}

// burst sends limitSent frames at once from client1. The first rule must count
// limitBurst of them, the second the others, and as many answers must come back.
func (t *trial) burst(ctx context.Context, pass, over ruleName, frame func(i int) []byte, answer func(packet) bool) error {
	for attempt := 1; ; attempt++ {
		took, err := t.burstOnce(ctx, pass, over, frame, answer)
		if took < limitRefill/2 || attempt == 5 {
			return err
		}
		// The machine was too slow for a burst. Let the bucket fill up again.
		t.result.Rules = nil
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(2 * limitBurst * limitRefill):
		}
	}
}

func (t *trial) burstOnce(ctx context.Context, pass, over ruleName, frame func(i int) []byte, answer func(packet) bool) (time.Duration, error) {
	wire, err := t.openTap(Client1, ifHost, answer)
	if err != nil {
		return 0, err
	}
	defer wire.close()
	before, err := t.dp.Rules(ctx)
	if err != nil {
		return 0, err
	}
	begin := time.Now()
	for i := range limitSent {
		if err := wire.send(frame(i)); err != nil {
			return 0, err
		}
	}
	took := time.Since(begin)
	var passed, dropped uint64
	err = poll(ctx, answerTime, func() error {
		after, err := t.dp.Rules(ctx)
		if err != nil {
			return err
		}
		if passed, err = counted(before, after, pass); err != nil {
			return err
		}
		if dropped, err = counted(before, after, over); err != nil {
			return err
		}
		if passed != limitBurst || dropped != limitSent-limitBurst || wire.matched.Load() != limitBurst {
			return fmt.Errorf("of %d packets in %s, %d passed (%d answered) and %d were over the limit, want %d and %d; these counted: %s",
				limitSent, took, passed, wire.matched.Load(), dropped, limitBurst, limitSent-limitBurst, describe(changes(before, after)))
		}
		return nil
	})
	t.decided(pass, passed)
	t.decided(over, dropped)
	return took, err
}
