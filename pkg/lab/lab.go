// SPDX-License-Identifier: GPL-2.0-only

package lab

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"github.com/vishvananda/netlink"
)

// Options say how a lab is made.
type Options struct {
	// ID names the lab, up to 16 lower-case letters and digits. Empty: a random name.
	ID string
	// Serve is the command line, without the server's name, that runs Serve in
	// another process. Empty: the lab has no servers.
	Serve []string
	// Log receives what the lab does. Nil: nothing is logged.
	Log *slog.Logger
}

// Lab is a set of namespaces with a router in the middle.
type Lab struct {
	id    string
	dir   string
	serve []string
	log   *slog.Logger
	ns    map[string]*Namespace
	links map[string]*netlink.Handle
	lock  *os.File
	undo  cleanup
}

// Up makes a lab. When it fails nothing is left behind.
func Up(ctx context.Context, opt Options) (*Lab, error) {
	if opt.ID == "" {
		opt.ID = newID()
	}
	if opt.Log == nil {
		opt.Log = slog.New(slog.DiscardHandler)
	}
	if err := mountBPFFS(); err != nil {
		return nil, err
	}
	lock, err := claim(opt.ID)
	if err != nil {
		return nil, err
	}
	l := &Lab{
		id: opt.ID, dir: labDir(opt.ID), serve: opt.Serve, log: opt.Log.With("lab", opt.ID),
		ns: map[string]*Namespace{}, links: map[string]*netlink.Handle{}, lock: lock,
	}
	l.undo.add("files", func() error { return errors.Join(Remove(l.id), lock.Close()) })
	err = l.build()
	l.undo.add("processes", l.endProcesses)
	if err == nil && len(l.serve) > 0 {
		err = l.startServers(ctx)
	}
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lab %s: %w", l.id, err), l.Down())
	}
	l.log.Info("lab is up")
	return l, nil
}

// Down removes the lab and everything that runs in it.
func (l *Lab) Down() error {
	err := l.undo.run()
	if err == nil {
		l.log.Info("lab is down")
	}
	return err
}

// Release leaves the lab running without this process; Remove ends it later.
func (l *Lab) Release() error {
	l.undo = cleanup{}
	errs := []error{l.lock.Close()}
	for _, h := range l.links {
		h.Close()
	}
	for _, ns := range l.ns {
		errs = append(errs, ns.Close())
	}
	return errors.Join(errs...)
}

// ID returns the lab's name.
func (l *Lab) ID() string { return l.id }

// Dir returns the directory of the lab's files and logs.
func (l *Lab) Dir() string { return l.dir }

// PinPath returns the directory below which the lab's router may pin BPF objects.
func (l *Lab) PinPath() string { return pinDir(l.id) }

// Namespace returns the namespace of Client1, Router, ISP and so on.
func (l *Lab) Namespace(name string) *Namespace { return l.ns[name] }

// endProcesses ends what still runs in the lab's namespaces.
func (l *Lab) endProcesses() error {
	var names []string
	for _, ns := range l.ns {
		names = append(names, ns.name)
	}
	return endProcesses(names)
}
