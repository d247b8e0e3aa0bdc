// SPDX-License-Identifier: GPL-2.0-only

package lab

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// Ports that only the packets of the drop checks use.
const (
	portStranger = 55555
	portProbe    = 33999
)

func wanChecks() []Check {
	const group = "from the WAN"
	return slices.Concat(
		both(group, "SYN to a client", "an unsolicited SYN does not reach the LAN", checkSYNClient),
		both(group, "SYN to the router's SSH", "the Internet gets no answer", checkSYNRouter),
		[]Check{{group, "SSH from upstream", "the upstream LAN is let in", checkSSHUpstream}},
		both(group, "spoofed loopback", "a loopback source on the wire", checkSpoofedLoopback),
		both(group, "spoofed LAN, to a client", "a LAN source on the wrong side", checkSpoofedToClient),
		both(group, "spoofed LAN, to the router", "a LAN source on the wrong side", checkSpoofedToRouter),
		both(group, "SYN+FIN", "no TCP sends it; conntrack calls it invalid", checkSYNFIN),
		[]Check{{group, "blacklist", "dropped for 5 s after \"set add\", answered before and after", checkBlacklist}},
	)
}

// toClient counts what comes out at client1.
func (t *trial) toClient(match func(packet) bool) (*tap, error) {
	return t.openTap(Client1, ifHost, match)
}

func checkSYNClient(ctx context.Context, t *trial, family int) error {
	src, dst := AddrServer.Of(family), AddrClient1.Of(family)
	client, err := t.toClient(func(p packet) bool { return p.proto == unix.IPPROTO_TCP && p.src == src && p.dport == portHTTP })
	if err != nil {
		return err
	}
	defer client.close()
	return t.dropped(ctx, volley{
		from: fromWAN, rule: fwRest, arrived: client.matched.Load,
		frame: func(i int) []byte {
			return tcpFrame(fromWAN.hop, src, dst, portStranger+uint16(i), portHTTP, tcpSYN)
		},
	})
}

func checkSYNRouter(ctx context.Context, t *trial, family int) error {
	src, dst := AddrServer.Of(family), AddrRouterWAN.Of(family)
	answers, err := t.openTap(ISP, ifISP, func(p packet) bool { return p.proto == unix.IPPROTO_TCP && p.src == dst && p.sport == portSSH })
	if err != nil {
		return err
	}
	defer answers.close()
	return t.dropped(ctx, volley{
		from: fromWAN, rule: inRest, arrived: answers.matched.Load,
		frame: func(i int) []byte {
			return tcpFrame(fromWAN.hop, src, dst, portStranger+uint16(i), portSSH, tcpSYN)
		},
	})
}

func checkSSHUpstream(ctx context.Context, t *trial) error {
	return t.decidedBy(ctx, func() error { return t.ssh(ctx, ISP, AddrRouterWAN.V4) }, inUpstream)
}

func checkSpoofedLoopback(ctx context.Context, t *trial, family int) error {
	rule := pick(family, inLoop4, inLoop6)
	if t.dp.Name() == "nftables" {
		// The kernel's routing refuses such a source before the input hook.
		rule = ruleName{}
	}
	return t.spoofedToRouter(ctx, addrLoop.Of(family), AddrRouterWAN.Of(family), rule)
}

func checkSpoofedToRouter(ctx context.Context, t *trial, family int) error {
	return t.spoofedToRouter(ctx, addrSpoofed.Of(family), AddrRouterWAN.Of(family), pick(family, inRest, inSpecial6))
}

func (t *trial) spoofedToRouter(ctx context.Context, src, dst netip.Addr, rule ruleName) error {
	arrived, stop, err := t.countUDP(Router, netip.AddrPortFrom(dst, portProbe))
	if err != nil {
		return err
	}
	defer stop()
	return t.dropped(ctx, volley{
		from: fromWAN, rule: rule, arrived: arrived,
		frame: func(i int) []byte {
			return udpFrame(fromWAN.hop, src, dst, portStranger+uint16(i), portProbe, []byte("spoofed"))
		},
	})
}

func checkSpoofedToClient(ctx context.Context, t *trial, family int) error {
	src, dst := addrSpoofed.Of(family), AddrClient1.Of(family)
	client, err := t.toClient(func(p packet) bool { return p.proto == unix.IPPROTO_UDP && p.src == src && p.dport == portProbe })
	if err != nil {
		return err
	}
	defer client.close()
	return t.dropped(ctx, volley{
		from: fromWAN, rule: fwRest, arrived: client.matched.Load,
		frame: func(i int) []byte {
			return udpFrame(fromWAN.hop, src, dst, portStranger+uint16(i), portProbe, []byte("spoofed"))
		},
	})
}

// checkSYNFIN sends to a client and, from an upstream address that would be let
// in, to the router. Connection tracking refuses the combination, so "ct state
// invalid" counts it before the rule about TCP flags can.
func checkSYNFIN(ctx context.Context, t *trial, family int) error {
	server, client1 := AddrServer.Of(family), AddrClient1.Of(family)
	isp, router := AddrISP.Of(family), AddrRouterWAN.Of(family)
	client, err := t.toClient(func(p packet) bool { return p.proto == unix.IPPROTO_TCP && p.src == server && p.flags&tcpFIN != 0 })
	if err != nil {
		return err
	}
	defer client.close()
	return t.dropped(ctx,
		volley{
			from: fromWAN, rule: fwInvalid, arrived: client.matched.Load,
			frame: func(i int) []byte {
				return tcpFrame(fromWAN.hop, server, client1, portStranger+uint16(i), portHTTP, tcpSYN|tcpFIN)
			},
		},
		volley{
			from: fromWAN, rule: inInvalid,
			frame: func(i int) []byte {
				return tcpFrame(fromWAN.hop, isp, router, portStranger+uint16(i), portSSH, tcpSYN|tcpFIN)
			},
		},
	)
}

// blacklistTime is how long the blacklist check blocks its addresses.
const blacklistTime = 5 * time.Second

func checkBlacklist(ctx context.Context, t *trial) error {
	for _, family := range []int{4, 6} {
		if err := t.echo(fromWAN, AddrBlocked.Of(family), AddrRouterWAN.Of(family)); err != nil {
			return fmt.Errorf("before: %w", err)
		}
	}
	begin := time.Now()
	var volleys []volley
	for family, set := range map[int]string{4: "blacklist", 6: "blacklist6"} {
		src, dst := AddrBlocked.Of(family), AddrRouterWAN.Of(family)
		if err := t.dp.SetAdd(ctx, "inet", "filter", set, src.String(), blacklistTime); err != nil {
			return err
		}
		answers, err := t.openTap(ISP, ifISP, func(p packet) bool { return p.src == dst && p.dst == src })
		if err != nil {
			return err
		}
		defer answers.close()
		volleys = append(volleys, volley{
			from: fromWAN, rule: pick(family, inBlack4, inBlack6), arrived: answers.matched.Load,
			frame: func(i int) []byte { return echoFrame(fromWAN.hop, src, dst, 0x3000, uint16(i)) },
		})
	}
	if err := t.dropped(ctx, volleys...); err != nil {
		return err
	}
	for _, family := range []int{4, 6} {
		err := poll(ctx, 4*blacklistTime, func() error {
			return t.echo(fromWAN, AddrBlocked.Of(family), AddrRouterWAN.Of(family))
		})
		if err != nil {
			return fmt.Errorf("after %s: %w", time.Since(begin), err)
		}
	}
	t.note("answered again after %.1f s", time.Since(begin).Seconds())
	return nil
}
