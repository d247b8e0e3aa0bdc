// SPDX-License-Identifier: GPL-2.0-only

package loader

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/randomizedcoder/l2d/pkg/policy"
)

// shaper makes one for an interface of the router: it sends at a rate, such as "1mbit", and has
// room for some bytes, or an unlimited one without a rate.
func (r *router) shaper(dev, rate, limit string) *Shaper {
	r.t.Helper()
	s := &Shaper{Queue: "in-" + dev, End: "re-" + dev}
	r.batch("r", "link add "+s.Queue+" type veth peer name "+s.End, "link set "+s.End+" mtu 65535")
	r.in("r", func() error {
		return sysctls("ipv6/conf/"+s.Queue+"/disable_ipv6=1", "ipv6/conf/"+s.End+"/disable_ipv6=1")
	})
	r.batch("r", "link set "+s.Queue+" up", "link set "+s.End+" up")
	if rate != "" {
		r.tc("qdisc add dev", s.Queue, "root handle 1: htb default 1")
		r.tc("class add dev", s.Queue, "parent 1: classid 1:1 htb rate", rate)
		r.tc("qdisc add dev", s.Queue, "parent 1:1 bfifo limit", limit)
	} else {
		r.tc("qdisc add dev", s.Queue, "root bfifo limit 1000000")
	}
	s.QueueIndex, s.EndIndex = r.index(s.Queue), r.index(s.End)
	return s
}

func (r *router) tc(args ...string) {
	r.t.Helper()
	out, err := exec.Command("tc", append([]string{"-n", r.name + "r"}, strings.Fields(strings.Join(args, " "))...)...).CombinedOutput()
	if err != nil {
		r.t.Fatalf("tc %v: %v: %s", args, err, out)
	}
}

// waited are the packets that the qdisc of a shaper has sent, and those that it dropped.
func (r *router) waited(s *Shaper) (sent, dropped int) {
	r.t.Helper()
	out, err := exec.Command("tc", "-n", r.name+"r", "-s", "-j", "qdisc", "show", "dev", s.Queue, "root").Output()
	if err != nil {
		r.t.Fatal(err)
	}
	var list []struct{ Packets, Drops int }
	if err := json.Unmarshal(out, &list); err != nil || len(list) != 1 {
		r.t.Fatalf("%v: %s", err, out)
	}
	return list[0].Packets, list[0].Drops
}

// inShapedModes runs a test with routers whose WAN is shaped, with XDP or without.
func inShapedModes(t *testing.T, rate, limit string, test func(t *testing.T, r *router, d *Dataplane, cfg Config)) {
	t.Parallel()
	for _, m := range modes {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			r := newRouter(t)
			cfg := r.config(r.compiledFor(shapedRules))
			for i := range cfg.Interfaces {
				cfg.Interfaces[i].XDP = m.xdp
			}
			cfg.Interfaces[1].Shaper = r.shaper("wan0", rate, limit)
			test(t, r, r.mustApply(cfg), cfg)
		})
	}
}

const shapedRules = `table netdev n { chain c { type filter hook ingress device "wan0" priority 0; policy accept; meta l4proto udp counter; }; }
table inet t {
	chain c {
		type filter hook prerouting priority raw; policy accept
		iifname "wan0" meta l4proto udp counter
		iifname "in-wan0" counter
		iifname "re-wan0" counter
	}
	chain forward {
		type filter hook forward priority 0; policy drop
		iifname "lan0" oifname "wan0" accept
		iifname "wan0" oifname "lan0" ct state established,related accept
	}
	chain nat { type nat hook postrouting priority 100; oifname "wan0" masquerade; }
}
`

// question has a client of the LAN begin a flow, and returns the address that the server
// answers to.
func question(lan, wan *wire, client, server netip.AddrPort) netip.AddrPort {
	lan.t.Helper()
	lan.send(ipPacket(client.Addr(), server.Addr(), unix.IPPROTO_UDP, 64, udpDatagram(client, server, nil)))
	return wan.receive("question", func(p packet) bool { return p.dst == server }).src
}

// answered has the server answer, and the client receive it.
func answered(lan, wan *wire, server, public, client netip.AddrPort, payload []byte) {
	lan.t.Helper()
	expect(lan.t, "answer", wan, lan, ipPacket(server.Addr(), public.Addr(), unix.IPPROTO_UDP, 64, udpDatagram(server, public, payload)),
		ipPacket(server.Addr(), client.Addr(), unix.IPPROTO_UDP, 63, udpDatagram(server, client, payload)))
}

// TestShaper: what comes in by an interface with a shaper goes through its qdisc, once, and
// is the interface's for everything behind that.
func TestShaper(t *testing.T) {
	inShapedModes(t, "", "", func(t *testing.T, r *router, d *Dataplane, cfg Config) {
		s, rules := cfg.Interfaces[1].Shaper, cfg.Policy.(*policy.Program)
		lan, wan := r.tap(t, "l"), r.tap(t, "w")
		r.in("r", func() error { return sysctls("ipv4/conf/all/rp_filter=1", "ipv4/conf/wan0/rp_filter=1") })
		inFamilies(t, func(t *testing.T, f family) {
			before, _ := r.waited(s)
			shaped, frames, packets := stat(t, d, "shaped"), packetsAt(t, d, rules, "meta l4proto udp counter"), packetsAt(t, d, rules, `iifname "wan0" meta l4proto udp counter`)
			client, server := at(f.lanless, 6700), at(f.wanless, 80)
			const answers = 20
			public := question(lan, wan, client, server)
			for i := range answers { // the later ones on a confirmed flow
				answered(lan, wan, server, public, client, noise(100+i))
			}
			after, dropped := r.waited(s)
			if n := stat(t, d, "shaped") - shaped; n < answers || after-before < answers || dropped > 0 {
				t.Errorf("%d sent to the shaper, of which it has passed %d and dropped %d", n, after-before, dropped)
			}
			if n, m := packetsAt(t, d, rules, "meta l4proto udp counter")-frames, packetsAt(t, d, rules, `iifname "wan0" meta l4proto udp counter`)-packets; n != answers || m != answers {
				t.Errorf("%d frames and %d packets in the chains, of %d", n, m, answers)
			}
			// What no rule lets in does not come in by this way either.
			stranger := at(f.wan, 81)
			wan.send(ipPacket(stranger.Addr(), f.lanless, unix.IPPROTO_UDP, 64, udpDatagram(stranger, client, nil)))
			answered(lan, wan, server, public, client, []byte("last"))
			for _, p := range lan.drain() {
				if p.src == stranger {
					t.Error("forwarded against the rules")
				}
			}
			// To the router itself, and streams.
			r.echoUDP(t, "r", at(f.rwan, 8030))
			if err := exchangeUDP(r.udp(t, "w", at(f.wan, 6701)), at(f.rwan, 8030), []byte("to the router")); err != nil {
				t.Error(err)
			}
			r.echoTCP(t, "w", at(f.wan, 9600))
			if err := exchange(r.mustDial(t, "l", at(f.lan, 6702), at(f.wan, 9600)), "a stream"); err != nil {
				t.Error(err)
			}
		})
		if n := packetsAt(t, d, rules, `iifname "in-wan0" counter`) + packetsAt(t, d, rules, `iifname "re-wan0" counter`); n != 0 {
			t.Errorf("%d packets came in by the shaper's devices", n)
		}
	})
}

// TestShaperHoldsBack: at its rate, and drops what there is no room for.
func TestShaperHoldsBack(t *testing.T) {
	inShapedModes(t, "1mbit", "20000", func(t *testing.T, r *router, _ *Dataplane, cfg Config) {
		lan, wan := r.tap(t, "l"), r.tap(t, "w")
		f := families[0]
		client, server := at(f.lanless, 6710), at(f.wanless, 80)
		public := question(lan, wan, client, server)
		answered(lan, wan, server, public, client, []byte("confirmed"))
		answered(lan, wan, server, public, client, []byte("again"))
		const burst = 200 // 200 kB, for which 1 Mbit/s needs 1.6 s
		payload := noise(1000)
		for range burst {
			wan.send(ipPacket(server.Addr(), public.Addr(), unix.IPPROTO_UDP, 64, udpDatagram(server, public, payload)))
		}
		var dropped int
		eventually(t, patience, "the qdisc drops", func() bool { _, dropped = r.waited(cfg.Interfaces[1].Shaper); return dropped > burst/4 })
		arrived := 0
		eventually(t, patience, "the others arrive", func() bool {
			for _, p := range lan.drain() {
				if p.src == server && p.dst == client && len(p.raw) > 1000 {
					arrived++
				}
			}
			_, dropped = r.waited(cfg.Interfaces[1].Shaper)
			return arrived+dropped >= burst
		})
		if arrived+dropped != burst {
			t.Errorf("%d have arrived and %d were dropped, of %d", arrived, dropped, burst)
		}
	})
}

// TestShaperGoes: without its device, with an end of it that others send by, and without its
// programs.
func TestShaperGoes(t *testing.T) {
	inShapedModes(t, "", "", func(t *testing.T, r *router, d *Dataplane, cfg Config) {
		lan, wan := r.tap(t, "l"), r.tap(t, "w")
		f, s := families[0], cfg.Interfaces[1].Shaper
		client, server := at(f.lanless, 6720), at(f.wanless, 80)
		public := question(lan, wan, client, server)
		answered(lan, wan, server, public, client, []byte("shaped"))

		// Who sends by the device gets nowhere.
		var fd int
		r.in("r", func() (err error) {
			fd, err = packetSocket(s.Queue, unix.ETH_P_ALL)
			return err
		})
		defer unix.Close(fd)
		sent, _ := r.waited(s)
		for range 5 {
			if _, err := unix.Write(fd, frame(r.mac["w/eth0"], r.mac["r/wan0"], ipPacket(server.Addr(), public.Addr(), unix.IPPROTO_UDP, 64, udpDatagram(server, public, []byte("forged"))))); err != nil {
				t.Fatal(err)
			}
		}
		eventually(t, patience, "they have left the qdisc", func() bool { n, _ := r.waited(s); return n >= sent+5 })
		wan.send(ipPacket(server.Addr(), public.Addr(), unix.IPPROTO_UDP, 64, udpDatagram(server, public, []byte("behind them"))))
		first := lan.receive("what is behind them", func(p packet) bool {
			return bytes.HasSuffix(p.raw, []byte("forged")) || bytes.HasSuffix(p.raw, []byte("behind them"))
		})
		if bytes.HasSuffix(first.raw, []byte("forged")) {
			t.Error("what was sent by the shaper's device has come in")
		}

		// Without the configuration: nothing waits there, and what does not reach the stack.
		without := cfg
		without.Interfaces = append([]Interface(nil), cfg.Interfaces...)
		without.Interfaces[1].Shaper = nil
		r.in("r", func() error { return d.Replace(without) })
		sent, _ = r.waited(s)
		answered(lan, wan, server, public, client, []byte("not shaped"))
		if now, _ := r.waited(s); now != sent {
			t.Errorf("%d packets have waited", now-sent)
		}
		if _, there := r.attached(t)["re-wan0 ingress 0"]; !there {
			t.Errorf("no program at the end of what may still wait: %v", r.attached(t))
		}
		r.in("r", func() error { return d.Replace(cfg) })
		answered(lan, wan, server, public, client, []byte("shaped again"))
		if now, _ := r.waited(s); now == sent {
			t.Error("nothing has waited")
		}

		// Without the device, before anybody has seen that it has gone.
		r.batch("r", "link delete "+s.Queue)
		answered(lan, wan, server, public, client, []byte("unshaped"))
		r.in("r", func() error { return d.Replace(without) })
		answered(lan, wan, server, public, client, []byte("unshaped still"))
		for name, value := range r.state(t, d) {
			if name == fmt.Sprint("l2_shapers ", r.index("wan0")) || name == fmt.Sprint("l2_ifaces ", s.EndIndex) && strings.Trim(value, "0") != "" {
				t.Errorf("%s is still there: %s", name, value)
			}
		}
	})
}

// TestShapedTunnel: an interface without Ethernet headers.
func TestShapedTunnel(t *testing.T) {
	t.Parallel()
	r := newRouter(t)
	tun := r.tunnel(t, "tun0")
	r.batch("r", "addr add 203.0.113.1/24 dev tun0", "addr add 2001:db8:71::1/64 dev tun0 nodad", "link set tun0 up")
	cfg := r.config(testPolicy{masquerade: true})
	s := r.shaper("tun0", "", "")
	cfg.Interfaces = append(cfg.Interfaces, Interface{Name: "tun0", Index: r.index("tun0"), XDP: XDPOff, Shaper: s})
	r.mustApply(cfg)
	inFamilies(t, func(t *testing.T, f family) {
		local := pick(f, netip.MustParseAddr("203.0.113.1"), netip.MustParseAddr("2001:db8:71::1"))
		peer := at(pick(f, netip.MustParseAddr("203.0.113.2"), netip.MustParseAddr("2001:db8:71::2")), 4000)
		c := r.udp(t, "l", at(f.lan, 5000))
		before, _ := r.waited(s)
		for i := range 3 {
			if _, err := c.WriteToUDPAddrPort([]byte("question"), peer); err != nil {
				t.Fatal(err)
			}
			next(t, tun, func(p packet) bool { return p.dst == peer })
			answer := []byte(fmt.Sprint("answer ", i))
			if _, err := tun.Write(ipPacket(peer.Addr(), local, unix.IPPROTO_UDP, 64, udpDatagram(peer, at(local, 5000), answer))); err != nil {
				t.Fatal(err)
			}
			if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
				t.Fatal(err)
			}
			b := make([]byte, 64)
			n, from, err := c.ReadFromUDPAddrPort(b)
			if err != nil || string(b[:n]) != string(answer) || from != peer {
				t.Fatalf("%q from %v, %v", b[:n], from, err)
			}
		}
		if after, _ := r.waited(s); after-before < 3 {
			t.Errorf("%d packets have waited", after-before)
		}
		// To the router itself.
		r.echoUDP(t, "r", at(local, 8031))
		if _, err := tun.Write(ipPacket(peer.Addr(), local, unix.IPPROTO_UDP, 64, udpDatagram(peer, at(local, 8031), []byte("x")))); err != nil {
			t.Fatal(err)
		}
		next(t, tun, func(p packet) bool { return p.src == at(local, 8031) && p.dst == peer })
	})
}

// TestShapedVLAN: frames of a VLAN wait at its NIC, and its device can have a shaper of its own.
func TestShapedVLAN(t *testing.T) {
	t.Parallel()
	for _, shaped := range []string{"wan0", "vlanw"} {
		t.Run(shaped, func(t *testing.T) {
			t.Parallel()
			r := newRouter(t)
			encapsulations[0].add(t, r, wanSide)
			r.address(wanSide, "vlanw")
			r.leaveTags(t)
			cfg := r.config(testPolicy{masquerade: true})
			cfg.Interfaces = append(cfg.Interfaces, Interface{Name: "vlanw", Index: r.index("vlanw"), XDP: XDPAuto})
			s := r.shaper(shaped, "", "")
			for i := range cfg.Interfaces {
				if cfg.Interfaces[i].Name == shaped {
					cfg.Interfaces[i].Shaper = s
				}
			}
			r.mustApply(cfg)
			inFamilies(t, func(t *testing.T, f family) {
				_, far := wanSide.ends(f)
				r.echoUDP(t, "w", at(far, 8040))
				before, _ := r.waited(s)
				c := r.udp(t, "l", at(f.lan, 6740))
				const exchanges = 10
				for i := range exchanges {
					if err := exchangeUDP(c, at(far, 8040), noise(50+i)); err != nil {
						t.Fatal(err)
					}
				}
				if after, _ := r.waited(s); after-before < exchanges {
					t.Errorf("%d packets have waited", after-before)
				}
			})
		})
	}
}
