// SPDX-License-Identifier: GPL-2.0-only

package policy

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf/btf"
)

// layout is where the members of struct pkt are, in bytes.
type layout struct {
	offsets [fieldCount]int
	size    int
	// xdp tells that the code is for an XDP program.
	xdp bool
}

// plainLayout puts the members one behind the other: for code that is not
// going to run.
func plainLayout() *layout {
	l := new(layout)
	for f := fieldNone + 1; f < fieldCount; f++ {
		n := pktFields[f].len
		l.size = (l.size + n - 1) / n * n
		l.offsets[f] = l.size
		l.size += n
	}
	return l
}

// layoutOf reads the layout from the type of a policy function.
func layoutOf(fn *btf.Func) (*layout, error) {
	proto, ok := btf.UnderlyingType(fn.Type).(*btf.FuncProto)
	if !ok || len(proto.Params) != 2 {
		return nil, fmt.Errorf("function %s: want the context and the packet as parameters", fn.Name)
	}
	ctx, err := pointee(fn.Name, proto.Params[0])
	if err != nil {
		return nil, err
	}
	pkt, err := pointee(fn.Name, proto.Params[1])
	if err != nil {
		return nil, err
	}
	l := &layout{size: int(pkt.Size), xdp: ctx.Name == "xdp_md"}
	var errs []error
	for f := fieldNone + 1; f < fieldCount; f++ {
		if err := l.find(pkt, f); err != nil {
			errs = append(errs, err)
		}
	}
	return l, errors.Join(errs...)
}

// pointee returns the struct that a parameter points to.
func pointee(function string, p btf.FuncParam) (*btf.Struct, error) {
	ptr, ok := btf.UnderlyingType(p.Type).(*btf.Pointer)
	if !ok {
		return nil, fmt.Errorf("function %s: parameter %s is no pointer", function, p.Name)
	}
	s, ok := btf.UnderlyingType(ptr.Target).(*btf.Struct)
	if !ok {
		return nil, fmt.Errorf("function %s: parameter %s points to no struct", function, p.Name)
	}
	return s, nil
}

func (l *layout) find(pkt *btf.Struct, f pktField) error {
	want := pktFields[f]
	for _, m := range pkt.Members {
		if m.Name != want.name {
			continue
		}
		n, err := btf.Sizeof(m.Type)
		if err != nil {
			return fmt.Errorf("struct %s: member %s: %w", pkt.Name, m.Name, err)
		}
		if n != want.len || m.BitfieldSize != 0 {
			return fmt.Errorf("struct %s: member %s has %d bytes, want %d", pkt.Name, m.Name, n, want.len)
		}
		l.offsets[f] = int(m.Offset.Bytes())
		return nil
	}
	return fmt.Errorf("struct %s: no member %s", pkt.Name, want.name)
}
