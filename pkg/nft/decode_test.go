// SPDX-License-Identifier: GPL-2.0-only

package nft

import (
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
