// SPDX-License-Identifier: GPL-2.0-only

package bbr3

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
)

// kernelWith is the type information of a kernel whose struct tcp_congestion_ops has
// such members: functions, by how many arguments they have.
func kernelWith(t *testing.T, functions map[string]int) *btf.Spec {
	t.Helper()
	ops := &btf.Struct{Name: opsStruct}
	for name, n := range functions {
		proto := &btf.FuncProto{Return: &btf.Void{}}
		for i := range n {
			proto.Params = append(proto.Params, btf.FuncParam{Name: fmt.Sprintf("a%d", i), Type: &btf.Int{Name: "int", Size: 4}})
		}
		ops.Members = append(ops.Members, btf.Member{Name: name, Type: &btf.Pointer{Target: proto}, Offset: btf.Bits(64 * len(ops.Members))})
	}
	ops.Size = uint32(8 * len(ops.Members))
	value := &btf.Struct{Name: "bpf_struct_ops_" + opsStruct, Size: ops.Size, Members: []btf.Member{{Name: "data", Type: ops}}}
	b, err := btf.NewBuilder([]btf.Type{value}, nil)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := b.Marshal(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	spec, err := btf.LoadSpecFromReader(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	return spec
}

// TestFit: what a kernel does not call is left out and told, another form of a call is
// taken where the kernel has that, and without what is needed there is nothing.
func TestFit(t *testing.T) {
	all := map[string]int{"init": 1, "release": 1, "ssthresh": 1, "undo_cwnd": 1, "set_state": 2, "in_ack_event": 2, "cong_control": 4}
	with := func(more map[string]int) map[string]int {
		m := map[string]int{}
		for _, list := range []map[string]int{all, more} {
			for name, n := range list {
				m[name] = n
			}
		}
		return m
	}
	lacking := with(map[string]int{"cwnd_event": 2})
	delete(lacking, "in_ack_event")
	for _, tt := range []struct {
		kernel  string
		has     map[string]int
		without []string
		ack     string // the program that an ACK calls
		bad     bool
	}{
		{kernel: "6.6", has: with(map[string]int{"cwnd_event": 2, "cong_control": 2}), without: []string{"cwnd_event_tx_start"}, ack: "bbr3_tcp_ack_6_6"},
		{kernel: "6.10", has: with(map[string]int{"cwnd_event": 2}), without: []string{"cwnd_event_tx_start"}, ack: "bbr3_tcp_ack"},
		{kernel: "7.3", has: with(map[string]int{"cwnd_event": 2, "cwnd_event_tx_start": 1}), ack: "bbr3_tcp_ack"},
		{kernel: "without cwnd_event", has: with(map[string]int{"cwnd_event_tx_start": 1}), without: []string{"cwnd_event"}, ack: "bbr3_tcp_ack"},
		{kernel: "without in_ack_event", has: lacking, bad: true},
	} {
		t.Run(tt.kernel, func(t *testing.T) {
			members, err := opsOf(kernelWith(t, tt.has))
			if err != nil {
				t.Fatal(err)
			}
			spec, err := object(Name, DefaultSettings)
			if err != nil {
				t.Fatal(err)
			}
			without, err := fit(spec, members)
			if tt.bad {
				if !errors.Is(err, ErrUnsupported) {
					t.Errorf("%v", err)
				}
				return
			}
			if err != nil || !slices.Equal(without, tt.without) {
				t.Errorf("without %v, not %v: %v", without, tt.without, err)
			}
			if got := spec.Programs[bbr3ProgBbr3TcpAck]; got.Name != tt.ack || got.AttachTo != ackMember {
				t.Errorf("an ACK calls %s as %s, not %s", got.Name, got.AttachTo, tt.ack)
			}
			for name, p := range spec.Programs {
				if _, member, _ := strings.Cut(p.AttachTo, ":"); p.Type == ebpf.StructOps && tt.has[member] == 0 {
					t.Errorf("%s is for %s, which is not there", name, member)
				}
			}
		})
	}
	b, err := btf.NewBuilder([]btf.Type{&btf.Int{Name: "int", Size: 4}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := b.Marshal(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	spec, err := btf.LoadSpecFromReader(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := opsOf(spec); !errors.Is(err, ErrUnsupported) {
		t.Errorf("without struct_ops: %v", err)
	}
}
