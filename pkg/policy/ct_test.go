// SPDX-License-Identifier: GPL-2.0-only

package policy

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
)

// flowFacts is a struct ct_facts of a test.
type flowFacts struct {
	original, reply flowTuple
	status          uint32
	direction       byte
	mark            uint32
	labels          [2]uint64
	zone            uint16
	counts          [3][2]uint64 // packets and bytes
	averages        [3]uint64
	expiration      uint32 // ms
}

type flowTuple struct {
	src, dst     string
	sport, dport uint16
	proto        byte
}

func (f *flowFacts) write(b []byte) {
	f.original.write(b)
	f.reply.write(b[factReply:])
	binary.NativeEndian.PutUint32(b[factStatus:], f.status)
	b[factDirection], b[factThere] = f.direction, 1
	binary.NativeEndian.PutUint32(b[factMark:], f.mark)
	binary.NativeEndian.PutUint64(b[factLabels:], f.labels[0])
	binary.NativeEndian.PutUint64(b[factLabels+8:], f.labels[1])
	binary.NativeEndian.PutUint16(b[factZone:], f.zone)
	for i, c := range f.counts {
		binary.NativeEndian.PutUint64(b[factCounts+16*i:], c[0])
		binary.NativeEndian.PutUint64(b[factCounts+16*i+8:], c[1])
		binary.NativeEndian.PutUint64(b[factAverages+8*i:], f.averages[i])
	}
	binary.NativeEndian.PutUint32(b[factExpires:], f.expiration)
}

func (t flowTuple) write(b []byte) {
	src, dst := netip.MustParseAddr(t.src), netip.MustParseAddr(t.dst)
	copy(b[tupleSrc:], src.AsSlice())
	copy(b[tupleDst:], dst.AsSlice())
	binary.BigEndian.PutUint16(b[tupleSrcPort:], t.sport)
	binary.BigEndian.PutUint16(b[tupleDstPort:], t.dport)
	b[tupleProtocol], b[tupleFamily] = t.proto, 2
	if src.Is6() {
		b[tupleFamily] = 10
	}
}

// An answer from a server to a translated client.
var (
	natFlow = &flowFacts{
		original:  flowTuple{"192.168.1.7", "203.0.113.9", 40000, 443, protoTCP},
		reply:     flowTuple{"203.0.113.9", "198.51.100.1", 443, 1024, protoTCP},
		status:    1<<1 | 1<<3 | 1<<4,
		direction: 1,
		counts:    [3][2]uint64{{3, 1 << 33}, {5, 600}, {8, 1<<33 + 600}},
		averages:  [3]uint64{1 << 33 / 3, 120, (1<<33 + 600) / 8},

		expiration: 30_000,
	}
	natReply = packet{src: "203.0.113.9", dst: "192.168.1.7", proto: protoTCP, th: tcp(443, 40000, 0x10), iif: "wan0", ct: ctEstablished, len: 60, flow: natFlow}
	flow6    = packet{src: "fd00::7", dst: "2001:db8::1", proto: protoTCP, th: tcp(40000, 443, 2), iif: "br0", ct: ctNew, len: 80, flow: &flowFacts{
		original: flowTuple{"fd00::7", "2001:db8::1", 40000, 443, protoTCP},
		reply:    flowTuple{"2001:db8::1", "fd00::7", 443, 40000, protoTCP},
	}}
)

// TestCtID: the numbers of flows are those of pkg/flow, and of both directions.
func TestCtID(t *testing.T) {
	begins, without := natReply, natReply
	first := *natFlow
	first.direction, first.reply, first.status = 0, flowTuple{"203.0.113.9", "192.168.1.7", 443, 40000, protoTCP}, 0
	begins.flow, without.flow = &first, nil
	for _, tt := range []struct {
		rule   string
		packet packet
		accept bool
	}{
		{"ct id 2122150726", natReply, true},
		{"ct id 2122150726", begins, true},
		{"ct id 2122150727", natReply, false},
		{"ct id 3570741403", flow6, true},
		{"ct id != 2122150726", flow6, true},
		{"ct id != 2122150726", without, false},
		{"ct id { 1, 2122150726 }", natReply, true},
		{"ct id 2000000000-2200000000", natReply, true},
		{"ct id 2200000000-4000000000", natReply, false},
	} {
		h := newHarness(t, compile(t, inInput(tt.rule+" accept")))
		if h.run("policy_input", &tt.packet).accept != tt.accept {
			t.Errorf("%s: accepted %v", tt.rule, !tt.accept)
		}
	}
}

func TestCtFacts(t *testing.T) {
	for _, tt := range []struct {
		rule   string
		packet packet
		accept bool
	}{
		{"ct direction reply", natReply, true},
		{"ct direction original", natReply, false},
		{"ct direction original", flow6, true},
		// Without a flow nothing is so, nor is it not so.
		{"ct direction != reply", lanSSH, false},
		{"ct direction original", lanSSH, false},
		{"ct status snat", natReply, true},
		{"ct status dnat", natReply, false},
		{"ct status snat,dnat", natReply, true},
		{"ct status seen-reply", natReply, true},
		{"ct status & (seen-reply | confirmed) == seen-reply | confirmed", natReply, true},
		{"ct status confirmed", flow6, false},
		{"ct status ! seen-reply", flow6, true},
		{"ct status ! seen-reply", lanSSH, false},
		{"ct status dying", natReply, false},
		{"ct protocol tcp", natReply, true},
		{"ct protocol udp", natReply, false},
		{"ct l3proto ipv4", natReply, true},
		{"ct l3proto ipv4", flow6, false},
		{"ct zone 0", natReply, true},
		{"ct original ip saddr 192.168.1.7", natReply, true},
		{"ct original ip saddr 192.168.0.0/16", natReply, true},
		{"ct original ip daddr 203.0.113.9", natReply, true},
		{"ct reply ip daddr 198.51.100.1", natReply, true},
		{"ct reply ip saddr 203.0.113.8", natReply, false},
		{"ct reply ip saddr != 203.0.113.8", natReply, true},
		{"ct reply ip saddr != 203.0.113.8", flow6, false},
		{"ct original ip saddr @hash", natReply, true},
		{"ct original ip saddr . meta l4proto { 192.168.1.7 . tcp }", natReply, true},
		{"ct original ip6 saddr fd00::7", flow6, true},
		{"ct original ip6 saddr fd00::/64 ct reply ip6 saddr 2001:db8::1", flow6, true},
		{"ct original ip6 daddr fd00::/64", flow6, false},
		{"ct original ip6 saddr fd00::7", natReply, false},
		{"ip protocol tcp ct original proto-dst 443", natReply, true},
		{"meta l4proto { tcp, udp } ct reply proto-dst 1024", natReply, true},
		{"tcp dport 40000 ct original proto-src 40000-40001", natReply, true},
		{"tcp dport 40000 ct original proto-src 1-39999", natReply, false},
		{"ct direction reply ct status snat ct protocol tcp ct original ip saddr 192.168.1.7", natReply, true},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			p := compile(t, "table inet t { set hash { type ipv4_addr; elements = { 192.168.1.7 }; }\n chain input { type filter hook input priority 0; policy drop;\n"+tt.rule+" accept\n}\n}\n")
			if p.facts != factsCt {
				t.Errorf("facts %#x", p.facts)
			}
			if r := newHarness(t, p).run("policy_input", &tt.packet); r.accept != tt.accept {
				t.Errorf("accepted %v", r.accept)
			}
			p.Lint()
		})
	}
	if p := compile(t, inInput("ct state new accept")); p.facts != 0 {
		t.Errorf("facts %#x of a ruleset that asks for none", p.facts)
	}
}

func TestCtCounts(t *testing.T) {
	for rule, want := range map[string]bool{
		"ct original packets 3": true, "ct original packets 5": false, "ct reply packets 5": true, "ct packets 8": true, "ct packets != 8": false,
		"ct packets 4-8": true, "ct packets { 3, 5 }": false, "ct reply packets < 5": false,
		"ct original bytes 8589934592": true, "ct original bytes > 4294967296": true, "ct reply bytes 600": true, "ct bytes 8589935192": true, "ct reply bytes < 600": false,
		"ct reply avgpkt 120": true, "ct original avgpkt 2863311530": true, "ct avgpkt 1073741899": true, "ct avgpkt < 1073741899": false,
	} {
		p := compile(t, inInput(rule+" accept"))
		if p.facts != factsCt|factsAcct {
			t.Errorf("%s: facts %#x", rule, p.facts)
		}
		if r := newHarness(t, p).run("policy_input", &natReply); r.accept != want {
			t.Errorf("%s: accepted %v", rule, r.accept)
		}
	}
	// Without a flow there is no number.
	if r := newHarness(t, compile(t, inInput("ct packets >= 0 accept"))).run("policy_input", &lanSSH); r.accept {
		t.Error("accepted without a flow")
	}
}

func TestCtExpiration(t *testing.T) {
	for rule, want := range map[string]bool{
		"ct expiration 30s": true, "ct expiration 29s": false, "ct expiration > 29s": true, "ct expiration < 30s": false, "ct expiration 10s-1m": true, "ct expiration { 1s, 30s }": true,
		"ct expiration >= 0s": true,
	} {
		p := compile(t, inInput(rule+" accept"))
		if p.facts != factsCt|factsExpiration {
			t.Errorf("%s: facts %#x", rule, p.facts)
		}
		if r := newHarness(t, p).run("policy_input", &natReply); r.accept != want {
			t.Errorf("%s: accepted %v", rule, r.accept)
		}
	}
	if r := newHarness(t, compile(t, inInput("ct expiration >= 0s accept"))).run("policy_input", &lanSSH); r.accept {
		t.Error("accepted without a flow")
	}
}

// The offsets are those of the C struct.
func TestCtFactsLayout(t *testing.T) {
	spec, err := ebpf.LoadCollectionSpec("testdata/harness.o")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]uint32{
		"original": 0, "reply": factReply, "status": factStatus, "direction": factDirection, "there": factThere, "mark": factMark, "labels": factLabels, "zone_id": factZone, "counts": factCounts, "averages": factAverages, "expiration": factExpires,
		"saddr": tupleSrc, "daddr": tupleDst, "sport": tupleSrcPort, "dport": tupleDstPort,
		"l4proto": tupleProtocol, "nfproto": tupleFamily, "zone": tupleZone,
	}
	facts := spec.Maps[factsMap].Value.(*btf.Struct)
	tuple := btf.UnderlyingType(facts.Members[0].Type).(*btf.Struct)
	for _, m := range append(facts.Members, tuple.Members...) {
		if offset, ok := want[m.Name]; ok && m.Offset.Bytes() != offset {
			t.Errorf("%s is at %d, want %d", m.Name, m.Offset.Bytes(), offset)
		}
		delete(want, m.Name)
	}
	if len(want) > 0 {
		t.Errorf("missing: %v", want)
	}
}
