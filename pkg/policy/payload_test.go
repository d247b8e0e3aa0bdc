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

// Rules that nft makes of "dccp option", which it has known from 1.0.9 on, and kernels by an option of
// their build: nft_exthdr_dccp_eval().
func TestDCCPOptions(t *testing.T) {
	// header is one of a type with an offset of the data, in words, and what is behind it.
	header := func(typ, doff byte, long bool, rest ...byte) []byte {
		h := append([]byte{0, 1, 0, 2, doff, 0, 0, 0, typ << 1, 0, 0, 1}, rest...)
		if long {
			h[8] |= 1
		}
		return h
	}
	rulesets := map[string]*nft.Ruleset{}
	for _, word := range []string{"exists", "missing"} {
		rulesets[word] = readRuleset(t, inInput("sctp chunk init "+word+" accept"))
	}
	filled := func(n int, then ...byte) []byte { return append(bytes.Repeat([]byte{200}, n), then...) }
	for name, tt := range map[string]struct {
		option byte
		th     []byte
		want   bool
	}{
		"data":                            {38, header(2, 4, false, 38, 3, 0, 0), true},
		"data, of another type":           {39, header(2, 4, false, 38, 3, 39, 0), false},
		"behind another one":              {39, header(2, 5, false, 38, 3, 0, 39, 5, 0, 0, 0), true},
		"padding":                         {0, header(2, 4, false, 38, 3, 0, 0), true},
		"behind options of one byte":      {40, header(2, 4, false, 1, 31, 40, 2), true},
		"the last byte":                   {40, header(2, 4, false, 1, 31, 1, 40), true},
		"behind one without a length":     {40, header(2, 5, false, 1, 31, 1, 32, 40, 2, 0, 0), false},
		"length without a second byte":    {1, header(2, 4, false, 0, 0, 0, 32, 1, 1, 1, 1), false},
		"length of 1":                     {40, header(2, 4, false, 33, 1, 40, 2), false},
		"length of 0":                     {40, header(2, 4, false, 33, 0, 40, 2), false},
		"a long one":                      {40, header(2, 4+63, false, append(append([]byte{33, 250}, make([]byte, 248)...), 40, 2)...), true},
		"behind the options":              {40, header(2, 4, false, 0, 0, 0, 0, 40, 2, 0, 0), false},
		"no options":                      {40, header(2, 3, false, 40, 2, 0, 0), false},
		"an offset within the header":     {40, header(2, 2, false, 40, 2, 0, 0), false},
		"options that are not all there":  {40, header(2, 9, false, 0, 0, 0, 40), false},
		"the same, found before":          {40, header(2, 9, false, 0, 0, 40, 2), true},
		"request":                         {40, header(0, 5, false, filled(4, 40, 2, 0, 0)...), true},
		"request, in its service code":    {200, header(0, 5, false, filled(4, 40, 2, 0, 0)...), false},
		"response":                        {40, header(1, 7, false, filled(12, 40, 2, 0, 0)...), true},
		"response, before":                {200, header(1, 7, false, filled(12, 40, 2, 0, 0)...), false},
		"acknowledgement":                 {40, header(3, 6, false, filled(8, 40, 2, 0, 0)...), true},
		"acknowledgement, before":         {200, header(3, 6, false, filled(8, 40, 2, 0, 0)...), false},
		"data and acknowledgement":        {40, header(4, 6, false, filled(8, 40, 2, 0, 0)...), true},
		"close request":                   {40, header(5, 6, false, filled(8, 40, 2, 0, 0)...), true},
		"close":                           {40, header(6, 6, false, filled(8, 40, 2, 0, 0)...), true},
		"reset":                           {40, header(7, 7, false, filled(12, 40, 2, 0, 0)...), true},
		"reset, before":                   {200, header(7, 7, false, filled(12, 40, 2, 0, 0)...), false},
		"sync":                            {40, header(8, 6, false, filled(8, 40, 2, 0, 0)...), true},
		"sync's acknowledgement":          {40, header(9, 6, false, filled(8, 40, 2, 0, 0)...), true},
		"of no known type":                {40, header(10, 7, false, filled(12, 40, 2, 0, 0)...), true},
		"of no known type, before":        {200, header(10, 7, false, filled(12, 40, 2, 0, 0)...), false},
		"long sequence number":            {40, header(2, 5, true, filled(4, 40, 2, 0, 0)...), true},
		"long sequence number, within it": {200, header(2, 5, true, filled(4, 40, 2, 0, 0)...), false},
		"short header":                    {0, header(2, 4, false)[:11], false},
	} {
		t.Run(name, func(t *testing.T) {
			for word, rs := range rulesets {
				h := newHarness(t, dccpOption(t, rs, tt.option))
				if pk := framed(33, nil, tt.th, 20); h.run("policy_input", &pk).accept != (tt.want == (word == "exists")) {
					t.Errorf("option %d of % x %s: not so", tt.option, tt.th, word)
				}
				if pk := framed(132, nil, tt.th, 20); h.run("policy_input", &pk).accept != (word == "missing") {
					t.Errorf("option %d of SCTP %s: not so", tt.option, word)
				}
			}
		})
	}
}

// dccpOption is a ruleset whose rule about a chunk of SCTP is one about an option of DCCP.
func dccpOption(t *testing.T, rs *nft.Ruleset, option byte) *Program {
	t.Helper()
	for _, e := range rs.Rules()[0].Exprs {
		if e, ok := e.(*nft.ExprExthdr); ok {
			e.Op, e.Type = nft.ExthdrDCCP, option
		}
	}
	p, err := Compile(rs, Options{Links: testLinks})
	if err != nil {
		t.Fatal(err)
	}
	return p
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
