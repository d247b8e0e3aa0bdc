// SPDX-License-Identifier: GPL-2.0-only

package loader

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// hook is a place at an interface where a program is attached.
type hook struct {
	name    string // of the pinned link: INTERFACE_name
	program string
	attach  func(ifindex int, prog *ebpf.Program) (link.Link, error)
}

var (
	hookXDP = hook{"xdp", "l2_xdp", func(ifindex int, prog *ebpf.Program) (link.Link, error) {
		return link.AttachXDP(link.XDPOptions{Program: prog, Interface: ifindex, Flags: link.XDPDriverMode})
	}}
	hookIngress = hook{"ingress", "l2_ingress", func(ifindex int, prog *ebpf.Program) (link.Link, error) {
		return link.AttachTCX(link.TCXOptions{Program: prog, Interface: ifindex, Attach: ebpf.AttachTCXIngress, Anchor: link.Head()})
	}}
	hookEgress = hook{"egress", "l2_egress", func(ifindex int, prog *ebpf.Program) (link.Link, error) {
		return link.AttachTCX(link.TCXOptions{Program: prog, Interface: ifindex, Attach: ebpf.AttachTCXEgress, Anchor: link.Tail()})
	}}
)

func (h hook) pin(pinPath string, i Interface) string {
	return filepath.Join(pinPath, dirLinks, i.Name+"_"+h.name)
}

// change is what an attachment did, and how to take it back.
type change struct {
	link link.Link
	undo func() error
}

// set makes the hook at an interface run prog: an existing link is updated, in
// one step for the packets, else the program is attached.
func (h hook) set(pinPath string, i Interface, prog *ebpf.Program) (*change, error) {
	path := h.pin(pinPath, i)
	old, err := link.LoadPinnedLink(path, nil)
	switch {
	case err == nil:
		c, err := update(old, i, prog)
		if err == nil {
			return c, nil
		}
		old.Close()
		if !errors.Is(err, errGone) {
			return nil, fmt.Errorf("interface %s: replace the %s program: %w", i.Name, h.name, err)
		}
		if err := os.Remove(path); err != nil {
			return nil, err
		}
	case !errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("pinned link %s: %w", path, err)
	}

	l, err := h.attach(i.Index, prog)
	if err != nil {
		return nil, refusef("interface %s: attach the %s program: %w", i.Name, h.name, err)
	}
	if err := l.Pin(path); err != nil {
		l.Close()
		return nil, fmt.Errorf("pin link %s: %w", path, err)
	}
	return &change{link: l, undo: func() error { return errors.Join(l.Detach(), l.Unpin()) }}, nil
}

// refusal is why an interface cannot have a program: its driver says so, or it is what it is. Any other error is of
// something that should have worked.
type refusal struct{ error }

func (r refusal) Unwrap() error { return r.error }

// refusef is a refusal for a reason.
func refusef(format string, args ...any) error { return refusal{fmt.Errorf(format, args...)} }

// errGone is the error of a link whose interface has gone, or is another one
// of the same name now.
var errGone = errors.New("the interface of the link has gone")

func update(l link.Link, i Interface, prog *ebpf.Program) (*change, error) {
	info, err := l.Info()
	if err != nil {
		return nil, err
	}
	if linkIndex(info) != i.Index {
		return nil, errGone
	}
	before, err := ebpf.NewProgramFromID(info.Program)
	if err != nil {
		return nil, err
	}
	if err := l.Update(prog); err != nil {
		before.Close()
		if errors.Is(err, unix.ENOLINK) {
			return nil, errGone
		}
		return nil, err
	}
	return &change{link: l, undo: func() error {
		defer before.Close()
		return l.Update(before)
	}}, nil
}

func linkIndex(info *link.Info) int {
	if x := info.XDP(); x != nil {
		return int(x.Ifindex)
	}
	if t := info.TCX(); t != nil {
		return int(t.Ifindex)
	}
	return 0
}

// detached is a link that was ended, and what it takes to have it again.
type detached struct {
	path    string
	index   int
	program *ebpf.Program
}

func closeDetached(list []detached) {
	for _, d := range list {
		d.program.Close()
	}
}

// detachOthers removes pinned links that are not among keep (base names). Those that it did are returned also with an
// error.
func detachOthers(pinPath string, keep map[string]bool) (done []detached, err error) {
	dir := filepath.Join(pinPath, dirLinks)
	entries, err := os.ReadDir(dir)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		return nil, err
	}
	var errs []error
	for _, e := range entries {
		if keep[e.Name()] {
			continue
		}
		d, err := detach(filepath.Join(dir, e.Name()))
		if err != nil {
			errs = append(errs, fmt.Errorf("detach %s: %w", strings.ReplaceAll(e.Name(), "_", " "), err))
		}
		if d != nil {
			done = append(done, *d)
		}
	}
	return done, errors.Join(errs...)
}

// detach ends a pinned link at once: without its pin alone it would go when the
// kernel gets round to it, and when no process has it open. A link of an interface that has gone is nothing to have again.
func detach(path string) (*detached, error) {
	l, err := link.LoadPinnedLink(path, nil)
	if err != nil {
		return nil, err
	}
	defer l.Close()
	info, err := l.Info()
	if err != nil {
		return nil, err
	}
	index := linkIndex(info)
	if index == 0 {
		return nil, os.Remove(path)
	}
	program, err := ebpf.NewProgramFromID(info.Program)
	if err != nil {
		return nil, err
	}
	// ENOLINK: of an interface that has gone.
	if err := l.Detach(); err != nil && !errors.Is(err, unix.ENOLINK) {
		program.Close()
		return nil, err
	}
	return &detached{path, index, program}, os.Remove(path)
}

// attachAgain attaches the program again, unless the interface has gone.
func (d detached) attachAgain() error {
	for _, h := range []hook{hookXDP, hookIngress, hookEgress} {
		if !strings.HasSuffix(d.path, "_"+h.name) {
			continue
		}
		l, err := h.attach(d.index, d.program)
		if errors.Is(err, unix.ENODEV) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("attach %s again: %w", filepath.Base(d.path), err)
		}
		defer l.Close()
		if err := os.Remove(d.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return l.Pin(d.path)
	}
	return nil
}

func isFull(err error) bool { return errors.Is(err, unix.E2BIG) || errors.Is(err, unix.ENOSPC) }
