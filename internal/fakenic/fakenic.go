// SPDX-License-Identifier: GPL-2.0-only

// Package fakenic is a network interface for tests that has what no virtual one
// does: private flags, FEC, EEE, Wake-on-LAN, and the hash table and rules of
// the 82599. It speaks the kernel's binary interfaces, as the kernel and its
// drivers ixgbe and bnxt do: net/ethtool/{bitset,fec,wol,eee,privflags,ioctl}.c.
package fakenic

import (
	"maps"
	"slices"
	"sync"

	"github.com/randomizedcoder/l2d/pkg/ethioctl"
)

// NIC is an interface by the name of Link.
type NIC struct {
	Link string
	// Fail, if it is set, is asked before each write.
	Fail func() error

	mu    sync.Mutex
	state State
}

// State is what an interface is set to.
type State struct {
	Private map[string]bool
	Wake    map[string]bool
	FEC     []string // the kernel's names
	FECAuto bool
	EEE     map[uint16]uint32 // by attribute
	// Queues are the receive queues, Table and Key of RSS.
	Queues uint32
	Table  []uint32
	Key    []byte
	// TableSet: the table is somebody's, and not the kernel's own.
	TableSet bool
	// NTuple says that the feature is on, without which there are no rules.
	NTuple bool
	Rules  map[uint32]ethioctl.Spec
	// Statistics are those of the driver; without any it does not have the request.
	Statistics []ethioctl.Statistic
}

// New makes an interface as it is after a reset.
func New(link string) *NIC {
	s := State{
		Private: map[string]bool{"legacy-rx": false, "vf-ipsec": false},
		Wake:    map[string]bool{"ucast": false, "mcast": false, "magic": true},
		FECAuto: true, FEC: []string{"RS"},
		EEE:    map[uint16]uint32{eeeEnabled: 1, eeeLPI: 1, eeeTimer: 30},
		Queues: 8, Table: make([]uint32, 128), Key: make([]byte, 40),
		NTuple: true, Rules: map[uint32]ethioctl.Spec{},
	}
	s.inTurn()
	for i := range s.Key {
		s.Key[i] = byte(i * 7)
	}
	return &NIC{Link: link, state: s}
}

// State returns a copy of what the interface is set to.
func (n *NIC) State() State {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.state.clone()
}

func (s State) clone() State {
	s.Private, s.Wake, s.EEE, s.Rules = maps.Clone(s.Private), maps.Clone(s.Wake), maps.Clone(s.EEE), maps.Clone(s.Rules)
	s.FEC, s.Table, s.Key = slices.Clone(s.FEC), slices.Clone(s.Table), slices.Clone(s.Key)
	return s
}

// Change changes the state, in one step.
func (n *NIC) Change(f func(*State) error) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	next := n.state.clone()
	if err := f(&next); err != nil {
		return err
	}
	n.state = next
	return nil
}

func (n *NIC) before() error {
	if n.Fail == nil {
		return nil
	}
	return n.Fail()
}
