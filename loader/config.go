// SPDX-License-Identifier: GPL-2.0-only

package loader

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/randomizedcoder/l2d/pkg/flow"
	"github.com/randomizedcoder/l2d/pkg/ntuple"
)

// XDP modes of an interface.
const (
	XDPAuto   = "auto"   // native where the driver has it, else TC alone
	XDPNative = "native" // native, or the configuration is refused
	XDPOff    = "off"    // TC alone
)

// Interface is a network interface that the dataplane attaches to.
type Interface struct {
	Name  string
	Index int
	// XDP is one of the XDP* modes.
	XDP string
	// AQM keeps XDP from sending by the interface, past its qdisc. A queue
	// manager at the interface's root is found without it.
	AQM bool
	// Rules are for every frame that comes in, before all else: the first one that
	// matches decides. They need XDP. Those for a queue leave to the NIC what it
	// has decided.
	Rules []ntuple.Rule
	// Shaper holds back what comes in; nil: nothing does. XDP leaves all that it
	// does not drop to it.
	Shaper *Shaper
}

func (i Interface) validate() error {
	if i.Index <= 0 || i.Index >= maxIfindex {
		return fmt.Errorf("interface %s: index %d is not within 1 to %d", i.Name, i.Index, maxIfindex-1)
	}
	if i.Shaper != nil {
		return i.Shaper.validate()
	}
	return nil
}

// Policy is what the compiler makes of a ruleset.
type Policy interface {
	// Splice puts the policy's code into the programs of spec and its maps
	// beside them.
	Splice(spec *ebpf.CollectionSpec) error
	// Hash is the policy's identity: equal hashes, equal behaviour and
	// counter indexes.
	Hash() [32]byte
}

// Config is a whole dataplane.
type Config struct {
	// PinPath is the dataplane's directory below a BPF file system.
	PinPath    string
	Interfaces []Interface
	// MaxFlows bounds the confirmed flows, MaxHalfOpen the flows that have
	// had no answer yet. Both count flows, not directions.
	MaxFlows    uint32
	MaxHalfOpen uint32
	// MaxFlowsPerSource bounds the flows, of either kind, that one address has
	// begun; 0: it does not.
	MaxFlowsPerSource uint32
	Timeouts          flow.Timeouts
	TCP               flow.TCP
	NAT               flow.NATSettings
	Policy            Policy
	// Reevaluate has flows judged by the policy when it takes the place of
	// another: their next packets in the direction that began them.
	Reevaluate bool
	// Accounting has no packet of a flow missing in its counters where several
	// CPUs handle one direction of it at the same time.
	Accounting bool
	// Carry gives the map of a set of a new policy what it is to have of the
	// map of the same name and layout of the policy before, while that one is
	// in force. Without it these are the elements that expire.
	Carry func(name string, to, from *ebpf.Map) error
	// CarryAll does so for all maps at once, where there is no Carry.
	CarryAll func(to, from map[string]*ebpf.Map) error
	// Keep has the maps of the policy before pinned, with what its sets have been given,
	// until [Forget].
	Keep bool
	// Restore takes the place of CarryAll where this policy was in force when the maps
	// were kept: it has those, too.
	Restore func(to, from, kept map[string]*ebpf.Map) error
	// Counted has the counters of the policy that go on from those of the
	// policy before: indexes of the latter by those of the former.
	Counted map[uint32]uint32

	steering *steering // what the programs have of Rules
	// trial: nothing of it is to be seen from outside; trialKeeps: maps that
	// remember are filled from elsewhere.
	trial, trialKeeps bool
}

// maxIfindex is the size of l2_ifaces in bpf/lib/maps.h.
const maxIfindex = 65536

func (c *Config) validate() error {
	if c.MaxFlows == 0 || c.MaxHalfOpen == 0 {
		return errors.New("the limits of flows and of half-open flows must be at least 1")
	}
	if c.MaxFlows > 1<<30 || c.MaxHalfOpen > 1<<30 {
		return errors.New("the limits of flows and of half-open flows must be at most 2^30")
	}
	for _, d := range []flow.Dependence{c.NAT.Mapping, c.NAT.Filtering} {
		if _, ok := dependences[d]; !ok {
			return fmt.Errorf("NAT cannot be %q", d)
		}
	}
	if c.Policy == nil {
		return errors.New("no policy")
	}
	for _, i := range c.Interfaces {
		if err := i.validate(); err != nil {
			return err
		}
	}
	return nil
}

// sizes are the entries of the maps whose sizes are settings.
func (c *Config) sizes() map[string]uint32 {
	return map[string]uint32{
		"l2_flows":     2 * c.MaxFlows, // an entry for each direction
		"l2_half_open": 2 * c.MaxHalfOpen,
		"l2_mappings":  2 * c.MaxFlows, // an entry for each end
	}
}

func settingsOf(c *Config) l2TCSettings {
	t, tcp, nat := &c.Timeouts, &c.TCP, &c.NAT
	flag := func(b bool) uint8 {
		if b {
			return 1
		}
		return 0
	}
	return l2TCSettings{
		TcpLiberal:       flag(tcp.BeLiberal),
		TcpLoose:         flag(tcp.Loose),
		TcpAnyRst:        flag(tcp.IgnoreInvalidRST),
		TcpMaxRetrans:    uint8(min(tcp.MaxRetrans, 255)),
		NatMapping:       dependences[nat.Mapping],
		NatFiltering:     dependences[nat.Filtering],
		NatPortMin:       nat.PortRange[0],
		NatPortMax:       nat.PortRange[1],
		FlowsPerSource:   c.MaxFlowsPerSource,
		NatPortRest:      flow.Ticks(nat.PortRest),
		NatReserves:      flag(len(nat.ReservedPorts) > 0),
		TcpRetransmitted: flow.Ticks(t.TCPRetransmitted),
		Tcp: [10]uint32{
			1: flow.Ticks(t.TCPSynSent),
			2: flow.Ticks(t.TCPSynRecv),
			3: flow.Ticks(t.TCPEstablished),
			4: flow.Ticks(t.TCPFinWait),
			5: flow.Ticks(t.TCPCloseWait),
			6: flow.Ticks(t.TCPLastAck),
			7: flow.Ticks(t.TCPTimeWait),
			8: flow.Ticks(t.TCPClose),
			9: flow.Ticks(t.TCPSynSent), // SYN_SENT2: the same in nf_conntrack
		},
		Sctp: [9]uint32{
			1: flow.Ticks(t.SCTPClosed),
			2: flow.Ticks(t.SCTPCookieWait),
			3: flow.Ticks(t.SCTPCookieEchoed),
			4: flow.Ticks(t.SCTPEstablished),
			5: flow.Ticks(t.SCTPShutdownSent),
			6: flow.Ticks(t.SCTPShutdownRecd),
			7: flow.Ticks(t.SCTPShutdownAckSent),
			8: flow.Ticks(t.SCTPHeartbeatSent),
		},
		TcpUnacknowledged: flow.Ticks(t.TCPUnacknowledged),
		UdpUnreplied:      flow.Ticks(t.UDPUnreplied),
		UdpStream:         flow.Ticks(t.UDPStream),
		Icmp:              flow.Ticks(t.ICMP),
		Generic:           flow.Ticks(t.Generic),
	}
}

// dependences are enum nat_dependence of bpf/lib/types.h.
var dependences = map[flow.Dependence]uint8{
	flow.EndpointDependent:   0,
	flow.AddressDependent:    1,
	flow.EndpointIndependent: 2,
}

func reservedOf(ports []uint16) l2TCReservedPorts {
	var r l2TCReservedPorts
	for _, p := range ports {
		r.Bits[p/64] |= 1 << (p % 64)
	}
	return r
}
