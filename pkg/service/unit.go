// SPDX-License-Identifier: GPL-2.0-only

package service

import (
	"context"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/randomizedcoder/l2d/pkg/config"
)

// Daemon is a program that can be a service. Its methods may be called concurrently; each
// ends when its context does.
type Daemon interface {
	// Name is the first part of the names of its units.
	Name() string
	// Units renders what the configuration declares of it; nil for nothing. Of the host it reads
	// secrets and what the service follows. The error is a [config.Error], or several.
	Units(c *config.Config, dir Dirs) ([]*Unit, error)
	// Check has the daemon's own checker read the unit's files, which are staged below a
	// directory that only root can enter: [At] is where each is. It must not touch what runs.
	// An error says what the checker said.
	Check(ctx context.Context, u *Unit, staged string) error
	// Effect is what it takes to get from a unit that runs to another one.
	Effect(old, new *Unit) Effect
	// Reload has the process, which runs the unit before, read the installed files again.
	// signal sends a signal to it. What the daemon refuses is an error.
	Reload(ctx context.Context, u *Unit, signal func(sig string) error) error
	// Health asks whether the service does its work, with the process that runs; of a service that is watched none
	// is known. An error says what does not.
	Health(ctx context.Context, u *Unit, p Process) (Health, error)
}

// Explainer is a [Daemon] whose last line before it ends is not why it does.
type Explainer interface {
	// Why is what the last lines of a unit's process, the oldest first, say of its end; empty if none says why.
	Why(u *Unit, lines []string) string
}

// Expectant is a [Daemon] that does badly if it begins too early.
type Expectant interface {
	// Expect waits for what a unit's process has to find on the host when it starts, or reads its files again. When the
	// context ends, it begins without that.
	Expect(ctx context.Context, u *Unit)
}

// Firewalled is a [Daemon] that others reach by packets which the ruleset may drop, and [Daemon.Health] would not
// see it: what a host sends to itself goes another way.
type Firewalled interface {
	// Packets are those that a unit cannot do without.
	Packets(u *Unit) ([]Packet, error)
}

// Packet is one that a service cannot do without.
type Packet struct {
	// Name is what it is to people, in the plural, such as "router advertisements".
	Name string
	// Text is the packet in the words of l2ctl explain.
	Text string
}

// Dirs are the directories that units are rendered for.
type Dirs struct {
	// Run is where the files of all services are: each has a directory there with its name.
	Run string
}

// DirsOf are those of a configuration: beside the run directory, which is for root alone, as not
// all services are root.
func DirsOf(c *config.Config) Dirs { return Dirs{Run: c.Control.RunDir() + "-services"} }

// Of is the directory of a service.
func (d Dirs) Of(name string) string { return filepath.Join(d.Run, name) }

// Unit is a service as it shall run. All of it but the contents of files is shown.
type Unit struct {
	// Name is unique, and a part of the names of files: lower-case letters, digits, - and _.
	Name string `json:"name"`
	// Daemon is the name of the [Daemon].
	Daemon string `json:"daemon"`
	// Mode is config.ModeSystemd, ModeChild or ModeWatch. Before [Manager.Declare] has
	// chosen it can be ModeAuto.
	Mode string `json:"mode"`
	// Files are its configuration, in the order that they are shown in.
	Files []File `json:"files,omitempty"`
	// Argv is the command line. It is world-readable. [Program] finds its first element.
	Argv []string `json:"argv,omitempty"`
	// Env are variables, as NAME=VALUE, beside PATH.
	Env []string `json:"env,omitempty"`
	// User and Group are whom it is started as; empty is root.
	User  string `json:"user,omitempty"`
	Group string `json:"group,omitempty"`
	// Caps are the capabilities that it has and can get, as CAP_NET_RAW.
	Caps []string `json:"caps,omitempty"`
	// Dirs are made before it starts. Files are in them, or it writes to them.
	Dirs []Dir `json:"dirs,omitempty"`
	// Sandbox is what the service manager is to close off.
	Sandbox Sandbox `json:"sandbox"`
	// Service has what the configuration says of every service.
	Service config.Service `json:"service"`
	// Enforce has a difference corrected when it is seen, and not just reported.
	Enforce bool `json:"enforce,omitempty"`
	// Patience is how long it may take until it is well after a start; 0 is ten seconds.
	Patience time.Duration `json:"patience,omitempty"`
	// Params are what the daemon's methods have to know of it, such as the path of a socket.
	Params map[string]string `json:"params,omitempty"`
}

// File is a file of a service.
type File struct {
	// Path is absolute.
	Path    string      `json:"path"`
	Content []byte      `json:"content"`
	Mode    fs.FileMode `json:"mode"`
	// Owner and Group by name; empty is root.
	Owner string `json:"owner,omitempty"`
	Group string `json:"group,omitempty"`
	// Secrets are the texts in it that nobody is to see. A file with secrets is never for
	// others than its owner and its group.
	Secrets []string `json:"secrets,omitempty"`
	// Hidden are whole lines that are not shown: of a file that was found. Daemons leave it empty.
	Hidden []string `json:"hidden,omitempty"`
}

// Dir is a directory that a service has to find.
type Dir struct {
	Path  string      `json:"path"`
	Mode  fs.FileMode `json:"mode"`
	Owner string      `json:"owner,omitempty"`
	Group string      `json:"group,omitempty"`
}

// Sandbox is what a service needs beyond the strictest that all have: no new privileges, no
// capabilities but those of the unit, a read-only file system but for its directories, no /home,
// no devices, no kernel modules or logs, no clock, no namespaces.
type Sandbox struct {
	// Families of sockets, as AF_INET; without any all are allowed.
	Families []string `json:"families,omitempty"`
	// Devices are those of /dev that it opens.
	Devices []string `json:"devices,omitempty"`
	// Sysctl lets it write to /proc/sys, and HostTmp see /tmp.
	Sysctl  bool `json:"sysctl,omitempty"`
	HostTmp bool `json:"host_tmp,omitempty"`
	// JIT lets it make memory executable.
	JIT bool `json:"jit,omitempty"`
	// IOClass is the class of its disk accesses: realtime, best-effort or idle; empty is
	// not said.
	IOClass string `json:"io_class,omitempty"`
}

// Action is what it takes to have a daemon run another unit.
type Action int

// Actions, from the least disruptive.
const (
	// Nothing: it has it already.
	Nothing Action = iota
	// Reload: it reads its files again.
	Reload
	// Restart: another process.
	Restart
)

// Effect is an action and what it does to those who use the service.
type Effect struct {
	Action Action
	// Disruptive says that they notice, Why what.
	Disruptive bool
	Why        string
}

// Health is what a service that is well says of itself.
type Health struct {
	// Detail is one line for people, such as "12 stations".
	Detail string `json:"detail,omitempty"`
	// Version is the daemon's, if it tells.
	Version string `json:"version,omitempty"`
}

// At is where a file is that is staged below a directory.
func At(staged, path string) string { return filepath.Join(staged, path) }

// File returns the file with a path; nil if the unit has none.
func (u *Unit) File(path string) *File {
	if u == nil {
		return nil
	}
	for i := range u.Files {
		if u.Files[i].Path == path {
			return &u.Files[i]
		}
	}
	return nil
}
