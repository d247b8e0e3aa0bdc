// SPDX-License-Identifier: GPL-2.0-only

// Package mishap has writes to the host fail, or be the last ones of their process, one by one: those of a thread of a
// test, or of a program that it runs.
//
// The system calls themselves are stopped, by a seccomp filter that asks a supervisor
// (seccomp_unotify(2)): what runs is the code as it is, down to the kernel. A step is a call that can
// change something: an open file to write to, a request of netlink other than for what there is, an ioctl of
// ethtool, an entry of a map of BPF, a link or a pin of it, a signal, a name that is made, moved or removed, or has to be
// on disk.
package mishap

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"sync"
	"unsafe"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// Way is what happens to a step.
type Way int

// Ways.
const (
	// Fails: the call returns EIO, and has no effect.
	Fails Way = iota
	// FailsBehind: the call has its effect, and the next one returns EIO, whatever that is.
	FailsBehind
	// Kills: the process gets SIGKILL, and the call is not made.
	Kills
)

func (w Way) String() string { return [...]string{"fails", "fails behind", "kills"}[w] }

// Never is the number of no step.
const Never = -1

// watch is what becomes of calls that a listener tells of.
type watch struct {
	listener int
	// pid is the process that the steps are of: its children have the filter, too. space is the network namespace that
	// they are in, as /proc has its name; empty: whichever.
	pid   int
	space string

	mu     sync.Mutex
	at     int
	way    Way
	behind uint32 // the thread whose next call fails
	hit    string
	steps  []string
	skip   func(step string) bool
}

func newWatch(listener, pid int, space string) *watch {
	// The supervisor runs where the thread has just stopped.
	_, _, _ = unix.Syscall(unix.SYS_IOCTL, uintptr(listener), unix.SECCOMP_IOCTL_NOTIF_SET_FLAGS, unix.SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP)
	w := &watch{listener: listener, pid: pid, space: space, at: Never}
	go w.supervise()
	return w
}

// Thread is a thread whose calls are watched.
type Thread struct {
	*watch
	work chan func()
}

// Watch watches the calling goroutine's thread, which is locked to it and ends with it.
func Watch() (*Thread, error) {
	runtime.LockOSThread() // and never unlock: the filter stays
	listener, err := install(filter())
	if err != nil {
		return nil, err
	}
	return &Thread{watch: newWatch(listener, os.Getpid(), "")}, nil
}

// New starts a thread in the network and mount namespaces of the caller's, which is locked.
// [Thread.Do] runs what is watched there.
func New() (*Thread, error) {
	var spaces []int
	for _, name := range []string{"mnt", "net"} {
		fd, err := unix.Open("/proc/thread-self/ns/"+name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return nil, err
		}
		defer func() { _ = unix.Close(fd) }()
		spaces = append(spaces, fd)
	}
	type result struct {
		t   *Thread
		err error
	}
	made := make(chan result)
	go func() {
		runtime.LockOSThread()
		err := unix.Unshare(unix.CLONE_FS) // which a thread of another mount namespace has alone
		for _, fd := range spaces {
			err = errors.Join(err, unix.Setns(fd, 0))
		}
		if err != nil {
			made <- result{nil, err}
			return
		}
		t, err := Watch()
		if err != nil {
			made <- result{nil, err}
			return
		}
		t.work = make(chan func())
		made <- result{t, nil}
		for f := range t.work {
			f()
		}
	}()
	r := <-made
	return r.t, r.err
}

// Do runs a function on a thread of [New], and waits for its end.
func (t *Thread) Do(f func()) {
	done := make(chan struct{})
	t.work <- func() { defer close(done); f() }
	<-done
}

// Close ends a thread of [New].
func (t *Thread) Close() { close(t.work) }

// Skip has steps not counted, and left alone: those whose descriptions a function says yes to.
func (w *watch) Skip(skip func(step string) bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.skip = skip
}

// Arm has something happen to the step with a number, from 0 on, of those that follow.
func (w *watch) Arm(at int, way Way) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.at, w.way, w.steps, w.hit, w.behind = at, way, nil, "", 0
}

// Disarm has all pass again. It returns the steps since Arm, and the one that it
// happened to; empty if there were fewer.
func (w *watch) Disarm() (steps []string, hit string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.at, w.behind = Never, 0
	return slices.Clone(w.steps), w.hit
}

// notification is struct seccomp_notif, answer struct seccomp_notif_resp.
type notification struct {
	id         uint64
	pid, flags uint32
	number     int32
	arch       uint32
	ip         uint64
	args       [6]uint64
}

type answer struct {
	id    uint64
	value int64
	err   int32
	flags uint32
}

// supervise answers until all threads with the filter have ended.
func (w *watch) supervise() {
	defer func() { _ = unix.Close(w.listener) }()
	for {
		fds := []unix.PollFd{{Fd: int32(w.listener), Events: unix.POLLIN}}
		if _, err := unix.Poll(fds, -1); err != nil && err != unix.EINTR {
			return
		}
		if fds[0].Revents&unix.POLLIN == 0 {
			if fds[0].Revents != 0 {
				return
			}
			continue
		}
		var n notification
		if err := ioctl(w.listener, unix.SECCOMP_IOCTL_NOTIF_RECV, unsafe.Pointer(&n)); err != nil {
			continue // it has been ended in the meantime
		}
		a := answer{id: n.id, flags: unix.SECCOMP_USER_NOTIF_FLAG_CONTINUE}
		if w.fails(&n) {
			a.flags, a.err = 0, -int32(unix.EIO)
		}
		_ = ioctl(w.listener, unix.SECCOMP_IOCTL_NOTIF_SEND, unsafe.Pointer(&a))
	}
}

// isOf tells whether a thread is one of the process, where that is: what it does in a network namespace that it has made
// for itself is nobody else's.
func (w *watch) isOf(tid uint32) bool {
	space, err := os.Readlink(fmt.Sprintf("/proc/%d/task/%d/ns/net", w.pid, tid))
	return err == nil && (w.space == "" || space == w.space)
}

// fails decides about a call.
func (w *watch) fails(n *notification) bool {
	if !w.isOf(n.pid) {
		return false
	}
	step, writes := n.describe()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.skip != nil && w.skip(step) {
		return false
	}
	if w.behind == n.pid {
		w.behind = 0
		return true
	}
	if !writes {
		return false
	}
	w.steps = append(w.steps, step)
	if w.at != len(w.steps)-1 {
		return false
	}
	w.hit = step
	switch w.way {
	case Kills:
		_ = unix.Kill(w.pid, unix.SIGKILL)
	case FailsBehind:
		w.behind = n.pid
		return false
	}
	return true
}

// describe says what a call does, and whether it can change something.
func (n *notification) describe() (step string, writes bool) {
	switch n.number {
	case unix.SYS_OPENAT:
		return "open " + n.text(n.args[1]), n.args[2]&(unix.O_WRONLY|unix.O_RDWR|unix.O_CREAT) != 0
	case unix.SYS_UNLINKAT:
		return "unlink " + n.text(n.args[1]), true
	case unix.SYS_MKDIRAT:
		return "mkdir " + n.text(n.args[1]), true
	case unix.SYS_RENAMEAT, unix.SYS_RENAMEAT2:
		return "rename " + n.text(n.args[1]) + " " + n.text(n.args[3]), true
	case unix.SYS_FSYNC:
		return "sync " + n.file(n.args[0]), true
	case unix.SYS_FCHMOD:
		return "chmod " + n.file(n.args[0]), true
	case unix.SYS_IOCTL:
		return "ethtool", true
	case unix.SYS_BPF:
		return fmt.Sprint("bpf ", n.args[0]), true
	case unix.SYS_KILL:
		return fmt.Sprint("signal ", n.args[1]), n.args[1] != 0
	case unix.SYS_SENDTO:
		return n.message(n.args[1], n.args[2])
	case unix.SYS_SENDMSG:
		const vectors = 16 // of struct msghdr, which are structs iovec
		v := n.read(word(n.read(n.args[1]+vectors, 8)), 16)
		if len(v) < 16 {
			return "message", true
		}
		return n.message(word(v), word(v[8:]))
	}
	return fmt.Sprint("call ", n.number), true
}

// message describes the first message of netlink in a buffer. What only asks has no acknowledgement, but that
// a change of ethtool's features is answered with them.
func (n *notification) message(at, length uint64) (string, bool) {
	const featuresSet = 12 // ETHTOOL_MSG_FEATURES_SET
	b := n.read(at, min(length, unix.SizeofNlMsghdr+4))
	if len(b) < unix.SizeofNlMsghdr+4 {
		return "message", true
	}
	kind, flags := binary.NativeEndian.Uint16(b[4:]), binary.NativeEndian.Uint16(b[6:])
	if kind >= unix.RTM_BASE && kind <= unix.RTM_MAX {
		return fmt.Sprint("rtnetlink ", kind), kind&3 != unix.RTM_GETLINK&3
	}
	command := b[unix.SizeofNlMsghdr]
	return fmt.Sprint("netlink ", kind, " ", command), flags&unix.NLM_F_ACK != 0 || command == featuresSet && flags&unix.NLM_F_DUMP == 0
}

// read returns the caller's memory, as much of it as there is. The thread stands still.
func (n *notification) read(at, length uint64) []byte {
	b := make([]byte, length)
	if length == 0 {
		return b
	}
	size, _ := unix.ProcessVMReadv(int(n.pid), []unix.Iovec{{Base: &b[0], Len: length}}, []unix.RemoteIovec{{Base: uintptr(at), Len: int(length)}}, 0)
	return b[:max(size, 0)]
}

// word is a pointer or a length; 0 if it could not be read.
func word(b []byte) uint64 {
	if len(b) < 8 {
		return 0
	}
	return binary.NativeEndian.Uint64(b)
}

// text is a C string, of a path. Memory ends at a page.
func (n *notification) text(at uint64) string {
	const page = 4096
	b := n.read(at, page-at%page)
	if len(b) < unix.PathMax && !bytes.Contains(b, []byte{0}) {
		b = append(b, n.read(at+uint64(len(b)), page)...)
	}
	b, _, _ = bytes.Cut(b, []byte{0})
	return string(b)
}

// file is what a descriptor is of.
func (n *notification) file(descriptor uint64) string {
	s, _ := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", n.pid, descriptor))
	return s
}

// bpfWrites are the commands of bpf(2) that change what others see. A map or a program that is made is nobody
// else's until then.
var bpfWrites = []uint32{
	unix.BPF_MAP_UPDATE_ELEM, unix.BPF_MAP_DELETE_ELEM, unix.BPF_MAP_UPDATE_BATCH, unix.BPF_OBJ_PIN,
	unix.BPF_PROG_ATTACH, unix.BPF_PROG_DETACH, unix.BPF_LINK_CREATE, unix.BPF_LINK_UPDATE, unix.BPF_LINK_DETACH,
}

// filter asks about the calls that [notification.describe] knows.
func filter() []bpf.Instruction {
	const number = 0 // of struct seccomp_data
	allow, ask := bpf.RetConstant{Val: unix.SECCOMP_RET_ALLOW}, bpf.RetConstant{Val: unix.SECCOMP_RET_USER_NOTIF}
	calls := []uint32{
		unix.SYS_OPENAT, unix.SYS_UNLINKAT, unix.SYS_MKDIRAT, unix.SYS_RENAMEAT, unix.SYS_RENAMEAT2, unix.SYS_FSYNC, unix.SYS_FCHMOD,
		unix.SYS_SENDTO, unix.SYS_SENDMSG, unix.SYS_KILL,
	}
	program := []bpf.Instruction{bpf.LoadAbsolute{Off: number, Size: 4}}
	for _, call := range calls {
		program = append(program, bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: call, SkipTrue: 1}, ask)
	}
	program = append(program, ofArgument(unix.SYS_IOCTL, 1, unix.SIOCETHTOOL)...)
	program = append(program, ofArgument(unix.SYS_BPF, 0, bpfWrites...)...)
	return append(program, allow)
}

// ofArgument asks about a call if an argument has one of some values. The number of the call is loaded.
func ofArgument(call uint32, argument int, values ...uint32) []bpf.Instruction {
	const arguments = 16 // of struct seccomp_data, 8 bytes each; the lower half is first
	program := []bpf.Instruction{
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: call, SkipTrue: uint8(2*len(values) + 2)},
		bpf.LoadAbsolute{Off: uint32(arguments + 8*argument), Size: 4},
	}
	for _, v := range values {
		program = append(program, bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: v, SkipTrue: 1}, bpf.RetConstant{Val: unix.SECCOMP_RET_USER_NOTIF})
	}
	return append(program, bpf.RetConstant{Val: unix.SECCOMP_RET_ALLOW})
}

// install sets a filter for the calling thread, and returns what is told of its calls. Once one is told,
// only the end of the process interrupts it: a call is one step.
func install(program []bpf.Instruction) (int, error) {
	raw, err := bpf.Assemble(program)
	if err != nil {
		return 0, err
	}
	list := make([]unix.SockFilter, len(raw))
	for i, r := range raw {
		list[i] = unix.SockFilter{Code: r.Op, Jt: r.Jt, Jf: r.Jf, K: r.K}
	}
	p := unix.SockFprog{Len: uint16(len(list)), Filter: &list[0]}
	fd, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_NEW_LISTENER|unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, uintptr(unsafe.Pointer(&p)))
	if errno != 0 {
		return 0, fmt.Errorf("seccomp: %w", errno)
	}
	unix.CloseOnExec(int(fd))
	return int(fd), nil
}

func ioctl(fd int, request uintptr, at unsafe.Pointer) error {
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), request, uintptr(at)); errno != 0 {
		return errno
	}
	return nil
}
