// SPDX-License-Identifier: GPL-2.0-only

package policy

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"

	"github.com/randomizedcoder/l2d/pkg/nft"
)

// framed makes a packet of a frame, without checksums: the harness looks for
// headers where the dataplane's parser would have found them. trailer is padding
// behind the packet.
func framed(proto byte, options, th []byte, trailer int) packet {
	ip := append([]byte{byte(0x45 + len(options)/4), 0, 0, 0, 0, 0, 0, 0, 64, proto, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2}, options...)
	ip = append(ip, th...)
	binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)))
	frame := append([]byte{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0}, ip...)
	return packet{
		src: "10.0.0.1", dst: "10.0.0.2", proto: proto, th: th, iif: "wan0", ct: ctNew, options: byte(len(options) / 4),
		len: uint32(len(ip)), frame: append(frame, make([]byte, trailer)...),
	}
}

// The kernel looks at options as __ip_options_compile() does: what it refuses
// there has no options. Rig and kernel agree on those that are forwarded; these
// are the others.
func TestIPv4Options(t *testing.T) {
	type options = []byte
	route := options{131, 7, 4, 1, 2, 3, 4, 0}
	for name, tt := range map[string]struct {
		rule    string
		options options
		want    bool
	}{
		"source route":                       {"ip option lsrr exists", route, true},
		"strict source route":                {"ip option ssrr exists", route, false},
		"strict":                             {"ip option ssrr exists", options{137, 7, 4, 1, 2, 3, 4, 0}, true},
		"first hop":                          {"@nh,184,32 0x01020304 ip option lsrr ptr 4", route, true},
		"source route that has begun":        {"ip option lsrr exists", options{131, 7, 8, 1, 2, 3, 4, 0}, false},
		"two source routes":                  {"ip option lsrr exists", append(bytes.Clone(route), 137, 7, 4, 1, 2, 3, 4, 0), true},
		"two without an end between":         {"ip option lsrr exists", options{131, 7, 4, 1, 2, 3, 4, 137, 7, 4, 1, 2, 3, 4, 0, 0}, false},
		"source route of no addresses":       {"ip option lsrr exists", options{131, 3, 4, 0}, false},
		"source route of a part":             {"ip option lsrr exists", options{131, 8, 4, 1, 2, 3, 4, 5}, false},
		"behind the end":                     {"ip option rr exists", options{0, 7, 3, 4}, false},
		"behind a no-operation":              {"ip option rr exists", options{1, 7, 3, 4}, true},
		"beyond the header":                  {"ip option rr exists", options{7, 5, 4, 0}, false},
		"recorded route, half an address":    {"ip option rr exists", options{7, 5, 4, 1, 1, 0, 0, 0}, false},
		"recorded route, room":               {"ip option rr length 7", options{7, 7, 4, 0, 0, 0, 0, 0}, true},
		"pointer before the route":           {"ip option rr exists", options{7, 7, 3, 0, 0, 0, 0, 0}, false},
		"router alert":                       {"ip option ra value 0", options{148, 4, 0, 0}, true},
		"router alert of another value":      {"ip option ra exists", options{148, 4, 0, 1}, false},
		"two router alerts":                  {"ip option ra exists", options{148, 4, 0, 1, 148, 4, 0, 0}, true},
		"short router alert":                 {"ip option ra missing", options{148, 3, 0, 0}, true},
		"with a broken timestamp":            {"ip option rr exists", options{7, 3, 4, 68, 4, 4, 0, 0}, false},
		"with a full timestamp":              {"ip option rr exists", options{7, 3, 4, 68, 4, 5, 0, 0}, true},
		"with a timestamp of many overflows": {"ip option rr exists", options{7, 3, 4, 68, 4, 5, 0xf0, 0}, false},
		"with a timestamp, room for a time":  {"ip option rr exists", options{7, 3, 4, 68, 8, 5, 0, 0, 0, 0, 0, 0}, true},
		"with a timestamp, no address":       {"ip option rr exists", options{7, 3, 4, 68, 8, 5, 1, 0, 0, 0, 0, 0}, false},
		"with one that is not known":         {"ip option rr exists", options{7, 3, 4, 99, 5, 1, 2, 3}, true},
		"with a label":                       {"ip option rr exists", options{7, 3, 4, 134, 6, 0, 0, 0, 1, 0, 0, 0}, false},
		"length of 1":                        {"ip option rr exists", options{7, 3, 4, 99, 1, 1, 2, 3}, false},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t, compile(t, inInput(tt.rule+" accept")))
			if pk := framed(protoUDP, tt.options, udp(1, 2), 0); h.run("policy_input", &pk).accept != tt.want {
				t.Errorf("%s: options % x: accepted %v", tt.rule, tt.options, !tt.want)
			}
		})
	}
}

// A load that reaches beyond the packet ends the rule, padding of the frame or
// not; a translation is seen that the packet does not yet have.
func TestPayload(t *testing.T) {
	data := append(udp(1111, 53), 1, 2, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4)
	plain := framed(protoUDP, nil, data, 20)
	translated := plain
	translated.src, translated.th = "192.0.2.7", append(udp(1111, 5353), data[8:]...)
	fragment := plain
	fragment.later = true
	for name, tt := range map[string]struct {
		rule string
		pk   *packet
		want bool
	}{
		"data":                         {"@th,64,24 0x010203", &plain, true},
		"data, by the inner header":    {"@ih,0,24 0x010203", &plain, true},
		"beyond the end":               {"@th,160,16 != 7", &plain, false},
		"ports, by the network header": {"@nh,160,32 0x04570035", &plain, true},
		"from the link layer on":       {"@ll,96,32 0x08004500", &plain, true},
		"source, by the link layer":    {"@ll,208,64 0x0a0000010a000002", &plain, true},
		"translated address":           {"@nh,96,128 0xc00002070a000002045714e900000000", &translated, true},
		"translated port":              {"@nh,176,16 5353 @th,16,64 0x14e9000000000102", &translated, true},
		"a later fragment's ports":     {"udp dport 53 @th,0,32 0x04570035", &fragment, true},
		"a later fragment's data":      {"@th,160,8 4", &fragment, false},
		"the first fragment's data":    {"@th,64,8 1", &fragment, true},
		"behind a fragment's header":   {"@nh,160,16 1111", &fragment, false},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t, compile(t, inInput(tt.rule+" accept")))
			if h.run("policy_input", tt.pk).accept != tt.want {
				t.Errorf("%s: accepted %v", tt.rule, !tt.want)
			}
		})
	}
}

// Newer versions of nft combine two registers, and a register with a constant.
func TestCombine(t *testing.T) {
	for _, tt := range []struct {
		op   nft.BitwiseOp
		data []byte
		want []byte // of 10.0.0.1 and 10.0.0.2
	}{
		{nft.BitwiseAnd, nil, []byte{10, 0, 0, 0}},
		{nft.BitwiseOr, nil, []byte{10, 0, 0, 3}},
		{nft.BitwiseXor, nil, []byte{0, 0, 0, 3}},
		{nft.BitwiseAnd, []byte{12, 0, 0, 1}, []byte{8, 0, 0, 1}},
		{nft.BitwiseOr, []byte{1, 0, 0, 3}, []byte{11, 0, 0, 3}},
		{nft.BitwiseXor, []byte{255, 0, 0, 1}, []byte{245, 0, 0, 0}},
	} {
		rs := readRuleset(t, inInput("ip saddr . ip daddr { 1.1.1.1 . 2.2.2.2 } accept"))
		r := rs.Rules()[0]
		i := slices.IndexFunc(r.Exprs, func(e nft.Expr) bool { return e.ExprName() == "lookup" })
		reg, second := r.Exprs[i].(*nft.ExprLookup).Reg, r.Exprs[i-1].(*nft.ExprPayload).Reg
		r.Exprs = slices.Concat(r.Exprs[:i], []nft.Expr{
			&nft.ExprBitwise{Op: tt.op, Src: reg, Src2: second, Data: tt.data, Dst: reg, Len: 4},
			&nft.ExprCmp{Op: nft.CmpEq, Reg: reg, Data: tt.want},
		}, r.Exprs[i+1:])
		p, err := Compile(rs, Options{Links: testLinks})
		if err != nil {
			t.Fatal(err)
		}
		pk := framed(protoUDP, nil, udp(1, 2), 0)
		if !newHarness(t, p).run("policy_input", &pk).accept {
			t.Errorf("%+v: not so", tt)
		}
	}
}
