// SPDX-License-Identifier: GPL-2.0-only

package nft

import (
	"encoding/binary"
	"errors"
	"os"
	"reflect"
	"testing"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

func marshal(t *testing.T, attrs ...netlink.Attribute) []byte {
	t.Helper()
	b, err := netlink.MarshalAttributes(attrs)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// An attribute that a newer kernel may have added makes the expression unknown:
// it may change what the expression means.
func TestUnknownAttributes(t *testing.T) {
	u32 := []byte{0, 0, 0, 1}
	for name := range decoders {
		data := marshal(t, netlink.Attribute{Type: 63, Data: u32})
		e, err := decodeExpr(marshal(t,
			netlink.Attribute{Type: unix.NFTA_EXPR_NAME, Data: cstring(name)},
			netlink.Attribute{Type: unix.NFTA_EXPR_DATA, Data: data}))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if u, ok := e.(*Unknown); !ok || u.Name != name || u.Why != "attribute 63 is not known" {
			t.Errorf("%s: %+v", name, e)
		}
	}
}

func TestBrokenMessages(t *testing.T) {
	for _, b := range [][]byte{
		{1},                       // no attribute
		{8, 0, 1, 0, 'x', 0},      // cut off
		marshal(t),                // no name
		{5, 0, 7, 0, 1, 0, 0, 0},  // unknown attribute beside the name
		{255, 255, 1, 0, 0, 0, 0}, // too long
	} {
		if e, err := decodeExpr(b); err == nil {
			t.Errorf("%x: %+v", b, e)
		}
	}
	// A number of the wrong size is not guessed at.
	e, err := decodeExpr(marshal(t,
		netlink.Attribute{Type: unix.NFTA_EXPR_NAME, Data: cstring("meta")},
		netlink.Attribute{Type: unix.NFTA_EXPR_DATA, Data: marshal(t, netlink.Attribute{Type: unix.NFTA_META_KEY, Data: []byte{1}})}))
	if u, ok := e.(*Unknown); err != nil || !ok || u.Why != "attribute 2: 1 bytes, want 4" {
		t.Errorf("%+v, %v", e, err)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte{8, 0, 1, 0, 'c', 'm', 'p', 0})
	f.Fuzz(func(_ *testing.T, b []byte) {
		// Must not panic.
		_, _ = decodeExprs(b)
		_, _, _ = decodeSet(b)
		_, _ = decodeElements(b)
		_, _, _, _ = decodeRule(b)
	})
}

func TestRegisterWord(t *testing.T) {
	for reg, want := range map[Register]int{1: 0, 2: 4, 4: 12, 8: 0, 9: 1, 23: 15} {
		if got, ok := reg.Word(); !ok || got != want {
			t.Errorf("register %d: word %d, %v", reg, got, ok)
		}
	}
	for _, reg := range []Register{0, 5, 7, 24} {
		if word, ok := reg.Word(); ok {
			t.Errorf("register %d: word %d", reg, word)
		}
	}
}

func TestLast(t *testing.T) {
	for _, data := range [][]netlink.Attribute{nil, {{Type: 1, Data: []byte{0, 0, 0, 1}}, {Type: 2, Data: make([]byte, 8)}}} {
		e, err := decodeExpr(marshal(t,
			netlink.Attribute{Type: unix.NFTA_EXPR_NAME, Data: cstring("last")},
			netlink.Attribute{Type: unix.NFTA_EXPR_DATA, Data: marshal(t, data...)}))
		if _, ok := e.(*ExprLast); err != nil || !ok {
			t.Errorf("%+v, %v", e, err)
		}
	}
}

func TestFlowOffload(t *testing.T) {
	e, err := decodeExpr(marshal(t,
		netlink.Attribute{Type: unix.NFTA_EXPR_NAME, Data: cstring("flow_offload")},
		netlink.Attribute{Type: unix.NFTA_EXPR_DATA, Data: marshal(t, netlink.Attribute{Type: attrFlowTableName, Data: cstring("ft")})}))
	if f, ok := e.(*ExprFlowOffload); err != nil || !ok || f.Table != "ft" {
		t.Errorf("%+v, %v", e, err)
	}
}

func TestConnlimit(t *testing.T) {
	decode := func(flags byte) (Expr, error) {
		return decodeExpr(marshal(t,
			netlink.Attribute{Type: unix.NFTA_EXPR_NAME, Data: cstring("connlimit")},
			netlink.Attribute{Type: unix.NFTA_EXPR_DATA, Data: marshal(t,
				netlink.Attribute{Type: attrConnlimitCount, Data: []byte{0, 0, 1, 2}},
				netlink.Attribute{Type: attrConnlimitFlags, Data: []byte{0, 0, 0, flags}})}))
	}
	for flags, over := range map[byte]bool{0: false, 1: true} {
		if e, err := decode(flags); err != nil || *e.(*ExprConnlimit) != (ExprConnlimit{Count: 258, Over: over}) {
			t.Errorf("flags %d: %+v, %v", flags, e, err)
		}
	}
	// A flag that a newer kernel may have changes what the number means.
	if e, err := decode(2); err != nil || e.(*Unknown).Why != "flags 0x2 are not known" {
		t.Errorf("%+v, %v", e, err)
	}
}

// innerExpr is an expression inner as attributes; nil leaves one out.
func innerExpr(t *testing.T, num, typ, flags, size uint32, inside []byte) []byte {
	t.Helper()
	u32 := func(n uint32) []byte { return binary.BigEndian.AppendUint32(nil, n) }
	attrs := []netlink.Attribute{{Type: attrInnerNum, Data: u32(num)}, {Type: attrInnerType, Data: u32(typ)}, {Type: attrInnerFlags, Data: u32(flags)}, {Type: attrInnerHdrsize, Data: u32(size)}}
	if inside != nil {
		attrs = append(attrs, netlink.Attribute{Type: attrInnerExpr | unix.NLA_F_NESTED, Data: inside})
	}
	return marshal(t,
		netlink.Attribute{Type: unix.NFTA_EXPR_NAME, Data: cstring("inner")},
		netlink.Attribute{Type: unix.NFTA_EXPR_DATA | unix.NLA_F_NESTED, Data: marshal(t, attrs...)})
}

// insideExpr is an expression of a packet inside, with its attributes from the first on, as numbers.
func insideExpr(t *testing.T, name string, attrs map[uint16]uint32) []byte {
	t.Helper()
	var list []netlink.Attribute
	for typ, n := range attrs {
		list = append(list, netlink.Attribute{Type: typ, Data: binary.BigEndian.AppendUint32(nil, n)})
	}
	return marshal(t,
		netlink.Attribute{Type: unix.NFTA_EXPR_NAME, Data: cstring(name)},
		netlink.Attribute{Type: unix.NFTA_EXPR_DATA | unix.NLA_F_NESTED, Data: marshal(t, list...)})
}

// What kernels refuse is refused, as what a newer one may mean by it is not known; the kernel at
// hand refuses it too, and tells of the rest what it was told.
func TestInner(t *testing.T) {
	payload := insideExpr(t, "payload", map[uint16]uint32{unix.NFTA_PAYLOAD_BASE: unix.NFT_PAYLOAD_NETWORK_HEADER, unix.NFTA_PAYLOAD_OFFSET: 12, unix.NFTA_PAYLOAD_LEN: 4, unix.NFTA_PAYLOAD_DREG: 1})
	base := func(base uint32) []byte {
		return insideExpr(t, "payload", map[uint16]uint32{unix.NFTA_PAYLOAD_BASE: base, unix.NFTA_PAYLOAD_OFFSET: 0, unix.NFTA_PAYLOAD_LEN: 4, unix.NFTA_PAYLOAD_DREG: 1})
	}
	meta := func(key uint32) []byte {
		return insideExpr(t, "meta", map[uint16]uint32{unix.NFTA_META_KEY: key, unix.NFTA_META_DREG: 1})
	}
	load := &ExprPayload{Base: PayloadNetwork, Offset: 12, Len: 4, Reg: 1}
	const all = InnerHeaderSize | InnerLink | InnerNetwork | InnerTransport
	for name, tt := range map[string]struct {
		expr []byte
		want *ExprInner
		why  string
	}{
		"vxlan":             {innerExpr(t, 0, 1, 15, 8, payload), &ExprInner{Type: 1, Flags: all, HeaderSize: 8, Expr: load}, ""},
		"largest":           {innerExpr(t, 0, 255, 15, 64, payload), &ExprInner{Type: 255, Flags: all, HeaderSize: 64, Expr: load}, ""},
		"gre":               {innerExpr(t, 0, 3, 12, 4, meta(unix.NFT_META_PROTOCOL)), &ExprInner{Type: 3, Flags: InnerNetwork | InnerTransport, HeaderSize: 4, Expr: &ExprMeta{Key: MetaProtocol, Reg: 1}}, ""},
		"size of nothing":   {innerExpr(t, 0, 3, 4, 0, meta(unix.NFT_META_L4PROTO)), &ExprInner{Type: 3, Flags: InnerNetwork, Expr: &ExprMeta{Key: MetaL4proto, Reg: 1}}, ""},
		"tunnel's header":   {innerExpr(t, 0, 1, 15, 8, base(4)), &ExprInner{Type: 1, Flags: all, HeaderSize: 8, Expr: &ExprPayload{Base: PayloadTunnel, Len: 4, Reg: 1}}, ""},
		"inside of another": {innerExpr(t, 1, 1, 15, 8, payload), nil, "a tunnel inside of 1 others"},
		"type":              {innerExpr(t, 0, 256, 15, 8, payload), nil, "a tunnel of type 256, the last one is 255"},
		"flag":              {innerExpr(t, 0, 1, 31, 8, payload), nil, "flags 0x10 are not known"},
		"no header":         {innerExpr(t, 0, 1, 15, 0, payload), nil, "a tunnel's header of 0 bytes, want 1 to 64"},
		"long header":       {innerExpr(t, 0, 1, 15, 65, payload), nil, "a tunnel's header of 65 bytes, want 1 to 64"},
		"nothing":           {innerExpr(t, 0, 1, 15, 8, nil), nil, "nothing of a packet inside"},
		"base":              {innerExpr(t, 0, 1, 15, 8, base(3)), nil, "payload base 3 of a packet inside, written: false"},
		"last base":         {innerExpr(t, 0, 1, 15, 8, base(5)), nil, "payload base 5 of a packet inside, written: false"},
		"write":             {innerExpr(t, 0, 1, 15, 8, insideExpr(t, "payload", map[uint16]uint32{unix.NFTA_PAYLOAD_BASE: 1, unix.NFTA_PAYLOAD_OFFSET: 0, unix.NFTA_PAYLOAD_LEN: 4, unix.NFTA_PAYLOAD_SREG: 1})), nil, "payload base 1 of a packet inside, written: true"},
		"meta":              {innerExpr(t, 0, 1, 15, 8, meta(unix.NFT_META_MARK)), nil, "meta mark of a packet inside, set: false"},
		"meta set":          {innerExpr(t, 0, 1, 15, 8, insideExpr(t, "meta", map[uint16]uint32{unix.NFTA_META_KEY: unix.NFT_META_PROTOCOL, unix.NFTA_META_SREG: 1})), nil, "meta protocol of a packet inside, set: true"},
		"another":           {innerExpr(t, 0, 1, 15, 8, insideExpr(t, "counter", nil)), nil, "counter of a packet inside"},
	} {
		t.Run(name, func(t *testing.T) {
			check := func(e Expr, err error) {
				t.Helper()
				switch u, unknown := e.(*Unknown); {
				case err != nil, tt.want != nil && !reflect.DeepEqual(e, tt.want):
					t.Errorf("%+v, %v", e, err)
				case tt.want == nil && (!unknown || u.Why != tt.why):
					t.Errorf("%+v, want %q", e, tt.why)
				}
			}
			check(decodeExpr(tt.expr))
			if os.Geteuid() != 0 {
				t.Skip("needs root for the kernel's opinion")
			}
			told, err := throughKernel(tt.expr)
			if (err == nil) != (tt.want != nil) {
				t.Fatalf("the kernel says %v", err)
			}
			if err == nil {
				check(told[0], nil)
			}
		})
	}
}

// throughKernel has the kernel make a rule of an expression, and returns what it tells of it.
func throughKernel(expr []byte) ([]Expr, error) {
	rs, err := inNamespace(func() (*Ruleset, error) {
		message := func(typ int, attrs ...netlink.Attribute) (netlink.Message, error) {
			data, err := netlink.MarshalAttributes(attrs)
			return netlink.Message{
				Header: netlink.Header{Type: messageType(typ), Flags: netlink.Request | netlink.Create | netlink.Acknowledge},
				Data:   append([]byte{byte(FamilyInet), unix.NFNETLINK_V0, 0, 0}, data...),
			}, err
		}
		list, err := netlink.MarshalAttributes([]netlink.Attribute{{Type: unix.NFTA_LIST_ELEM | unix.NLA_F_NESTED, Data: expr}})
		if err != nil {
			return nil, err
		}
		table, err1 := message(unix.NFT_MSG_NEWTABLE, netlink.Attribute{Type: unix.NFTA_TABLE_NAME, Data: cstring("t")})
		chain, err2 := message(unix.NFT_MSG_NEWCHAIN, netlink.Attribute{Type: unix.NFTA_CHAIN_TABLE, Data: cstring("t")}, netlink.Attribute{Type: unix.NFTA_CHAIN_NAME, Data: cstring("c")})
		rule, err3 := message(unix.NFT_MSG_NEWRULE, netlink.Attribute{Type: unix.NFTA_RULE_TABLE, Data: cstring("t")}, netlink.Attribute{Type: unix.NFTA_RULE_CHAIN, Data: cstring("c")},
			netlink.Attribute{Type: unix.NFTA_RULE_EXPRESSIONS | unix.NLA_F_NESTED, Data: list})
		if err := errors.Join(err1, err2, err3); err != nil {
			return nil, err
		}
		conn, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
		if err != nil {
			return nil, err
		}
		defer conn.Close()
		now, err := generation(conn)
		if err != nil {
			return nil, err
		}
		if err := batch([]netlink.Message{table, chain, rule}, now); err != nil {
			return nil, err
		}
		rs := new(Ruleset)
		return rs, errors.Join(readTables(conn, rs), readChains(conn, rs), readRules(conn, rs))
	})
	if err != nil {
		return nil, err
	}
	return rs.Rules()[0].Exprs, nil
}
