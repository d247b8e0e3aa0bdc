// SPDX-License-Identifier: GPL-2.0-only

package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/randomizedcoder/l2d/pkg/flow"
)

// DefaultPath is where the daemon looks for its file when it is not told.
const DefaultPath = "/etc/l2d/l2d.yaml"

// Defaults of keys that are needed before, or without, a file.
const (
	DefaultPinPath = "/sys/fs/bpf/l2d"
	DefaultSocket  = "/run/l2d/l2d.sock"
)

// Bounds of the connection tracking settings. A flow takes two entries of a
// kernel hash map; the upper bound keeps both directions of the largest table
// within the 32-bit number of entries that such a map can have, with a wide
// margin, and within the memory of a large router.
const (
	MinFlows   = 1
	MaxFlows   = 16 << 20
	MinTimeout = time.Second
	MaxTimeout = 365 * 24 * time.Hour
	MaxLogRate = 1000000
)

// Config is a whole file, with every default filled in. Paths are absolute.
type Config struct {
	// Path is the file it was read from, Text what is in it.
	Path      string    `json:"path"`
	Text      string    `json:"-"`
	Dataplane Dataplane `json:"dataplane"`
	Conntrack Conntrack `json:"conntrack"`
	NAT       NAT       `json:"nat"`
	Host      Host      `json:"host"`
	Network   Network   `json:"network"`
	Services  Services  `json:"services"`
	Control   Control   `json:"control"`
	Metrics   Metrics   `json:"metrics"`
	Log       Log       `json:"log"`

	wrong List // what could not be read
}

// Sound tells whether what is at some keys could be read, so that something can be said
// of it, and of what depends on it.
func (c *Config) Sound(keys ...string) bool { return c.wrong.without(keys...) }

// SameButHost tells whether two configurations differ in nothing but the state of
// the host, its services, and how they are written.
func (c *Config) SameButHost(o *Config) bool {
	text := func(c Config) []byte {
		c.Path, c.Host, c.Network, c.Services = "", Host{}, Network{}, Services{}
		b, err := json.Marshal(&c)
		if err != nil {
			panic(err) // no type of it can fail
		}
		return b
	}
	return bytes.Equal(text(*c), text(*o))
}

// Dataplane says what is enforced, and where.
type Dataplane struct {
	// Ruleset is the nftables file, or KernelRuleset.
	Ruleset string `json:"ruleset"`
	// Mirror has a file's sets in the kernel's nftables too, for others to
	// write to.
	Mirror bool `json:"mirror"`
	// Reevaluate has a new ruleset judge the flows that there are.
	Reevaluate bool `json:"reevaluate"`
	// MarkECT1 has policers mark L4S packets instead of dropping them.
	MarkECT1 bool `json:"mark_ect1"`
	// PinPath is the directory of the pinned programs, links and maps, on a
	// bpffs.
	PinPath string `json:"pin_path"`
	// Interfaces are the network interfaces that the dataplane attaches to.
	Interfaces []Interface `json:"interfaces"`
	// NTuple are rules for packets that come in, in their order; nil leaves what
	// NICs have of them alone.
	NTuple []NTuple `json:"ntuple,omitempty"`
	// Sets are those of the ruleset that follow interfaces.
	Sets []FollowedSet `json:"sets,omitempty"`
	// CPUs are those that handle packets, in the order in which queues get them; without any
	// it is not said.
	CPUs []int `json:"cpus,omitempty"`

	rulesetAt, cpusAt position
}

// KernelRuleset in the place of a file is the ruleset that the kernel's nftables
// has: l2d takes it over and follows its changes.
const KernelRuleset = "kernel"

// Kernel tells whether the ruleset is the kernel's.
func (d *Dataplane) Kernel() bool { return d.Ruleset == KernelRuleset }

// XDP modes of an interface.
const (
	XDPAuto   = "auto"   // native where the driver has it, else TC alone
	XDPNative = "native" // native, or refuse to start
	XDPOff    = "off"    // TC alone
)

// Interface is one network interface of the dataplane.
type Interface struct {
	Name string `json:"name"`
	// XDP is XDPAuto, XDPNative or XDPOff. Generic XDP is never used.
	XDP string `json:"xdp"`
	// AQM says that the qdisc of the interface must see every packet that is
	// sent there: XDP does not redirect past it. It is so by default if the file
	// declares a qdisc for the interface that decides about packets.
	AQM bool `json:"aqm"`
	// Optional says that the interface may be absent. It is attached when it
	// appears.
	Optional bool `json:"optional"`

	saysAQM bool // in the file
	at      position
}

// Conntrack bounds the flow tables and sets the timeouts of flows.
type Conntrack struct {
	// MaxFlows is the number of confirmed flows, both directions counted as
	// one.
	MaxFlows uint32 `json:"max_flows"`
	// MaxHalfOpen is the number of flows without a reply. The oldest makes
	// room for the newest.
	MaxHalfOpen uint32 `json:"max_half_open"`
	// MaxFlowsPerSource is the number of flows that one address may have begun,
	// 0 for as many as there is room for.
	MaxFlowsPerSource uint32 `json:"max_flows_per_source"`
	// Accounting has no packet missing in the counters of flows, where CPUs
	// count at the same time.
	Accounting bool `json:"accounting"`
	// Timeouts are in whole seconds.
	Timeouts flow.Timeouts `json:"timeouts"`
	flow.TCP
}

// NAT is what the ruleset does not say of translations.
type NAT struct {
	// Log has translations logged when they begin and end.
	Log bool `json:"log"`
	// LogDestinations has the other end logged, too.
	LogDestinations bool `json:"log_destinations"`
	// LogRate is how many lines a second are logged at most.
	LogRate uint32 `json:"log_rate"`
	flow.NATSettings
}

// Control is the socket that l2ctl talks to.
type Control struct {
	// Socket is the path of a unix socket. Its directory and the socket are
	// made accessible to root alone.
	Socket string `json:"socket"`
	// Listen is the IP address and TCP port of the page, or empty for none.
	Listen string `json:"listen"`
	// Token opens the page.
	Token *Secret `json:"token,omitempty"`
}

// RunDir is the directory of the socket: where what has to outlive the daemon,
// but not the system, is noted.
func (c *Control) RunDir() string { return filepath.Dir(c.Socket) }

// Metrics is the Prometheus endpoint.
type Metrics struct {
	// Listen is an IP address and TCP port, or empty for no endpoint.
	Listen string `json:"listen"`
	// Rules has a series for each rule.
	Rules bool `json:"rules"`
}

// Log levels and formats.
const (
	LogDebug = "debug"
	LogInfo  = "info"
	LogWarn  = "warn"
	LogError = "error"

	LogAuto = "auto" // the journal, with fields, if it gets standard error; else text
	LogText = "text"
	LogJSON = "json"
)

// Log is how the daemon logs: to standard error, or to the journal.
type Log struct {
	Level  string `json:"level"`
	Format string `json:"format"`
}

// Default returns the settings of a file that names none. It lacks a ruleset
// and interfaces, which every file must name.
func Default() Config {
	return Config{
		Dataplane: Dataplane{PinPath: DefaultPinPath},
		Conntrack: Conntrack{
			MaxFlows:    262144,
			MaxHalfOpen: 65536,
			Timeouts:    flow.DefaultTimeouts(),
			TCP:         flow.DefaultTCP(),
		},
		NAT:     NAT{LogRate: 1000, NATSettings: flow.DefaultNAT()},
		Host:    Host{StateDir: DefaultStateDir},
		Control: Control{Socket: DefaultSocket},
		Log:     Log{Level: LogInfo, Format: LogAuto},
	}
}

// Load reads the file at path, as [Parse] does, and checks that the ruleset it names can
// be opened.
func Load(path string, judges ...Judge) (*Config, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("configuration %s: %w", path, err)
	}
	src, err := os.ReadFile(abs)
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	return Parse(abs, src, slices.Concat([]Judge{openRuleset}, judges)...)
}

// openRuleset refuses a ruleset that is not there.
func openRuleset(c *Config) error {
	const key = "dataplane.ruleset"
	if c.Dataplane.Kernel() || !c.Sound(key) {
		return nil
	}
	f, err := os.Open(c.Dataplane.Ruleset)
	if err == nil {
		return f.Close()
	}
	e := Error{
		File: c.Path, Line: c.Dataplane.rulesetAt.line, Column: c.Dataplane.rulesetAt.column,
		Key: key, Value: c.Dataplane.Ruleset, Want: "a file that can be read: " + unwrapPath(err),
	}
	c.wrong = append(c.wrong, e)
	return e
}

// unwrapPath returns the reason of a file error without the path, which the
// caller has already named.
func unwrapPath(err error) string {
	if pe, ok := err.(*os.PathError); ok {
		return pe.Err.Error()
	}
	return err.Error()
}

// At is an error with the place of the interface in a file.
func (i *Interface) At(file string) Error {
	return Error{File: file, Line: i.at.line, Column: i.at.column, Key: "dataplane.interfaces." + i.Name}
}
