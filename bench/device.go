// SPDX-License-Identifier: GPL-2.0-only

package bench

import "context"

// Device is a device under test: what turns the middle of a topology into a
// router. A new one is a file with its type and a line in [Devices].
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

// Case is a device and what it is measured with.
type Case struct {
	Device Device
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
