// SPDX-License-Identifier: GPL-2.0-only

package loader

import (
	"net"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// TestForeignMarks: the programs tell each other by a packet's tc_index what
// they have done. A container that writes the same there is not believed.
func TestForeignMarks(t *testing.T) {
	t.Parallel()
	for name, managed := range map[string]int{"from an interface without a program": 1, "from one with it": 0} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRouter(t)
			cfg := r.config(testPolicy{dropForward: true, rejectAt: "output"})
			cfg.Interfaces = cfg.Interfaces[managed:]
			for i := range cfg.Interfaces {
				cfg.Interfaces[i].XDP = XDPOff
			}
			d := r.mustApply(cfg)
			lan, wan := r.tap(t, "l"), r.tap(t, "w")
			f := families[0]
			for _, mark := range []int32{0, 0x12d0, 0x12d1, 0x12d2, 0x12d3, 0x3000, 0x3400, 0x3800} { // TC_INDEX_* of bpf/l2_tc.c
				if mark != 0 {
					markAll(t, r, mark)
				}
				before := stat(t, d, "drop_policy")
				// One past the program, one into the kernel's own forwarding.
				lan.send(ipPacket(f.lan, f.wanless, unix.IPPROTO_UDP, 64, udpDatagram(at(f.lan, 6800), at(f.wanless, 6801), nil)))
				for _, p := range wan.drain() {
					if p.dst.Port() == 6801 {
						t.Errorf("mark %#x: not filtered", mark)
					}
				}
				if n := stat(t, d, "drop_policy") - before; n != 1 {
					t.Errorf("mark %#x: %d drops", mark, n)
				}
			}
		})
	}
}

// markAll writes a tc_index into all packets that the LAN host sends.
func markAll(t *testing.T, r *router, mark int32) {
	t.Helper()
	var skb *btf.Struct
	spec, err := btf.LoadKernelSpec()
	if err != nil {
		t.Fatal(err)
	}
	if err := spec.TypeByName("__sk_buff", &skb); err != nil {
		t.Fatal(err)
	}
	offset := int16(0)
	for _, m := range skb.Members {
		if m.Name == "tc_index" {
			offset = int16(m.Offset.Bytes())
		}
	}
	prog, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: "mark", Type: ebpf.SchedCLS, License: "GPL",
		Instructions: asm.Instructions{
			asm.Mov.Imm(asm.R2, mark), asm.StoreMem(asm.R1, offset, asm.R2, asm.Word),
			asm.Mov.Imm(asm.R0, -1), asm.Return(),
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer prog.Close()
	r.in("l", func() error {
		eth0, err := net.InterfaceByName("eth0")
		if err != nil {
			return err
		}
		l, err := link.AttachTCX(link.TCXOptions{Program: prog, Interface: eth0.Index, Attach: ebpf.AttachTCXEgress, Anchor: link.Head()})
		if err == nil {
			t.Cleanup(func() { l.Close() })
		}
		return err
	})
}
