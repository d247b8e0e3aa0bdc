// SPDX-License-Identifier: GPL-2.0-only

package flow

import (
	"encoding/json"
	"net/netip"
	"testing"
	"time"
)

func TestTicks(t *testing.T) {
	const tick = 1 << tickShift * time.Nanosecond
	for d, want := range map[time.Duration]uint32{
		0: 0, 1: 1, tick - 1: 1, tick: 1, tick + 1: 2, time.Second: 8, 30 * time.Second: 224, 24 * time.Hour: 643731,
		// More than any timeout, and still less than half of the clock's range.
		365 * 24 * time.Hour: 234961510,
	} {
		got := Ticks(d)
		if got != want {
			t.Errorf("Ticks(%v) = %d, not %d", d, got, want)
		}
		// Never early, and less than a tick late.
		if back := FromTicks(got); back < d || back >= d+tick {
			t.Errorf("%v is %v in ticks", d, back)
		}
	}
}

// TestDefaultTimeouts: docs/rfc-compliance.md says where they are as the RFCs want them, and
// where they are nf_conntrack's.
func TestDefaultTimeouts(t *testing.T) {
	d := DefaultTimeouts()
	if d.TCPEstablished < 2*time.Hour+4*time.Minute { // RFC 5382 REQ-5
		t.Errorf("established connections: %v", d.TCPEstablished)
	}
	for name, c := range map[string]struct{ is, want time.Duration }{
		"tcp_syn_sent": {d.TCPSynSent, 2 * time.Minute}, "tcp_syn_recv": {d.TCPSynRecv, time.Minute},
		"tcp_established": {d.TCPEstablished, 24 * time.Hour}, "tcp_fin_wait": {d.TCPFinWait, 2 * time.Minute},
		"tcp_close_wait": {d.TCPCloseWait, time.Minute}, "tcp_last_ack": {d.TCPLastAck, 30 * time.Second},
		"tcp_time_wait": {d.TCPTimeWait, 2 * time.Minute}, "tcp_close": {d.TCPClose, 10 * time.Second},
		"udp_unreplied": {d.UDPUnreplied, 30 * time.Second}, "udp_stream": {d.UDPStream, 3 * time.Minute},
		"icmp": {d.ICMP, 30 * time.Second},
	} {
		if c.is != c.want {
			t.Errorf("%s: %v, not %v", name, c.is, c.want)
		}
	}
}

func example() Flow {
	return Flow{
		Protocol: "tcp", State: "ESTABLISHED", Confirmed: true, Replied: true, Expires: 3600 * time.Second, Age: time.Minute,
		Original: Direction{Src: netip.MustParseAddrPort("192.168.7.2:5000"), Dst: netip.MustParseAddrPort("198.51.7.2:80"), Packets: 3, Bytes: 180},
		Reply:    Direction{Src: netip.MustParseAddrPort("198.51.7.2:80"), Dst: netip.MustParseAddrPort("198.51.7.1:6000"), Packets: 2, Bytes: 120},
	}
}

func TestString(t *testing.T) {
	tcp := example()
	routed := example()
	routed.Assured, routed.Mark, routed.Labels, routed.In, routed.Out = true, 7, "0,3", "lan0", "wan0"
	query, query6 := example(), example()
	query.Protocol, query.State, query6.Protocol, query6.State = "icmp", "", "icmpv6", ""
	query.Original.Dst, query.Reply.Src = netip.AddrPortFrom(query.Original.Dst.Addr(), 8), netip.AddrPortFrom(query.Reply.Src.Addr(), 8)
	query6.Original.Src, query6.Original.Dst = netip.MustParseAddrPort("[fd07::2]:5000"), netip.MustParseAddrPort("[2001:db8:7::2]:896") // code 3
	query6.Reply.Src, query6.Reply.Dst = query6.Original.Dst, query6.Original.Src
	unreplied := example()
	unreplied.Protocol, unreplied.State, unreplied.Replied, unreplied.Confirmed = "gre", "", false, false
	for _, d := range []*Direction{&unreplied.Original, &unreplied.Reply} {
		d.Src, d.Dst = netip.AddrPortFrom(d.Src.Addr(), 0), netip.AddrPortFrom(d.Dst.Addr(), 0)
	}
	for _, c := range []struct {
		f    Flow
		want string
	}{
		{routed, "tcp      3600 ESTABLISHED src=192.168.7.2 dst=198.51.7.2 sport=5000 dport=80 packets=3 bytes=180 src=198.51.7.2 dst=198.51.7.1 sport=80 dport=6000 packets=2 bytes=120 [ASSURED] [CONFIRMED] mark=7 labels=0,3 in=lan0 out=wan0"},
		{tcp, "tcp      3600 ESTABLISHED src=192.168.7.2 dst=198.51.7.2 sport=5000 dport=80 packets=3 bytes=180 src=198.51.7.2 dst=198.51.7.1 sport=80 dport=6000 packets=2 bytes=120 [CONFIRMED]"},
		{unreplied, "gre      3600 src=192.168.7.2 dst=198.51.7.2 packets=3 bytes=180 [UNREPLIED] src=198.51.7.2 dst=198.51.7.1 packets=2 bytes=120"},
		{query, "icmp     3600 src=192.168.7.2 dst=198.51.7.2 type=8 code=0 id=5000 packets=3 bytes=180 src=198.51.7.2 dst=198.51.7.1 type=0 code=0 id=6000 packets=2 bytes=120 [CONFIRMED]"},
		{query6, "icmpv6   3600 src=fd07::2 dst=2001:db8:7::2 type=128 code=3 id=5000 packets=3 bytes=180 src=2001:db8:7::2 dst=fd07::2 type=129 code=3 id=5000 packets=2 bytes=120 [CONFIRMED]"},
	} {
		if got := c.f.String(); got != c.want {
			t.Errorf("%s\nnot\n%s", got, c.want)
		}
	}
}

func TestNAT(t *testing.T) {
	f := example()
	if !f.NAT() {
		t.Error("translated, and NAT is false")
	}
	f.Reply.Dst = f.Original.Src
	if f.NAT() {
		t.Error("not translated, and NAT is true")
	}
	f.Reply.Src = netip.MustParseAddrPort("10.0.0.1:80")
	if !f.NAT() {
		t.Error("destination translated, and NAT is false")
	}
}

func TestJSON(t *testing.T) {
	f := example()
	b, err := json.Marshal(&f)
	if err != nil {
		t.Fatal(err)
	}
	var back Flow
	if err := json.Unmarshal(b, &back); err != nil || back != f {
		t.Errorf("%+v, %v from %s", back, err, b)
	}
}

func TestProtocolName(t *testing.T) {
	for n, want := range map[uint8]string{6: "tcp", 17: "udp", 1: "icmp", 58: "icmpv6", 47: "gre", 253: "253"} {
		if got := ProtocolName(n); got != want {
			t.Errorf("protocol %d: %s, not %s", n, got, want)
		}
	}
}
