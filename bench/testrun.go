// SPDX-License-Identifier: GPL-2.0-only

package bench

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// What programs return: XDP_DROP, XDP_PASS, XDP_REDIRECT, TCX_DROP and TCX_REDIRECT of
// include/uapi/linux/bpf.h.
const (
	xdpDrop     = 1
	xdpPass     = 2
	xdpRedirect = 4
	tcxDrop     = 2
	tcxRedirect = 7
)

// Sizes of struct xdp_md and struct __sk_buff, and where they have the interface.
const (
	xdpContext = 24
	xdpDataEnd = 4
	xdpIfindex = 12
	skbContext = 192
	skbIfindex = 40
)

// tester runs a program once for each packet, as if that had come in by an
// interface of the caller's network namespace. What the packet becomes goes
// nowhere.
//
// [ebpf.Program.Benchmark] takes no context, and a program that rewrites its packet
// finds that changed when it is repeated.
type tester struct {
	program *ebpf.Program
	context []byte
	out     [256]byte
}

// newTester is for a program of XDP or TC.
func newTester(p *ebpf.Program, ifindex int) *tester {
	t := &tester{program: p}
	if p.Type() == ebpf.XDP {
		t.context = make([]byte, xdpContext)
		binary.NativeEndian.PutUint32(t.context[xdpIfindex:], uint32(ifindex))
	} else {
		t.context = make([]byte, skbContext)
		binary.NativeEndian.PutUint32(t.context[skbIfindex:], uint32(ifindex))
	}
	return t
}

// run returns what the program returns, what it makes of the frame, and how long it
// took, with the kernel's look at the clock. The bytes are valid until the next run.
func (t *tester) run(frame []byte) (verdict uint32, out []byte, took time.Duration, err error) {
	if t.program.Type() == ebpf.XDP {
		binary.NativeEndian.PutUint32(t.context[xdpDataEnd:], uint32(len(frame)))
	}
	attr := testRun{
		program: uint32(t.program.FD()), repeat: 1,
		dataSize: uint32(len(frame)), data: uint64(uintptr(unsafe.Pointer(&frame[0]))),
		dataOutSize: uint32(len(t.out)), dataOut: uint64(uintptr(unsafe.Pointer(&t.out[0]))),
		contextSize: uint32(len(t.context)), context: uint64(uintptr(unsafe.Pointer(&t.context[0]))),
	}
	for {
		_, _, errno := unix.Syscall(unix.SYS_BPF, progTestRun, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr))
		if errno == unix.EINTR {
			continue
		}
		runtime.KeepAlive(frame)
		runtime.KeepAlive(t)
		if errno != 0 {
			return 0, nil, 0, fmt.Errorf("run %s: %w", t.program, errno)
		}
		return attr.result, t.out[:min(int(attr.dataOutSize), len(t.out))], time.Duration(attr.nanoseconds), nil
	}
}
