// SPDX-License-Identifier: GPL-2.0-only

// Package bbr3 makes BBRv3 a TCP congestion control of the running kernel, without a
// module: bpf/bbr3.c, registered as struct_ops.
package bbr3

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
)

// Name is that of the congestion control, as sysctls and setsockopt(2) have it.
const Name = "bbr3"

// ErrUnsupported is what a kernel lacks that cannot have congestion controls in BPF.
var ErrUnsupported = errors.New("this kernel takes no congestion control in BPF: want Linux 6.6 or newer, with CONFIG_DEBUG_INFO_BTF, CONFIG_BPF_JIT and CONFIG_MODULES")

const (
	opsStruct  = "tcp_congestion_ops"
	ackMember  = opsStruct + ":cong_control"
	nameLength = 16 // TCP_CA_NAME_MAX
)

// kernelOps are the members of the kernel's struct tcp_congestion_ops.
func kernelOps() (map[string]btf.Type, error) {
	spec, err := btf.LoadKernelSpec()
	if err != nil {
		return nil, fmt.Errorf("%w (%w)", ErrUnsupported, err)
	}
	return opsOf(spec)
}

func opsOf(spec *btf.Spec) (map[string]btf.Type, error) {
	var value, ops *btf.Struct
	find := func(name string, to **btf.Struct) error {
		if err := spec.TypeByName(name, to); err != nil {
			return fmt.Errorf("%w (struct %s: %w)", ErrUnsupported, name, err)
		}
		return nil
	}
	if err := cmp.Or(find("bpf_struct_ops_"+opsStruct, &value), find(opsStruct, &ops)); err != nil {
		return nil, err
	}
	members := map[string]btf.Type{}
	for _, m := range ops.Members {
		members[m.Name] = m.Type
	}
	return members, nil
}

// arguments is how many a member that is a function has; 0 if it is none.
func arguments(t btf.Type) int {
	if p, ok := btf.As[*btf.Pointer](t); ok {
		if f, ok := btf.As[*btf.FuncProto](p.Target); ok {
			return len(f.Params)
		}
	}
	return 0
}

// fit leaves out of an object what a kernel with such members does not call, and returns
// the names of these.
func fit(spec *ebpf.CollectionSpec, members map[string]btf.Type) (without []string, err error) {
	old := spec.Programs[bbr3ProgBbr3TcpAck66]
	delete(spec.Programs, bbr3ProgBbr3TcpAck66)
	if arguments(members["cong_control"]) == 2 { // before Linux 6.10
		old.AttachTo = ackMember
		spec.Programs[bbr3ProgBbr3TcpAck] = old
	}
	for name, p := range spec.Programs {
		if p.Type != ebpf.StructOps {
			continue
		}
		_, member, _ := strings.Cut(p.AttachTo, ":")
		if members[member] != nil {
			continue
		}
		if !optional[member] {
			return nil, fmt.Errorf("%w (it has no %s)", ErrUnsupported, member)
		}
		without = append(without, member)
		delete(spec.Programs, name)
	}
	return without, nil
}

// optional are the members that only some kernels have: one of the two tells of the first
// packet after an idle time.
var optional = map[string]bool{"cwnd_event": true, "cwnd_event_tx_start": true}

// object is what is loaded, under a name and with settings.
func object(name string, s Settings) (*ebpf.CollectionSpec, error) {
	spec, err := loadBbr3()
	if err != nil {
		return nil, err
	}
	if err := configure(spec, s); err != nil {
		return nil, err
	}
	return spec, rename(spec, name)
}

// configure writes the settings into an object.
func configure(spec *ebpf.CollectionSpec, s Settings) error {
	if err := s.Check(); err != nil {
		return err
	}
	v := spec.Variables[bbr3VarBbr3Tuning]
	var all bbr3Bbr3Settings
	if err := v.Get(&all); err != nil {
		return err
	}
	s.set(&all)
	return v.Set(all)
}

// rename gives the congestion control of an object a name.
func rename(spec *ebpf.CollectionSpec, name string) error {
	if name == "" || len(name) >= nameLength {
		return fmt.Errorf("name %q: want 1 to %d characters", name, nameLength-1)
	}
	m := spec.Maps[bbr3MapBbr3Ops]
	ops, ok := btf.As[*btf.Struct](m.Value)
	data, isBytes := m.Contents[0].Value.([]byte)
	if !ok || !isBytes {
		return errors.New("bbr3.o: no struct " + opsStruct)
	}
	for _, member := range ops.Members {
		if member.Name == "name" {
			field := data[member.Offset.Bytes():][:nameLength]
			clear(field)
			copy(field, name)
		}
	}
	return nil
}

// build tells builds apart.
func build() uint64 {
	sum := sha256.Sum256(_Bbr3Bytes)
	return binary.NativeEndian.Uint64(sum[:])
}

// Supported tells whether this kernel can have it: nil, or [ErrUnsupported].
func Supported() error {
	_, err := kernelOps()
	return err
}
