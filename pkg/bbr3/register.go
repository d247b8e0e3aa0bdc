// SPDX-License-Identifier: GPL-2.0-only

package bbr3

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// Pins in the directory of a [Registration].
const (
	linkPin  = "link"
	statsPin = "stats" // goes on through replacements
	socksPin = "sockets"
)

// Entries of bbr3_stats.
const (
	statBegun uint32 = iota
	statEnded
	statWithoutState
	statIdentity
	statLossThreshold // of the settings; times are in microseconds
	statProbeRTTInterval
	statECN
	statECNMaxRTT
	numStats
)

// ErrTaken says that the kernel has a congestion control of that name already.
var ErrTaken = errors.New("the kernel has a congestion control of that name, which is not this one's: a module, or another program's")

// ErrInUse says that connections use it.
var ErrInUse = errors.New("connections use it")

// Registration is where and as what it is registered.
type Registration struct {
	// Dir is a directory on a BPF file system. The congestion control stays there as
	// long as the pins do, with or without a process.
	Dir string
	// Name is that of the congestion control; empty for [Name].
	Name string
}

func (r Registration) name() string {
	if r.Name == "" {
		return Name
	}
	return r.Name
}

func (r Registration) pin(name string) string { return filepath.Join(r.Dir, name) }

// Change is what [Registration.Register] has done.
type Change struct {
	// Made: it was not there; Replaced: another build, or one with other settings, was.
	// Neither: it is as it was.
	Made, Replaced bool
	// Without names the calls that this kernel does not make.
	Without []string
}

// Register has the kernel know the congestion control. What is registered here already
// is replaced in one step if build or settings differ: connections that there are keep
// what they have begun with. The zero Settings are [DefaultSettings].
func (r Registration) Register(s Settings) (Change, error) {
	c, err := r.register(s.withDefaults())
	if err != nil {
		return c, fmt.Errorf("congestion control %s: %w", r.name(), err)
	}
	return c, nil
}

func (r Registration) register(s Settings) (c Change, err error) {
	there, stats, err := r.open()
	if err != nil {
		return c, err
	}
	if there != nil {
		defer there.Close()
		defer stats.Close()
		now, err := readStatus(stats)
		if err != nil || now.Has(s) {
			return c, err
		}
	}
	coll, without, err := load(r.name(), s, stats)
	if err != nil {
		return c, err
	}
	defer coll.Close()
	c.Without = without
	ops := coll.Maps[bbr3MapBbr3Ops]
	if there != nil {
		c.Replaced = true
		if err = update(there, ops); err == nil {
			err = r.repin(socksPin, coll.Maps[bbr3MapBbr3Socks])
		}
	} else {
		c.Made = true
		err = r.attach(ops, coll.Maps[bbr3MapBbr3Stats], coll.Maps[bbr3MapBbr3Socks])
	}
	if err != nil {
		return Change{}, err
	}
	return c, s.note(coll.Maps[bbr3MapBbr3Stats])
}

// load loads the object, with the statistics that there are, if any.
func load(name string, s Settings, stats *ebpf.Map) (*ebpf.Collection, []string, error) {
	spec, err := object(name, s)
	if err != nil {
		return nil, nil, err
	}
	members, err := kernelOps()
	if err != nil {
		return nil, nil, err
	}
	without, err := fit(spec, members)
	if err != nil {
		return nil, nil, err
	}
	delete(spec.Programs, bbr3ProgBbr3Simulate) // the tests'
	delete(spec.Variables, bbr3VarBbr3Simulated)
	delete(spec.Maps, ".bss")
	replace := map[string]*ebpf.Map{}
	if stats != nil {
		replace[bbr3MapBbr3Stats] = stats
	}
	coll, err := ebpf.NewCollectionWithOptions(spec, ebpf.CollectionOptions{MapReplacements: replace})
	return coll, without, err
}

// open opens the pins; nil if it is not registered.
func (r Registration) open() (link.Link, *ebpf.Map, error) {
	l, err := link.LoadPinnedLink(r.pin(linkPin), nil)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("pinned link %s: %w", r.pin(linkPin), err)
	}
	stats, err := ebpf.LoadPinnedMap(r.pin(statsPin), nil)
	if err != nil {
		l.Close()
		return nil, nil, fmt.Errorf("pinned map %s: %w", r.pin(statsPin), err)
	}
	return l, stats, nil
}

// attach registers ops and pins what keeps it, the link last: without that pin it is
// not registered, whatever a crash has left.
func (r Registration) attach(ops, stats, socks *ebpf.Map) (err error) {
	l, err := link.AttachStructOps(link.StructOpsOptions{Map: ops})
	if errors.Is(err, unix.EEXIST) {
		return ErrTaken
	}
	if err != nil {
		return err
	}
	defer l.Close()
	if err := os.MkdirAll(r.Dir, 0o700); err != nil {
		return err
	}
	defer func() {
		if err != nil { // what is there of it; the directory if nothing else is in it
			_, _, _ = os.Remove(r.pin(statsPin)), os.Remove(r.pin(socksPin)), os.Remove(r.Dir)
		}
	}()
	if err := errors.Join(r.repin(statsPin, stats), r.repin(socksPin, socks)); err != nil {
		return err
	}
	if err := l.Pin(r.pin(linkPin)); err != nil {
		return fmt.Errorf("pin %s: %w", r.pin(linkPin), err)
	}
	return nil
}

// repin pins a map in the place of another one.
func (r Registration) repin(name string, m *ebpf.Map) error {
	if err := os.Remove(r.pin(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	clone, err := m.Clone() // which knows of no pin
	if err != nil {
		return err
	}
	defer clone.Close()
	if err := clone.Pin(r.pin(name)); err != nil {
		return fmt.Errorf("pin %s: %w", r.pin(name), err)
	}
	return nil
}

// update puts ops in the place of what a link has: BPF_LINK_UPDATE, which the library
// has for programs only.
func update(l link.Link, ops *ebpf.Map) error {
	raw, ok := l.(interface{ FD() int })
	if !ok {
		return errors.New("update: the link has no file descriptor")
	}
	attr := struct{ link, newMap, flags, oldMap uint32 }{link: uint32(raw.FD()), newMap: uint32(ops.FD())}
	_, _, errno := unix.Syscall(unix.SYS_BPF, unix.BPF_LINK_UPDATE, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr))
	runtime.KeepAlive(l)
	runtime.KeepAlive(ops)
	if errno != 0 {
		return fmt.Errorf("update: %w", errno)
	}
	return nil
}

// Unregister has the kernel forget the congestion control: no connection begins with it
// any more. If connections use it, that is [ErrInUse], unless they are to be left
// to their end with it. What is not registered is no error.
func (r Registration) Unregister(drain bool) error {
	s, err := r.Status()
	if err != nil || !s.Registered {
		return err
	}
	if s.Connections > 0 && !drain {
		return fmt.Errorf("congestion control %s: %w: %d", r.name(), ErrInUse, s.Connections)
	}
	// As long as that pin is there, it is registered, and needs the others.
	if err := os.Remove(r.pin(linkPin)); err != nil {
		return err
	}
	return errors.Join(os.Remove(r.pin(statsPin)), os.Remove(r.pin(socksPin)), os.Remove(r.Dir))
}

// Status is what is registered.
type Status struct {
	Registered bool `json:"registered"`
	// Settings are those that connections begin with.
	Settings Settings `json:"settings"`
	// Connections that use it now; Begun are all since it was registered.
	Connections uint64 `json:"connections"`
	Begun       uint64 `json:"begun"`
	// WithoutState are those for whose state the kernel had no memory: they do as
	// Reno does.
	WithoutState uint64 `json:"without_state"`

	build uint64
}

// Status reads what is registered.
func (r Registration) Status() (Status, error) {
	l, stats, err := r.open()
	if err != nil || l == nil {
		return Status{}, err
	}
	defer l.Close()
	defer stats.Close()
	return readStatus(stats)
}

func readStatus(m *ebpf.Map) (Status, error) {
	var v [numStats]uint64
	// What has ended has begun before.
	for _, key := range []uint32{statEnded, statBegun, statWithoutState, statIdentity, statLossThreshold, statProbeRTTInterval, statECN, statECNMaxRTT} {
		if err := m.Lookup(key, &v[key]); err != nil {
			return Status{}, err
		}
	}
	return Status{
		Registered: true, Begun: v[statBegun], Connections: v[statBegun] - v[statEnded], WithoutState: v[statWithoutState], build: v[statIdentity],
		Settings: Settings{
			LossThreshold: int(v[statLossThreshold]), ProbeRTTInterval: time.Duration(v[statProbeRTTInterval]) * time.Microsecond,
			ECN: v[statECN] != 0, ECNMaxRTT: time.Duration(v[statECNMaxRTT]) * time.Microsecond,
		},
	}, nil
}

// note writes down what is registered now.
func (s Settings) note(m *ebpf.Map) error {
	ecn := uint64(0)
	if s.ECN {
		ecn = 1
	}
	return errors.Join(
		m.Put(statLossThreshold, uint64(s.LossThreshold)), m.Put(statProbeRTTInterval, uint64(s.ProbeRTTInterval.Microseconds())),
		m.Put(statECN, ecn), m.Put(statECNMaxRTT, uint64(s.ECNMaxRTT.Microseconds())), m.Put(statIdentity, build()),
	)
}

// Has tells whether it is registered as this build has it with these settings.
func (s Status) Has(settings Settings) bool {
	return s.Registered && s.build == build() && s.Settings == settings.withDefaults()
}
