// SPDX-License-Identifier: GPL-2.0-only

package nft

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// attr is a netlink attribute. Its integers are in network byte order.
type attr struct {
	typ  uint16
	data []byte
}

func parseAttrs(b []byte) ([]attr, error) {
	as, err := netlink.UnmarshalAttributes(b)
	if err != nil {
		return nil, err
	}
	out := make([]attr, len(as))
	for i, a := range as {
		out[i] = attr{a.Type &^ (unix.NLA_F_NESTED | unix.NLA_F_NET_BYTEORDER), a.Data}
	}
	return out, nil
}

func (a attr) str() string { return string(bytes.TrimRight(a.data, "\x00")) }

func (a attr) u16() (uint16, error) {
	if len(a.data) != 2 {
		return 0, fmt.Errorf("attribute %d: %d bytes, want 2", a.typ, len(a.data))
	}
	return binary.BigEndian.Uint16(a.data), nil
}

func (a attr) u32() (uint32, error) {
	if len(a.data) != 4 {
		return 0, fmt.Errorf("attribute %d: %d bytes, want 4", a.typ, len(a.data))
	}
	return binary.BigEndian.Uint32(a.data), nil
}

func (a attr) u64() (uint64, error) {
	if len(a.data) != 8 {
		return 0, fmt.Errorf("attribute %d: %d bytes, want 8", a.typ, len(a.data))
	}
	return binary.BigEndian.Uint64(a.data), nil
}

// scan calls fn for each attribute in b.
func scan(b []byte, fn func(a attr) error) error {
	as, err := parseAttrs(b)
	if err != nil {
		return err
	}
	for _, a := range as {
		if err := fn(a); err != nil {
			return err
		}
	}
	return nil
}

// errAttr says that an attribute is not known.
func errAttr(a attr) error { return fmt.Errorf("attribute %d is not known", a.typ) }

// into stores what get returns.
func into[T any, S ~uint16 | ~uint32 | ~uint64](dst *T, get func() (S, error), conv func(S) T) error {
	v, err := get()
	if err == nil {
		*dst = conv(v)
	}
	return err
}

func u32to[T ~uint32](dst *T, a attr) error {
	return into(dst, a.u32, func(v uint32) T { return T(v) })
}
