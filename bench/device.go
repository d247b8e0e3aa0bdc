// SPDX-License-Identifier: GPL-2.0-only

package bench

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Device is a device under test: what turns the middle of a topology into a
// router. A new one is a file with its type, which calls register.
type Device interface {
	// Name is a word for the table and the command line.
	Name() string
	// Setup configures the router of the topology.
	Setup(ctx context.Context, t *Topology) error
	// Teardown undoes it. Namespaces go by themselves.
	Teardown() error
	// Promise is what comes out at the far end.
	Promise() Promise
	// Stateful says that flows are to be established first.
	Stateful() bool
}

// DeviceOptions are what devices of the command line are made with.
type DeviceOptions struct {
	L2d     string // the daemon's binary
	Ruleset string // file
	Flows   int    // that it has to have room for
}

var devices = map[string]func(DeviceOptions) Device{}

// register gives the command line a device, by its name.
func register(name string, make func(DeviceOptions) Device) { devices[name] = make }

// NewDevice makes the device of a name, which may end in "+" and the queue discipline
// that it sends by.
func NewDevice(name string, o DeviceOptions) (Device, error) {
	name, qdisc, queued := strings.Cut(name, "+")
	newDevice, ok := devices[name]
	if !ok {
		return nil, fmt.Errorf("no device %q: there are %s, each also with + and a queue discipline behind it", name,
			strings.Join(slices.Sorted(maps.Keys(devices)), ", "))
	}
	d := newDevice(o)
	if queued {
		d = &Qdisc{Device: d, Kind: qdisc}
	}
	return d, nil
}

// Needer is a Device that not every machine can have.
type Needer interface {
	// Missing says what it needs and this machine lacks; nil: nothing.
	Missing(ctx context.Context) error
}

// Versioned is a Device of somebody else's program.
type Versioned interface {
	// Version is the program's name, and its version in its own words.
	Version(ctx context.Context) (program, version string)
}

// Case is a device and what it is measured with.
type Case struct {
	Device Device
	// Label is behind the device's name; may be empty.
	Label string
	// Mix is what the packets differ in besides.
	Mix Mix
	// Cores of the router's that packets come to, by queues of its interfaces, each
	// from a generator of its own; 0: one.
	Cores int
	// Flows is how many there are: a power of two up to [MaxFlows], or up to
	// freshFlows if they are fresh.
	Flows int
	// Fresh says that each packet that the generator makes begins a flow, and is
	// answered. What is counted is the answers that come back. The device is a
	// [Forgetter].
	Fresh bool
	// IPv6 says of which family the packets are.
	IPv6 bool
	// Dropped says that the device drops all that the generator makes. What is
	// counted is what it takes.
	Dropped bool
	// Rate is how many flows begin a second when they are established; 0:
	// establishRate.
	Rate float64
}

// Name is what the results go by.
func (c Case) Name() string { return c.Device.Name() + c.Label }

func (c Case) cores() int { return max(1, c.Cores) }

// rate is how many flows begin a second when they are established.
func (c Case) rate() float64 {
	if c.Rate == 0 {
		return establishRate
	}
	return c.Rate
}

// begins is how long it takes until the flows are established, at least: nothing where none are.
func (c Case) begins() time.Duration {
	if !c.Device.Stateful() || c.Fresh || c.Dropped {
		return 0
	}
	return time.Duration(float64(c.Flows) / c.rate() * float64(time.Second))
}

// Forgetter is a Device that can forget its flows.
type Forgetter interface {
	// Forget ends all flows.
	Forget(ctx context.Context) error
}

// Describer is a Device that has more to tell than its rate.
type Describer interface {
	// Describe is called after Setup.
	Describe(ctx context.Context) ([]Figure, error)
}

// Verifier is a Device that can tell whether packets went the way that is to be
// measured.
type Verifier interface {
	// Watch is called before each repetition.
	Watch(ctx context.Context) error
	// Verify is called after each repetition.
	Verify(ctx context.Context, c Case) error
}
