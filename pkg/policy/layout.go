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
	ptr, ok := btf.UnderlyingType(proto.Params[1].Type).(*btf.Pointer)
	if !ok {
		return nil, fmt.Errorf("function %s: the parameter is no pointer", fn.Name)
	}
	pkt, ok := btf.UnderlyingType(ptr.Target).(*btf.Struct)
	if !ok {
		return nil, fmt.Errorf("function %s: the parameter points to no struct", fn.Name)
	}
	l := &layout{size: int(pkt.Size)}
	var errs []error
	for f := fieldNone + 1; f < fieldCount; f++ {
		if err := l.find(pkt, f); err != nil {
			errs = append(errs, err)
		}
	}
	return l, errors.Join(errs...)
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
